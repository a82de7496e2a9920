"""Snapshots as values: what may be in one, its pages, what outputs make of it, and blobs on their way."""

from __future__ import annotations

import pytest

from codex_orchestrator.globs import rooted
from codex_orchestrator.workspace.pieces import Piece, batches, pieces_of
from codex_orchestrator.workspace.returning import problems
from codex_orchestrator.workspace.rules import Kept, given_up, lies_in, link_problem, path_problem
from codex_orchestrator.workspace.snapshot import DamagedSnapshot, Entry, Outputs, Snapshot, digest_of

A, B = digest_of(b"a"), digest_of(b"b")


def file(path: str, sha256: str = A) -> Entry:
    return Entry(path, "file", 1, sha256)


def folder(path: str) -> Entry:
    return Entry(path, "folder")


def link(path: str, target: str) -> Entry:
    return Entry(path, "link", target=target)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a", None),
        ("a/b.txt", None),
        ("a\nb/..c/...", None),
        ("\udcff", None),
        (".github/x", None),
        (".gitignore", None),
        ("", "it is no path"),
        ("/etc/passwd", "it is absolute"),
        ("..", "it leads out of the root"),
        ("a/../b", "it leads out of the root"),
        ("a//b", "it is no path"),
        ("./a", "it is no path"),
        ("a/", "it is no path"),
        ("a\0b", "it is no path"),
        (".git", "it lies in .git"),
        ("a/.GIT/hooks/x", "it lies in .git"),
    ],
)
def test_paths(path, problem):
    assert path_problem(path) == problem


@pytest.mark.parametrize(
    ("path", "target", "problem"),
    [
        ("a", "b", None),
        ("a", "./b//c", None),
        ("a/b/c", "../../d", None),
        ("a/b", "..", None),
        ("a", "..b/c", None),
        ("a", "b\n", None),
        ("a", "", "it leads nowhere"),
        ("a", "/etc", "it leads to an absolute path, /etc"),
        ("a", "..", "it leads out of the root, to .."),
        ("a/b", "../../c", "it leads out of the root, to ../../c"),
        ("a/b", ".././../c", "it leads out of the root, to .././../c"),
        # `b` may be a link that leads up.
        ("a", "b/../c", "it goes into a folder and out again, to b/../c"),
        ("a", "b/../../c", "it goes into a folder and out again, to b/../../c"),
        ("a", ".git/config", "it leads into .git, to .git/config"),
        ("a/b", "../.git", "it leads into .git, to ../.git"),
    ],
)
def test_links(path, target, problem):
    assert link_problem(path, target) == problem


def test_a_path_lies_in_a_folder_by_whole_names():
    assert lies_in("out/a", ["out"])
    assert lies_in("out", ["out"])
    assert not lies_in("outer/a", ["out"])


@pytest.mark.parametrize(
    ("limit", "in_use", "gone"),
    [
        (30, "", []),
        (29, "", ["old"]),
        (20, "", ["old"]),
        (19, "", ["old", "middle"]),
        (0, "", ["old", "middle", "new"]),
        (19, "old", ["middle", "new"]),
        (0, "old middle new", []),
    ],
)
def test_a_store_gives_up_what_was_not_used_for_longest(limit, in_use, gone):
    blobs = [Kept("new", 10, 3.0), Kept("old", 10, 1.0), Kept("middle", 10, 2.0)]
    assert list(given_up(blobs, set(in_use.split()), limit)) == gone


def test_pages_are_read_as_they_were_written():
    entries = [
        file("a\nb"),
        Entry("x.sh", "executable", 3, B),
        link("l\udcff", "d/\udcfe"),
        folder("empty/é"),
        *(file(f"many/{number}") for number in range(500)),
    ]
    snapshot = Snapshot(entries)
    pages = list(snapshot.pages())
    assert len(pages) > 2
    assert Snapshot.of_pages(pages) == snapshot
    assert [entry.path for entry in snapshot] == sorted(entry.path for entry in entries)


@pytest.mark.parametrize("where", ["flat/", "{0}/"])
def test_few_pages_differ_where_little_does(where):
    before = [file(where.format(number % 50) + str(number)) for number in range(5000)]
    after = [file(e.path, B) if e.path.endswith(("/7", "/77", "/777")) else e for e in before]
    after += [file(where.format(7) + "new")]
    old, new = set(Snapshot(before).pages()), set(Snapshot(after).pages())
    # Each change is on a page of its own at most; a page and the names of all of them stay under the 100 kB.
    assert 1 <= len(new - old) <= 4
    assert sum(map(len, new - old)) + 64 * len(new) < 100_000


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"7",
        b'["f"]',
        b'["f","a",1]',
        b'["f","a",-1,"' + A.encode() + b'"]',
        b'["f","a","1","' + A.encode() + b'"]',
        b'["f","a",1,"../' + A.encode()[3:] + b'"]',
        b'["f","../a",1,"' + A.encode() + b'"]',
        b'["f","/a",1,"' + A.encode() + b'"]',
        b'["f",7,1,"' + A.encode() + b'"]',
        b'["l","a","/etc"]',
        b'["l","a","../b"]',
        b'["l","a"]',
        b'["d",".git"]',
        b'["d","a","b"]',
        b'["z","a"]',
    ],
)
def test_what_is_no_entry_is_refused(line):
    with pytest.raises(DamagedSnapshot):
        Snapshot.of_pages([line])
    with pytest.raises(DamagedSnapshot):
        Outputs.loads(b"[1,[]]\n" + line)


