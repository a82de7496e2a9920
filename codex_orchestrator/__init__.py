"""Runs pipelines of stages for a task and leaves auditable evidence on disk.

Whatever `codex_orchestrator.api` has can be imported from here too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
_FUNCTIONS = ("load_manifest", "validate_manifest")

if TYPE_CHECKING:
    from codex_orchestrator.api import *  # noqa: F403


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first asked for."""
    # Python asks here for each module of ours before it imports it; these have none of our names.
    if name[:1].isupper() or name in _FUNCTIONS:
        return getattr(import_module(".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
