"""Starts one measured process through ``launcher.py`` and reads its figures."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figures import Sample

_LAUNCHER = Path(__file__).with_name("launcher.py")
_TIMEOUT_SECONDS = 300.0
_SHOWN_STDERR_CHARACTERS = 4000
_IMPORTS = 5


class CommandFailedError(Exception):
    """A measured command failed or did not do its work; the text shows command, reason and stderr."""


def run_measured(
    command: Sequence[str], environment: Mapping[str, str], project: Path, outputs: Path
) -> Sample:
    """One whole process in ``project``, its output in ``outputs`` as files ``stdout`` and ``stderr``.

    Raises CommandFailedError for an exit code other than 0 and after five minutes.
    """
    launcher = (sys.executable, "-I", "-S", str(_LAUNCHER), str(outputs / "stdout"), str(outputs / "stderr"))
    with subprocess.Popen(
        (*launcher, *command),
        env=environment,
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            answer, _ = process.communicate(timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise failure(command, f"not finished after {_TIMEOUT_SECONDS:.0f} s", outputs) from None
        finally:
            if process.returncode is None:
                # Not the launcher alone: an interrupted benchmark leaves no measured process behind.
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise failure(command, "the launcher could not start it", outputs)
    wall, exit_code, peak = answer.split()
    if exit_code != "0":
        raise failure(command, f"exit code {exit_code}", outputs)
    return Sample(float(wall), int(peak))


def peak_floor(folder: Path) -> int:
    """Peak memory in bytes that this method reports for ``true``: no smaller peak can be told apart."""
    program = shutil.which("true") or "/bin/true"
    return run_measured(
        (program,), {"PATH": os.environ.get("PATH", os.defpath)}, folder, folder
    ).peak_memory_bytes


def import_seconds(environment: Mapping[str, str], folder: Path) -> float:
    """The median time of a process that imports pytest: how fast this machine is just now."""
    command = (sys.executable, "-c", "import pytest")
    samples = [run_measured(command, environment, folder, folder) for _ in range(_IMPORTS)]
    return statistics.median(sample.wall_seconds for sample in samples)


def failure(command: Sequence[str], reason: str, outputs: Path) -> CommandFailedError:
    """The error for a ``command`` whose output lies in ``outputs``, with the end of its stderr."""
    stderr = outputs / "stderr"
    text = stderr.read_text(encoding="utf-8", errors="replace").strip() if stderr.exists() else ""
    shown = text[-_SHOWN_STDERR_CHARACTERS:] or "(empty)"
    return CommandFailedError(f"{' '.join(command)}\n{reason}; its stderr:\n{shown}")
