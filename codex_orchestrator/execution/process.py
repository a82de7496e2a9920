"""The only place that starts processes.

A stage's shell runs in a session of its own, so that its whole process group can be signalled.
Where the kernel has process file descriptors (Linux), a stage's end is an event; elsewhere it is
polled for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codex_orchestrator.errors import OrchestratorError, ToolMissing

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_SHELL = "/bin/sh"
_COMMAND_LENGTH = 80
_GRACE_POLLS = 50
_GRACE_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ToolResult:
    """What a program that we use ourselves (git, say) answered."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class LeftProcess:
    """A process that a stage left behind."""

    pid: int
    command: str


class SpawnError(Exception):
    """A stage's shell could not be started; ``exit_code`` is 127 or 126."""

    def __init__(self, exit_code: int, cause: str) -> None:
        super().__init__(cause)
        self.exit_code = exit_code
        # A file name may hold bytes that are no text, which no artefact can.
        self.cause = cause.encode("utf-8", "replace").decode()


def run_tool(
    argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str], timeout_seconds: float
) -> ToolResult:
    """Run a program to its end and take all it says.

    Raises:
        ToolMissing: The program is not installed.
        OrchestratorError: It did not end in time, or could not be started.
    """
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        if not cwd.is_dir():
            raise OrchestratorError(f"{cwd} is not a folder.") from error
        raise ToolMissing(argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise OrchestratorError(f"{argv[0]} did not end within {timeout_seconds:g} s.") from error
    except OSError as error:
        raise OrchestratorError(f"{argv[0]} could not be started: {error}") from error
    return ToolResult(done.returncode, done.stdout, done.stderr)


class StageProcess:
    """One running shell command: its pipes, its end, and signals to its group."""

    def __init__(self, command: str, *, cwd: str, environ: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            SpawnError: The folder or the shell is missing, or the kernel refuses.
        """
        try:
            self._popen = subprocess.Popen(
                [_SHELL, "-c", command],
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise SpawnError(NOT_FOUND, f"{error.strerror}: {error.filename}") from error
        except (OSError, ValueError) as error:
            raise SpawnError(NOT_EXECUTABLE, str(error)) from error
        self.pid = self._popen.pid
        self.pidfd = _open_pidfd(self.pid)

    def streams(self) -> dict[str, int]:
        """The read ends of its pipes by name."""
        pipes = {"stdout": self._popen.stdout, "stderr": self._popen.stderr}
        return {name: pipe.fileno() for name, pipe in pipes.items() if pipe is not None}

    def exit_status(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it, or None while it runs."""
        return self._popen.poll()

    def signal_group(self, number: int) -> None:
        """Signal the whole process group; only valid before `exit_status` has returned a code."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End the whole process group at once, and take the shell's status."""
        self.signal_group(signal.SIGKILL)
        self._popen.wait()

    def close(self) -> None:
        """Close our ends of the pipes; a daemon that still holds the others is on its own."""
        for pipe in (self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; ``SIG64`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def marked_processes(name: str, value: str) -> list[LeftProcess]:
    """Live processes whose environment has ``name=value``; empty where there is no ``/proc``."""
    mark = f"{name}={value}".encode()
    found = []
    for entry in _proc_entries():
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes()
            if mark in environ.split(b"\0"):
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                found.append(LeftProcess(int(entry), _readable(words)))
        except OSError:
            continue  # Ended meanwhile, or another user's: neither is ours to end.
    return found


def end_processes(processes: Iterable[LeftProcess], number: int) -> None:
    """Send a signal to each that still lives."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def end_marked(name: str, value: str) -> list[LeftProcess]:
    """End `marked_processes`: TERM, a short grace, then KILL; the answer is what there was to end."""
    left = marked_processes(name, value)
    end_processes(left, signal.SIGTERM)
    rest, pause = left, threading.Event()
    for _ in range(_GRACE_POLLS):
        if not rest:
            return left
        pause.wait(_GRACE_POLL_SECONDS)
        rest = marked_processes(name, value)
    end_processes(rest, signal.SIGKILL)
    return left


def _proc_entries() -> list[str]:
    try:
        return [entry for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return []


def _readable(words: list[bytes]) -> str:
    text = b" ".join(words).decode("utf-8", "replace").strip()
    return text if len(text) <= _COMMAND_LENGTH else f"{text[:_COMMAND_LENGTH]}…"


def _open_pidfd(pid: int) -> int | None:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        descriptor: int = opener(pid)
    except OSError:
        return None  # An old kernel or a sandbox: polled instead.
    return descriptor
