"""What a session leaves to later steps of its GitHub job: run, manifest, status."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.environment import PREFIX
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import lines as line_files
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.text import printable
from pytest_codex.messages import tell


class StepOutputs:
    """The outputs of the step that this session is; what a stage starts is no step of its own."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Nothing is written yet.

        Args:
            variables: The environment.
        """
        inside = variables.get(f"{PREFIX}RUN_ID")
        self._file = None if inside else variables.get("GITHUB_OUTPUT")

    def begin(self, manifests: Sequence[Manifest]) -> None:
        """Say which runs were opened, so that it is known whatever ends this process."""
        self._write(run_id=[each.run_id for each in manifests], manifest=[each.path for each in manifests])

    def end(self, manifests: Sequence[Manifest]) -> None:
        """Say how they stand."""
        self._write(status=[each.status for each in manifests])

    def _write(self, **outputs: Sequence[str]) -> None:
        if not self._file or not all(outputs.values()):
            return
        path = named.place(Path(self._file))
        text = "".join(output(name, values) for name, values in outputs.items())
        try:
            line_files.append_block(path, text.encode(errors="replace"), below=path.parent)
        except StorageError as error:
            tell(f"codex-orchestrator: the step has no outputs of this run: {error.message}")


def output(name: str, values: Sequence[str]) -> str:
    """An output of several lines, one for each run, which none of them can end early.

    Args:
        name: What the output is called.
        values: Its lines.
    """
    mark = f"end-{os.urandom(16).hex()}"
    return "\n".join((f"{name}<<{mark}", *map(printable, values), mark, ""))
