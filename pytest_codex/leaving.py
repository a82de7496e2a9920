"""How a session is left before its end."""

from __future__ import annotations

from typing import NoReturn

import pytest

from codex_orchestrator.errors import Busy, OrchestratorError, UsageError

# pytest's own code for what the user has to put right.
_USAGE = 4
# What a plugin ends the session with; whatever else it raises is a mistake.
LEAVING = (KeyboardInterrupt, pytest.exit.Exception)


def leave(error: OrchestratorError) -> NoReturn:
    """End the session for an error of ours, with pytest's code for it."""
    pytest.exit(str(error), returncode=_USAGE if isinstance(error, UsageError | Busy) else 1)
