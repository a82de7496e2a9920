"""The one resolver of a stage's execution mode (docs/reference/configuration.md, "Execution mode")."""

from __future__ import annotations

from typing import Literal

from codex_orchestrator.model.definitions import CommandStage, Stage

ExecutionMode = Literal["mcp", "cloud"]

_WORDS: dict[str, ExecutionMode] = {
    "cloud": "cloud",
    "true": "cloud",
    "1": "cloud",
    "yes": "cloud",
    "mcp": "mcp",
    "false": "mcp",
    "0": "mcp",
    "no": "mcp",
}


def parse_mode(word: str) -> ExecutionMode | None:
    """The mode that a word names (trimmed, any case), or None."""
    return _WORDS.get(word.strip().lower())


def resolve_mode(stage: Stage, run_mode: ExecutionMode | None = None) -> ExecutionMode:
    """Where a stage runs: its flags, its mode words, the run's ``--execution-mode``, else ``mcp``."""
    if isinstance(stage, CommandStage):
        hints = stage.plan
        for flag in (hints.requires_cloud if hints else None, stage.requires_cloud):
            if flag is not None:
                return "cloud" if flag else "mcp"
        for word in (hints.execution_mode if hints else None, stage.execution_mode):
            mode = parse_mode(word) if word else None
            if mode is not None:
                return mode
    return run_mode or "mcp"
