"""Archives of anything: read as they were written; with any byte changed, not taken for the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.archives.entries import Names
from codex_orchestrator.archives.reading import Archive
from codex_orchestrator.errors import UsageError
from tests.support.bundles import contents, packed

NAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), min_size=1, max_size=3).map(
    "/".join
)


@st.composite
def archives(draw: st.DrawFn) -> dict[str, bytes]:
    """Files by names that can lie beside each other."""
    names = Names()
    found = draw(st.dictionaries(NAMES, st.binary(max_size=200), max_size=6))
    return {name: content for name, content in found.items() if names.problem(name) is None}


def read(path: Path) -> dict[str, bytes] | None:
    """What is in an archive; None where it is refused or damaged."""
    try:
        archive = Archive(path)
    except UsageError:
        return None
    try:
        if list(archive.damages()):
            return None
        return {name: archive.stream(archive.path / name).read() for name in archive.names}
    finally:
        archive.close()


@given(archives())
def test_what_is_read_is_what_was_written(files):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        path.write_bytes(packed(files))
        assert read(path) == contents(path) == files
        assert packed(dict(reversed(files.items()))) == path.read_bytes()


@given(archives(), st.data())
def test_no_byte_can_be_changed_added_or_taken_away(files, data):
    content = packed(files)
    place = data.draw(st.integers(0, len(content) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = {
        content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :],
        content[:place] + content[place + 1 :],
        content[:place] + b"P" + content[place:],
        content[:place],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        for other in changed - {content}:
            path.write_bytes(other)
            found = read(path)
            # A name is what it says; that it is the right one, the list and the seals know.
            assert found is None or found.keys() != files.keys() or found == files
