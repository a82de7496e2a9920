"""Which code in a page is a path of its repository.

Pure. The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import re

_PATH = re.compile(r"(?:\.{0,2}/)?[\w.@+-]+(?:/[\w.@+-]+)*/?")
_PLACE = re.compile(r"(?:::.*|#.*|:\d+(?:[:-]\d+)*)$")
# T, R, NN and their like: one letter, perhaps repeated, stands for something else.
_STAND_IN = re.compile(
    r"""
    (?:^|[/._-])([A-Z])\1*(?=$|[/._-]) | YYYY
    | (?:^|[/._-])(?:DATE|DIR|FILE|ID|NAME|PATH|SLUG|VERSION)(?=$|[/._-])
    | (?:^|/)(?:bar|baz|foo|foobar|qux|xxx+)(?=$|[/.])
    | (?:^|/)(?:my|some|your)[_-] | (?:^|/)my(?=[A-Z])
    | (?:^|/)(?:my|your)(?:app|application|code|lib|module|package|pkg|plugin|project|site)(?=$|[/._-])
    | (?:^|/)path/to(?=$|/)
    | (?:^|/)\d{2,}\.[a-z]+\.(?:md|rst|txt)$
    """,  # the last as of a changelog's fragments, which have an issue's number
    re.VERBOSE,
)
_KIND_OF_MEDIA = re.compile(
    r"(?:application|audio|font|image|message|model|multipart|text|video)/(?:[\w+-]+|(?:prs|vnd|x)\.[\w.+-]+)"
)
_ADDRESS = re.compile(r"\d+(?:\.\d+){3}(?:/\d+)?|[\d./-]+")
_VERSION = re.compile(r"@v?\d[\w.]*$|@(?:latest|main|master|next)$")
_LONGEST_PATH = 4_096


def path_in(span: str) -> str:
    """The path in a span of code, relative as written; empty where the span is no path.

    URLs, patterns, placeholders, absolute paths and single names are no paths of a repository.
    """
    if len(span) > _LONGEST_PATH:
        return ""
    bare = _PLACE.sub("", span.strip())
    if "/" not in bare or "..." in bare or bare.startswith(("/", "@", "-")) or not _PATH.fullmatch(bare):
        return ""
    if _STAND_IN.search(bare) or _VERSION.search(bare) or _ADDRESS.fullmatch(bare):
        return ""
    return bare.removeprefix("./")


def is_kind_of_media(path: str) -> bool:
    """Whether it is a media type such as ``text/html``."""
    return _KIND_OF_MEDIA.fullmatch(path) is not None
