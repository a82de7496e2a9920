"""What in a document is a path of its repository.

Pure. The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import re

_PATH = re.compile(r"(?:\.{0,2}/)?[\w.@+-]+(?:/[\w.@+-]+)*/?")
_PLACE = re.compile(r"(?:::.*|#.*|:\d+(?:[:-]\d+)*)$")
# T, R, NN and their like: one letter, perhaps repeated, stands for something else.
_STAND_IN = re.compile(r"(?:^|[/._-])([A-Z])\1*(?=$|[/._-])|YYYY")
_LONGEST_PATH = 4_096


def path_in(span: str) -> str:
    """The path that a span of code is, relative as written; empty where it is none.

    URLs, patterns, placeholders, absolute paths and single names are no paths of a repository.
    """
    if len(span) > _LONGEST_PATH:
        return ""
    bare = _PLACE.sub("", span.strip())
    if "/" not in bare or "..." in bare or bare.startswith(("/", "@", "-")) or not _PATH.fullmatch(bare):
        return ""
    if _STAND_IN.search(bare):
        return ""
    return bare.removeprefix("./")
