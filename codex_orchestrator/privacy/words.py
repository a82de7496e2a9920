"""Words that say that what follows them is secret: ``password: hunter2`` and the like.

All output is looked through here, so it is done in one search, in which classes of characters stand for
characters: three letters of each word are of the same three classes, of which the first is rare. What stands
after the word is a part of that search, so that a mere mention costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from codex_orchestrator.privacy.policy import KEY_KINDS

REDACTED = b"[REDACTED]"


def _coded(classes: Mapping[int, str]) -> bytes:
    codes = bytearray(range(256))
    for code, characters in classes.items():
        codes[code] = 0
        for character in characters:
            codes[ord(character)] = code
    return bytes(codes)


# secRET, PASsword, toKEN, KEY, cRED and PWD, in either case.
_CODES = _coded({1: "kprKPR", 2: "aewAEW", 3: "dnstyDNSTY", 4: "\"'`\\]-,|>", 5: ":=", 6: " \t"})
_CANDIDATE = re.compile(
    rb"\x01\x02\x03[A-Za-z0-9_\x01-\x03]{0,40}+"
    # Right after it a sign or a quotation mark, as it is or encoded;
    rb"(?:[\x04\x05]|%3|\?\x05"
    # or, further on, a sign, a mark of a key, or what has a number in it;
    rb"|\x06{1,16}+(?:\x05|\?\x05|\x04\x04|[Bb][Ll]|[^\x06\r\n0-9!@#$%^*\x04]{0,40}+[0-9!@#$%^*\x04])"
    # or a value on the next line.
    rb"|\r?\n[\x06\x04]{0,64}+[Vv]\x02[Ll][Uu]\x02)"
)
# The same in the dialect of RE2, and in all of a text; a candidate is in each place that this matches.
WORD_CLUES = (
    r"(?i:(?:secret|token|pass|pwd|cred|key)[a-z0-9_]*(?:[\"'`\\\]\-,|>:=]|%3|\?[:=]"
    r"|[ \t]+(?:\??[:=]|[\"'`\\\]\-,|>]{2}|bl|[^ \t\r\n0-9!@#$%^*\"'`\\\]\-,|>]*[0-9!@#$%^*\"'`\\\]\-,|>])"
    r"|\r?\n[ \t\"'`\\\]\-,|>]*value))"
)
# Before the three letters in "secret".
_LONGEST_START = 3

_WORD = re.compile(
    rb"(?P<chosen>pass(?:word|wd|phrase|code)s?)|(?P<short>creds?|pwd|pass)(?!ential)|(?P<key>keys?)"
    rb"|secrets?|tokens?|credentials?",
    re.IGNORECASE,
)
_KEY_KIND = re.compile(rb"(?:%b)s?[ _.-]?$" % KEY_KINDS.encode(), re.IGNORECASE)
_KEY_KIND_BYTES = 20
_KEY_MARK = re.compile(rb"(?: block)?(?:-----| ----|%2d%2d)|-File-", re.IGNORECASE)

# The end of a line after which the next may hold a value.
_PENDING = re.compile(
    rb"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|cred|key)(?:[\w.]|-(?=\w)){0,40}\\{0,8}[\"']?"
    rb"(?:[ \t]{0,16}:[ \t]{0,16}(?:[|>][+-]?[0-9]?)?|,?)[ \t\r]{0,16}$"
    rb"|value\\{0,8}[\"']?[ \t]{0,16}[:=][^\n]{0,200}$",
    re.IGNORECASE,
)
_PENDING_LINE_BYTES = 256
_PENDING_LINES = 3


# More of such words in one piece of output are not looked at one by one where they stand close together.
_MOST_CLUES = 2_500
_CLOSE_BYTES = 64
_FLOOD_WORD = re.compile(rb"pass|secret|token|pwd|cred|(?:api|access|auth)[_-]?key", re.IGNORECASE)


class Clue(NamedTuple):
    """Where a word is that says secret, and whether people choose what it names, as they do passwords."""

    start: int
    end: int
    chosen: bool


class Clues(NamedTuple):
    """What in a text says that it may hold secrets.

    Attributes:
        words: Words that say secret.
        marks: Where marks of private keys may be.
        floods: Where there is nothing but such words and what follows them.
    """

    words: list[Clue]
    marks: list[int]
    floods: list[tuple[int, int]]


def find_clues(text: bytes, areas: Iterable[tuple[int, int]]) -> Clues:
    """Where to look closer in these areas of a text."""
    places = [
        (first + match.start(), first + match.end())
        for first, last in areas
        for match in _CANDIDATE.finditer(text[first:last].translate(_CODES))
    ]
    floods = _floods(text, places) if len(places) > _MOST_CLUES else []
    if floods:
        places = [each for each in places if not any(first <= each[0] < last for first, last in floods)]
    if len(places) > _MOST_CLUES:
        places = _with_word(text, places)
    words: list[Clue] = []
    marks: list[int] = []
    for begin, end in places:
        found = None
        # The letters of a word may follow those of none, and the last word of a name is what it is.
        for word in _WORD.finditer(text, max(0, begin - _LONGEST_START), end):
            if word["key"]:
                if _KEY_MARK.match(text, word.end()):
                    marks.append(word.start())
                    found = None
                    break
                if not _is_secret_key(text, word.start()):
                    continue
            elif word["short"] and word["short"].lower() != b"pwd" and _is_within_word(text, word.start()):
                continue
            found = word
        if found is not None:
            words.append(Clue(*found.span(), bool(found["chosen"] or found["short"])))
    return Clues(words, marks, floods)


def _with_word(text: bytes, places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The places in which there is a word; all words are found at once, as the places are too many."""
    words = (match.start() for match in _WORD.finditer(text))
    word = next(words, len(text))
    kept: list[tuple[int, int]] = []
    for begin, end in places:
        while word < begin - _LONGEST_START:
            word = next(words, len(text))
        if word < end:
            kept.append((begin, end))
    return kept


def _floods(text: bytes, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in places:
        if joined and begin - joined[-1][1] <= _CLOSE_BYTES:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((max(0, begin - _LONGEST_START), end))
    return [
        (begin, end)
        for begin, end in joined
        if end - begin > _MOST_CLUES and len(_FLOOD_WORD.findall(text, begin, end)) > _MOST_CLUES
    ]


def find_pending(text: bytes) -> int:
    """From where on the end of a text may be a word whose value follows on the next line; else its length."""
    end = text.rfind(b"\n")
    held = len(text)
    # A name and its value may stand on two lines each, in either order.
    for _ in range(_PENDING_LINES):
        start = text.rfind(b"\n", max(0, end - _PENDING_LINE_BYTES), max(end, 0)) + 1
        if end < 0 or end - start > _PENDING_LINE_BYTES or not _PENDING.search(text, start, end):
            break
        held = start
        end = start - 1
    return held


def _is_secret_key(text: bytes, place: int) -> bool:
    before = text[place - 1 : place]
    return before in (b"?", b"&") or bool(_KEY_KIND.search(text, max(0, place - _KEY_KIND_BYTES), place))


def _is_within_word(text: bytes, place: int) -> bool:
    """Whether a short word is a part of another, as in `bypass`, and not of a name, as in `dbPass`."""
    before = text[place - 1 : place] if place else b""
    return before.isalpha() and (text[place : place + 1].islower() or before.isupper())
