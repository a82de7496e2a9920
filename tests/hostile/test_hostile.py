"""A stranger's repository harms nobody: whatever lies in it, whichever command is typed.

See README.md for what is checked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.environment import clean_environment

from .commands import COMMANDS
from .traps import CONTROLS, TRAPS
from .world import make_template

# As in tests/crash; asked before any test runs, as tests see no variables that steer us.
_ASKED = os.environ.get("FAULTS", "")
_SECONDS = os.environ.get("HOSTILE_SECONDS", "")
_SAMPLE = 6
_SHARES = 3
_REPOSITORY = Path(__file__).parents[2]
# Some traps would have all processes signalled that there are, so these are few and the suite's own; and were
# any command to follow a trap, all but the world is read-only, the machine's devices among it.
_ALONE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
_ALONE += () if os.geteuid() == 0 else ("--map-root-user",)
# The first process takes leave of those that others leave behind. In memory, all is three times as fast.
_FIRST = (
    "/bin/sh",
    "-c",
    """
    set -e
    mount -t tmpfs none "$0"
    mount --rbind /dev /dev
    mount -o remount,bind,ro /dev
    mount -o remount,bind,ro /
    set +e
    "$@"
    exit $?
    """,
)


def _why_not_here() -> str | None:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "needs Linux, and unshare"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*_ALONE, *_FIRST, folder, "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no processes and mounts of its own: {done.stderr.strip()}"


def _tried() -> list[str]:
    names = [name for name in TRAPS if name not in CONTROLS]
    if _ASKED == "all":
        return names
    if _ASKED:
        return [name for name in names if name == _ASKED]
    return [names[place * len(names) // _SAMPLE] for place in range(_SAMPLE)]


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A world without traps."""
    if reason := _why_not_here():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hostile")
    world = make_template(folder / "world")
    (folder / "runs.json").write_text(json.dumps(world.runs))
    return folder


def _harness(template: Path, work: Path, trap: str, *commands: str) -> dict[str, list[str]]:
    """By command, what was wrong."""
    done = subprocess.run(
        [
            *_ALONE,
            *_FIRST,
            work,
            sys.executable,
            "-m",
            "tests.hostile.harness",
            template,
            work,
            trap,
            *commands,
        ],
        cwd=_REPOSITORY,
        env={**clean_environment(), "HOSTILE_SECONDS": _SECONDS},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {line["command"]: line["found"] for line in map(json.loads, done.stdout.splitlines())}
    assert (done.returncode, list(found)) == (0, list(commands or COMMANDS)), (
        done.stdout[-2000:] + done.stderr[-4000:]
    )
    return found


def _is_named(trap: str, command: str) -> bool:
    """Whether a trap is a link that the command names: that one is followed (docs/reference/files.md)."""
    kind, _, place = trap.partition(": ")
    return kind in ("link", "absolute link") and place in command.split()


def test_a_repository_without_traps_is_left_in_peace(template, tmp_path):
    assert not any(_harness(template, tmp_path, "nothing").values())


def test_what_must_not_be_done_is_seen(template, tmp_path):
    """Stages may do all of that, as one chose to run them."""
    (found,) = _harness(template, tmp_path, "a stage that harms", "start p -q").values()
    for seen in (
        "opened outside: creds, new",
        "changed outside: changed ., changed .profile, changed docs, gone docs/thesis.txt, new new",
        "signalled another process: -15",
        "printed what is outside",
        "wrote what is outside: ",
    ):
        assert any(each.startswith(seen) for each in found), (seen, found)
    (found,) = _harness(template, tmp_path, "a stage that harms", "status --run latest").values()
    assert not found


@pytest.mark.parametrize("trap", _tried())
def test_a_trap_harms_nobody(template, tmp_path, trap):
    # Of the sample, three traps together see all commands.
    share = COMMANDS if _ASKED else COMMANDS[_tried().index(trap) % _SHARES :: _SHARES]
    found = _harness(template, tmp_path, trap, *share)
    wrong = [
        f"{command}: {what}"
        for command, problems in found.items()
        for what in problems
        if not (_is_named(trap, command) and what.startswith("opened outside: "))
    ]
    assert not wrong, "\n".join(wrong)
