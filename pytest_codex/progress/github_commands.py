"""GitHub Actions: groups in the log, annotations, and the summary of a step.

What we are held to there: 10 annotations of a kind in a step, 4 096 characters in one, 1 MiB of
summary in a step; and a line of output that looks like a command is one, unless commands are stopped.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from codex_orchestrator.text import flattened
from pytest_codex.progress.board import StageProgress
from pytest_codex.progress.failures import consequences, failures, names, root_failure
from pytest_codex.progress.lines import elapsed

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
