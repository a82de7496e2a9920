"""Frozen dataclasses from and to plain JSON values.

The shapes of this package are standard dataclasses. This module reads them from parsed JSON
without any other import, so that good input costs nothing; when it refuses, `validation`
(pydantic, over the same classes) explains why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")
_origin_of: Callable[[Any], Any] = cache(get_origin)  # Asked for with every value that is read.
_arguments_of: Callable[[Any], tuple[Any, ...]] = cache(get_args)

OMIT_NONE = "omit_none"
"""Field metadata key: the field is left out of the JSON where it is None ("when known")."""

STRICT: dict[str, Any] = {"extra": "forbid"}
"""``__pydantic_config__`` of shapes whose keys in the file are the names of their fields."""


class Bounds:
    """Annotation of limits on a value: ``Annotated[int, Bounds(ge=1)]``, with pydantic's own names."""

    def __init__(self, **limits: float) -> None:
        self._limits = limits

    def allow(self, value: Any) -> bool:
        """Whether a value of the right type keeps the limits."""
        limits = self._limits
        return not (
            ("ge" in limits and value < limits["ge"])
            or ("gt" in limits and value <= limits["gt"])
            or ("le" in limits and value > limits["le"])
            or ("min_length" in limits and len(value) < limits["min_length"])
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Have pydantic keep the same limits, and show them in the JSON Schema."""
        return {**handler(source), **self._limits}


class OneOf:
    """Annotation of a union of shapes that a key tells apart: ``Annotated[A | B, OneOf("kind")]``.

    The key is a ``Literal`` field of every member.
    """

    UNKNOWN, _TAG = "unknown_kind", "="

    def __init__(self, key: str) -> None:
        self.key = key

    @cache  # noqa: B019 - all there are stand in annotations of modules
    def choices(self, members: tuple[Any, ...]) -> dict[str, Any]:
        """The members by the key's values."""
        found = {}
        for member in members:
            kind = next(field.type for field in fields(member) if json_name(member, field) == self.key)
            found.update(dict.fromkeys(get_args(kind), member))
        return found

    @classmethod
    def is_tag(cls, part: object) -> bool:
        """Whether a part of pydantic's error location is the name of a member and no key of the document."""
        return isinstance(part, str) and part.startswith(cls._TAG)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Have pydantic choose by the key too, so that it explains the one member that was meant."""
        from pydantic_core import core_schema

        choices = self.choices(get_args(source))

        def tag(value: Any) -> str | None:
            kind = value.get(self.key) if isinstance(value, dict) else getattr(value, self.key, None)
            return f"{self._TAG}{kind}"

        return core_schema.tagged_union_schema(
            {f"{self._TAG}{kind}": handler(member) for kind, member in choices.items()},
            discriminator=tag,
            custom_error_type=self.UNKNOWN,
            custom_error_message=f"{self.key} must be one of: {', '.join(choices)}",
        )

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> Any:
        """Have every member require the key: a default would say that it may be left out."""
        schema = handler(core_schema)
        for member in map(handler.resolve_ref_schema, schema["oneOf"]):
            required = member.setdefault("required", [])
            if self.key not in required:
                required.insert(0, self.key)
        return schema


MOST_LEVELS = 100
"""How deep arrays and objects may be nested in a JSON text."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")


class TooDeep(ValueError):
    """A JSON text is nested too deeply to be read."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {MOST_LEVELS} levels deep")


class Mismatch(ValueError):
    """The data is not of the shape; no message, `explain` has it."""


def camel(name: str) -> str:
    """``summary_hint`` as ``summaryHint``; ``schema_`` as ``$schema``."""
    if name == "schema_":
        return "$schema"
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def camel_keys(value: Any) -> Any:
    """A JSON value with the keys of all its objects in camelCase."""
    if isinstance(value, dict):
        return {camel(key): camel_keys(item) for key, item in value.items()}
    return [camel_keys(item) for item in value] if isinstance(value, list) else value


CAMEL: dict[str, Any] = {**STRICT, "alias_generator": camel}
"""``__pydantic_config__`` of shapes whose keys in the file are in camelCase."""


def json_name(cls: type, field: Field[Any]) -> str:
    """The JSON key of a dataclass field, by the class's pydantic alias generator if it has one."""
    config = getattr(cls, "__pydantic_config__", {})
    generator: Callable[[str], str] | None = config.get("alias_generator")
    return generator(field.name) if generator else field.name


