"""A disk that refuses: an error at the n-th write, fsync or rename, once or from then on (README.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .evidence import gaps, settled, truthful
from .processes import Call

SAMPLE = 16
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
# A disk that refuses every write from then on refuses those to stdout and stderr too: `test_full_disk.py`
# has a real one.
ONCE = ("write", "fsync", "renameat")
FROM_THEN_ON = ("fsync", "renameat")


@dataclass(frozen=True)
class Refusal:
    """A call that fails, and whether all later ones of its name do so too."""

    call: Call
    error: str
    stays: bool

    @property
    def options(self) -> list[str]:
        """For strace."""
        when = f"{self.call.number}{'+' if self.stays else ''}"
        inject = f"inject={self.call.name}:error={self.error}:when={when}"
        return ["-e", f"trace={self.call.name}", "-e", inject]

    def __str__(self) -> str:
        return f"{self.call}{'+' if self.stays else ''}:{self.error}"


@pytest.fixture(scope="module")
def clean(pool, projects) -> Path:
    """A project whose only run met no refusal."""
    root = projects.make("clean")
    assert pool.start(root).exit_code == 0
    return root


@pytest.fixture(scope="module")
def refusals(pool, projects) -> list[Refusal]:
    calls = pool.calls(projects.make("clean-calls"))
    assert set(ONCE) <= {call.name for call in calls}
    return [
        Refusal(call, error, stays)
        for stays, names in ((False, ONCE), (True, FROM_THEN_ON))
        for error in ERRORS
        for call in calls
        if call.name in names
    ]


@pytest.mark.timeout(3_000)
def test_whatever_the_disk_refuses_nothing_is_corrupt_and_nothing_is_hidden(
    refusals, clean, pool, projects, points
):
    def refused(refusal: Refusal) -> list[str]:
        root = projects.make(f"refused-{str(refusal).replace('/', '-')}")
        log = root.parent / "refused"
        done = pool.start(root, "-o", str(log), *refusal.options)
        problems = [] if "(INJECTED)" in log.read_text(encoding="utf-8") else ["nothing was refused"]
        problems += truthful(root, clean, done)
        after = pool.start(root)
        problems += settled(root) if after.exit_code == 0 else [f"later: {after.stderr}"]
        if problems:
            return [refusal.call.text, *problems]
        projects.drop(root)
        return []

    points.tried(points.of(refusals, refusals, SAMPLE), refused)


@pytest.mark.parametrize("call", ["write", "fsync", "flock"])
def test_an_interrupted_call_is_made_again(call, clean, pool, projects):
    root = projects.make(f"interrupted-{call}")
    log = root.parent / "interrupted"
    # Every other call of the name, each of those at its first attempt.
    done = pool.start(
        root, "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:error=EINTR:when=1+2"
    )
    assert "EINTR" in log.read_text(encoding="utf-8")
    assert done.exit_code == 0, done.stderr
    assert truthful(root, clean, done) == settled(root) == []
    assert gaps(root, clean) == {}
