"""What stages leave running: found through ``/proc``, and ended.

A process is a run's where the run's mark stands in its environment, or where it is in the process
group or the session of one of the run's stages (docs/reference/event-logs.md, "Processes").
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import PREFIX
from codex_orchestrator.execution.signals import Escalation
from codex_orchestrator.text import cut

# Of what was ended, so many processes are named, by so many characters of their command lines.
_NAMED = 5
_COMMAND_LENGTH = 80
_RUN_DIR = f"{PREFIX}RUN_DIR".encode()
# A secret may begin in what is shown and end far behind it: it must be known whole to be found.
_COMMAND_BYTES = 1 << 20
_POLL_SECONDS = 0.02
_GRACE_SECONDS = 1.0
# A run has to end its stage first, which takes five seconds where that one ignores the signal.
_EXTENSIONS = 9
_KILL_SECONDS = 2.0
_QUIET_LOOKS = 2


@dataclass(frozen=True)
class LeftProcess:
    """A process that a stage left behind.

    Attributes:
        pid: Its id; minus a process group's where single processes cannot be seen, as `os.kill` takes it.
        command: Its command line as it is, which is anything; empty for others than the first few.
    """

    pid: int
    command: str


def find_left(mark: str, groups: Collection[int] = (), folder: Path | None = None) -> list[LeftProcess]:
    """A run's live processes.

    Args:
        mark: ``NAME=value`` in the environment of its stages, or several with a NUL between them; empty
            where groups alone count.
        groups: The process groups of its stages; each is a session too.
        folder: The run's folder, where a mark may be that of several runs: a copy of a run has its id.
    """
    groups = {group for group in groups if group > 1 and group != os.getpgrp()}
    entries = _proc_entries()
    if not entries:
        return [LeftProcess(-group, f"process group {group}") for group in groups if has_members(group)]
    # Whoever resumes a run may have its mark too, from the shell or the agent that it was called by.
    ours = _this_line()
    left = [
        entry
        for entry in entries
        if entry not in ours
        and ((mark and _has_mark(entry, mark.encode(), folder)) or (groups and _is_member(entry, groups)))
    ]
    return [
        LeftProcess(int(entry), _command(entry) if place < _NAMED else "") for place, entry in enumerate(left)
    ]


def named(left: Sequence[LeftProcess], line: Callable[[str], str]) -> str:
    """What was ended, in a few words on one line: the first ones, and how many there were besides.

    Args:
        left: The processes.
        line: Makes a command line one that may be recorded; only then is it cut.
    """
    first = [f"{cut(line(each.command), _COMMAND_LENGTH)} (pid {each.pid})" for each in left[:_NAMED]]
    more = len(left) - len(first)
    return f"{', '.join(first)} and {more} more" if more else ", ".join(first)


def has_members(group: int) -> bool:
    """Whether a process group of ours has processes; while it has, its id is given to no other."""
    if group <= 1:
        return False  # To the kernel these are our own, the machine's, and all that there is.
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_left(processes: Iterable[LeftProcess], number: int) -> None:
    """Send a signal to each that still lives."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def end_left(
    mark: str,
    groups: Collection[int] = (),
    *,
    clock: Clock,
    patient: Collection[int] = (),
    folder: Path | None = None,
) -> list[LeftProcess]:
    """End what `find_left` finds: TERM, a second of grace, then KILL; the answer is what there was to end.

    Args:
        mark: ``NAME=value``, in the environment of a run's stages.
        groups: The process groups of its stages.
        clock: Measures the grace.
        patient: The ids of processes that end others when they get TERM; while one of these is left,
            the grace is ten seconds.
        folder: The run's folder, as `find_left` takes it.
    """
    left = find_left(mark, groups, folder)
    signal_left(left, signal.SIGTERM)
    rest, escalation = left, Escalation(_GRACE_SECONDS, extensions=_EXTENSIONS)
    escalation.begin(clock.monotonic())
    while rest:
        enders = [process for process in rest if process.pid in patient]
        if escalation.kills(clock.monotonic(), needs_longer=bool(enders)):
            kill_left(mark, groups, folder, clock=clock)
            break
        clock.sleep(_POLL_SECONDS)
        rest = find_left(mark, groups, folder)
    return left


def kill_left(mark: str, groups: Collection[int] = (), folder: Path | None = None, *, clock: Clock) -> None:
    """Kill what `find_left` finds until it finds nothing any more, for two seconds at most.

    Once is not enough: a process may have started another since the look, and one that is caught
    between fork and exec still shows the environment of its parent.
    """
    quiet, until = 0, clock.monotonic() + _KILL_SECONDS
    while clock.monotonic() < until:
        left = find_left(mark, groups, folder)
        signal_left(left, signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        if quiet == _QUIET_LOOKS:
            return
        clock.sleep(_POLL_SECONDS)


def _proc_entries() -> list[str]:
    try:
        return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    except OSError:
        return []


def _this_line() -> set[str]:
    """This process and those that it descends from."""
    line: set[str] = set()
    entry = str(os.getpid())
    while entry not in line and entry != "0":
        line.add(entry)
        fields = _read(entry, "stat").rpartition(b")")[2].split()
        entry = fields[1].decode() if fields else "0"
    return line


def _has_mark(entry: str, mark: bytes, folder: Path | None) -> bool:
    variables = _read(entry, "environ").split(b"\0")
    if not set(mark.split(b"\0")) <= set(variables):
        return False
    return folder is None or not any(_is_elsewhere(variable, folder) for variable in variables)


def _is_elsewhere(variable: bytes, folder: Path) -> bool:
    """Whether a variable of a stage's names the folder of its run, and that is there and another one."""
    name, _, place = variable.partition(b"=")
    if name != _RUN_DIR:
        return False
    try:
        return not os.path.samestat(Path(os.fsdecode(place)).stat(), folder.stat())
    except (OSError, ValueError):
        return False  # The run was moved since, with all that is around it.


def _is_member(entry: str, groups: Collection[int]) -> bool:
    """Whether a process, and no zombie, is in one of these groups or sessions."""
    # The command in parentheses may hold anything, so count fields from its end.
    fields = _read(entry, "stat").rpartition(b")")[2].split()
    return bool(fields) and fields[0] not in b"ZX" and (int(fields[2]) in groups or int(fields[3]) in groups)


def _command(entry: str) -> str:
    return _read(entry, "cmdline")[:_COMMAND_BYTES].replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _read(entry: str, name: str) -> bytes:
    try:
        return Path(f"/proc/{entry}/{name}").read_bytes()
    except OSError:
        return b""  # Ended meanwhile, or another user's, who keeps it from us.