def to_json(value: Any) -> Any:
    """The plain JSON value of a shape; anything JSON cannot hold raises ``TypeError``."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        cls = type(value)
        document = {}
        for field in fields(cls):
            item = getattr(value, field.name)
            if item is None and field.metadata.get(OMIT_NONE):
                continue
            document[json_name(cls, field)] = to_json(item)
        return document
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def from_json(cls: type[T], data: Any, *, strict: bool = True) -> T:
    """Build ``cls`` from parsed JSON.

    Args:
        cls: A frozen dataclass whose annotations are real types.
        data: What ``json.loads`` gave.
        strict: Refuse unknown keys; readers of artefacts pass False.

    Raises:
        Mismatch: The data is not of this shape.
    """
    result: T = _read(cls, data, strict)
    return result


def loads(
    text: bytes | str,
    *,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
    keep_halves: bool = False,
) -> Any:
    """The value of a JSON text, whoever wrote it: the one reader of JSON.

    Half a character (an escaped surrogate without its other half) becomes U+FFFD, so that all text can be
    written again; who wants to refuse them keeps them.

    Args:
        text: The text; bytes are UTF-8, with or without a byte order mark.
        object_pairs_hook: Makes the objects, as for `json.loads`.
        keep_halves: Leave halves of characters as they are.

    Raises:
        ValueError: It is no JSON, no UTF-8, nested too deeply, or has a number that is too long.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError as error:
        raise TooDeep from error
    except MemoryError as error:
        raise ValueError("it does not fit into memory") from error
    if text.count("[") + text.count("{") > MOST_LEVELS and is_deep(value):
        raise TooDeep
    # Only an escape can be half a character: UTF-8 has none.
    is_suspect = "\\ud" in text or "\\uD" in text
    return _whole(value) if is_suspect and not keep_halves else value


def is_json(text: bytes | str) -> bool:
    """Whether `loads` can read a text; a line that its writer died in cannot be."""
    try:
        loads(text)
    except ValueError:
        return False
    return True


def dumps(value: Any) -> str:
    """JSON as people read it: 2-space indent, insertion order, non-ASCII as it is, newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def dumps_line(value: Any) -> str:
    """Compact JSON for one line of NDJSON, with its newline."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


def is_deep(value: Any) -> bool:
    """Whether arrays and objects are nested more than `MOST_LEVELS` deep in a value."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_LEVELS):
        level = [
            item
            for each in level
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def _whole(value: Any) -> Any:
    """The same value without halves of characters."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _read(kind: Any, data: Any, strict: bool) -> Any:
    if kind is Any:
        return data
    if is_dataclass(kind):
        return _read_dataclass(kind, data, strict)
    origin = _origin_of(kind)
    if origin is None:
        return _read_scalar(kind, data)
    return _READERS[origin](_arguments_of(kind), data, strict)


def _read_dataclass(cls: Any, data: Any, strict: bool) -> Any:
    if not isinstance(data, dict):
        raise Mismatch
    values: dict[str, Any] = {}
    for field, key, kind, is_required in _entries(cls):
        if key in data:
            values[field] = _read(kind, data[key], strict)
        elif is_required:
            raise Mismatch
    if strict and len(values) != len(data):
        raise Mismatch
    return cls(**values)


@cache
def _entries(cls: Any) -> list[tuple[str, str, Any, bool]]:
    """Of each field: its name, its key, its type, and whether it has to be there."""
    return [
        (each.name, json_name(cls, each), each.type, each.default is each.default_factory is MISSING)
        for each in fields(cls)
    ]


def _read_scalar(kind: Any, data: Any) -> Any:
    if kind in (None, NoneType):
        matches = data is None
    elif kind in (float, int):
        matches = isinstance(data, (int, kind)) and not isinstance(data, bool)
    else:
        matches = isinstance(data, kind)
    if not matches:
        raise Mismatch
    return data


def _read_annotated(arguments: tuple[Any, ...], data: Any, strict: bool) -> Any:
    kind, annotation = arguments
    if isinstance(annotation, OneOf):
        return _read_one_of(annotation, get_args(kind), data, strict)
    value = _read(kind, data, strict)
    if not annotation.allow(value):
        raise Mismatch
    return value


def _read_literal(arguments: tuple[Any, ...], data: Any, _strict: bool) -> Any:
    # `True == 1`, and a Literal must not take either for the other.
    if isinstance(data, bool | list | dict) or data not in arguments:
        raise Mismatch
    return data


def _read_tuple(arguments: tuple[Any, ...], data: Any, strict: bool) -> Any:
    if not isinstance(data, list):
        raise Mismatch
    return tuple(_read(arguments[0], item, strict) for item in data)


def _read_dict(arguments: tuple[Any, ...], data: Any, strict: bool) -> Any:
    if not isinstance(data, dict):
        raise Mismatch
    return {key: _read(arguments[1], item, strict) for key, item in data.items()}


def _read_one_of(choice: OneOf, members: tuple[Any, ...], data: Any, strict: bool) -> Any:
    kind = data.get(choice.key) if isinstance(data, dict) else None
    member = choice.choices(members).get(kind) if isinstance(kind, str) else None
    if member is None:
        raise Mismatch
    return _read(member, data, strict)


def _read_union(members: tuple[Any, ...], data: Any, strict: bool) -> Any:
    for member in members:
        try:
            return _read(member, data, strict)
        except Mismatch:
            continue
    raise Mismatch


_READERS: dict[Any, Callable[[tuple[Any, ...], Any, bool], Any]] = {
    Annotated: _read_annotated,
    Literal: _read_literal,
    Union: _read_union,
    UnionType: _read_union,
    tuple: _read_tuple,
    dict: _read_dict,
    Mapping: _read_dict,
}
