"""What ``git diff-index --raw --numstat -z`` says of files."""

from __future__ import annotations

from codex_orchestrator.dataclass import dataclass


@dataclass(frozen=True)
class TrackedChange:
    """A file that git tracks, or tracked, and that differs from the base.

    Attributes:
        path: Its name from the top of the work tree.
        earlier: Its name before it was renamed; None where it was not.
        kind: ``A`` added, ``D`` deleted, ``R`` renamed, ``M`` and others changed.
        regular: Whether it was a regular file in the base.
        blob: Hash of what the base has there; zeros where it has nothing.
        same: Whether its content is what the base has.
        added: Lines added; None for a binary file.
        deleted: Lines deleted; None for a binary file.
    """

    path: bytes
    earlier: bytes | None
    kind: str
    regular: bool
    blob: str
    same: bool
    added: int | None
    deleted: int | None


def parse_diff(output: bytes) -> dict[bytes, TrackedChange]:
    """The files by path.

    Args:
        output: What git prints with ``--raw --numstat -z``: first all raw entries, then all numbers.
    """
    words = iter(output.split(b"\0"))
    raw: dict[bytes, tuple[bytes | None, list[str]]] = {}
    found = {}
    for word in words:
        if word.startswith(b":"):
            fields = word[1:].decode("ascii").split(" ")
            earlier = next(words) if fields[4][0] in "RC" else None
            # Of a file in conflict there is an entry for that, and one for the file.
            raw[next(words)] = earlier, fields
        elif word:
            added, deleted, path = word.split(b"\t", 2)
            if not path:
                path = [next(words), next(words)][1]
            earlier, fields = raw[path]
            found[path] = TrackedChange(
                path,
                earlier,
                fields[4][0],
                fields[0].startswith("100"),
                fields[2],
                fields[4] == "R100" or fields[2] == fields[3],
                _number(added),
                _number(deleted),
            )
    return found


def _number(digits: bytes) -> int | None:
    return None if digits == b"-" else int(digits)
