"""What the guard looks for, as plain values: they travel to wherever a command runs.

Which names say secret, and in which forms a value is recognised: docs/reference/privacy.md, "What is found".
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import quote, quote_plus

from codex_orchestrator.dataclass import dataclass

from .looks import LEAST_CHARACTERS
from .names import says_secret, with_password

Mode = Literal["shadow", "enforce"]
Action = Literal["redact", "block"]

SHADOW_REASON = "shadow-mode"
_WRAPPED_AT = 76


@dataclass(frozen=True)
class CustomRule:
    """A rule of the configuration: a regular expression and what becomes of what it matches."""

    name: str
    pattern: str
    action: Action


@dataclass(frozen=True)
class PrivacyPolicy:
    """What to find, and what to do about it.

    Attributes:
        mode: ``enforce`` replaces, ``shadow`` only counts.
        rules: Rules beyond the built-in ones.
        secrets: Values that are secrets, as they are in the environment.
    """

    mode: Mode = "shadow"
    rules: tuple[CustomRule, ...] = ()
    secrets: tuple[str, ...] = ()


def secret_values(variables: Mapping[str, str], names: Iterable[str] = ()) -> Iterator[str]:
    """The values of variables whose names say secret, long enough to be looked for.

    Args:
        variables: An environment.
        names: Further names, with ``*`` and ``?`` as in file names; case counts for neither.
    """
    patterns = [name.upper() for name in names]
    for name, value in variables.items():
        upper = name.upper()
        listed = any(fnmatchcase(upper, pattern) for pattern in patterns)
        if (listed or says_secret(name, value)) and len(value.strip()) >= LEAST_CHARACTERS:
            yield from with_password(value)


def literals(secrets: Iterable[str]) -> list[bytes]:
    """All that output may hold of secrets: each form of each, and where one has several lines, these too.

    The longest come first, as they may hold others.
    """
    found: set[bytes] = set()
    for secret in secrets:
        for form in _forms(secret):
            lines = form.split(b"\n")
            found.update(part.strip() for part in (form, *lines) if len(part.strip()) >= LEAST_CHARACTERS)
    return sorted(found, key=lambda literal: (-len(literal), literal))


def _forms(secret: str) -> Iterator[bytes]:
    plain = secret.encode("utf-8", "surrogateescape")
    yield plain
    # As JSON has it, too: programs that write logs as JSON escape quotation marks and line ends.
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape")
    for safe in ("", "/", "!'()*~"):
        yield from _both_cases(quote(plain, safe=safe))
    yield from _both_cases(quote_plus(plain))
    # `echo` adds a line end before `base64` sees the value; padding is matched where it is there.
    for value in (plain, plain + b"\n"):
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(value).rstrip(b"=")
            yield encoded
            if len(encoded) > _WRAPPED_AT:
                lines = (
                    encoded[start : start + _WRAPPED_AT] for start in range(0, len(encoded), _WRAPPED_AT)
                )
                yield b"\n".join(lines)


def _both_cases(encoded: str) -> Iterator[bytes]:
    yield encoded.encode()
    yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded).encode()
