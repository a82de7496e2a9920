"""Random moments to kill at, and stages that tell what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# One that finds its lock taken runs at the same time as itself.
STAGE = """\
say() {{ flock all.lock -c "echo $1 {name} >> ran"; }}
exec 9>>{name}.lock; flock -n 9 || say twice
say begin; {work}; sleep 0.02; say end
"""


def stage(name: str, work: str = "true", **keys) -> dict:
    """A stage that tells of itself; ``work`` is what may fail."""
    return {"id": name, "command": STAGE.format(name=name, work=work), **keys}


@dataclass(frozen=True)
class Moment:
    """When to kill: by a number that everything random follows from."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.seed}"


def logged(root: Path) -> int:
    """How much all runs of a project have logged so far, in bytes."""
    return sum(path.stat().st_size for path in root.glob(".runs/task-1/cli/*/runner.ndjson"))
