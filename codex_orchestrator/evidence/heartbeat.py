"""HeartbeatWriter: a beat every five seconds for as long as the run lives."""

from __future__ import annotations

import threading

from codex_orchestrator.evidence.coordinator import PersistenceCoordinator
from codex_orchestrator.model.manifest import HEARTBEAT_SECONDS


class HeartbeatWriter:
    """A thread that beats, one write at a time, by the monotonic clock."""

    def __init__(
        self, coordinator: PersistenceCoordinator, interval_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._coordinator = coordinator
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codex-heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once at once, then every interval."""
        self._coordinator.beat()
        self._thread.start()

    def stop(self, *, alone: bool = False) -> None:
        """Wait for a write under way and beat a last time (``alone``: the heartbeat file only), once."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        # First, because it speaks up where a write under way takes too long; join would wait in silence.
        self._coordinator.beat(alone=alone)
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._coordinator.beat()
