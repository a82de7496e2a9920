"""What a session tells GitHub Actions: groups and annotations in the log, step summary, step outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codex_orchestrator import named, places
from codex_orchestrator.environment import PREFIX
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import lines as line_files
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.text import one_line, printable
from pytest_codex.messages import tell
from pytest_codex.progress.board import StageProgress
from pytest_codex.progress.github_commands import (
    SUMMARY_BYTES,
    CommandGate,
    KeptOutput,
    command,
    stage_annotations,
    step_summary,
)
from pytest_codex.progress.lines import ended


class GithubJob:
    """Writes to the log and to the step summary of the GitHub job that this session is a step of."""

    def __init__(self, say: Callable[[str], None], variables: Mapping[str, str]) -> None:
        """Write nothing yet.

        Args:
            say: Prints a line.
            variables: The environment.
        """
        self.kept_output = KeptOutput()
        self._say = say
        self._gate = CommandGate(say)
        self._summary = variables.get("GITHUB_STEP_SUMMARY")

    def begin(self) -> None:
        """Stop workflow commands: from here on, what is printed gives none."""
        self._gate.close()

    def group(self, stage: StageProgress) -> bool:
        """Print a stage's output as a folded group titled with how it ended; False where there is none."""
        text, cut = self.kept_output.take(stage.nodeid)
        if not text:
            return False
        was_closed = self._gate.is_closed
        self.end()
        self._say(command("group", ended(stage)))
        self.begin()
        if cut:
            self._say(f"… the beginning is in {printable(str(stage.ended and stage.ended.log_path))}")
        for line in text.removesuffix("\n").split("\n"):
            self._say(one_line(line, colour=True))
        self.end()
        self._say(command("endgroup"))
        if was_closed:
            self.begin()
        return True

    def annotate(self, stages: Sequence[StageProgress]) -> None:
        """Print an annotation for each failure."""
        told = stage_annotations(stages)
        if told:
            self.end()
        for line in told:
            self._say(line)

    def summarise(
        self, stages: Sequence[StageProgress], manifests: Sequence[Manifest], *, stopped: bool
    ) -> None:
        """Append the run to the step summary; where it cannot be written, say so on stderr."""
        if not self._summary or not manifests:
            return
        path = named.place(Path(self._summary))
        title = ", ".join(f"{manifest.pipeline_id}: {manifest.status}" for manifest in manifests)
        try:
            found = places.status(path, below=path.parent)
            taken = found.st_size if found is not None else 0
            text = step_summary(title, stages, stopped=stopped, room=SUMMARY_BYTES - taken)
            if text:
                line_files.append_block(path, text.encode(errors="replace"), below=path.parent)
        except (OSError, StorageError) as error:
            reason = error.message if isinstance(error, StorageError) else str(error)
            tell(f"codex-orchestrator: the step has no summary of this run: {reason}")

    def end(self) -> None:
        """Let workflow commands be given again."""
        self._gate.open()


class StepOutputs:
    """Leaves run, manifest and status to later steps of the job; a session within a stage leaves nothing."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Nothing is written yet.

        Args:
            variables: The environment.
        """
        inside = variables.get(f"{PREFIX}RUN_ID")
        self._file = None if inside else variables.get("GITHUB_OUTPUT")

    def begin(self, manifests: Sequence[Manifest]) -> None:
        """Write the ids and manifests of the runs that were opened, at once: this process may be killed."""
        self._write(run_id=[each.run_id for each in manifests], manifest=[each.path for each in manifests])

    def end(self, manifests: Sequence[Manifest]) -> None:
        """Write the statuses of the runs."""
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
