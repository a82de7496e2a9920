"""pydantic over the package's own shapes: why data is refused, and JSON Schemas.

Only error paths, `validate` and the schema generator come here; pydantic is imported on first use.
"""

from __future__ import annotations

import json
from typing import Any

from codex_orchestrator.errors import Problem
from codex_orchestrator.model.codec import OneOf
from codex_orchestrator.text import cut

_WORD_LENGTH = 60
_PLAIN = {
    "unexpected_keyword_argument": "unknown key",
    "missing": "missing",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
    "string_too_short": "must not be empty",
    # What it is given was JSON before: only pydantic's own limit of depth is left.
    "json_invalid": "nested too deeply",
}


def explain(cls: Any, data: Any) -> list[Problem]:
    """Everything that keeps parsed JSON from being a ``cls``; empty where nothing does."""
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON text: only there does pydantic's strict mode take an object for a dataclass.
        TypeAdapter(cls).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return [_problem(item) for item in error.errors(include_url=False)]
    except RecursionError:
        return [Problem((), "nested too deeply")]
    return []


def json_schema(cls: Any, *, title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a shape."""
    from pydantic import TypeAdapter

    schema = _untitled(TypeAdapter(cls).json_schema(by_alias=True))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _untitled(schema: Any) -> Any:
    """Without what pydantic makes up from field names: editors would show it."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may itself be called "title": its schema is an object, pydantic's title a string.
    # An object's keys have defaults of their own; of the whole, pydantic would show Python's names.
    left_out = ("default",) if "$ref" in schema else ()
    return {
        key: _untitled(value)
        for key, value in schema.items()
        if key not in left_out and (key != "title" or not isinstance(value, str))
    }


def _problem(error: Any) -> Problem:
    path = tuple(part for part in error["loc"] if not OneOf.is_tag(part))
    plain = _PLAIN.get(error["type"])
    if error["type"] == OneOf.UNKNOWN and isinstance(error["input"], dict):
        key, _, choices = str(error["msg"]).partition(" ")
        found = error["input"].get(key)
        plain = f"{key} {choices}{'' if found is None else f', not {cut(json.dumps(found), _WORD_LENGTH)}'}"
    return Problem(path, plain or str(error["msg"]).replace("Input should", "should"))
