"""The fast reader and pydantic read the same classes, and must never differ about a document."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.evidence.artefacts import ARTEFACTS
from codex_orchestrator.model.codec import Mismatch, OneOf, dumps, from_json, json_name, to_json
from codex_orchestrator.model.explain import explain

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
SCALARS = {
    str: st.text(max_size=6),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    NoneType: st.none(),
}
INTRUDERS = (None, True, False, 0, 1, -1, 2, 1.0, 0.0, 1.5, 2**70, "", "x", "1", "command", [], [None], {})


@functools.cache
def of(kind: Any) -> st.SearchStrategy[Any]:
    """Documents of a shape."""
    if kind is Any:
        return ANY_JSON
    if is_dataclass(kind):
        known = {json_name(kind, field): field for field in fields(kind)}
        required = {name for name, field in known.items() if _required(field)}
        return st.fixed_dictionaries(
            {name: of(known[name].type) for name in required},
            optional={name: of(field.type) for name, field in known.items() if name not in required},
        )
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(*arguments)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        return st.one_of([of(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(st.text(max_size=3), of(arguments[1]), max_size=2)
    return SCALARS[kind]


def _required(field: Any) -> bool:
    # What tells the members of a union apart is needed there, whatever its default.
    tells_apart = get_origin(field.type) is Literal and len(get_args(field.type)) == 1
    return tells_apart or (field.default is MISSING and field.default_factory is MISSING)


def _annotated(kind: Any, annotation: Any) -> st.SearchStrategy[Any]:
    if isinstance(annotation, OneOf):
        return of(kind)
    limits = annotation._limits
    if kind is str:
        return st.text(min_size=limits["min_length"], max_size=6)
    if get_origin(kind) is tuple:
        return st.lists(of(get_args(kind)[0]), min_size=limits["min_length"], max_size=2)
    if kind is int:
        return st.integers(limits.get("ge"), limits.get("le"))
    low = limits.get("gt", limits.get("ge"))
    return st.floats(low, limits.get("le"), exclude_min="gt" in limits, allow_nan=False, allow_infinity=False)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict | list):
        keys = list(document) if isinstance(document, dict) else range(len(document))
        for key in keys:
            found.append((document, key))
            found.extend(places(document[key]))
    return found


@st.composite
def mutated(draw: st.DrawFn, shape: Any) -> Any:
    """A document of a shape with something done to it that may or may not make it a wrong one."""
    document = copy.deepcopy(draw(of(shape)))
    for _ in range(draw(st.integers(1, 2))):
        found = places(document)
        if not found:
            return draw(st.sampled_from(INTRUDERS))
        container, key = draw(st.sampled_from(found))
        change = draw(st.sampled_from(["drop", "add", "replace", "number", "replace"]))
        if change == "drop":
            del container[key]
        elif change == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(["extra", "kind", "$schema", "stageId", "stage_id", ""]))] = None
        elif change == "number" and isinstance(container[key], int | float):
            container[key] = draw(
                st.sampled_from([container[key] * 1.0 if abs(container[key]) < 1e300 else 0.5, -1])
            )
        else:
            container[key] = copy.deepcopy(draw(st.sampled_from(INTRUDERS)))
    return document


def accepts(shape: Any, document: Any) -> bool:
    try:
        from_json(shape, document)
    except Mismatch:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def _adapters_made_once():
    """Building pydantic's validators anew for each example would be all that this file does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydantic, "TypeAdapter", functools.cache(pydantic.TypeAdapter))
        yield


ALL_SHAPES = pytest.mark.parametrize(
    "shape", [pytest.param(item.shape, id=name) for name, item in ARTEFACTS.items()]
)


@ALL_SHAPES
@given(data=st.data())
def test_both_accept_what_is_of_the_shape_and_it_comes_back_whole(shape, data):
    document = data.draw(of(shape))
    assert explain(shape, document) == []
    value = from_json(shape, document)
    written = to_json(value)
    assert from_json(shape, written) == value
    assert to_json(from_json(shape, json.loads(dumps(written)))) == written
    assert_holds(written, document)


def assert_holds(written: Any, document: Any) -> None:
    """All that was read is written again; only what was None may be left out."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in written:
                assert_holds(written[key], value)
            else:
                assert value is None
    elif isinstance(document, list):
        assert len(written) == len(document)
        for ours, theirs in zip(written, document, strict=True):
            assert_holds(ours, theirs)
    else:
        assert written == document
        assert type(written) is type(document)


@ALL_SHAPES
@given(data=st.data())
def test_both_accept_or_both_refuse_what_was_tampered_with(shape, data):
    document = data.draw(mutated(shape))
    problems = explain(shape, document)
    assert accepts(shape, document) == (problems == []), problems


@ALL_SHAPES
@given(document=ANY_JSON)
def test_both_accept_or_both_refuse_anything_at_all(shape, document):
    assert accepts(shape, document) == (explain(shape, document) == [])


@ALL_SHAPES
@settings(max_examples=4)
@given(data=st.data())
def test_they_agree_about_each_value_of_a_document_replaced_by_each_kind_of_value(shape, data):
    document = data.draw(of(shape))
    for container, key in places(document):
        original = container[key]
        for intruder in INTRUDERS:
            container[key] = intruder
            assert accepts(shape, document) == (explain(shape, document) == []), (key, intruder)
        container[key] = original
