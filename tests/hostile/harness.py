"""Tries commands on traps, each in a world of its own and as a process of its own.

    python -m tests.hostile.harness TEMPLATE WORK TRAP [COMMAND…]

It prints what was wrong, one JSON object for each command. Everything that commands import is imported
once; each command is a fork of that.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pydantic  # noqa: F401 (the forks have it)

import pytest_codex.takeover  # noqa: F401
from codex_orchestrator.cli import main

from .commands import CODES, COMMANDS, READERS
from .traps import TRAPS
from .world import CANARY, Watch, World, betrayed, differences, environment_of, listing

# A safety net, no promise: how long a command takes is not measured here.
SECONDS = float(os.environ.get("HOSTILE_SECONDS") or 20)
_NAMED = 8
_MEMORY = 2**30
_FILE = 200 * 2**20
_TRACEBACKS = ("Traceback (most recent call last)", "INTERNALERROR")


def try_commands(template: World, work: Path, trap: str, commands: Sequence[str]) -> Iterator[list[str]]:
    """Lay a trap and run commands in it, in a world of its own where the one before may have changed it.

    For each command, what was done that must not be.
    """
    victim = subprocess.Popen(["sleep", "1000"])
    world = World(work / "world", template.runs, victim.pid)
    fresh = False
    try:
        for command in commands:
            if not fresh or command not in READERS:
                shutil.rmtree(world.folder, ignore_errors=True)
                shutil.copytree(template.folder, world.folder, symlinks=True)
                TRAPS[trap](world)
            found = _try(world, work, shlex.split(command.format(**template.runs)))
            if victim.poll() is not None:
                found.append(f"signalled another process: {victim.returncode}")
                victim = subprocess.Popen(["sleep", "1000"])
                world = replace(world, victim=victim.pid)
            fresh = command in READERS and not found
            yield found
    finally:
        victim.kill()
        victim.wait()


def _try(world: World, work: Path, words: list[str]) -> list[str]:
    """Run a command; what it did to what is outside, and how it should not have ended."""
    before = listing(world.home)
    beside = set(world.folder.iterdir())
    watch = Watch(world.home)
    code, text = _run(world, work, words)
    opened = watch.opened()
    changed = differences(before, listing(world.home))
    changed += [f"new {path.name}" for path in world.folder.iterdir() if path not in beside]
    found = [f"opened outside: {_brief(opened)}"] if opened else []
    found += [f"changed outside: {_brief(changed)}"] if changed else []
    if code is None:
        found.append(f"did not end in {SECONDS:g} s")
    elif code not in CODES:
        found.append(f"ended with {code}")
    found += [f"printed a {word}: …{text[text.rfind(word) :][-500:]}" for word in _TRACEBACKS if word in text]
    if CANARY in text:
        found.append("printed what is outside")
    stolen = betrayed(world.repo)
    return found + ([f"wrote what is outside: {_brief(stolen)}"] if stolen else [])


def _brief(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _run(world: World, work: Path, words: list[str]) -> tuple[int | None, str]:
    """Run a command in a fork: its exit code, None where it did not end, and all that it printed."""
    output = work / "output"
    pid = os.fork()
    if pid == 0:
        _become(world, output, words)
    descriptor = os.pidfd_open(pid)
    ended, _, _ = select.select([descriptor], [], [], SECONDS)
    os.close(descriptor)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status) if ended else None
    return code, output.read_text("utf-8", "replace")


def _become(world: World, output: Path, words: list[str]) -> None:
    """Be the command, and never come back."""
    code = 99
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
            os.dup2(source, target)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
        os.chdir(world.repo)
        variables = environment_of(world.folder)
        os.environ.clear()
        os.environ.update(variables)
        code = main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - it is what the command ends with, and shown
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _try_all(template: World, work: Path, trap: str, commands: list[str]) -> None:
    for command, found in zip(commands, try_commands(template, work, trap, commands), strict=True):
        sys.stdout.write(json.dumps({"command": command, "found": found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    folder, work, trap, *commands = sys.argv[1:]
    # A signal to all processes must not end the one that tells of it; what it starts does not inherit that.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    runs = json.loads((Path(folder) / "runs.json").read_text())
    _try_all(World(Path(folder) / "world", runs), Path(work), trap, commands or COMMANDS)
