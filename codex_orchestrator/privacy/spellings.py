"""How programs write a character that they do not write as it is (docs/reference/privacy.md, "Encodings")."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

# Nobody writes these in another way.
PLAIN = r"[A-Za-z0-9_.-]"

_SHORT_ESCAPES = {
    "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "eE", "\0": "0",
}  # fmt: skip
# In a text within a text (JSON within JSON), backslashes are written with more backslashes.
_BACKSLASHES = (1, 2, 3, 4, 7, 8)
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos", "\xa0": "nbsp"}
# What shells write with a backslash, by shell.
_SHELL_MARKS = (" !\"#$&'()*,;<>?[\\]^`{|}~", " !\"#$&'()*;<>?[\\]^`{|}", " !\"#$&'()*,;<=>?@[\\]^`{|}~+%:/")
# What ends a quoted text in a shell, is written, and begins it again; what is doubled within one.
_IN_QUOTES = {"'": (b"'\\''", b"'\"'\"'", b"''"), '"': (b"'\"'", b'""')}


def encoded(text: str) -> bytes:
    """The bytes of a text, also of one that holds bytes that are none."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # Halves of characters, as JSON may have them.
        return text.encode("utf-8", "surrogatepass")


class Spellings:
    """All that a character may be written as.

    Attributes:
        by_first: The spellings by their first byte.
        by_last: The spellings by their last byte.
    """

    def __init__(self, spellings: Iterable[bytes]) -> None:
        self.by_first: dict[int, list[bytes]] = {}
        self.by_last: dict[int, list[bytes]] = {}
        for spelling in dict.fromkeys(spellings):
            self.by_first.setdefault(spelling[0], []).append(spelling)
            self.by_last.setdefault(spelling[-1], []).append(spelling)


@lru_cache(maxsize=4_096)
def spellings(character: str) -> Spellings:
    """All that a character may be written as."""
    return Spellings((encoded(character), *_others(character)))


@lru_cache(maxsize=2)
def digit_spellings(digit: str) -> Spellings:
    """All that ``+`` or ``/`` may be written as where it is a digit of base64."""
    return Spellings((encoded(digit), b"-" if digit == "+" else b"_", *_others(digit)))


def _others(character: str) -> Iterator[bytes]:
    raw = encoded(character)
    code = ord(character)
    for escape in _percent(raw, code):
        for percent in ("%", "%25", "%2525"):
            yield escape.replace("%", percent).encode()
    yield "".join(f"={byte:02X}" for byte in raw).encode()
    if character == " ":
        yield b"+"
    if character == "\n":
        yield b"\r\n"
    yield from _IN_QUOTES.get(character, ())
    for name in _entities(character, code):
        yield f"&{name};".encode()
        yield f"&amp;{name};".encode()
    for escape in _escapes(character, raw, code):
        for count in _BACKSLASHES:
            yield escape.replace("\\", "\\" * count).encode()
    if character in "\"'\\":
        yield b"%5C" + quote(raw).encode()


def _percent(raw: bytes, code: int) -> Iterator[str]:
    for form in ("%{:02X}", "%{:02x}"):
        yield "".join(form.format(byte) for byte in raw)
        if 0x80 <= code < 0x100:
            yield form.format(code)
    if code < 0x10000:
        yield f"%u{code:04X}"


def _entities(character: str, code: int) -> Iterator[str]:
    yield from (f"#{code}", f"#{code:03}", f"#x{code:x}", f"#x{code:X}", f"#x{code:02x}", f"#x{code:02X}")
    named = _ENTITIES.get(character)
    if named is not None:
        yield named
    elif code >= 0x80:
        from html.entities import codepoint2name  # Large, and seldom asked.

        if code in codepoint2name:
            yield codepoint2name[code]


