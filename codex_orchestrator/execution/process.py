"""The only place that starts processes.

A stage's shell runs in a session of its own, so that its whole process group can be signalled.
Where the kernel has process file descriptors (Linux), a stage's end is an event; elsewhere it is
polled for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from codex_orchestrator import named
from codex_orchestrator.clock import Clock
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import OrchestratorError, ToolMissing
from codex_orchestrator.execution.leftovers import end_left
from codex_orchestrator.execution.limits import excess

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_SHELL = "/bin/sh"
_FAREWELL_SECONDS = 1.0
_POLL_SECONDS = 0.1
# Where the kernel does not say it, as macOS; no pipe holds more there.
_PIPE_BYTES = 65_536


@dataclass(frozen=True)
class ToolResult:
    """What a program that we use ourselves (git, say) answered."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class SpawnError(Exception):
    """A stage's shell could not be started; ``exit_code`` is 127 or 126."""

    def __init__(self, exit_code: int, cause: str) -> None:
        super().__init__(cause)
        self.exit_code = exit_code
        # A file name may hold bytes that are no text, which no artefact can.
        self.cause = cause.encode("utf-8", "replace").decode()


def run_tool(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_seconds: float,
    given: bytes = b"",
) -> ToolResult:
    """Run a program to its end, give it something to read if need be, and take all it says.

    It is looked for in the absolute folders of PATH: what ``.`` or ``bin`` stand for depends on where one is,
    and that may be anybody's.

    Raises:
        ToolMissing: The program is not installed.
        OrchestratorError: It did not end in time, or could not be started.
    """
    folders = filter(os.path.isabs, environ.get("PATH", os.defpath).split(os.pathsep))
    path = os.pathsep.join(folders)
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise ToolMissing(argv[0])
    try:
        done = subprocess.run(
            list(argv),
            executable=program,
            cwd=cwd,
            env={**environ, "PATH": path},
            input=given,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        if named.kind(cwd) != "folder":
            raise OrchestratorError(f"{cwd} is not a folder.") from error
        raise ToolMissing(argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise OrchestratorError(f"{argv[0]} did not end within {timeout_seconds:g} s.") from error
    except OSError as error:
        raise OrchestratorError(f"{argv[0]} could not be started: {error}") from error
    return ToolResult(done.returncode, done.stdout, done.stderr)


def run_with_input(
    command: str,
    *,
    cwd: Path,
    environ: Mapping[str, str],
    text: bytes,
    stdout: int | None,
    stderr: int | None,
    timeout_seconds: float,
    clock: Clock,
    stopped: Callable[[], bool],
) -> int:
    """Run a shell command that reads from us and prints for itself; its exit code, 128 and more for a signal.

    It is in a session of its own, so that all that it started is ended with it when we stop waiting.

    Args:
        command: The command line.
        cwd: Where it runs.
        environ: Its environment.
        text: What it is given on standard input; it need not read it.
        stdout: The descriptor that it prints to, or None for our own standard output.
        stderr: The same for its errors.
        timeout_seconds: How long it may take.
        clock: Measures that.
        stopped: Whether it is to be ended; asked several times a second. No signal handler may raise, as one
            that did while the command starts would leave it behind.

    Raises:
        OrchestratorError: It did not end in time and was ended, or could not be started.
    """
    try:
        popen = subprocess.Popen(
            [_SHELL, "-c", encoded(command)],
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise OrchestratorError(f"{command} could not be started: {error}") from error
    deadline = clock.monotonic() + timeout_seconds
    given: bytes | None = text
    try:
        while not stopped():
            try:
                popen.communicate(given, timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired as error:
                given = None  # What is left of it is remembered.
                if clock.monotonic() >= deadline:
                    raise OrchestratorError(f"{command} did not end within {timeout_seconds:g} s.") from error
    finally:
        _end_group(popen, clock)
    code = popen.returncode
    return code if code >= 0 else 128 - code


def _end_group(popen: subprocess.Popen[bytes], clock: Clock) -> None:
    """End a process that was not waited for to its end, with its whole group."""
    if popen.returncode is not None:
        return
    try:
        end_left("", {popen.pid}, clock=clock)
    finally:
        # The number is the group's as long as anything of it is left, also without its leader.
        _signal_group(popen.pid, signal.SIGKILL)
        popen.wait()


def _name_of(path: object) -> str:
    """A path that the system has named in an error, as it was given or as text."""
    return path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path)


def _signal_group(group: int, number: int) -> None:
    if group <= 1:
        raise ValueError(f"{group} is no process group of a stage")
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def encoded(text: str) -> bytes:
    """A text as a process gets it: UTF-8, as definition files are; lone surrogates stand for other bytes."""
    return text.encode("utf-8", "surrogateescape")


def encoded_environment(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    """The same of a whole environment."""
    return {encoded(name): encoded(value) for name, value in environ.items()}


class StageProcess:
    """One running shell command: its pipes, its end, and signals to its group."""

    def __init__(self, command: str, *, cwd: str, environ: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            SpawnError: The folder or the shell is missing, or the kernel refuses.
        """
        line, variables = encoded(command), encoded_environment(environ)
        try:
            self._popen = subprocess.Popen(
                [_SHELL, "-c", line],
                cwd=encoded(cwd),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
            about = excess(line, variables) if error.errno == errno.E2BIG else _name_of(error.filename)
            raise SpawnError(code, f"{error.strerror}: {about}") from error
        except ValueError as error:
            raise SpawnError(NOT_EXECUTABLE, str(error)) from error
        self.pid = self._popen.pid
        self.pidfd = _open_pidfd(self.pid)

    def take_pipes(self) -> dict[Literal["stdout", "stderr"], IO[bytes]]:
        """The read ends of its pipes by name, which are the caller's to close."""
        pipes = {"stdout": self._popen.stdout, "stderr": self._popen.stderr}
        return {name: pipe for name, pipe in pipes.items() if pipe is not None}  # type: ignore[misc]

    def exit_status(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it, or None while it runs."""
        return self._popen.poll()

    def signal_group(self, number: int) -> None:
        """Signal the whole process group; only valid before `exit_status` has returned a code."""
        _signal_group(self.pid, number)

    def kill(self) -> None:
        """End the whole process group at once, and take the shell's status."""
        self.signal_group(signal.SIGKILL)
        self._popen.wait()

    def close(self) -> None:
        """Give up the descriptor of the process."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


class Listener:
    """A shell script of ours that reads lines from us, and has nothing else of this process.

    It is in a session of its own, without our environment, folder and terminal.
    """

    def __init__(self, script: str, arguments: Sequence[str]) -> None:
        """Start it.

        Args:
            script: Its text, for any POSIX shell.
            arguments: ``$0``, ``$1``, …

        Raises:
            OSError: The shell is missing, or the kernel refuses.
        """
        self._popen = subprocess.Popen(
            [_SHELL, "-c", script, *arguments],
            cwd="/",
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        if self._popen.stdin is not None:
            # One that does not read must not keep us waiting.
            os.set_blocking(self._popen.stdin.fileno(), False)

    def tell(self, line: str) -> None:
        """Write a line, at most PIPE_BUF long.

        Raises:
            OSError: It is gone, or does not read any more.
        """
        if self._popen.stdin is not None:
            os.write(self._popen.stdin.fileno(), f"{line}\n".encode())

    def close(self) -> None:
        """End its input and wait for it; where it does not end, end it."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        try:
            self._popen.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def signal_if(pid: int, number: int, is_meant: Callable[[], bool]) -> bool:
    """Send a signal to a process, if it is the one that is meant; whether it was sent.

    Args:
        pid: Its id. Neither this process, nor the machine's first, nor what stands for many is signalled.
        number: The signal.
        is_meant: Asked once the process is held on to, so that an id that was given to another one meanwhile
            does no harm.

    Raises:
        PermissionError: It is another user's.
    """
    if pid <= 1 or pid == os.getpid():
        return False
    descriptor = _open_pidfd(pid)
    try:
        if not is_meant():
            return False
        if descriptor is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def pipe_bytes(descriptor: int) -> int:
    """How many bytes a pipe holds at most."""
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) if sys.platform == "linux" else _PIPE_BYTES


def _open_pidfd(pid: int) -> int | None:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        descriptor: int = opener(pid)
    except OSError:
        return None  # An old kernel or a sandbox: polled instead.
    return descriptor
