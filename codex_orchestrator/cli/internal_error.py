"""The message of an internal error: one line for people, and a report to paste into an issue."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from traceback import format_exception

from codex_orchestrator import __version__
from codex_orchestrator.errors import InternalError
from codex_orchestrator.text import one_line

_PACKAGES = ("pytest", "pytest-xdist", "pluggy", "pydantic", "rich")
_SECRET_FLAGS = ("--token",)
_HINT = "Report it with what stands above, to whoever wrote the code at the end of the traceback."


def internal_error(
    error: BaseException, *, outcome: str | None = None, scrub: Callable[[str], str] = str
) -> InternalError:
    """The error that is shown for an unexpected exception.

    Args:
        error: The exception.
        outcome: What became of the run, as a sentence; None where there is none.
        scrub: Takes out of a text what must not be shown.
    """
    raised = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
    hint = f"{outcome}\n{_HINT}" if outcome else _HINT
    return InternalError(
        f"Internal error: {one_line(scrub(raised))}", hint=hint, report=scrub(_report(error))
    )


def _report(error: BaseException) -> str:
    lines = [
        "--- internal error ---",
        f"command: {shlex.join(['codex-orchestrator', *_without_secrets(sys.argv[1:])])}",
        f"codex-orchestrator {__version__}, {', '.join(_versions())}",
        f"Python {platform.python_version()}, {platform.platform()}",
        *"".join(format_exception(error)).splitlines(),
        "--- end ---",
    ]
    return "\n".join(map(one_line, lines))


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"no {name}"


def _without_secrets(words: Sequence[str]) -> Iterator[str]:
    before = ""
    for word in words:
        flag, given, _ = word.partition("=")
        if before in _SECRET_FLAGS:
            yield "REDACTED"
        else:
            yield f"{flag}=REDACTED" if given and flag in _SECRET_FLAGS else word
        before = word
