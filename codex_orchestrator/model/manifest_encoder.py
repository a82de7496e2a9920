"""The manifest as text, quickly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields

from codex_orchestrator.model.codec import OMIT_NONE, to_json
from codex_orchestrator.model.manifest import CommandEntry, Handle, Manifest
from codex_orchestrator.model.scheduler import Assignment, Scheduler, WorkerAttempt

# What there are many of, and most of which stay as they are.
_Kept = CommandEntry | Handle | WorkerAttempt
_BLOCK_ITEMS = 64


class ManifestEncoder:
    """Manifest to JSON as `codec.dumps` writes it, entries that have not changed taken from before.

    A run of thousands of stages writes a manifest of megabytes ten times a second, while its stages go
    on; the standard library makes indented JSON in pure Python.
    """

    def __init__(self) -> None:
        # By identity: entries are frozen, and one that is kept here cannot give its id to another.
        self._known: dict[int, tuple[_Kept, str]] = {}
        # By where they begin. Tuples of the same items are compared at the speed of pointers.
        self._blocks: dict[tuple[str, int], tuple[tuple[_Kept, ...], str]] = {}
        self._scalar = json.JSONEncoder(ensure_ascii=False).encode

    def encode(self, manifest: Manifest) -> bytes:
        """The file's content."""
        return "".join([*self._object(manifest, "\n"), "\n"]).encode()

    def _object(self, value: Manifest | Scheduler | Assignment, line: str) -> Iterator[str]:
        """The parts of an object of ours; ``line`` is a new line and its indent."""
        before = "{"
        for field in fields(value):
            item = getattr(value, field.name)
            if item is None and field.metadata.get(OMIT_NONE):
                continue
            yield f'{before}{line}  "{field.name}": '
            yield from self._value(field.name, item, line + "  ")
            before = ","
        yield line + "}"

    def _value(self, name: str, value: object, line: str) -> Iterator[str]:
        inner = line + "  "
        if value is None or isinstance(value, str | int):
            yield self._scalar(value)
        elif isinstance(value, Scheduler):
            yield from self._object(value, line)
        elif isinstance(value, tuple) and value and isinstance(value[0], _Kept):
            for start in range(0, len(value), _BLOCK_ITEMS):
                yield "," if start else "["
                yield self._block(name, start, value[start : start + _BLOCK_ITEMS], inner)
            yield line + "]"
        elif isinstance(value, tuple) and value and isinstance(value[0], Assignment):
            for place, item in enumerate(value):
                yield ("," if place else "[") + inner
                yield from self._object(item, inner)
            yield line + "]"
        else:
            yield json.dumps(to_json(value), indent=2, ensure_ascii=False).replace("\n", line)

    def _block(self, name: str, start: int, items: tuple[_Kept, ...], line: str) -> str:
        known = self._blocks.get((name, start))
        if known is None or known[0] != items:
            text = ",".join([self._kept(item, line) for item in items])
            known = self._blocks[name, start] = (items, text)
        return known[1]

    def _kept(self, item: _Kept, line: str) -> str:
        known = self._known.get(id(item))
        if known is None:
            body = json.dumps(to_json(item), indent=2, ensure_ascii=False)
            known = self._known[id(item)] = (item, line + body.replace("\n", line))
        return known[1]
