"""What stands after a word that says secret, in the ways in which files and programs write values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from codex_orchestrator.privacy import looks
from codex_orchestrator.privacy.policy import LEAST_CHARACTERS
from codex_orchestrator.privacy.words import REDACTED, Clue

# The longest value in quotation marks that is seen as a whole.
_QUOTED_BYTES = 16_384
# As much of a value tells what it is.
_LOOKED_AT = 512
_CUT_WITHIN = 4_096
_LINE_BYTES = 100
_PAIR_BYTES = 512

# What may follow a word and leave it what it is; all else needs a value beyond doubt. Each part is taken in
# one way only, so the longest of those that begin alike comes first: in all ways, thirty would take for ever.
_SUFFIX = re.compile(
    rb"(?P<same>(?>[_-]?(?:[0-9]{1,3}|prod(?:uction)?|dev(?:elopment)?|staging|stage|test(?:ing)?|live|value|base64|base"
    rb"|access|old|new|current|primary|secondary|plaintext|plain|text|string|str|raw|data|b64|key|pass"
    rb"|hash|salt|encrypted|enc)|[_-][a-z])*)(?![A-Za-z0-9_])"
    rb"|(?P<other>[A-Za-z0-9_]{1,40})",
    re.IGNORECASE,
)
_SAYS_ELSE = re.compile(
    rb"_?(?:ids?|names?|file|path|dir|url|uri|types?|length|len|size|count|rounds|ttl|expiry|expires\w*|timeout"
    rb"|enabled|required|policy|provider|helper|store|endpoint|header|field|prefix|pattern|algorithm|alg|method"
    rb"|mode|limit|version|info|rotation|reset|error|list|map|set|arn|ref|at|izer\w*|ize\w*)$",
    re.IGNORECASE,
)
_MARKS = rb"\\{0,8}[\"']?"
_SEPARATOR = re.compile(
    rb"(?P<close>\\{0,8}[\"'`])?[\])]{0,2}"
    rb"(?:(?P<pair>,?[ \t]{0,16}(?:\r?\n[ \t-]{0,64})?%bvalue%b[ \t]{0,16}[:=][ \t]{0,64})"
    rb"|(?P<next>[ \t]{0,16}:[ \t]{0,16}(?:[|>][+-]?[0-9]?[ \t]{0,16})?\r?\n[ \t]{1,64}(?![ \t-]))"
    rb"|(?P<before>[ \t]{0,16})(?P<sign>=>|:=|\?=|[=!]==?|=|:(?!:))(?P<after>[ \t]{0,64})"
    rb"|(?P<coded>%%3[DA])"
    rb"|[ \t]{0,64}(?P<bar>\|)(?!\|)[ \t]{0,64}"
    rb"|(?P<tag>>)"
    rb"|(?P<comma>,)[ \t]{0,8}"
    rb"|(?P<space>[ \t]{1,64}))" % (_MARKS, _MARKS),
    re.IGNORECASE,
)
_COMPARED = (b"==", b"!=", b"===", b"!==")
_OPENS = re.compile(rb"(?:[bBrRfFuU]{1,2}(?=[\"']))?(?P<quote>\\{0,8}[\"'`])(?=[^\s,;)\]}&|+])")
_SPACE = re.compile(rb"\s")
# Where a value without quotation marks ends although no space does.
_CUT = re.compile(
    rb"[&;,](?:amp;)?[A-Za-z_][\w.-]{0,40}(?: [A-Za-z]{1,20})?=|\\{0,8}[\"'](?=[,;)\]}>:]|$)|\\{1,8}[\"']"
    rb"|</?[A-Za-z]|\\[nrt](?![A-Za-z0-9])|%26|%22"
)
# Where a number or the like ends, after a name in quotation marks.
_LITERAL_END = re.compile(rb"[,}\]\"']")
_CLOSING = b"\"'`,;)]}>\\"
_AFTER_NAME = b",;)]}([{.?"
_CODED_VALUE = re.compile(rb"(?:[A-Za-z0-9_.!~*'()+-]|%(?!26|22|2C|0A|0D)[0-9A-Fa-f]{2}){6,512}")

_OPTION = re.compile(rb"(?:^|[\s\"'=\[(,])--?(?:[A-Za-z][A-Za-z0-9_-]{0,40})?$")
_STATEMENT = re.compile(rb"(?:ROLE|USER|LOGIN|WITH|BY|SET|ENCRYPTED|ALTER|CREATE)\b[^\n]*$", re.IGNORECASE)
# Lines in which a name and a value stand with a space between them: of Dockerfiles, shells, and .netrc.
_COMMAND = re.compile(
    rb"(?:^|\n)[ \t]*(?:(?:ENV|ARG|env|export|set|setx|setenv)[ \t]+)?[A-Za-z0-9_.-]{0,40}$"
    rb"|(?:login|account)[ \t]+\S{1,64}[ \t]+$"
)
_LINE_BEGINS = re.compile(rb"(?:^|\n)[\s\"'-]*[\w. -]*$")
_TAG_BEGINS = re.compile(rb"<[\w:.-]*$")
_NAMED = re.compile(rb"(?:name|key)%b\s{0,4}[:=]\s{0,4}%b[\w.-]{0,64}$" % (_MARKS, _MARKS), re.IGNORECASE)
_NAMED_BYTES = 96
_VALUE_BEFORE = re.compile(
    rb"value%b\s{0,16}[:=]\s{0,16}(?P<quote>%b)(?P<value>[^\"'\\\r\n]{6,400}?)(?P=quote)[,\s]{1,64}-?\s?%b"
    rb"(?:name|key)%b\s{0,16}[:=]\s{0,16}%b[\w.-]{0,64}$" % (_MARKS, _MARKS, _MARKS, _MARKS, _MARKS),
    re.IGNORECASE,
)


class Value(NamedTuple):
    """Where a value is; ``reaches`` is where what it was taken from ends."""

    start: int
    end: int
    reaches: int


class _Place(NamedTuple):
    """Where a value may be.

    Attributes:
        clue: The word before it.
        direct: Whether the word is all that its name says.
        separator: What is between them.
        start: Where the value begins.
    """

    clue: Clue
    direct: bool
    separator: re.Match[bytes]
    start: int


class Reader:
    """Finds values in one text, of which no part is looked at again and again."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._closes: dict[bytes, tuple[int, int, bool]] = {}
        self._spaces = (0, -1)
        self._lines = (0, -1)
        self._cuts: dict[re.Pattern[bytes], tuple[int, int]] = {}
        # How a value is found where no sign is before it.
        self._readers: dict[str | None, Callable[[_Place], Value | None]] = {
            "comma": self._after_comma,
            "bar": self._after_bar,
            "tag": self._after_tag,
            "space": self._after_space,
            "coded": self._coded,
        }

    def values(self, clues: Sequence[Clue]) -> Iterator[Value]:
        """What follows words that say secret."""
        reached = 0
        for clue in clues:
            # What stands within a value is a part of it.
            value = self._value(clue) if clue.start >= reached else None
            if value is not None:
                reached = value.reaches
                yield value

    def _value(self, clue: Clue) -> Value | None:
        suffix = _SUFFIX.match(self._text, clue.end)
        end = suffix.end() if suffix is not None else clue.end
        other = suffix is not None and suffix["other"] is not None
        if other and _SAYS_ELSE.search(self._text, clue.end, end):
            return None
        separator = _SEPARATOR.match(self._text, end)
        if separator is None or (separator["close"] and separator["pair"] is None):
            before = self._before(clue)
            if before is not None or separator is None:
                return before
        place = _Place(clue, not other, separator, separator.end())
        kind = separator.lastgroup
        if kind in self._readers:
            return self._readers[kind](place)
        opens = _OPENS.match(self._text, place.start)
        if opens is not None:
            return self._quoted(place, opens)
        if kind == "next":
            return self._mixed(place, self._line_end(place.start))
        return self._plain(place)

    def _quoted(self, place: _Place, opens: re.Match[bytes]) -> Value | None:
        start = opens.end()
        close = self._close(opens["quote"], start)
        if close < 0:
            return self._plain(place._replace(start=start))
        value = self._text[start : min(close, start + _LOOKED_AT)]
        if value.startswith(REDACTED):
            return None
        if place.separator["sign"] in _COMPARED or not place.direct:
            found = looks.is_random(value)
        else:
            found = looks.is_quoted_secret(value, chosen=place.clue.chosen)
        return Value(start, close, close) if found else None

    def _plain(self, place: _Place) -> Value | None:
        text, start, sign = self._text, place.start, place.separator["sign"]
        reaches = self._space(start)
        if reaches - start < LEAST_CHARACTERS:
            return self._phrase(place)
        end = self._cut(_LITERAL_END if place.separator["close"] else _CUT, start, reaches)
        is_cut = end < reaches
        value = text[start : min(end, start + _LOOKED_AT)]
        if end - start <= _LOOKED_AT:
            stripped = value.rstrip(_CLOSING)
            value = stripped if len(stripped) >= LEAST_CHARACTERS else value
            end = start + len(value)
        if value.startswith(REDACTED) and not value.removeprefix(REDACTED).strip(_CLOSING):
            return None
        if value[:1] in (b'"', b"'", b"`"):
            start, value = start + 1, value[1:]
        if sign in _COMPARED or not place.direct:
            found = looks.is_random(value) and not looks.is_code(value)
        else:
            found = self._is_secret(place, value, end, is_cut)
        return Value(start, end, reaches) if found else self._phrase(place)

    def _is_secret(self, place: _Place, value: bytes, end: int, cut: bool) -> bool:
        clue, separator = place.clue, place.separator
        follows = self._text[end : end + 1]
        tight = not separator["before"] and not separator["after"]
        assigned = False
        if separator["sign"] == b":" or separator["pair"]:
            tight = clue.chosen and follows in b"\r\n" and self._begins_line(clue)
        elif tight:
            name = self._text[clue.start : clue.end]
            assigned = separator["sign"] == b"=" and name.isupper() and self._begins_line(clue)
        return looks.is_plain_secret(
            value,
            chosen=clue.chosen,
            tight=tight,
            ends=cut or not follows or follows not in _AFTER_NAME,
            assigned=assigned,
        )

    def _phrase(self, place: _Place) -> Value | None:
        """Several words that somebody has chosen."""
        if not place.clue.chosen or not place.direct or place.separator["sign"] not in (b":", b"="):
            return None
        line = self._text[place.start : place.start + 200].split(b"\n", 1)[0].rstrip(b"\r")
        end = place.start + len(line)
        return Value(place.start, end, end) if looks.is_phrase(line) else None

    def _after_comma(self, place: _Place) -> Value | None:
        """As in `define('DB_PASSWORD', 'hunter2')` and tables of commas."""
        if place.separator["close"]:
            opens = _OPENS.match(self._text, place.start)
            return self._quoted(place, opens) if opens is not None else None
        tight = self._text[place.start - 1 : place.start] == b","
        if not place.direct or not tight or not self._begins_line(place.clue):
            return None
        return self._mixed(place, self._space(place.start))

    def _after_bar(self, place: _Place) -> Value | None:
        """As in tables of vertical bars."""
        return None if place.separator["close"] else self._mixed(place, self._space(place.start))

    def _after_tag(self, place: _Place) -> Value | None:
        """As in `<password>hunter2</password>`."""
        clue, start = place.clue, place.start
        if not place.direct or not _TAG_BEGINS.search(self._text, max(0, clue.start - 64), clue.start):
            return None
        end = self._text.find(b"<", start, start + _CUT_WITHIN)
        value = self._text[start : max(start, end)]
        found = looks.is_quoted_secret(value, chosen=True) or looks.is_plain_secret(
            value, chosen=clue.chosen, tight=clue.chosen, ends=True
        )
        return Value(start, end, end) if found else None

    def _after_space(self, place: _Place) -> Value | None:
        """As in `--password hunter2`, `PASSWORD 'hunter2'` and `ENV DB_PASSWORD hunter2`."""
        text, clue, start = self._text, place.clue, place.start
        begin = max(0, clue.start - _LINE_BYTES)
        opens = _OPENS.match(text, start)
        is_option = text.rfind(b"-", begin, clue.start) >= 0 and _OPTION.search(text, begin, clue.start)
        if opens is not None:
            stated = is_option or _STATEMENT.search(text, begin, clue.start)
            return self._quoted(place, opens) if stated else None
        end = self._space(start)
        if is_option:
            value = text[start : min(end, start + _LOOKED_AT)].rstrip(_CLOSING)
            found = not value.startswith(b"-") and looks.is_plain_secret(
                value, chosen=clue.chosen, tight=False, ends=True
            )
            return (
                Value(start, start + len(value) if end - start < _LOOKED_AT else end, end) if found else None
            )
        if place.separator["close"] is None and _COMMAND.search(text, begin, clue.start):
            return self._mixed(place, end)
        return None

    def _coded(self, place: _Place) -> Value | None:
        """As in `password%3Dhunter2`."""
        match = _CODED_VALUE.match(self._text, place.start)
        if match is None or not looks.is_mixed(match[0].replace(b"%", b"")):
            return None
        return Value(*match.span(), match.end())

    def _mixed(self, place: _Place, end: int) -> Value | None:
        """A value that no word could be, where words are as likely."""
        start = place.start
        value = self._text[start : min(end, start + _LOOKED_AT)]
        stripped = value.strip(_CLOSING + b"|\r ")
        if not stripped or b" " in stripped or value.startswith(REDACTED):
            return None
        start += value.index(stripped)
        if end - start <= _LOOKED_AT:
            end = start + len(stripped)
        if not place.direct:
            return Value(start, end, end) if looks.is_random(stripped) else None
        return Value(start, end, end) if looks.is_mixed(stripped) and not looks.is_code(stripped) else None

    def _before(self, clue: Clue) -> Value | None:
        """A value that stands before its name, as in a list of pairs."""
        text, begin = self._text, max(0, clue.start - _PAIR_BYTES)
        if not _NAMED.search(text, max(0, clue.start - _NAMED_BYTES), clue.start):
            return None
        match = _VALUE_BEFORE.search(text, begin, clue.start)
        if match is None or not looks.is_quoted_secret(match["value"], chosen=clue.chosen):
            return None
        return Value(*match.span("value"), clue.end)

    def _begins_line(self, clue: Clue) -> bool:
        return _LINE_BEGINS.search(self._text, max(0, clue.start - 64), clue.start) is not None

    def _close(self, quote: bytes, start: int) -> int:
        """Where what a quotation mark opens is closed, on the same line; -1 where it is not."""
        since, until, closes = self._closes.get(quote, (0, -1, False))
        if not since <= start <= until:
            until = self._next_close(quote, start)
            closes = until >= 0
            if not closes:
                until = self._line_end(start)
            self._closes[quote] = (start, until, closes)
        return until if closes else -1

    def _next_close(self, quote: bytes, start: int) -> int:
        text, limit = self._text, self._line_end(start)
        place = text.find(quote, start, limit)
        while place > 0 and text[place - 1 : place] == b"\\":
            place = text.find(quote, place + 1, limit)
        return place

    def _space(self, start: int) -> int:
        """Where the word ends."""
        since, end = self._spaces
        if not since <= start <= end:
            match = _SPACE.search(self._text, start)
            end = match.start() if match else len(self._text)
            self._spaces = (start, end)
        return end

    def _cut(self, ends_at: re.Pattern[bytes], start: int, reaches: int) -> int:
        """Where a word ends for this purpose, at most where it ends at all."""
        since, end = self._cuts.get(ends_at, (0, -1))
        if not since <= start <= end:
            limit = min(reaches, start + _CUT_WITHIN)
            match = ends_at.search(self._text, start, limit)
            end = match.start() if match else limit
            self._cuts[ends_at] = (start, end)
        return reaches if end == start + _CUT_WITHIN else min(end, reaches)

    def _line_end(self, start: int) -> int:
        since, end = self._lines
        if not since <= start <= end:
            limit = min(len(self._text), start + _QUOTED_BYTES)
            place = self._text.find(b"\n", start, limit)
            end = place if place >= 0 else limit
            self._lines = (start, end)
        return end