@pytest.mark.parametrize("first", [b"", b"[2,[]]", b"[1]", b'[1,"a"]', b"[1,[7]]", b'[1,["../a"]]', b"{}"])
def test_what_are_no_outputs_is_refused(first):
    with pytest.raises(DamagedSnapshot):
        Outputs.loads(first)


def test_outputs_are_read_as_they_were_written():
    outputs = Outputs((file("a\nb"), link("l", "\udcff")), ("gone\n\udcff",))
    assert Outputs.loads(outputs.dumps()) == outputs


@pytest.mark.parametrize(
    ("before", "outputs", "after"),
    [
        ([file("a")], Outputs((file("a", B),)), [file("a", B)]),
        ([file("a")], Outputs((file("d/b"),)), [file("a"), file("d/b")]),
        ([file("a"), file("b")], Outputs((), ("a",)), [file("b")]),
        ([folder("d")], Outputs((file("d/a"),)), [file("d/a")]),
        ([file("d/a"), file("d/b/c")], Outputs((file("d"),)), [file("d")]),
        ([file("d")], Outputs((file("d/a"),), ("d",)), [file("d/a")]),
        ([file("a")], Outputs((link("a", "b"),)), [link("a", "b")]),
    ],
)
def test_a_snapshot_after_outputs(before, outputs, after):
    assert list(Snapshot(before).changed_by(outputs)) == after


def test_a_stage_is_given_what_its_inputs_name():
    snapshot = Snapshot(
        [file("src/a.py"), file("src/b/c.py"), file("src.py"), folder("data"), file("x/src/a")]
    )

    def chosen(*patterns):
        return [entry.path for entry in snapshot.selected(map(rooted, patterns))]

    assert chosen("src") == ["src/a.py", "src/b/c.py"]
    assert chosen("*.py", "data/") == ["data", "src.py"]
    assert chosen("**/a*") == ["src/a.py", "x/src/a"]
    assert chosen() == []


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (Outputs((file("dist/a"),)), []),
        (Outputs((file("src/a"),)), ['"src/a": no pattern of the stage\'s outputs names it']),
        (Outputs((file("dist/../../a"),)), ['"dist/../../a": it leads out of the root']),
        (Outputs((file("/dist/a"),)), ['"/dist/a": it is absolute']),
        (Outputs((file("dist/.git/config"),)), ['"dist/.git/config": it lies in .git']),
        (Outputs((file(".runs/t"),)), ['".runs/t": it lies in a folder of evidence']),
        (Outputs((link("dist/l", "../../x"),)), ['"dist/l": it leads out of the root, to ../../x']),
        (Outputs((file("src\na"),)), ['"src\\na": no pattern of the stage\'s outputs names it']),
        (Outputs((), ("dist/old",)), []),
        (Outputs((), ("dist/unknown",)), []),
        (Outputs((), ("src/kept",)), ['"src/kept", which is to be removed: no pattern of the stage']),
    ],
)
def test_outputs_that_may_not_be_written(outputs, told):
    before = Snapshot([file("dist/old"), file("src/kept")])
    patterns = [rooted("dist"), rooted(".runs"), rooted("/dist")]
    found = list(problems(outputs, patterns, [".runs"], before))
    assert len(found) == len(told)
    assert all(one.startswith(begin) for one, begin in zip(found, told, strict=True))


@pytest.mark.parametrize("chunks", [[], [b""], [b"a"], [b"a", b"bc"], [b"", b"a", b"", b"b"]])
def test_a_blob_in_pieces_is_the_same_blob(chunks):
    pieces = list(pieces_of(A, iter(chunks)))
    assert b"".join(piece.data for piece in pieces) == b"".join(chunks)
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    offsets = [sum(len(before.data) for before in pieces[:number]) for number in range(len(pieces))]
    assert [piece.offset for piece in pieces] == offsets


def test_batches_are_bounded():
    pieces = [Piece(A, 0, b"x" * size, last=True) for size in (400, 400, 400, 0, 5000, 1)]
    found = list(batches(pieces, 1000))
    assert [piece for batch in found for piece in batch] == pieces
    assert [len(batch) for batch in found] == [2, 3, 1]
    assert list(batches([])) == []
