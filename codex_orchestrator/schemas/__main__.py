"""Write the JSON Schemas from the shapes; run it after changing a shape."""

from __future__ import annotations

from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.artefacts import ARTEFACTS
from codex_orchestrator.model.codec import dumps
from codex_orchestrator.model.explain import json_schema
from codex_orchestrator.schemas import FOLDER


def generate() -> dict[str, str]:
    """Every schema's text by name."""
    return {name: dumps(json_schema(item.shape, title=item.title)) for name, item in ARTEFACTS.items()}


if __name__ == "__main__":
    for name, text in generate().items():
        files.replace(FOLDER / f"{name}.json", text.encode(), below=FOLDER)
