"""What a session tells GitHub Actions, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codex_orchestrator import named, places
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import lines as line_files
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.text import one_line, printable
from pytest_codex.messages import tell
from pytest_codex.progress.board import Stage
from pytest_codex.progress.github import SUMMARY_BYTES, Gate, KeptOutput, command, notes, step_summary
from pytest_codex.progress.lines import ended
from pytest_codex.progress.outputs import StepOutputs


class GithubJob:
    """The job that this session is a step of."""

    def __init__(self, say: Callable[[str], None], variables: Mapping[str, str]) -> None:
        """Nothing is told yet.

        Args:
            say: Prints a line.
            variables: The environment.
        """
        self.output = KeptOutput()
        self.outputs = StepOutputs(variables)
        self._say = say
        self._gate = Gate(say)
        self._summary = variables.get("GITHUB_STEP_SUMMARY")

    def begin(self) -> None:
        """From here on, what is printed gives no commands."""
        self._gate.close()

    def group(self, stage: Stage) -> bool:
        """Print what a stage has printed, folded away under how it ended; False where that is nothing."""
        text, cut = self.output.take(stage.nodeid)
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

    def annotate(self, stages: Sequence[Stage]) -> None:
        """Say what failed, for all to see."""
        told = notes(stages)
        if told:
            self.end()
        for line in told:
            self._say(line)

    def summarise(self, stages: Sequence[Stage], manifests: Sequence[Manifest], *, stopped: bool) -> None:
        """Add to the summary of the step; where that is refused, say so, and nothing else."""
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
        """Leave commands to others again."""
        self._gate.open()
