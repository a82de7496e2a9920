"""Dask clusters for tests: a scheduler and workers, each started from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from .environment import clean_environment
from .processes import children_of, until

needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")

_QUIET = ("--no-dashboard",)


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path, workers: int = 2, *, threads: int = 2, resources: str = "") -> None:
        self.folder = folder
        self.environment = {
            **clean_environment(),
            "DASK_TEMPORARY_DIRECTORY": str(folder),
        }
        self._threads, self._resources = threads, resources
        file = folder / "scheduler.json"
        where = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        self.scheduler = self._begin("scheduler", *where, "--no-show")
        self.workers: dict[str, subprocess.Popen] = {}
        told = until(lambda: file.exists() and file.read_text(), "a scheduler")
        self.address = json.loads(told)["address"]
        for number in range(1, workers + 1):
            self.add(f"w{number}")
        log = folder / "log"
        until(lambda: log.read_text().count("Registered to") == workers, "workers")

    def add(self, name: str, *words: str) -> subprocess.Popen:
        """Start a worker."""
        how = ("--nthreads", str(self._threads), "--no-nanny", "--name", name)
        more = ("--resources", self._resources) if self._resources else ()
        self.workers[name] = self._begin("worker", self.address, *how, *more, *words)
        return self.workers[name]

    def runners(self) -> list[int]:
        """The processes beside workers that execute commands."""
        found = [child for worker in self.workers.values() for child in children_of(worker.pid)]
        return [pid for pid in found if b"cloud.runner" in _command_of(pid)]

    def close(self) -> None:
        """End all of it."""
        for process in (*self.workers.values(), self.scheduler):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def _begin(self, what: str, *words: str) -> subprocess.Popen:
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *words, *_QUIET],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(process: subprocess.Popen) -> None:
    """End a process as the kernel does when memory is short."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
