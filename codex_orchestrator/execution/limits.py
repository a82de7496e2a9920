"""What the system has room for: files open at once, and the bytes that a process is given.

The limit on files (docs/reference/configuration.md, "Stages at once") is raised as far as a session needs it
and no further: what it starts inherits it, and there are programs that take long, or go wrong, where it is
very high.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from contextlib import suppress

# What a session has open besides, generously: its own files, those of plugins, what is opened for a moment.
_OWN = 64
# Two pipes, what waits for them and for cancellation, a log; and what starting a process takes for a moment.
_PER_COMMAND = 12
# Two logs, a lock, a guardian.
_PER_RUN = 6
# What xdist talks through.
_PER_WORKER = 4


def needed(*, commands: int, runs: int = 1, workers: int = 0) -> int:
    """How many files are open at most while so much goes on at once."""
    return _OWN + commands * _PER_COMMAND + runs * _PER_RUN + workers * _PER_WORKER


def most_commands() -> int:
    """How many commands at once there is room for, at least one."""
    return max(1, (_highest() - needed(commands=0)) // _PER_COMMAND)


def has_room_above(descriptor: int) -> bool:
    """Whether there is room for a command's files above those that are open, the highest of which this is.

    The limit is raised for it, where that can be.
    """
    wanted = descriptor + needed(commands=1)
    return make_room(wanted) >= wanted


def make_room(wanted: int) -> int:
    """Have so many files allowed, where that can be; the answer is how many are allowed then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = min(wanted, _highest())
    if _as_number(soft) < raised:
        # A system may have a limit of its own, below what it says.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return _as_number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _highest() -> int:
    return _as_number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _as_number(limit: int) -> int:
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit


def excess(command: bytes, environ: Mapping[bytes, bytes]) -> str:
    """What of it is too long for the kernel, which has refused it and says no more than that.

    Args:
        command: The command line.
        environ: The environment.
    """
    # Linux takes so much in one piece, with the NUL at its end; other systems go by the whole alone.
    most = 32 * resource.getpagesize() - 1
    if len(command) > most:
        return f"the command has {len(command)} bytes, and {most} are taken"
    sizes = {name: len(name) + 1 + len(value) for name, value in environ.items()}
    largest = max(sizes, key=lambda name: sizes[name], default=b"")
    shown = largest.decode("utf-8", "replace")
    if sizes.get(largest, 0) > most:
        return f"the variable {shown} has {sizes[largest]} bytes with its name, and {most} are taken"
    together = len(command) + sum(sizes.values())
    return f"command and variables have {together} bytes together, {sizes.get(largest, 0)} of them in {shown}"
