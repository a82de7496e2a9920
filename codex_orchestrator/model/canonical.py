"""JSON in the one form of which digests are taken (RFC 8785): the same value has the same bytes."""

from __future__ import annotations

import json
from typing import Any

# Beyond these, readers that keep numbers as floats would read another one.
_LARGEST = 2**53 - 1


def canonical_json(value: Any) -> bytes:
    """The canonical form of a JSON value.

    Raises:
        ValueError: It has a number that is no whole one or too large, or half a character; nothing that we
            take digests of has.
    """
    return _text(value).encode("utf-8")


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and abs(value) <= _LARGEST:
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        # By their UTF-16 units, as in the languages that the rule was made for.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return f"{{{','.join(f'{_text(name)}:{_text(value[name])}' for name in names)}}}"
    raise ValueError(f"no canonical form of {value!r:.40}")
