"""Our dataclasses do what the standard library's do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.dataclass import dataclass


def both(**options: Any) -> tuple[Any, Any]:
    """The same class by our decorator and by the standard library's."""

    def body() -> type:
        class Point:
            """A place."""

            kind: ClassVar[str] = "point"
            x: int
            y: int = 0
            names: list[str] = field(default_factory=list)
            late: int = field(default=7, kw_only=True)

            @cached_property
            def far(self) -> bool:
                return self.x > 10

        return Point

    return dataclass(**options)(body()), dataclasses.dataclass(**options)(body())


@dataclass(frozen=True)
class Base:
    """A base."""

    a: int
    b: int = 1


@dataclass(frozen=True)
class Derived(Base):
    """Has one field more, and another default."""

    b: int = 2
    c: str = "c"


CALLS = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, ["n"]), {}),
    ((1, 2, ["n"], 4), {}),
    ((1,), {"x": 1}),
    ((1,), {"y": 5, "late": 6}),
    ((), {"x": 1, "names": ["n"]}),
    ((), {"y": 1}),
    ((), {"x": 1, "z": 1}),
    ((), {"z": 1}),
    ((), {"x": 1, "kind": "other"}),
]


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"frozen": True, "kw_only": True}], ids=str)
@pytest.mark.parametrize(("positional", "named"), CALLS, ids=str)
def test_a_call_makes_the_same_object_or_is_refused_alike(options, positional, named):
    ours, theirs = both(**options)
    try:
        expected = theirs(*positional, **named)
    except TypeError:
        with pytest.raises(TypeError, match="Point"):
            ours(*positional, **named)
        return
    made = ours(*positional, **named)
    assert asdict(made) == asdict(expected)
    assert list(asdict(made)) == list(asdict(expected))
    assert repr(made) == repr(expected)
    assert asdict(replace(made, x=3)) == asdict(replace(expected, x=3))
    assert made.kind == expected.kind


def test_the_fields_are_the_same():
    ours, theirs = both(frozen=True)
    described = [
        [(one.name, one.type, one.default, one.kw_only) for one in fields(each)] for each in (ours, theirs)
    ]
    assert described[0] == described[1]
    assert ours.__doc__ == theirs.__doc__
    assert ours.__match_args__ == theirs.__match_args__


def test_each_object_has_a_default_of_its_own():
    ours, _ = both()
    ours(1).names.append("n")
    assert ours(1).names == []


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=2), st.lists(st.integers(0, 2), min_size=2, max_size=2)
)
def test_objects_are_equal_by_what_is_in_them(one, other):
    assert (Base(*one) == Base(*other)) == (one == other)
    assert (hash(Base(*one)) == hash(Base(*other))) == (one == other)
    assert Base(*one) != Derived(*one)
    assert Base(*one) != tuple(one)


def test_what_was_worked_out_meanwhile_makes_no_difference():
    ours, _ = both(frozen=True)
    asked = ours(11, names=())
    assert asked.far
    assert asked == ours(11, names=())
    assert hash(asked) == hash(ours(11, names=()))


def test_only_frozen_objects_cannot_be_changed():
    frozen = Base(1)
    with pytest.raises(FrozenInstanceError, match=r"Base\.a"):
        frozen.a = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match=r"Base\.a"):
        del frozen.a
    ours, theirs = both()
    changed = ours(1)
    changed.x = 2
    assert changed == ours(2)
    for cls in (ours, theirs):
        with pytest.raises(TypeError, match="unhashable"):
            hash(cls(1))


def test_a_derived_class_has_the_fields_of_its_base():
    assert repr(Derived(1)) == "Derived(a=1, b=2, c='c')"
    assert Derived(1, c="d") == Derived(1, 2, "d")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_are_equal(duplicate):
    assert duplicate(Derived(1, c="d")) == Derived(1, c="d")
