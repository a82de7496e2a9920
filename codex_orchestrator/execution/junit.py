"""Counts the tests of a JUnit file, which is nobody's to trust.

Read in pieces and held in none. What entities could be made of needs a document type, which no such file has:
one that has is refused.
"""

from __future__ import annotations

from typing import BinaryIO
from xml.parsers import expat

MOST_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_MOST_DEEP = 100
_ROOTS = frozenset({"testsuites", "testsuite"})
# What Googletest and others say of tests that they have left out.
_LEFT_OUT = frozenset({"notrun", "disabled", "skipped", "suppressed"})


class NotJUnit(Exception):
    """A file is no JUnit file; the text says why, in a few words."""


def count_tests(stream: BinaryIO) -> tuple[int, int]:
    """How many tests have run, and how many were skipped.

    Raises:
        NotJUnit: It is no such file, or too large to be one.
        OSError: It cannot be read.
    """
    counter = _Counter()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = counter.refuse_doctype
    parser.StartElementHandler = counter.start
    parser.EndElementHandler = counter.end
    size = 0
    try:
        while piece := stream.read(_PIECE_BYTES):
            size += len(piece)
            if size > MOST_BYTES:
                raise NotJUnit(f"it is larger than {MOST_BYTES} bytes")
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        # The others are what encodings end in that nobody knows.
        raise NotJUnit(f"it is no XML: {error}") from error
    return counter.ran, counter.skipped


class _Counter:
    """Takes up elements as they begin and end."""

    def __init__(self) -> None:
        self.ran = 0
        self.skipped = 0
        self._depth = 0
        # The depth of the test that is open; those within a test are none.
        self._test = 0
        self._is_skipped = False

    def refuse_doctype(self, *_: object) -> None:
        raise NotJUnit("it has a document type, which no JUnit file has")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        name = name.rpartition(":")[2]
        if self._depth == 1 and name not in _ROOTS:
            raise NotJUnit(f"its root is <{name[:40]}>")
        if self._depth > _MOST_DEEP:
            raise NotJUnit(f"it is more than {_MOST_DEEP} elements deep")
        if name == "testcase" and not self._test:
            self._test = self._depth
            said = {attributes.get("status", ""), attributes.get("result", "")}
            self._is_skipped = bool({each.lower() for each in said} & _LEFT_OUT)
        elif name == "skipped" and self._depth == self._test + 1 and self._test:
            self._is_skipped = True

    def end(self, _name: str) -> None:
        if self._test == self._depth:
            self._test = 0
            self.skipped += self._is_skipped
            self.ran += not self._is_skipped
        self._depth -= 1
