"""What of a secret's value is secret by itself (docs/reference/privacy.md, "Values of variables")."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from codex_orchestrator.privacy.policy import LEAST_CHARACTERS, says_secret

# Of a value, so much is looked for.
MOST_CHARACTERS = 262_144
# Of a value without fields, so many lines are looked for by themselves.
MOST_LINES = 1_000
# Long values are looked for in pieces, of which each holds the end of the one before: what is found of
# neighbours is one place.
PIECE_CHARACTERS = 256
_OVERLAP = 8
_LEAST_LINE = 16
_LEAST_FIELD = 8

# Public, and so in the output of many programs: in PEM form, and the beginning of its base64.
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_ENCODED_CERTIFICATE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS"
_MARK = re.compile(r"-{4,5} ?[A-Z0-9 ]+ ?-{4,5}")
_URL_PASSWORD = re.compile(r"://[^\s:/?#@]*:([^\s/?#]+)@")
_FIELD = re.compile(
    r"(?<![\w.-])(?P<key>[\w.-]*\w)[\"']?[ \t]*[:=][ \t]*"
    r"(?:\"(?P<double>(?:[^\"\\\n]|\\.)*)\"|'(?P<single>[^'\n]*)'|(?P<bare>[^\s=,;&\"'{}\[\]|>][^\n,;&]*))"
)
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_WORDLIKE = re.compile(r"[A-Z]?[a-z]{4,}|[A-Z]{5,}")
# Between parts of names of hosts, images, resources and the like.
_NAME_PARTS = re.compile(r"[:.@,_-]")
_SEVERAL = re.compile(r"[\n{]")

# Passwords that are also words of everyday output: looking for them would hide much and protect little.
_COMMON_WORDS = """
access account administrator anonymous changeit changeme client cluster context database debian
default deploy develop developer development disabled docker elastic elasticsearch enabled example
github gitlab google grafana jenkins kubernetes localhost manager mariadb master memcached
minioadmin mongodb nobody oracle password placeholder postgres postgresql private production project
public rabbitmq readonly redacted registry replace required runner secret secrets server service
session something sonarqube staging string system tester testing tomcat ubuntu undefined unknown
username vagrant version welcome windows wordpress workspace
"""
COMMON_WORDS = frozenset(_COMMON_WORDS.split())


def parts_of(secret: str) -> Iterator[str]:
    """What is looked for of a value: pieces of all of it, and what in it is secret wherever it stands."""
    for segment in _CERTIFICATE.split(secret[:MOST_CHARACTERS]):
        whole = segment.strip()
        if _counts(whole):
            yield from _pieces(whole)
            yield from _within(whole)


def _counts(value: str) -> bool:
    """Whether a value is one to look for, and no everyday word and nothing that stands for one."""
    return (
        len(value) >= LEAST_CHARACTERS
        and value.lower() not in COMMON_WORDS
        and len(set(value)) > 1
        and _MARK.fullmatch(value) is None
    )


def _pieces(value: str) -> Iterator[str]:
    last = max(0, len(value) - PIECE_CHARACTERS)
    # The last one is as long as the others, so that it is as hard to come upon by chance.
    for start in (*range(0, last, PIECE_CHARACTERS - _OVERLAP), last):
        piece = value[start : start + PIECE_CHARACTERS].strip()
        if len(set(piece)) > 1:
            yield piece


def _within(value: str) -> Iterator[str]:
    """Passwords of addresses, values of fields, and lines."""
    for match in _URL_PASSWORD.finditer(value):
        if _counts(match[1]):
            yield match[1]
            yield _percent_decoded(match[1])
    seen: set[str] = set()
    for match in _FIELD.finditer(value):
        quoted = match["double"]
        field = _without_escapes(quoted) if quoted else match["single"] or match["bare"] or ""
        seen.add(field.strip())
        if "\n" in field:
            yield from _lines(field)
        else:
            yield from _field(match["key"], field.strip())
    if _SEVERAL.search(value) is None:
        return
    if seen:
        yield from _random_words(value, seen)
    else:
        yield from _lines(value)


def _field(key: str, value: str) -> Iterator[str]:
    """A field's value, where it is no everyday one."""
    if is_random(value) or (_names_secret(key, value) and _mixed(value)):
        yield from _pieces(value)


def _names_secret(key: str, value: str) -> bool:
    # Of a variable, it is where the shell is.
    return says_secret(key, value) or key.upper() == "PWD"


def _lines(value: str) -> Iterator[str]:
    """Lines of a value without fields: a private key's, say."""
    for line in value.split("\n")[:MOST_LINES]:
        stripped = line.strip()
        if len(stripped) >= _LEAST_LINE and _counts(stripped):
            yield from _pieces(stripped)
            if " " in stripped:
                yield from _random_words(stripped)


def _random_words(text: str, seen: Container[str] = ()) -> Iterator[str]:
    for word in text.split():
        bare = word.strip("\"',;()[]{}<>") if len(word) >= _LEAST_LINE else ""
        if bare and bare not in seen and is_random(bare):
            yield from _pieces(bare)


def is_random(word: str) -> bool:
    """Whether this was made by chance, as keys and tokens are, and is no name, address or number."""
    if len(word) < _LEAST_LINE or "://" in word or " " in word or word.startswith(_ENCODED_CERTIFICATE):
        return False
    longest = max(_NAME_PARTS.split(word), key=len)
    return (
        len(longest) >= _LEAST_LINE
        and len(set(longest)) >= _LEAST_LINE // 2
        and 2 * sum(map(len, _WORDLIKE.findall(longest[:PIECE_CHARACTERS]))) < len(longest[:PIECE_CHARACTERS])
        and sum(map(str.isalpha, longest)) >= _LEAST_LINE // 4
    )


def _mixed(value: str) -> bool:
    return (
        len(value) >= _LEAST_FIELD
        and "://" not in value
        and " " not in value
        and not value.startswith(_ENCODED_CERTIFICATE)
        and any(map(str.isdigit, value))
        and any(map(str.isalpha, value))
    )


def _without_escapes(quoted: str) -> str:
    return re.sub(r"\\(.)", lambda match: _UNESCAPED.get(match[1], match[1]), quoted)


def _percent_decoded(value: str) -> str:
    data = re.sub(
        rb"%([0-9A-Fa-f]{2})",
        lambda match: bytes([int(match[1], 16)]),
        value.encode("utf-8", "surrogateescape"),
    )
    return data.decode("utf-8", "surrogateescape")
