"""Secrets as they stand in real files and outputs: nothing is left of them, wherever they are cut."""

from __future__ import annotations

import collections

import pytest

from codex_orchestrator.privacy.finding import Finder
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.privacy.stream import StreamGuard
from tests.support.secret_shapes import SHAPES, Shape, held

FINDER = Finder(PrivacyPolicy("enforce"))
KINDS = {"vendor": 57, "header": 41, "files": 59, "words": 72, "keys": 27}
# What the rules do not know, said here so that nobody takes them for more than they are.
MISSED = {
    "files 3": "a value in base64 in which a sign stands before the twentieth letter",
    "files 55": "a short word that is a part of a longer one",
}


def name_of(shape: Shape) -> str:
    return f"{shape.kind} {shape.name.split()[0] if shape.name[0].isdigit() else shape.name}"


HELD = [shape for shape in SHAPES if name_of(shape) not in MISSED]
by_shape = pytest.mark.parametrize("shape", HELD, ids=name_of)


def guarded(*pieces: bytes) -> bytes:
    """What comes of a stream that is read in these pieces, one right after the other."""
    guard = StreamGuard(FINDER, "enforce")
    return b"".join([*(guard.feed(piece, 0.0) for piece in pieces), guard.flush()])


def test_the_shapes_are_as_many_as_is_promised():
    assert len(SHAPES) >= 250
    assert collections.Counter(shape.kind for shape in SHAPES) == KINDS
    assert len({name_of(shape) for shape in SHAPES}) == len(SHAPES)
    assert len(HELD) >= 235
    assert all(shape.secrets for shape in SHAPES)


@by_shape
def test_nothing_is_left_of_a_secret(shape):
    assert held(shape, guarded(shape.text))
    assert held(shape, guarded(b"a line before\n", shape.text, b"\na line after\n"))


@by_shape
def test_nothing_is_left_of_it_wherever_it_is_cut(shape):
    # Long ones are cut at each place of their beginning and end, and now and then between.
    size = len(shape.text)
    cuts = [cut for cut in range(size) if cut < 200 or cut > size - 200 or cut % 13 == 0]
    assert [cut for cut in cuts if not held(shape, guarded(shape.text[:cut], shape.text[cut:]))] == []


@pytest.mark.parametrize("name", MISSED)
def test_what_is_known_to_be_missed(name):
    shape = next(shape for shape in SHAPES if name_of(shape) == name)
    assert not held(shape, guarded(shape.text))