def _escapes(character: str, raw: bytes, code: int) -> Iterator[str]:
    """What follows one backslash, or several."""
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = [units[place : place + 2].hex() for place in range(0, len(units), 2)]
    for hexadecimal in (str, str.upper):
        yield "".join(f"\\u{hexadecimal(pair)}" for pair in pairs)
        yield f"\\u{{{hexadecimal(f'{code:x}')}}}"
        yield "\\U" + hexadecimal(f"{code:08x}")
        yield "".join(f"\\x{hexadecimal(f'{byte:02x}')}" for byte in raw)
        if code < 0x100:
            yield f"\\x{hexadecimal(f'{code:02x}')}"
    yield "".join(f"\\{byte:03o}" for byte in raw)
    for short in _SHORT_ESCAPES.get(character, ""):
        yield f"\\{short}"
    if character == "\\" or (character.isascii() and character.isprintable()):
        yield f"\\{character}"


def wholes(text: str) -> Iterator[bytes]:
    """A text as programs write it that encode all of it in one way."""
    yield encoded(text)
    for literal in _literals(text):
        yield encoded(literal)
    for ascii_only in (False, True):
        nested = _json(_json(text, ascii_only=ascii_only), ascii_only=ascii_only)
        yield encoded(nested)
        yield encoded(_json(nested, ascii_only=ascii_only))
    for written in _addresses(text):
        for once in (written, _lower(written)):
            yield once.encode()
            yield once.replace("%", "%25").encode()
    for written in _markup(text):
        for all_of_it in (
            written,
            "".join(each if each.isascii() else f"&#{ord(each)};" for each in written),
        ):
            yield encoded(all_of_it)
            yield encoded(all_of_it.replace("&", "&amp;"))
    for quoted in _IN_QUOTES["'"]:
        yield encoded(text).replace(b"'", quoted)
    for marks in _SHELL_MARKS:
        yield encoded(_replaced(text, marks, lambda mark: f"\\{mark}"))


def _literals(text: str) -> Iterator[str]:
    """As JSON, JavaScript, Python and shells write it between quotation marks."""
    for ascii_only in (False, True):
        literal = _json(text, ascii_only=ascii_only)
        yield literal
        yield literal.replace("/", "\\/")
        bare = literal.replace('\\"', '"')
        yield bare.replace("'", "\\'")
        for whole, marks in ((literal, "&<>"), (bare, "\"&'+<>`")):
            for pattern in ("\\u{:04x}", "\\u{:04X}"):
                yield _replaced(whole, marks, lambda mark, pattern=pattern: pattern.format(ord(mark)))  # type: ignore[misc]
    yield from (written(text)[1:-1] for written in (repr, ascii))
    data = encoded(text)
    yield repr(data)[2:-1]
    for pattern in ("\\{:03o}", "\\x{:02x}", "\\x{:02X}"):
        kept = data.decode("latin-1").replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        yield "".join(each if each.isascii() else pattern.format(ord(each)) for each in kept)


def _markup(text: str) -> Iterator[str]:
    for quotation in ('"', "&quot;", "&#34;", "&#x22;"):
        for apostrophe in ("'", "&#39;", "&#x27;", "&apos;", "&#039;"):
            entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': quotation, "'": apostrophe}
            yield "".join(entities.get(each, each) for each in text)


def _json(text: str, *, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _addresses(text: str) -> Iterator[str]:
    raw = encoded(text)
    for safe in (
        "",
        "/",
        "!'()*",
        "!'()*~",
        "!$&'()*+,;=",
        "!$&'()*+,;=:",
        "!$&'()*+,;=:@/?",
        "!$&'()*+,;=:@/?#",
        "~",
    ):
        yield quote(raw, safe=safe)
    yield quote_plus(raw)
    yield quote_plus(raw, safe="*")


def _lower(written: str) -> str:
    pieces = written.split("%")
    return "%".join([pieces[0], *(piece[:2].lower() + piece[2:] for piece in pieces[1:])])


def _replaced(text: str, marked: str, written: Callable[[str], str]) -> str:
    return "".join(written(each) if each in marked else each for each in text)
