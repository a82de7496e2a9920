"""How programs write a value, each by itself: what the guard's own spellings are held to."""

from __future__ import annotations

import html
import json
import re
import shlex
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from textwrap import wrap
from urllib.parse import quote, quote_plus

Encode = Callable[[str], bytes]


def _each(text: str, marks: str, written: Callable[[str], str]) -> str:
    return "".join(written(each) if each in marks else each for each in text)


def _lower(encoded: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)


def _json(text: str, **keys: bool) -> str:
    return json.dumps({"v": text}, **keys)


def _dotnet(text: str) -> str:
    return _each(json.dumps(text)[1:-1].replace('\\"', '"'), "\"&'+<>`", lambda mark: f"\\u{ord(mark):04X}")


def _go(text: str) -> str:
    literal = json.dumps(text, ensure_ascii=False)
    return _each(literal, "&<>\u2028\u2029", lambda mark: f"\\u{ord(mark):04x}")


def _bash_quoted(text: str) -> str:
    """As ``printf %q`` has it."""
    if any(not each.isprintable() or not each.isascii() for each in text):
        return f"$'{_ansi_c(text)}'"
    return _each(text, " !\"#$&'()*,;<>?[\\]^`{|}~", lambda mark: f"\\{mark}")


def _ansi_c(text: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}
    return "".join(
        known.get(each) or (each if each.isascii() else "".join(f"\\{byte:03o}" for byte in each.encode()))
        for each in text
    )


def _javascript(text: str) -> str:
    return json.dumps(text).replace("'", "\\'").replace('\\"', '"')


def _base64(before: bytes, width: int = 0, after: bytes = b"", alphabet=b64encode) -> Encode:
    def encode(text: str) -> bytes:
        whole = alphabet(before + text.encode() + after)
        return b"\n".join(whole[at : at + width] for at in range(0, len(whole), width)) if width else whole

    return encode


def _hex(width: int = 0, upper: bool = False) -> Encode:
    def encode(text: str) -> bytes:
        whole = text.encode().hex().upper() if upper else text.encode().hex()
        return "\n".join(wrap(whole, width)).encode() if width else whole.encode()

    return encode


ENCODINGS: dict[str, Encode] = {
    "raw": str.encode,
    "JSON in ASCII": lambda text: _json(text).encode(),
    "JSON": lambda text: _json(text, ensure_ascii=False).encode(),
    "JSON in JSON": lambda text: _json(_json(text)).encode(),
    "JSON in JSON in JSON": lambda text: _json(_json(_json(text))).encode(),
    "JSON of PHP": lambda text: _json(text).replace("/", "\\/").encode(),
    "JSON of Go": lambda text: _go(text).encode(),
    "JSON of .NET": lambda text: _dotnet(text).encode(),
    "an address": lambda text: quote(text, safe="").encode(),
    "a path": lambda text: quote(text).encode(),
    "a form": lambda text: quote_plus(text).encode(),
    "an address in lower case": lambda text: _lower(quote(text, safe="")).encode(),
    "encodeURIComponent": lambda text: quote(text, safe="!'()*").encode(),
    "encodeURI": lambda text: quote(text, safe="!'()*#$&+,/:;=?@").encode(),
    "user info": lambda text: quote(text, safe="!$&'()*+,;=").encode(),
    "an address in an address": lambda text: quote(quote(text, safe=""), safe="").encode(),
    "HTML": lambda text: html.escape(text).encode(),
    "HTML of others": lambda text: html.escape(text).replace("&quot", "&#34").replace("#x27", "#39").encode(),
    "XML": lambda text: html.escape(text, quote=False).replace('"', "&quot;").replace("'", "&apos;").encode(),
    "ASCII HTML": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
    "HTML twice": lambda text: html.escape(html.escape(text)).encode(),
    "shlex": lambda text: shlex.quote(text).encode(),
    "set -x": lambda text: ("'" + text.replace("'", "'\\''") + "'").encode(),
    "printf %q": lambda text: _bash_quoted(text).encode(),
    "ANSI C quoting": lambda text: f"$'{_ansi_c(text)}'".encode(),
    "repr": lambda text: repr(text).encode(),
    "ascii": lambda text: ascii(text).encode(),
    "repr of bytes": lambda text: repr(text.encode()).encode(),
    "JavaScript": lambda text: f"'{_javascript(text)}'".encode(),
    "base64": _base64(b""),
    "base64 for addresses": _base64(b"", alphabet=urlsafe_b64encode),
    "base64 after echo": _base64(b"", after=b"\n"),
    "base64 after a user": _base64(b"kim:"),
    "base64 after a name": _base64(b"API_TOKEN="),
    "base64 in JSON": _base64(b'{"auth": "', after=b'"}'),
    "base64 after a user, for addresses": _base64(b"me:", alphabet=urlsafe_b64encode),
    "base64 of 64 columns": _base64(b"someone:", 64, b"\n"),
    "base64 of 76 columns": _base64(b'{"a":"b","auth":"', 76, b'"}'),
    "hexadecimal": _hex(),
    "hexadecimal in capitals": _hex(upper=True),
    "hexadecimal of 60 columns": _hex(60),
}  # fmt: skip


def revealed(value: str, encode: Encode, passed: bytes) -> list[bytes]:
    """The runs of the value, and of it as it was encoded, that are to be seen; not of what is around it."""
    around = encode("#" * len(value.encode()))
    runs = {
        text[at : at + size]
        for text, size in ((value.encode(), 8), (encode(value), 14))
        for at in range(len(text) - size + 1)
    }
    seen = passed.replace(b"[REDACTED]", b"*")
    return sorted(run for run in runs if run in seen and run not in around)
