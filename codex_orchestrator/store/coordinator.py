"""PersistenceCoordinator: the one path of every manifest and heartbeat write.

It always holds the newest manifest. `save` puts it on disk at once, `note` with whatever is written
next, and a heartbeat alone rewrites it at most every 30 s (docs/reference/files.md, "Paths").
"""

from __future__ import annotations

import json
import threading
from dataclasses import fields
from pathlib import Path

from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.errors import StorageError
from codex_orchestrator.records import OMIT_NONE, dumps, to_json
from codex_orchestrator.run import recorder
from codex_orchestrator.run.layout import RunLayout
from codex_orchestrator.run.shapes import CommandEntry, Handle, Manifest

from . import files

_MANIFEST_HEARTBEAT_SECONDS = 30.0
_ATTEMPTS = 3


class PersistenceCoordinator:
    """The single writer of one run's manifest and heartbeat; safe to call from two threads."""

    def __init__(self, layout: RunLayout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._encoder = _ManifestEncoder()
        self._guard = threading.Lock()
        self._manifest: Manifest | None = None
        self._dirty = False
        self._beat_at: str | None = None
        self._written_at = 0.0
        self.manifest_writes = 0
        self.heartbeat_writes = 0
        self.heartbeat_failures = 0

    def save(self, manifest: Manifest) -> None:
        """Put the manifest on disk before returning.

        Raises:
            StorageError: It could not be written, also after trying again.
        """
        with self._guard:
            self._take(manifest)
            self._write_with_retries()

    def note(self, manifest: Manifest) -> None:
        """Keep the manifest for the next write, which a heartbeat brings at the latest."""
        with self._guard:
            self._take(manifest)

    def beat(self, *, alone: bool = False) -> None:
        """Write the heartbeat and, unless ``alone``, a manifest that is due; failures are counted only."""
        with self._guard:
            moment = timestamp(self._clock.now())
            try:
                files.replace(self._layout.heartbeat, f"{moment}\n".encode(), durable=False)
                self._beat_at = moment
                self.heartbeat_writes += 1
                due = self._clock.monotonic() - self._written_at >= _MANIFEST_HEARTBEAT_SECONDS
                if not alone and self._manifest is not None and (self._dirty or due):
                    self._write()
            except StorageError:
                self.heartbeat_failures += 1

    def _take(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._dirty = True

    def _write_with_retries(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._write()
            except StorageError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _write(self) -> None:
        if self._manifest is None:
            return
        manifest = self._manifest
        if self._beat_at is not None:
            manifest = recorder.beat(manifest, self._beat_at)
        files.replace(self._layout.manifest, self._encoder.encode(manifest))
        self._dirty = False
        self._written_at = self._clock.monotonic()
        self.manifest_writes += 1


def mark_recorded(path: Path) -> None:
    """Set ``metrics_recorded`` in the manifest of a run that is over, whose record was merged for it.

    Raises:
        StorageError: The manifest could not be written.
    """
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return  # The run's folder was removed, or never finished: its record counts all the same.
    if isinstance(manifest, dict) and manifest.get("metrics_recorded") is False:
        manifest["metrics_recorded"] = True
        files.replace(path, dumps(manifest).encode())


class _ManifestEncoder:
    """Manifest to JSON as `records.dumps` writes it, entries that have not changed taken from before.

    A run of n stages writes its manifest n times; without this, encoding alone would be quadratic
    in the pure-Python encoder that the standard library falls back to for indented output.
    """

    def __init__(self) -> None:
        # By identity: entries are frozen, and one that is kept here cannot give its id to another.
        self._known: dict[int, tuple[CommandEntry | Handle, str]] = {}
        self._scalar = json.JSONEncoder(ensure_ascii=False).encode

    def encode(self, manifest: Manifest) -> bytes:
        members = []
        for field in fields(manifest):
            value = getattr(manifest, field.name)
            if value is None and field.metadata.get(OMIT_NONE):
                continue
            members.append(f'  "{field.name}": {self._value(value)}')
        return ("{\n" + ",\n".join(members) + "\n}\n").encode()

    def _value(self, value: object) -> str:
        if value is None or isinstance(value, str | int):
            return self._scalar(value)
        if isinstance(value, tuple) and value and isinstance(value[0], CommandEntry | Handle):
            return "[\n" + ",\n".join([self._entry(item) for item in value]) + "\n  ]"
        return json.dumps(to_json(value), indent=2, ensure_ascii=False).replace("\n", "\n  ")

    def _entry(self, item: CommandEntry | Handle) -> str:
        known = self._known.get(id(item))
        if known is None:
            body = json.dumps(to_json(item), indent=2, ensure_ascii=False)
            known = self._known[id(item)] = (item, "    " + body.replace("\n", "\n    "))
        return known[1]
