"""Whether a worker sees the folder that this process works in: it is asked to read what was just written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codex_orchestrator.evidence import files

# What a Python expression is on workers, by their addresses.
Evaluate = Callable[[str, Iterable[str]], dict[str, Any]]


@contextmanager
def word_in(root: Path) -> Iterator[tuple[str, str]]:
    """For the length of a block, an expression that is a word on whoever sees the folder, and that word.

    Raises:
        StorageError: Nothing can be written there.
    """
    word = secrets.token_hex(16)
    path = root / f".codex-orchestrator-{secrets.token_hex(4)}"
    files.create(path, word.encode(), below=root)
    try:
        yield f"open({str(path)!r}).read()", word
    finally:
        files.remove(path, below=root)


def blind(root: Path, workers: Iterable[str], evaluate: Evaluate) -> list[str]:
    """The addresses of the workers that do not see a folder of this machine.

    Raises:
        StorageError: Nothing can be written there.
    """
    with word_in(root) as (expression, word):
        answers = evaluate(expression, workers)
    return [address for address in workers if answers.get(address) != word]
