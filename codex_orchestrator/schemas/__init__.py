"""The JSON Schemas as shipped; ``python -m codex_orchestrator.schemas`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from codex_orchestrator import resources

FOLDER = Path(__file__).parent


def schema_text(name: str) -> str:
    """The shipped schema of an artefact, as text.

    Raises:
        KeyError: There is none of that name.
    """
    try:
        return resources.read_text(FOLDER / f"{name}.json")
    except FileNotFoundError as error:
        raise KeyError(name) from error


def schema_names() -> list[str]:
    """The artefacts that have a schema."""
    return sorted(path.stem for path in resources.files_in(FOLDER, "*.json"))
