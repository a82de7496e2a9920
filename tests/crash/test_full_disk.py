"""Real disks that are small, full or read-only, each in a mount namespace of its own (README.md)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.environment import clean_environment
from tests.support.projects import Project

from .evidence import found_runs, settled, truthful
from .processes import PATIENCE_SECONDS, STAGES, TASK, Done

SAMPLE = 8
SIZE_KIB = 3072
PAGE_KIB = 4
PLENTY_INODES = 1000
# More of either than a run of the suite's pipeline takes: the last points are runs that have enough.
MOST_PAGES = 28
MOST_INODES = 44
# Mounts the disk in the project's place, takes room away, runs, gives the room back, runs again. What is on
# the disk is copied after each run, as it is gone with the namespace.
SCRIPT = """
set -eu
mount -t tmpfs -o "size=${SIZE}k,nr_inodes=$INODES" disk "$ROOT"
cp "$DEFINITIONS" "$ROOT"
cd "$ROOT"
run() {
    code=0
    "$PYTHON" -m codex_orchestrator start work >"$SEEN/$1.out" 2>"$SEEN/$1.err" </dev/null || code=$?
    echo "$code" >"$SEEN/$1.code"
    mkdir -p "$SEEN/$1/project"
    for folder in .runs out; do
        if test -d "$folder"; then cp -a "$folder" "$SEEN/$1/project"; fi
    done
}
if test "$PAST" = yes; then run past; fi
if test -n "$FREE"; then
    head -c "${SIZE}k" /dev/zero >filler 2>/dev/null || true
    truncate -s "-${FREE}k" filler
fi
if test "$READONLY" = yes; then mount -o remount,ro "$ROOT"; fi
run hit
if test "$READONLY" = yes; then mount -o remount,rw "$ROOT"; fi
rm -f filler
mount -o "remount,size=64m,nr_inodes=$PLENTY" "$ROOT"
run later
"""


@dataclass(frozen=True)
class Disk:
    """What is left on a disk: KiB (None: as it comes) and inodes."""

    free_kib: int | None = None
    inodes: int = PLENTY_INODES
    read_only: bool = False
    past: bool = False

    def __str__(self) -> str:
        return f"free={self.free_kib},inodes={self.inodes}"


@cache
def namespace() -> tuple[str, ...] | None:
    """The command in which a file system can be mounted without anybody else seeing it, or None."""
    probe = ["sh", "-c", "mount -t tmpfs -o size=64k disk /mnt"]
    for command in (("unshare", "-m"), ("unshare", "-Urm")):
        if (
            shutil.which("unshare")
            and not subprocess.run([*command, *probe], capture_output=True, check=False).returncode
        ):
            return command
    return None


class Outcome:
    """What a disk was like after each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "project"

    def root(self, name: str) -> Path:
        return self.folder / "seen" / name / "project"

    def done(self, name: str) -> Done:
        seen = self.folder / "seen"
        code, out, err = (
            (seen / f"{name}.{kind}").read_text(errors="replace") for kind in ("code", "out", "err")
        )
        return Done(int(code), out, err)


def run_on(disk: Disk, folder: Path, *stages) -> Outcome:
    """Run a project on a disk of its own: ``hit`` as it is, ``later`` when it has room again."""
    outcome = Outcome(folder)
    outcome.place.mkdir(parents=True)
    (folder / "seen").mkdir()
    definitions = Project(folder)
    definitions.pipeline(*(stages or STAGES))
    given = {
        "ROOT": outcome.place,
        "SEEN": folder / "seen",
        "DEFINITIONS": folder / "codex.orchestrator.json",
        "PYTHON": sys.executable,
        "SIZE": SIZE_KIB,
        "INODES": disk.inodes,
        "PLENTY": PLENTY_INODES,
        "FREE": "" if disk.free_kib is None else disk.free_kib,
        "READONLY": "yes" if disk.read_only else "no",
        "PAST": "yes" if disk.past else "no",
        "MCP_RUNNER_TASK_ID": TASK,
    }
    environment = {**clean_environment(), **{name: str(value) for name, value in given.items()}}
    command = [*namespace(), "sh", "-c", SCRIPT]
    script = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert script.returncode == 0, script.stderr
    return outcome


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """The only run of a project on a disk with room."""
    if sys.platform != "linux" or namespace() is None:
        pytest.skip("no file system may be mounted here, not even in a namespace")
    outcome = run_on(Disk(), tmp_path_factory.mktemp("clean"))
    assert outcome.done("hit").exit_code == 0
    return outcome.root("hit")


def wrong_with(outcome: Outcome, clean: Path) -> list[str]:
    """What does not hold after the run that was hit, and after the one that had room again."""
    problems = truthful(outcome.root("hit"), clean, outcome.done("hit"), place=outcome.place)
    later = outcome.done("later")
    return problems + (settled(outcome.root("later")) if later.exit_code == 0 else [f"later: {later.stderr}"])


@pytest.mark.timeout(1_000)
def test_a_disk_that_is_full_at_any_point(clean, tmp_path, points):
    pages = [Disk(free_kib=PAGE_KIB * count) for count in range(MOST_PAGES + 1)]
    # One inode is the mount's own folder, one the definitions, one the filler's.
    inodes = [Disk(inodes=count) for count in range(3, MOST_INODES + 1)]

    codes = set()

    def full(disk: Disk) -> list[str]:
        outcome = run_on(disk, tmp_path / str(disk))
        codes.add(outcome.done("hit").exit_code)
        problems = wrong_with(outcome, clean)
        if not problems:
            shutil.rmtree(outcome.folder)
        return problems

    every = [*pages, *inodes]
    points.tried(points.of(every, every, SAMPLE), full)
    assert codes == {0, 1} or not points.whole, "from a disk with no room at all to one with enough"


def test_a_stage_that_fills_the_disk(clean, tmp_path):
    chatty = {**STAGES[0], "command": "yes 'this fills the disk' | head -c 5000000"}
    outcome = run_on(Disk(), tmp_path / "chatty", chatty, *STAGES[1:])
    hit = outcome.done("hit")
    assert hit.exit_code == 1
    assert "No space left on device" in hit.stderr
    assert wrong_with(outcome, clean) == []
    [run] = found_runs(outcome.root("hit"))
    assert run.manifest["status"] == "in_progress", "the last manifest that there was room for"


@pytest.mark.parametrize("past", [False, True])
def test_a_read_only_disk(clean, past, tmp_path):
    outcome = run_on(Disk(read_only=True, past=past), tmp_path / "read-only")
    hit = outcome.done("hit")
    assert hit.exit_code == 1
    assert "Read-only file system" in hit.stderr
    assert wrong_with(outcome, clean) == []
    assert len(list(found_runs(outcome.root("hit")))) == past, "what was there before is as it was"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [[], ["--format", "json"]])
def test_a_full_disk_below_standard_output_changes_nothing_of_the_run(project, options):
    project.pipeline(*STAGES)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "codex_orchestrator", "start", "--task", TASK, *options],
            cwd=project.root,
            env=project.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert settled(project.root) == []
    assert project.manifest(TASK)["status"] == "succeeded"
