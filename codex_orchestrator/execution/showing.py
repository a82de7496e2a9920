"""What an attempt shows of what its stage expects: looked at before it, in its output, and after it.

That a file is there proves nothing: it may be of a run before. It counts where it is another one than before
the attempt: by its inode, its time or its size (docs/reference/configuration.md, "Expectations").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from codex_orchestrator import places
from codex_orchestrator.errors import StorageError
from codex_orchestrator.execution.junit import NotJUnit, count_tests
from codex_orchestrator.execution.reading import Capture, StreamName
from codex_orchestrator.globs import Glob, rooted
from codex_orchestrator.rules.expectation import FoundTests, Shown, missing
from codex_orchestrator.rules.stage import Expected
from codex_orchestrator.text import printable

# The coarsest time that a file system keeps: that of what was just written may lie so far back.
_COARSE_SECONDS = 2.0
_REPOSITORY = ".git"


class _State(NamedTuple):
    """What changes with a file that is written."""

    inode: int
    time_ns: int
    size: int


class Showing:
    """One attempt, as far as something is expected of it."""

    def __init__(self, expected: Expected, began: float) -> None:
        """Look at what is there before the attempt.

        Args:
            expected: What is expected of it.
            began: When it begins, in epoch seconds.
        """
        self._expected = expected
        self._began = began
        self._sought = _Sought((expected.pattern or "").encode("utf-8", "surrogatepass"))
        self._globs = {text: rooted(text) for text in self._patterns()}
        self._before = self._states()

    def watching(self, captures: Mapping[StreamName, Capture]) -> Mapping[StreamName, Capture]:
        """Captures that look through what they are given, before anybody changes it."""
        if self._expected.pattern is None:
            return captures
        return {name: _Watching(capture, self._sought, name) for name, capture in captures.items()}

    def missing(self) -> str | None:
        """What is missing after an attempt that has succeeded; None where nothing is."""
        expected = self._expected
        now = self._states()
        written = {path for path, state in now.items() if self._before.get(path) != state}
        unwritten = [text for text in expected.files if not any(map(self._globs[text].matches, written))]
        shown = Shown(
            tests=self._tests(expected.junit, now, written) if expected.junit is not None else None,
            has_pattern=self._sought.is_found,
            unwritten=tuple(unwritten),
        )
        return missing(expected, shown)

    def _tests(self, junit: str, now: Mapping[str, _State], written: Iterable[str]) -> FoundTests:
        """The tests of reports that are of this attempt: one that is moved into place is as old as it was."""
        glob = self._globs[junit]
        named = [path for path in now if glob.matches(path)]
        oldest = (self._began - _COARSE_SECONDS) * 1e9
        new = sorted(path for path in named if path in written and now[path].time_ns >= oldest)
        ran = skipped = 0
        for path in new:
            try:
                with places.open_stream(self._root / path, below=self._root) as stream:
                    counts = count_tests(stream)
            except NotJUnit as error:
                return FoundTests(
                    len(named), len(new), problem=f'"{printable(path)}" is no JUnit file: {error}'
                )
            except (OSError, StorageError) as error:
                return FoundTests(
                    len(named), len(new), problem=f'"{printable(path)}" cannot be read: {error}'
                )
            ran, skipped = ran + counts[0], skipped + counts[1]
        return FoundTests(len(named), len(new), ran, skipped)

    def _patterns(self) -> Iterator[str]:
        expected = self._expected
        if expected.junit is not None:
            yield expected.junit
        yield from expected.files

    @property
    def _root(self) -> Path:
        return Path(self._expected.root)

    def _states(self) -> dict[str, _State]:
        """All files that a pattern names, by their paths from the root; none through a link."""
        globs = tuple(self._globs.values())
        return dict(self._found(globs)) if globs else {}

    def _found(self, globs: tuple[Glob, ...]) -> Iterator[tuple[str, _State]]:
        root, waiting = self._root, [""]
        while waiting:
            folder = waiting.pop()
            for name, kind in _listed(root / folder, root):
                path = f"{folder}/{name}" if folder else name
                if kind == "folder":
                    if self._is_open(name, path) and any(glob.leads_into(path) for glob in globs):
                        waiting.append(path)
                elif kind == "file" and any(glob.matches(path) for glob in globs):
                    state = _state(root / path, root)
                    if state is not None:
                        yield path, state

    def _is_open(self, name: str, path: str) -> bool:
        return name != _REPOSITORY and str(self._root / path) not in self._expected.closed


class _Sought:
    """A text that is looked for in streams, across the borders of what is read."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._ends: dict[StreamName, bytes] = {}
        self.is_found = False

    def look(self, stream: StreamName, data: bytes) -> None:
        """Look through what was read next."""
        if self.is_found:
            return
        there = self._ends.get(stream, b"") + data
        self.is_found = self._text in there
        keep = len(self._text) - 1
        self._ends[stream] = there[-keep:] if keep else b""


class _Watching:
    """A capture before which everything is looked through."""

    def __init__(self, capture: Capture, sought: _Sought, stream: StreamName) -> None:
        self._capture = capture
        self._sought = sought
        self._stream = stream

    @property
    def room(self) -> int:
        return self._capture.room

    @property
    def due(self) -> float | None:
        return self._capture.due

    def take(self, data: bytes, now: float) -> Iterable[Any]:
        self._sought.look(self._stream, data)
        return self._capture.take(data, now)

    def expire(self, now: float) -> Iterable[Any]:
        return self._capture.expire(now)

    def end(self) -> Iterable[Any]:
        return self._capture.end()


def _state(path: Path, root: Path) -> _State | None:
    """The state of a file; None where it is gone."""
    try:
        found = places.status(path, below=root)
    except StorageError:
        return None
    return None if found is None else _State(found.st_ino, found.st_mtime_ns, found.st_size)


def _listed(folder: Path, root: Path) -> list[tuple[str, places.Kind]]:
    """What is in a folder; nothing where it cannot be listed, as nothing in it can be shown then."""
    try:
        return places.listed(folder, below=root)
    except StorageError:
        return []
