"""A cluster of this machine, for the length of a session: a process of its own that ends with this one."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping

from codex_orchestrator.clock import Clock
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.guardian import Guardian
from codex_orchestrator.execution.process import StageProcess

# Workers are its children and in its process group. What is written to its errors is read and dropped.
_SCRIPT = """
import signal, sys
from distributed import LocalCluster
options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
with LocalCluster(n_workers=int(sys.argv[1]), **options) as cluster:
    print(cluster.scheduler_address, flush=True)
    signal.sigwait([signal.SIGTERM])
"""
_END_SECONDS = 5.0
_POLL_SECONDS = 0.02


class LocalCluster:
    """Starts it, and ends it.

    Attributes:
        address: Its scheduler's.
    """

    def __init__(self, workers: int, environ: Mapping[str, str], clock: Clock) -> None:
        """Wait until its workers are there.

        Raises:
            OrchestratorError: It does not start.
        """
        self._clock = clock
        self._guardian = Guardian()
        self._guardian.start("")
        words = [sys.executable, "-P", "-c", _SCRIPT, str(workers)]
        self._process = StageProcess(f"exec {shlex.join(words)}", cwd="/", environ=environ)
        self._guardian.watch(self._process.pid)
        pipes = self._process.take_pipes()
        self._said = b""
        reader = threading.Thread(target=self._drop, args=(pipes["stderr"].fileno(),), daemon=True)
        reader.start()
        self._pipes = pipes
        self.address = pipes["stdout"].readline().decode().strip()
        if not self.address:
            reader.join(_END_SECONDS)
            self.close()
            last = (self._said.decode("utf-8", "replace").strip().splitlines() or ["nothing was said"])[-1]
            raise OrchestratorError(f"A cluster could not be started here: {last}")

    def close(self) -> None:
        """End it."""
        self._process.signal_group(signal.SIGTERM)
        until = self._clock.monotonic() + _END_SECONDS
        while self._process.exit_status() is None and self._clock.monotonic() < until:
            self._clock.sleep(_POLL_SECONDS)
        if self._process.exit_status() is None:
            self._process.kill()
        self._process.close()
        self._guardian.dismiss()

    def _drop(self, descriptor: int) -> None:
        while data := os.read(descriptor, 4096):
            self._said = (self._said + data)[-4096:]
