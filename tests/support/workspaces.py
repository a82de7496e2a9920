"""A work tree, a worker's depot, and the way between them without a cluster."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.model.definitions import CloudSettings
from codex_orchestrator.workspace.copies import Copy
from codex_orchestrator.workspace.depot import Depot
from codex_orchestrator.workspace.pieces import Piece
from codex_orchestrator.workspace.sender import Sender
from codex_orchestrator.workspace.snapshot import Outputs

# Long after anything that a test writes, so that nothing is too young to be remembered.
LATER = 4_000_000_000.0


@dataclass
class Travel:
    """An orchestrator's work tree in `base`, and a depot of workers beside it.

    Attributes:
        sent: How many bytes have gone to workers.
    """

    base: Path
    environ: dict[str, str]
    clock: FakeClock = field(default_factory=lambda: FakeClock(LATER))
    sent: int = 0

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.runs.mkdir()

    @property
    def root(self) -> Path:
        return self.base / "root"

    @property
    def runs(self) -> Path:
        return self.root / ".runs"

    def sender(self, **cloud) -> Sender:
        """The work tree as it is now."""
        sender = Sender(self.root, self.base / "returned", "run", protected=[self.runs, self.root / "out"])
        sender.take(CloudSettings(**cloud), self.environ, self.runs, self.clock)
        return sender

    def depot(self, **settings) -> Depot:
        return Depot(self.base / "depot", clock=self.clock, **settings)

    def bring(self, sender: Sender, copy: Copy, inputs=None) -> Path:
        """Have a copy be what the sender has; its folder."""
        pages = sender.pages(inputs)
        for digests in (copy.lacking_pages(pages), None):
            for batch in sender.send(copy.lacking(pages) if digests is None else digests):
                self.sent += size_of(batch)
                copy.put(batch)
        return copy.bring_up(pages)

    def back(self, copy: Copy, sender: Sender, *patterns: str) -> Outputs:
        """Have the outputs of a stage come back from a copy."""
        outputs = copy.collect(patterns, sender.protected)
        for batch in copy.send(sender.lacking(outputs)):
            sender.put(batch)
        return sender.take_in(outputs, patterns)


def size_of(batch: list[Piece]) -> int:
    return sum(len(piece.data) for piece in batch)


def contents(root: Path, *left_out: str) -> dict[str, tuple[str, str | bytes]]:
    """All that is in a folder but what is left out at its top: by path, its kind and its content."""
    found: dict[str, tuple[str, str | bytes]] = {}
    waiting = [path for path in root.iterdir() if path.name not in left_out]
    while waiting:
        path = waiting.pop()
        mode = path.lstat().st_mode
        what: tuple[str, str | bytes]
        if stat.S_ISLNK(mode):
            what = ("link", str(path.readlink()))
        elif stat.S_ISDIR(mode):
            what = ("folder", b"")
            waiting += path.iterdir()
        else:
            what = ("executable" if mode & 0o100 else "file", path.read_bytes())
        found[str(path.relative_to(root))] = what
    return found
