"""Any work tree arrives as it is, and anything that a stage makes of it comes back so."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from codex_orchestrator.globs import rooted
from codex_orchestrator.workspace.rules import link_problem
from codex_orchestrator.workspace.snapshot import Entry, Outputs, Snapshot, digest_of
from tests.support.repositories import git_variables
from tests.support.workspaces import Travel, contents

LETTERS = st.sampled_from(
    [b"a", b"b", b".", b"-", b" ", b"\n", b"\\", b'"', b"\xff", b"\xc3\xa9", b"*", b"\x1b"]
)
NAMES = (
    st.lists(LETTERS, min_size=1, max_size=3)
    .map(b"".join)
    .filter(lambda name: name not in (b".", b".."))
    .map(lambda name: name.decode("utf-8", "surrogateescape"))
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENTS = st.sampled_from([b"", b"a", b"\0" * 3, b"text\n" * 40])
THINGS = st.one_of(
    st.tuples(st.sampled_from(["file", "executable"]), CONTENTS),
    st.just(("folder", b"")),
    st.tuples(st.just("link"), PATHS.map(lambda path: path.encode("utf-8", "surrogateescape"))),
)
TREES = st.dictionaries(PATHS, THINGS, max_size=8)


def build(root: Path, tree: dict[str, tuple[str, bytes]]) -> None:
    """Make a tree in a folder; what does not go together gives way to what comes later."""
    for path, (kind, data) in tree.items():
        place = root / os.fsdecode(path.encode("utf-8", "surrogateescape"))
        for above in reversed(place.relative_to(root).parents):
            here = root / above
            if here.is_symlink() or here.is_file():
                here.unlink()
            here.mkdir(exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        if kind == "folder":
            place.mkdir()
        elif kind == "link":
            place.symlink_to(os.fsdecode(data))
        else:
            place.write_bytes(data)
            place.chmod(0o755 if kind == "executable" else 0o644)


# Each goes over the disk several times.
@settings(max_examples=20)
@given(TREES, TREES, TREES)
def test_any_tree_arrives_and_comes_back(before, made, later):
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        travel = Travel(base, {**git_variables(base), "PATH": ""})
        build(travel.root, before)
        sender, copy = travel.sender(), travel.depot().copy("first")
        root = travel.bring(sender, copy)
        assert contents(root) == contents(travel.root, ".runs")
        build(root, made)
        travel.back(copy, sender, "**")
        assert contents(root) == contents(travel.root, ".runs")
        assert travel.sender().snapshot == sender.snapshot
        copy.remove()
        build(travel.root, later)
        copy = travel.depot().copy("second")
        root = travel.bring(travel.sender(), copy)
        assert contents(root) == contents(travel.root, ".runs")
        copy.remove()


ENTRIES = st.builds(
    lambda path, kind, data, target: (
        Entry(path, kind, len(data), digest_of(data))
        if kind in ("file", "executable")
        else Entry(path, kind, target=target if kind == "link" else "")
    ),
    PATHS,
    st.sampled_from(["file", "executable", "folder", "link"]),
    CONTENTS,
    PATHS,
)


@given(st.lists(ENTRIES, max_size=200))
def test_pages_and_outputs_are_read_as_they_were_written(entries):
    snapshot = Snapshot(entries)
    assert Snapshot.of_pages(snapshot.pages()) == snapshot
    outputs = Outputs(tuple(snapshot), tuple(entry.path for entry in snapshot))
    assert Outputs.loads(outputs.dumps()) == outputs


TARGETS = st.lists(st.sampled_from(["..", ".", "", "a", "b"]), min_size=1, max_size=6).map("/".join)


@given(st.dictionaries(st.sampled_from(["a", "b", "a/a", "a/b", "b/a/b"]), TARGETS, max_size=4))
def test_links_that_may_travel_lead_nowhere_outside_however_they_lead_on(links):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "root"
        root.mkdir()
        # Shallow first: what lies in a folder that is a link is no entry.
        placed = []
        for path, target in sorted(links.items(), key=lambda item: item[0].count("/")):
            above = [path[:place] for place, letter in enumerate(path) if letter == "/"]
            if link_problem(path, target) or any(one in placed for one in above):
                continue
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if not (root / path).exists():
                (root / path).symlink_to(target)
                placed.append(path)
        for path in placed:
            try:
                led = (root / path).resolve(strict=False)
            except (OSError, RuntimeError):  # They lead in circles.
                continue
            assert led.is_relative_to(root)


@given(PATHS, st.lists(st.sampled_from(["a", "*", "**", "?b", "a*"]), min_size=1, max_size=4).map("/".join))
def test_a_folder_with_something_that_matches_is_gone_into(path, pattern):
    glob = rooted(pattern)
    if glob.matches(path):
        above = path.split("/")[:-1]
        assert all(glob.leads_into("/".join(above[:depth])) for depth in range(len(above) + 1))
