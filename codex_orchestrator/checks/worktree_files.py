"""Files of the work tree: their kind, their size and their lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from codex_orchestrator import places
from codex_orchestrator.errors import Misplaced, StorageError, UsageError
from codex_orchestrator.text import printable

# How far git looks for a zero byte before it takes a file for text.
_LOOKED_AT_BYTES = 8_000
_UNIT = 1024


def count_lines(chunks: Iterable[bytes]) -> int | None:
    """The number of lines, of which the last may lack its end; None for a binary file.

    Args:
        chunks: Its content in order, in pieces of any size.
    """
    lines, last, looked_at = 0, b"\n", 0
    for chunk in chunks:
        if looked_at < _LOOKED_AT_BYTES and b"\0" in chunk[: _LOOKED_AT_BYTES - looked_at]:
            return None
        looked_at += len(chunk)
        lines += chunk.count(b"\n")
        last = chunk[-1:] or last
    return lines + (last != b"\n")


def readable_size(number: int) -> str:
    """A number of bytes as ``34 KiB`` or ``1.5 MiB``."""
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value >= _UNIT:
            value, unit = value / _UNIT, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def kind_and_size(root: Path, path: str) -> tuple[places.Kind | None, int]:
    """What lies at a path below `root`, and its size; None where nothing does.

    Raises:
        UsageError: It cannot be looked at.
    """
    try:
        status = places.status(root / path, below=root)
    except Misplaced:
        return None, 0  # Beyond a link that stands where a folder was.
    except StorageError as error:
        raise UsageError(error.message, hint=error.hint) from error
    return (None, 0) if status is None else (places.kind_of(status), status.st_size)


@contextmanager
def opened(root: Path, path: str) -> Iterator[tuple[BinaryIO, int] | None]:
    """A regular file to be read, and its size; None where there is none.

    Raises:
        UsageError: It cannot be read.
    """
    kind, size = kind_and_size(root, path)
    if kind != "file":
        yield None
        return
    try:
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(places.open_stream(root / path, below=root))
            except FileNotFoundError:
                yield None  # Removed since git listed it.
            else:
                yield stream, size
    except StorageError as error:
        raise UsageError(error.message, hint=error.hint) from error
    except OSError as error:
        raise UsageError(f"{printable(str(root / path))} cannot be read: {error.strerror}.") from error
