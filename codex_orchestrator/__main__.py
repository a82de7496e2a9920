"""The process of the command line: ``codex-orchestrator`` and ``python -m codex_orchestrator``."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

# A start makes many objects and drops few of them: looking for these after every 700 takes longer than it.
_OBJECTS_BETWEEN_LOOKS = 20_000


def run() -> NoReturn:
    """Answer the command line, and end the process without taking its objects apart one by one.

    That and the garbage collector would take a fifth of the time of a short run. Evidence is on disk by
    then: whatever writes any closes it.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)
    from .cli import main

    code = main()
    # What other people's code has left to be done, as at the end of every process.
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
