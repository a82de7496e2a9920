"""What a session tells GitHub Actions: groups and annotations in the log, step summary, step outputs.

What we are held to there: 10 annotations of a kind in a step, 4 096 characters in one, 1 MiB of
summary in a step; and a line of output that looks like a command is one, unless commands are stopped.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from codex_orchestrator import named, places
from codex_orchestrator.environment import PREFIX
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import lines as line_files
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.text import flattened, one_line, printable
from pytest_codex.messages import tell
from pytest_codex.progress.board import StageProgress, consequences, failures, names, root_failure
from pytest_codex.progress.lines import elapsed, ended

ANNOTATIONS = 10
MESSAGE_LENGTH = 4_096
SUMMARY_BYTES = 1 << 20
_KEPT_LENGTH = 262_144
_DETAILS_LENGTH = 32_768


def escape_data(text: str) -> str:
    """Text as the message of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Text as a property of a command."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, message: str = "", **properties: str) -> str:
    """``::error title=…::…``."""
    given = ",".join(f"{key}={escape_property(value)}" for key, value in properties.items())
    # Of the older kind is what has its mark anywhere in a line.
    return f"::{name}{' ' if given else ''}{given}::{escape_data(message)}".replace("##[", "## [")


class CommandGate:
    """Stops workflow commands, so that what stages print cannot give any."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Commands are heeded.

        Args:
            say: Prints a line.
        """
        self._say = say
        self._token: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether commands are stopped."""
        return self._token is not None

    def close(self) -> None:
        """Stop commands, under a random token that alone can start them again."""
        if self._token is None:
            self._token = os.urandom(16).hex()
            self._say(f"::stop-commands::{self._token}")

    def open(self) -> None:
        """Start commands again."""
        if self._token is not None:
            self._say(f"::{self._token}::")
            self._token = None


class KeptOutput:
    """The last part of each running stage's output, kept until the stage ends."""

    def __init__(self, length: int = _KEPT_LENGTH) -> None:
        """Nothing was printed yet.

        Args:
            length: How many characters to keep of each stage, about.
        """
        self._length = length
        self._pieces: dict[str, deque[str]] = {}
        self._total: dict[str, int] = {}
        self._cut: set[str] = set()

    def add_output(self, nodeid: str, text: str) -> None:
        """Keep a piece of a stage's output."""
        pieces = self._pieces.setdefault(nodeid, deque())
        pieces.append(text)
        total = self._total.get(nodeid, 0) + len(text)
        while len(pieces) > 1 and total - len(pieces[0]) >= self._length:
            total -= len(pieces.popleft())
            self._cut.add(nodeid)
        self._total[nodeid] = total

    def take(self, nodeid: str) -> tuple[str, bool]:
        """Remove and return what was kept of a stage, and whether its beginning was dropped."""
        self._total.pop(nodeid, None)
        cut = nodeid in self._cut
        self._cut.discard(nodeid)
        text = "".join(self._pieces.pop(nodeid, ()))
        # The first line may be no whole one.
        return (text.partition("\n")[2] or text if cut else text), cut


def stage_annotations(stages: Sequence[StageProgress]) -> list[str]:
    """Annotations: errors for failures, root causes first; warnings for stages that wait; ten of a kind."""
    root = root_failure(stages)
    failed = [stage for stage in failures(stages) if stage.ended and not stage.ended.waits]
    failed.sort(key=lambda stage: (stage is not root, bool(stage.ended and stage.ended.cancelled)))
    waiting = [stage for stage in failures(stages) if stage.ended and stage.ended.waits]
    return [*_notes("error", failed), *_notes("warning", waiting)]


def _notes(kind: str, stages: Sequence[StageProgress]) -> Iterator[str]:
    shown = stages if len(stages) <= ANNOTATIONS else stages[: ANNOTATIONS - 1]
    for stage in shown:
        if stage.ended is not None:
            message = "\n".join(stage.ended.details) or stage.ended.headline
            yield command(kind, message[:MESSAGE_LENGTH], title=stage.ended.headline)
    rest = stages[len(shown) :]
    if rest:
        yield command(kind, names(rest), title=f"… and {len(rest)} more")


def step_summary(title: str, stages: Sequence[StageProgress], *, stopped: bool, room: int) -> str:
    """Markdown for people who look at the job: a table of the stages, and the first failure.

    Args:
        title: What ran, and how it ended.
        stages: All stages.
        stopped: Whether the session ended because of failures.
        room: How many bytes it may have.

    Returns:
        The text, or nothing where there is no room for any.
    """
    head = f"### {as_text(title)}\n\n| Stage | Result | Time | Log |\n| --- | --- | --- | --- |\n"
    rows = [_row(stage) for stage in stages]
    foot = _first_failure(stages, stopped=stopped)
    more = "\n… and {} more stages.\n"
    while rows and _size(head, *rows, more, foot) > room:
        # Rows are of about the same size; half of them is found soon, and says enough.
        rows = rows[: len(rows) // 2]
    left_out = len(stages) - len(rows)
    text = "".join((head, *rows, more.format(left_out) if left_out else "", foot))
    return text if _size(text) <= room else ""


def as_text(text: str) -> str:
    """Text on one line, with all that has a meaning in Markdown escaped."""
    flat = flattened(text)
    return re.sub(r"[^A-Za-z0-9 ./…,;+=(-]", lambda match: f"&#{ord(match[0])};", flat)


def fenced(text: str) -> str:
    """Lines as a fenced code block, its fence longer than any in them."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}\n"


def _row(stage: StageProgress) -> str:
    end = stage.ended
    if end is None:
        cells = [stage.name, "did not run", "", ""]
    else:
        result = "waits" if end.waits else end.state
        why = f": {end.why}" if end.why else ""
        time = elapsed(end.seconds) if end.log_path else ""
        cells = [stage.name, f"{result}{why}", time, end.log_path or ""]
    return f"| {' | '.join(as_text(cell[:500]) for cell in cells)} |\n"


def _first_failure(stages: Sequence[StageProgress], *, stopped: bool) -> str:
    root = root_failure(stages)
    if root is None or root.ended is None:
        return ""
    followed = consequences(root, stages, stopped=stopped)
    details = "\n".join(root.ended.details)[:_DETAILS_LENGTH]
    return "\n".join(
        (
            f"\n**{as_text(root.ended.headline)}**\n",
            *([fenced(details)] if details else []),
            *([f"{as_text(followed)}\n"] if followed else []),
        )
    )


def _size(*texts: str) -> int:
    return sum(len(text.encode(errors="replace")) for text in texts)


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
