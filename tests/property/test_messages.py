"""What controllers and workers say: whole at the other end, and refused where it is anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codex_orchestrator.engine import MESSAGES
from codex_orchestrator.engine.messages import (
    Hello,
    Message,
    NotUnderstood,
    Run,
    Watching,
    decode,
    encode,
    of_another_version,
)
from codex_orchestrator.model.codec import Bounds
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.rules.stage import StageRequest

KINDS = get_args(Message)
# Environments may hold bytes that are no text, which come as halves of characters.
TEXT = st.text(max_size=12)
SCALARS = {
    str: TEXT,
    bool: st.booleans(),
    int: st.integers(-(2**70), 2**70) | st.integers(0, 70),
    float: st.floats(allow_nan=False) | st.integers(0, 9),
    type(None): st.none(),
}


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, as its annotation says."""
    if is_dataclass(kind):
        return st.builds(kind, **{each.name: any_of(each.type) for each in fields(kind)})
    arguments, origin = get_args(kind), get_origin(kind)
    if origin is Annotated:
        limits = [each for each in arguments[1:] if isinstance(each, Bounds)]
        return any_of(arguments[0]).filter(lambda value: all(limit.allow(value) for limit in limits))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(any_of(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(*map(any_of, arguments), max_size=3)
    return SCALARS[kind] if origin is None else st.one_of(*map(any_of, arguments))


MESSAGES_OF_ALL_KINDS = st.one_of(*map(any_of, KINDS))
SECRET = StageRequest(
    1,
    "s",
    "true",
    "/",
    {"TOKEN": "s3cr3t\udcff"},
    None,
    64,
    privacy=PrivacyPolicy(mode="enforce", secrets=("s3cr3t\udcff", "another")),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
@given(data=st.data())
def test_a_message_is_at_the_other_end_what_it_was(kind, data):
    message = data.draw(any_of(kind))
    plain = encode(message)
    assert plain["type"] == kind.type
    assert decode(plain) == message
    # Nothing in it but what every channel takes.
    assert decode(json.loads(json.dumps(plain))) == message


def test_a_secret_travels_once():
    message = Run("p::s", SECRET)
    assert decode(encode(message)) == message
    assert str(encode(message)).count("s3cr3t") == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NOT_JSON = st.binary(max_size=4) | st.tuples(TEXT, JSON) | st.sets(st.integers(), max_size=2)


def read(data: object) -> Message | NotUnderstood:
    try:
        return decode(data)
    except NotUnderstood as error:
        return error


def refused_or_a_message(data: object) -> None:
    answer = read(data)
    if not isinstance(answer, NotUnderstood):
        assert isinstance(answer, KINDS)
        return
    what, hint = answer.lines
    assert len(what) < 100
    assert hint == "Install the same version of codex-orchestrator on both sides."


@given(JSON | NOT_JSON)
@example({"type": ["said"]})
@example({"type": "later\n\x1b[2J" * 100})
@example({"type": "run", "nodeid": "p::s", "request": "[" * 100_000})
@example({"type": "run", "nodeid": "p::s", "request": "9" * 5_000})
@example(
    {"type": "run", "nodeid": "p::s", "request": json.dumps({"privacy": {"secrets": "ab"}, "environ": {}})}
)
def test_what_is_no_message_is_refused_in_one_way(data):
    with pytest.raises(NotUnderstood):
        decode(data)
    refused_or_a_message(data)


@given(MESSAGES_OF_ALL_KINDS, st.data(), JSON | NOT_JSON)
def test_a_message_with_something_wrong_in_it_is_refused_in_the_same_way(message, data, anything):
    plain = encode(message)
    key = data.draw(st.sampled_from([*plain, "another"]))
    refused_or_a_message({**plain, key: anything})
    left_out = {name: value for name, value in plain.items() if name != key}
    refused_or_a_message(left_out)
    if key != "another" and not isinstance(message, Hello):
        with pytest.raises(NotUnderstood):
            decode(left_out)


@given(any_of(Run), st.data(), JSON)
def test_a_request_with_something_wrong_in_it_is_refused_too(message, data, anything):
    plain = encode(message)
    request = json.loads(plain["request"])
    request[data.draw(st.sampled_from(list(request)))] = anything
    refused_or_a_message({**plain, "request": json.dumps(request)})


@pytest.mark.parametrize("group", [-1, 0, 1])
def test_nobody_is_told_to_watch_over_what_is_not_ours(group):
    with pytest.raises(NotUnderstood):
        decode({**encode(Watching("p::s", 2)), "group": group})


HELLO = Hello(MESSAGES, "1.2.3", 2)


@pytest.mark.parametrize(
    ("hello", "same"),
    [
        (HELLO, True),
        (replace(HELLO, messages=MESSAGES + 1), False),
        (replace(HELLO, messages=0), False),
        (replace(HELLO, version="1.2.4"), False),
    ],
)
def test_a_worker_is_of_this_version_by_product_and_by_messages(hello, same):
    assert (of_another_version(hello, "1.2.3") is None) == same


def test_who_a_worker_is_can_be_read_of_later_versions_too():
    assert decode({**encode(HELLO), "messages": 99, "new in 99": {}}) == replace(HELLO, messages=99)
