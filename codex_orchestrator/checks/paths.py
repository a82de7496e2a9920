"""Which code in a page is a path of its repository, and which file was meant by one that does not exist.

Pure. The rules are in docs/reference/guards.md, section "Docs guard".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from enum import IntEnum

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
_SHORTEST = 3  # letters; shorter names are alike by chance
_PAIR = 2  # words with a slash between them may be no path
# Found in many a project, so that one of that name elsewhere is another file.
_EVERYWHERE = re.compile(
    r"(?:__\w+__|admin|agents|app|bar|base|changelog|claude|cli|client|common|conf|config|conftest|constants"
    r"|contributing|core|example|foo|helpers?|index|lib|license|main|makefile|models?|module|package|plugin"
    r"|pyproject|readme|run|server|settings|setup|tasks|tests?|types|urls|utils?|version|views)\.\w+",
    re.IGNORECASE,
)
# Folders of what has a name elsewhere too.
_CONTAINERS = frozenset(
    {"", "apps", "crates", "deps", "external", "lib", "libs", "modules", "packages", "plugins"}
    | {"src", "submodules", "third-party", "third_party", "vendor"}
)
# Made of a file of another extension.
_BUILT = frozenset({".css", ".html", ".map", ".o", ".pdf", ".pyc", ".so"})


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


class Reach(IntEnum):
    """In how many of its folders a similar path may differ."""

    NONE = 0
    ONE = 1
    ALL = 99


def similar_path(path: str, lookalikes: Iterable[str], reach: Reach) -> str | None:
    """The file or folder probably meant: misspelled, with another extension or in another folder; else None.

    Args:
        path: A path that does not exist, with its folder; that of a folder with a slash at its end.
        lookalikes: The files and folders that have its name, or that lie in its folder.
        reach: In how many folders the result may differ from `path`.
    """
    relatives, bare = sorted(lookalikes), path.rstrip("/")
    depth = bare.count("/") + 1
    for tells in (is_misspelled, _differs_in_extension):
        for each in relatives:
            if tells(bare, "/".join(each.split("/")[-depth:])):
                return each
    name = posixpath.basename(bare)
    namesakes = [each for each in relatives if posixpath.basename(each) == name]
    if _is_telling(name) and len(namesakes) == 1:
        return namesakes[0] if _other_folders(bare, namesakes[0]) <= reach else None
    near = [each for each in namesakes if _other_folders(bare, each) == 1]
    if len(near) != 1 or reach is Reach.NONE:
        return None
    # Names of folders, and names that many files have, need a likeness of the whole.
    is_path = depth > _PAIR or path.endswith("/") or _is_known_pair(near[0], namesakes)
    is_meant = is_path if reach is Reach.ALL else depth > _PAIR and _is_telling(name)
    return near[0] if is_meant else None


def _is_known_pair(meant: str, namesakes: list[str]) -> bool:
    """Whether a pair like ``this/that`` is this folder, not owner and repository or two alternatives."""
    folder, _, name = meant.rpartition("/")
    return len(namesakes) == 1 and "/" not in folder and "." not in name[1:] and folder not in _CONTAINERS


def is_misspelled(written: str, meant: str) -> bool:
    """Whether two words differ by one typing error, or only in the case of letters.

    A typing error is a letter more, less or changed, or two in the wrong order. A changed digit is none, as
    ``part1`` and ``part2`` are two things, nor is a mark before a name, as in ``_private``.
    """
    shorter = min(len(written), len(meant))
    if written == meant or shorter < _SHORTEST or abs(len(written) - len(meant)) > 1:
        return False
    if written.lower() == meant.lower():
        return True
    half = (shorter - 2) // 2  # of what is alike before or after the slip, one part is as long
    if half > 0 and written[:half] != meant[:half] and written[-half:] != meant[-half:]:
        return False
    start = _alike(written, meant)
    end = _alike(reversed(written[start:]), reversed(meant[start:]))
    one, other = written[start : len(written) - end], meant[start : len(meant) - end]
    if len(one) == len(other) == 2:
        return one == other[::-1]
    is_private = one + other in ("_", ".") and (start == 0 or written[start - 1] == "/")
    return max(len(one), len(other)) == 1 and not (one + other).isdigit() and not is_private


def _alike(one: Iterable[str], other: Iterable[str]) -> int:
    """How many letters, or folders, two names have in common before they differ."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def _differs_in_extension(written: str, meant: str) -> bool:
    (stem, extension), (other_stem, other) = posixpath.splitext(written), posixpath.splitext(meant)
    return stem == other_stem and bool(extension and other) and extension not in _BUILT


def _is_telling(name: str) -> bool:
    """Whether a file name is so rare that a file of that name is most likely the one meant."""
    return bool(posixpath.splitext(name)[1]) and not _EVERYWHERE.fullmatch(name)


def _other_folders(written: str, meant: str) -> int:
    """In how many folders two paths differ."""
    one, other = written.split("/"), meant.split("/")
    start = _alike(one, other)
    end = _alike(reversed(one[start:]), reversed(other[start:]))
    return max(len(one), len(other)) - start - end
