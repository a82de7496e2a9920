"""Words that say what follows them, and where its value is: ``password: hunter2`` and the like.

All output is looked through here, so it is done in one search, in which classes of characters stand for
characters: three letters of each word are of the same three classes, of which the first is rare. What stands
after the word is a part of that search, so that a mere mention costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from . import looks
from .names import KEY_KINDS

REDACTED = b"[REDACTED]"
# The longest value in quotation marks that is seen as a whole.
QUOTED_BYTES = 16_384
_PAIR_BYTES = 512


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
    # Right after it a sign or a quotation mark; or a sign, a mark of a key, a number or a second line further on.
    rb"(?:[\x04\x05]|\x06{1,16}+(?:\x05|\?\x05|\x04\x04|[Bb][Ll]|[^\x06\r\n0-9!@#$%^*\x04]{0,40}+[0-9!@#$%^*\x04])|%3|\?\x05"
    rb"|\r?\n[\x06\x04]{0,64}+[Vv]\x02[Ll][Uu]\x02)"
)
# Before the three letters in "secret".
_LONGEST_START = 3

_WORD = re.compile(
    rb"(?P<chosen>pass(?:word|wd|phrase|code)s?|passwd)|secrets?|tokens?|credentials?|(?P<short>creds?|pwd|pass)|(?P<key>keys?)",
    re.IGNORECASE,
)
_KEY_KIND = re.compile(rb"(?:%b)s?[ _.-]?$" % KEY_KINDS.encode(), re.IGNORECASE)
_KEY_MARK = re.compile(rb"(?: block)?(?:-----| ----|%2d%2d)|-File-", re.IGNORECASE)
# What may follow a word and leave it what it is; all else needs a value beyond doubt.
_SUFFIX = re.compile(
    rb"(?P<same>(?:[_-]?(?:[0-9]{1,3}|prod(?:uction)?|dev(?:elopment)?|staging|stage|test(?:ing)?|live|value|base|access|old|new|current|primary"
    rb"|secondary|plain|plaintext|text|string|str|raw|data|b64|base64|key|pass|hash|salt|enc|encrypted|key)|[_-][a-z])*)(?![A-Za-z0-9_])"
    rb"|(?P<other>[A-Za-z0-9_]{1,40})",
    re.IGNORECASE,
)
_SAYS_ELSE = re.compile(
    rb"(?:_?(?:id|ids|name|names|file|path|dir|url|uri|type|types|length|len|size|count|rounds|ttl|expiry|expires\w*|timeout|enabled|required|policy"
    rb"|provider|helper|store|endpoint|header|field|prefix|pattern|algorithm|alg|method|mode|limit|version|info|rotation|reset|error|list|map|set|arn|ref|at|izer\w*|ize\w*))$",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(
    rb"(?P<close>\\{0,8}[\"'`])?[\])]{0,2}"
    rb"(?:(?P<pair>,?[ \t]{0,16}(?:\r?\n[ \t-]{0,64})?\\{0,8}[\"']?value\\{0,8}[\"']?[ \t]{0,16}[:=][ \t]{0,64})"
    rb"|(?P<next>[ \t]{0,16}:[ \t]{0,16}(?:[|>][+-]?[0-9]?[ \t]{0,16})?\r?\n[ \t]{1,64}(?![ \t-]))"
    rb"|(?P<before>[ \t]{0,16})(?P<sign>=>|:=|\?=|[=!]==?|=|:(?!:))(?P<after>[ \t]{0,64})"
    rb"|(?P<coded>%3[DA])"
    rb"|[ \t]{0,64}(?P<bar>\|)(?!\|)[ \t]{0,64}"
    rb"|(?P<tag>>)"
    rb"|(?P<comma>,)[ \t]{0,8}"
    rb"|(?P<space>[ \t]{1,64}))",
    re.IGNORECASE,
)
_OPENS = re.compile(rb"(?:[bBrRfFuU]{1,2}(?=[\"']))?(?P<quote>\\{0,8}[\"'`])(?=[^\s,;)\]}&|+])")
_SPACE = re.compile(rb"\s|\Z")
_LINE_END = re.compile(rb"[\r\n]|\Z")
# Where a value without quotation marks ends although no space does.
_CUT = re.compile(
    rb"[&;,](?:amp;)?[A-Za-z_][\w.-]{0,40}(?: [A-Za-z]{1,20})?=|\\{0,8}[\"'](?=[,;)\]}>:]|$)|\\{1,8}[\"']|</?[A-Za-z]|\\[nrt](?![A-Za-z0-9])|%26|%22"
)
# Where a number or the like ends, after a name in quotation marks.
_LITERAL_END = re.compile(rb"[,}\]\"']")
_CLOSING = b"\"'`,;)]}>\\"
_AFTER_NAME = b",;)]}([{.?"
_OPTION = re.compile(rb"(?:^|[\s\"'=\[(,])--?[A-Za-z][A-Za-z0-9_-]{0,40}$")
_COMMAND = re.compile(
    rb"(?:^|\n)[ \t]*(?:ENV|ARG|env|export|set|setx|setenv|machine[ \t]\S+(?:[ \t]+(?:login|account)[ \t]+\S+)?|login[ \t]+\S+|account[ \t]+\S+|default[ \t]+login[ \t]+\S+|RUN|requirepass|masterauth|config)?[ \t]+[A-Za-z0-9_.-]{0,40}$"
    rb"|(?:^|\n)[A-Za-z0-9_.-]{0,40}$|login[ \t]+\S{1,64}[ \t]+$"
)
_VALUE_BEFORE = re.compile(
    rb"\\{0,8}[\"']?value\\{0,8}[\"']?\s{0,16}[:=]\s{0,16}(?P<quote>\\{0,8}[\"']?)(?P<value>[^\"'\\\r\n]{6,400}?)(?P=quote)[,\s]{1,64}"
    rb"-?\s?\\{0,8}[\"']?(?:name|key)\\{0,8}[\"']?\s{0,16}[:=]\s{0,16}\\{0,8}[\"']?[\w.-]{0,64}$",
    re.IGNORECASE,
)
_NAMED = re.compile(rb"(?:name|key)\\{0,8}[\"']?\s{0,4}[:=]\s{0,4}\\{0,8}[\"']?[\w.-]{0,64}$", re.IGNORECASE)


class Clue(NamedTuple):
    """Where a word is that says secret."""

    start: int
    end: int
    chosen: bool
    key: bool


class Value(NamedTuple):
    """Where a value is; ``reaches`` is where what it was taken from ends."""

    start: int
    end: int
    reaches: int


def find_clues(text: bytes) -> tuple[list[Clue], list[int]]:
    """Where words are that say secret, and where marks of keys may be."""
    clues: list[Clue] = []
    marks: list[int] = []
    for match in _CANDIDATE.finditer(text.translate(_CODES)):
        found = None
        # The letters of a word may follow those of none, and the last word of a name is what it is.
        for word in _WORD.finditer(text, max(0, match.start() - _LONGEST_START), match.end()):
            if word["key"]:
                if _KEY_MARK.match(text, word.end()):
                    marks.append(word.start())
                    found = None
                    break
                if not _is_secret_key(text, word.start()):
                    continue
            elif word["short"] and word["short"].lower() != b"pwd" and _is_letter(text, word.start()):
                continue
            found = word
        if found is not None:
            clues.append(Clue(*found.span(), bool(found["chosen"] or found["short"]), bool(found["key"])))
    return clues, marks


def _is_secret_key(text: bytes, place: int) -> bool:
    return _KEY_KIND.search(text, max(0, place - 20), place) is not None or text[place - 1 : place] in {
        b"?",
        b"&",
    }


def _is_letter(text: bytes, place: int) -> bool:
    """Whether the letter before a short word makes it a part of another, as in `bypass`."""
    before = text[place - 1 : place] if place else b""
    return before.isalpha() and (text[place : place + 1].islower() or before.isupper())


class Reader:
    """Finds values in one text, of which no part is looked at again and again."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._closes: dict[bytes, tuple[int, int]] = {}
        self._spaces = (0, -1)

    def values(self, clues: list[Clue]) -> Iterator[Value]:
        """What follows words that say secret."""
        reached = 0
        for clue in clues:
            # What stands within a value is a part of it.
            value = self._value(clue) if clue.start >= reached else None
            if value is not None:
                reached = value.reaches
                yield value

    def _value(self, clue: Clue) -> Value | None:
        text = self._text
        suffix = _SUFFIX.match(text, clue.end)
        end, direct = clue.end, True
        if suffix is not None:
            end = suffix.end()
            if suffix["other"]:
                if _SAYS_ELSE.search(text, clue.end, end):
                    return None
                direct = False
        separator = _SEPARATOR.match(text, end)
        if separator is None:
            return self._before(clue)
        if separator["close"] and separator["pair"] is None:
            before = self._before(clue)
            if before is not None:
                return before
        kind = separator.lastgroup
        start = separator.end()
        if kind in {"space", "comma", "bar", "tag"}:
            return self._odd(clue, direct, separator, kind, start)
        if kind == "coded":
            return self._coded(start)
        opens = _OPENS.match(text, start)
        if opens is not None:
            return self._quoted(clue, direct, separator, opens)
        if kind == "next":
            return self._mixed(start, self._line_end(start), direct)
        return self._plain(clue, direct, separator, start)

    def _quoted(
        self, clue: Clue, direct: bool, separator: re.Match[bytes], opens: re.Match[bytes]
    ) -> Value | None:
        text, start = self._text, opens.end()
        close = self._close(opens["quote"], start)
        if close < 0:
            return self._plain(clue, direct, separator, start)
        value = text[start : min(close, start + 512)]
        if value == REDACTED or value.startswith(REDACTED):
            return None
        if separator["sign"] in {b"==", b"!=", b"===", b"!=="} or not direct:
            found = looks.is_random(value)
        else:
            found = looks.is_quoted_secret(value, chosen=clue.chosen)
        return Value(start, close, close) if found else None

    def _plain(self, clue: Clue, direct: bool, separator: re.Match[bytes], start: int) -> Value | None:
        text = self._text
        reaches = self._space(start)
        if reaches - start < looks.LEAST_CHARACTERS:
            return self._phrase(clue, direct, separator, start)
        cut = (_LITERAL_END if separator["close"] else _CUT).search(text, start, min(reaches, start + 4_096))
        end = cut.start() if cut else reaches
        whole = text[start : min(end, start + 1_024)]
        if end - start <= 1_024:
            whole = whole.rstrip(_CLOSING) if len(whole.rstrip(_CLOSING)) >= looks.LEAST_CHARACTERS else whole
            end = start + len(whole)
        if whole.startswith(REDACTED) and not whole.removeprefix(REDACTED).strip(_CLOSING):
            return None
        if whole[:1] in {b'"', b"'", b"`"} and len(whole) > 1:
            start, whole = start + 1, whole[1:]
        sign = separator["sign"]
        if sign in {b"==", b"!=", b"===", b"!=="} or not direct:
            found = looks.is_random(whole) and not looks.is_code(whole)
        else:
            tight = not separator["before"] and not separator["after"] and sign != b":"
            follows = text[end : end + 1]
            ends = (follows not in _AFTER_NAME or not follows) if cut is None else True
            if sign == b":" or separator["pair"]:
                tight = clue.chosen and follows in b"\r\n" and self._begins_line(clue)
            assigned = (
                tight and sign == b"=" and text[clue.start : clue.end].isupper() and self._begins_line(clue)
            )
            found = looks.is_plain_secret(
                whole, chosen=clue.chosen, tight=tight, ends=ends, assigned=assigned
            )
        if found:
            return Value(start, end, reaches)
        return self._phrase(clue, direct, separator, start)

    def _phrase(self, clue: Clue, direct: bool, separator: re.Match[bytes], start: int) -> Value | None:
        """Several words that somebody has chosen."""
        if not clue.chosen or not direct or separator["sign"] not in {b":", b"="}:
            return None
        line = self._text[start : start + 200].split(b"\n", 1)[0].rstrip(b"\r")
        return Value(start, start + len(line), start + len(line)) if looks.is_phrase(line) else None

    def _odd(
        self, clue: Clue, direct: bool, separator: re.Match[bytes], kind: str, start: int
    ) -> Value | None:
        text = self._text
        if kind == "comma":
            opens = _OPENS.match(text, start) if separator["close"] else None
            if opens is not None:
                return self._quoted(clue, direct, separator, opens)
            if (
                separator["close"]
                or not direct
                or text[start - 1 : start] != b","
                or not self._begins_line(clue)
            ):
                return None
            return self._mixed(start, self._space(start), direct)
        if kind == "tag":
            line = text[max(0, clue.start - 64) : clue.start]
            if not re.search(rb"<[A-Za-z_][\w:.-]*$|<$", line):
                return None
            end = text.find(b"<", start, start + 4_096)
            value = text[start:end]
            found = (
                end > start
                and direct
                and (
                    looks.is_quoted_secret(value, chosen=True)
                    or looks.is_plain_secret(value, chosen=clue.chosen, tight=clue.chosen, ends=True)
                )
            )
            return Value(start, end, end) if found else None
        if kind == "bar" and separator["close"]:
            return None
        if kind == "bar":
            return self._mixed(start, self._space(start), direct)
        line = text[max(0, clue.start - 100) : clue.start]
        opens = _OPENS.match(text, start)
        if _OPTION.search(line) or (
            opens is not None
            and re.search(rb"(?i)(?:ROLE|USER|LOGIN|WITH|BY|SET|ENCRYPTED|ALTER|CREATE)\b[^\n]*$", line)
        ):
            if opens is not None:
                return self._quoted(clue, direct, separator, opens)
            end = self._space(start)
            value = text[start : min(end, start + 512)]
            if not value.startswith(b"-") and looks.is_plain_secret(
                value, chosen=clue.chosen, tight=False, ends=True
            ):
                return Value(start, start + len(value.rstrip(_CLOSING)) if end - start < 512 else end, end)
            return None
        if separator["close"] is None and _COMMAND.search(line):
            return self._mixed(start, self._space(start), direct)
        return None

    def _coded(self, start: int) -> Value | None:
        match = re.compile(rb"(?:[A-Za-z0-9_.!~*'()+-]|%(?!26|22|2C|0A|0D)[0-9A-Fa-f]{2}){6,512}").match(
            self._text, start
        )
        return (
            Value(*match.span(), match.end())
            if match and looks.is_mixed(match[0].replace(b"%", b""))
            else None
        )

    def _mixed(self, start: int, end: int, direct: bool) -> Value | None:
        value = self._text[start : min(end, start + 512)]
        stripped = value.strip(_CLOSING + b"|\r ")
        if not stripped or value.startswith(REDACTED):
            return None
        start += value.index(stripped)
        if end - start <= 512:
            end = start + len(stripped)
        good = (
            looks.is_mixed(stripped) and not looks.is_code(stripped) if direct else looks.is_random(stripped)
        )
        return Value(start, end, end) if good and b" " not in stripped else None

    def _before(self, clue: Clue) -> Value | None:
        """A value that stands before its name, as in a list of pairs."""
        line = self._text[max(0, clue.start - _PAIR_BYTES) : clue.start]
        if not _NAMED.search(line, max(0, len(line) - 96)):
            return None
        match = _VALUE_BEFORE.search(line)
        if match is None or not looks.is_quoted_secret(match["value"], chosen=clue.chosen):
            return None
        start = max(0, clue.start - _PAIR_BYTES) + match.start("value")
        return Value(start, start + len(match["value"]), clue.end)

    def _begins_line(self, clue: Clue) -> bool:
        line = self._text[max(0, clue.start - 64) : clue.start]
        return re.search(rb"(?:^|\n)[\s\"'-]*[\w. -]*$", line) is not None

    def _close(self, quote: bytes, start: int) -> int:
        """Where what a quotation mark opens is closed, on the same line; -1 where it is not."""
        since, close = self._closes.get(quote, (0, -1))
        if not since <= start <= close:
            close = self._next_close(quote, start)
            self._closes[quote] = (start, close if close >= 0 else self._text_end(start))
        since, close = self._closes[quote]
        if close < len(self._text) and self._text.startswith(quote, close):
            return close
        return -1

    def _text_end(self, start: int) -> int:
        return min(start + QUOTED_BYTES, self._line_end(start))

    def _next_close(self, quote: bytes, start: int) -> int:
        limit = min(len(self._text), start + QUOTED_BYTES)
        place = self._text.find(quote, start, limit)
        while place > 0 and self._text[place - 1 : place] == b"\\":
            place = self._text.find(quote, place + 1, limit)
        return place if place >= 0 and self._text.find(b"\n", start, place) < 0 else -1

    def _space(self, start: int) -> int:
        """Where the word ends."""
        since, end = self._spaces
        if not since <= start <= end:
            match = _SPACE.search(self._text, start)
            end = match.start() if match else len(self._text)
            self._spaces = (start, end)
        return self._spaces[1]

    def _line_end(self, start: int) -> int:
        match = _LINE_END.search(self._text, start, start + QUOTED_BYTES)
        return match.start() if match else min(len(self._text), start + QUOTED_BYTES)


# The end of a line after which the next may hold a value.
_PENDING = re.compile(
    rb"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|cred|key)[\w.-]{0,40}\\{0,8}[\"']?"
    rb"(?:[ \t]{0,16}:[ \t]{0,16}(?:[|>][+-]?[0-9]?)?|,?)[ \t\r]{0,16}$"
    rb"|value\\{0,8}[\"']?[ \t]{0,16}[:=][^\n]{0,200}$",
    re.IGNORECASE,
)
_PENDING_LINE_BYTES = 256
_PENDING_LINES = 3


def find_pending(text: bytes) -> int:
    """From where on the end of a text may be a word whose value follows on the next line; else its length."""
    end = text.rfind(b"\n")
    held = len(text)
    # A name and its value may stand on two lines each, in either order.
    for _ in range(_PENDING_LINES):
        start = text.rfind(b"\n", max(0, end - _PENDING_LINE_BYTES), max(end, 0)) + 1
        if (
            end < 0
            or end - start > _PENDING_LINE_BYTES
            or not _PENDING.search(text, max(start, end - 240), end)
        ):
            break
        held = start
        end = start - 1
    return held
