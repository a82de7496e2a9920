"""Words on stderr, beside what pytest and the progress print."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from codex_orchestrator.text import harmless, printable


def tell(line: str) -> None:
    """Say something, which stays one line whatever is in it; nothing where nobody listens any more."""
    shown = printable(line)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        shown = harmless(shown)
    with suppress(OSError):
        sys.stderr.write(f"{shown}\n")
