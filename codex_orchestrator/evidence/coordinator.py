"""PersistenceCoordinator: the one path of every manifest and heartbeat write.

It always holds the newest manifest. `save` puts it on disk at once; `note` leaves that to the thread
that beats, a moment later and for all that was noted meanwhile; a heartbeat alone rewrites it at most
every 30 s (docs/reference/files.md, "Paths").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from codex_orchestrator import places
from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.locks import held_lock
from codex_orchestrator.evidence.manifests import read_document, stored_manifest
from codex_orchestrator.model.codec import dumps, to_json
from codex_orchestrator.model.manifest import HEARTBEAT_SECONDS, Approval, ChildRun, Manifest
from codex_orchestrator.model.manifest_encoder import ManifestEncoder
from codex_orchestrator.rules import recorder
from codex_orchestrator.rules.layout import RunLayout

_MANIFEST_HEARTBEAT_SECONDS = 30.0
_SLOW_SECONDS = 10.0
# A manifest on disk is at most 100 ms behind, of which this is spent waiting for more to write.
_COALESCING_SECONDS = 0.08
# Before the second and the third attempt to write.
_RETRY_SECONDS = (0.05, 0.2)


class PersistenceCoordinator:
    """The single writer of one run's manifest and heartbeat; safe to call from two threads.

    Attributes:
        news: Set while a manifest waits to be written.
        refused: Whether the disk refused the last attempt to write the manifest.
        warnings: What went wrong and was made good, and what took too long.
    """

    def __init__(
        self,
        layout: RunLayout,
        clock: Clock,
        *,
        notify: Callable[[str], None] = lambda _: None,
        slow_seconds: float = _SLOW_SECONDS,
    ) -> None:
        """Nothing is touched yet.

        Args:
            layout: The run.
            clock: Time.
            notify: Told at once when a write takes too long.
            slow_seconds: How long that is.
        """
        self._layout = layout
        self._clock = clock
        self._notify = notify
        self._slow_seconds = slow_seconds
        self._encoder = ManifestEncoder()
        self._guard = threading.Lock()
        self._manifest: Manifest | None = None
        self.news = threading.Event()
        self.refused = False
        self._beat_at: str | None = None
        self._written_at = 0.0
        self._begun_at: float | None = None
        self.manifest_writes = 0
        self.heartbeat_writes = 0
        self.heartbeat_failures = 0
        self.warnings: dict[str, None] = {}

    def save(self, manifest: Manifest) -> None:
        """Put the manifest on disk before returning.

        Raises:
            StorageError: It could not be written, also after trying again.
        """
        with self._turn():
            self._manifest = manifest
            self._write_with_retries()

    def note(self, manifest: Manifest) -> None:
        """Keep the manifest for the next write. It waits for no disk."""
        self._manifest = manifest
        self.news.set()

    def may_wait(self, log_is_durable: Callable[[], bool]) -> bool:
        """Whether a manifest may be noted instead of saved, as the log has all of it.

        Args:
            log_is_durable: Waits until the disk has the log; whether it lacks nothing.
        """
        with self._turn():
            return log_is_durable() and not self.refused

    def write_noted(self) -> None:
        """Put the manifest that was noted last on disk."""
        with self._turn():
            if self.news.is_set():
                with suppress(StorageError):  # Kept as ``refused``, and tried again with the next one.
                    self._write_with_retries()

    def beat(self, *, alone: bool = False) -> None:
        """Write the heartbeat and, unless ``alone``, a manifest that is due; failures are counted only."""
        with self._turn():
            moment = timestamp(self._clock.now())
            try:
                files.replace(
                    self._layout.heartbeat,
                    f"{moment}\n".encode(),
                    below=self._layout.base,
                    durable=False,
                )
                self._beat_at = moment
                self.heartbeat_writes += 1
                due = self._clock.monotonic() - self._written_at >= _MANIFEST_HEARTBEAT_SECONDS
                if not alone and self._manifest is not None and (self.news.is_set() or self.refused or due):
                    self._write()
            except StorageError:
                self.heartbeat_failures += 1

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Write alone. A disk that hangs is waited for, as nothing may be lost, but not in silence."""
        if not self._guard.acquire(timeout=self._patience()):
            self._warn_of_slowness()
            self._guard.acquire()
        begun_at = self._begun_at = self._clock.monotonic()
        try:
            yield
        finally:
            if self._clock.monotonic() - begun_at > self._slow_seconds:
                self._warn_of_slowness()
            self._begun_at = None
            self._guard.release()

    def _patience(self) -> float:
        """How much longer whoever writes now may take."""
        begun_at = self._begun_at
        elapsed = 0.0 if begun_at is None else self._clock.monotonic() - begun_at
        return max(0.0, self._slow_seconds - elapsed)

    def _warn_of_slowness(self) -> None:
        warning = f"The disk takes longer than {self._slow_seconds:g} s to write in {self._layout.folder}."
        if warning not in self.warnings:
            self.warnings[warning] = None
            self._notify(warning)

    def _write_with_retries(self) -> None:
        failure: StorageError | None = None
        for delay in (*_RETRY_SECONDS, None):
            try:
                self._write()
                break
            except StorageError as error:
                if delay is None:
                    raise
                failure = error
                self._clock.sleep(delay)
        if failure is not None:
            self.warnings[f"Written at a later attempt: {failure.message}"] = None

    def _write(self) -> None:
        # First, as one that is noted from here on is not the one that is written.
        self.news.clear()
        manifest = self._manifest
        if manifest is None:
            return
        if self._beat_at is not None:
            manifest = recorder.beat(manifest, self._beat_at)
        self.refused = True
        files.replace(self._layout.manifest, self._encoder.encode(manifest), below=self._layout.base)
        self.refused = False
        self._written_at = self._clock.monotonic()
        self.manifest_writes += 1


