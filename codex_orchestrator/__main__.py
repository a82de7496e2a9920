"""The process of the command line: ``codex-orchestrator`` and ``python -m codex_orchestrator``."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

# A start makes many objects and drops few of them: looking for these after every 700 takes longer than it.
_OBJECTS_BETWEEN_LOOKS = 20_000


def run() -> NoReturn:
    """Answer the command line, and end the process as any other ends, other people's threads and all.

    The garbage collector alone would take a fifth of the time of a short run; at the end it would go
    through all objects once more.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)
    from codex_orchestrator.cli import main

    code = main()
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError, AttributeError):
            # Nobody reads it any more; tried again at the end, that would become the exit code.
            setattr(sys, name, None)
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