class HeartbeatWriter:
    """The thread that beats every five seconds and writes what is noted, for as long as the run lives."""

    def __init__(
        self,
        coordinator: PersistenceCoordinator,
        clock: Clock,
        interval_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._coordinator = coordinator
        self._clock = clock
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codex-heartbeat", daemon=True)

    def start(self) -> None:
        """Beat now, then at every interval."""
        self._coordinator.beat()
        self._thread.start()

    def stop(self, *, alone: bool = False) -> None:
        """Wait for a write under way and beat a last time (``alone``: the heartbeat file only), once."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        # First, because it speaks up where a write under way takes too long; join would wait in silence.
        self._coordinator.beat(alone=alone)
        # It waits for news as well.
        self._coordinator.news.set()
        self._thread.join()

    def _run(self) -> None:
        due = self._clock.monotonic() + self._interval
        while not self._stopping.is_set():
            if not self._coordinator.news.wait(max(0.0, due - self._clock.monotonic())):
                self._coordinator.beat()
                due = self._clock.monotonic() + self._interval
            elif not self._stopping.wait(_COALESCING_SECONDS):
                self._coordinator.write_noted()


def mark_recorded(layout: RunLayout) -> bool:
    """Set ``metrics_recorded`` in the manifest of a run whose record was merged for it.

    Returns:
        False where the run's owner is still at it, and sets it itself.

    Raises:
        StorageError: The manifest could not be written.
    """
    if not places.has_folder(layout.folder, below=layout.base):
        return True  # The run was removed: its record counts all the same.
    with held_lock(layout.lock, below=layout.base) as held:
        if not held:
            return False
        files.remove_temporaries(layout.folder, below=layout.base)
        # One that has none never finished its first.
        manifest = stored_manifest(layout)
        if manifest is not None and manifest.get("metrics_recorded") is False:
            _store(layout, {**manifest, "metrics_recorded": True})
    return True


def add_approvals(layout: RunLayout, approvals: Sequence[Approval]) -> None:
    """Add decisions to the manifest of a run that no process owns; all else in it stays as it is.

    With the run's lock held, by whom the manifest was read before.

    Raises:
        UnknownRun: The manifest could not be read.
        StorageError: It could not be written.
    """
    files.remove_temporaries(layout.folder, below=layout.base)
    manifest = read_document(layout.manifest, below=layout.base)
    known = manifest["approvals"]
    manifest["approvals"] = [*known, *(item for item in map(to_json, approvals) if item not in known)]
    manifest["updated_at"] = max(manifest["updated_at"], *(item.timestamp for item in approvals))
    _store(layout, manifest)


def add_children(layout: RunLayout, children: Sequence[ChildRun], *, now: str) -> None:
    """Take up children in the manifest of a run that nobody owns, with its lock held.

    Args:
        layout: The run.
        children: Those that it has.
        now: The moment, as a timestamp.

    Raises:
        StorageError: The manifest could not be written.
    """
    from codex_orchestrator.rules.lineage import changed_children, known_children, with_children

    manifest = stored_manifest(layout)
    if manifest is None:
        return  # It was removed, or never finished its first.
    news = changed_children(known_children(manifest), children)
    if news:
        _store(layout, with_children(manifest, news, now=now))


def _store(layout: RunLayout, manifest: dict[str, Any]) -> None:
    """Replace the manifest of a run that no process owns; one that is sealed is sealed anew."""
    from codex_orchestrator.evidence.sealing import kept_sealed

    with kept_sealed(layout):
        files.replace(layout.manifest, dumps(manifest).encode(), below=layout.base)
