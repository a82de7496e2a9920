"""Archives: one way to write them; whatever was written otherwise is refused, or found when it is read."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from codex_orchestrator import places
from codex_orchestrator.archives.entries import Names, limit_problem, name_problem
from codex_orchestrator.archives.reading import Archive, Damaged
from codex_orchestrator.archives.writing import ArchiveWriter
from codex_orchestrator.errors import Misplaced, UsageError
from tests.support.bundles import packed
from tests.support.hostile_zips import Raw, zipped
from tests.support.projects import Project

GOOD = {"a": b"one\n", "b/c": b"two\n" * 1000, "b/d": b"", "é": b"\0\xff"}


def archive_of(tmp_path: Path, content: bytes) -> Archive:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    return Archive(path)


# ------------------------------------------------------------------ what is right


def test_what_is_written_is_a_zip_file_and_read_again(tmp_path):
    (tmp_path / "x.zip").write_bytes(packed(GOOD))
    with zipfile.ZipFile(tmp_path / "x.zip") as known:
        assert known.testzip() is None
        assert {name: known.read(name) for name in known.namelist()} == GOOD
    archive = Archive(tmp_path / "x.zip")
    assert list(archive.names) == list(GOOD)
    assert list(archive.damages()) == []
    for name, content in GOOD.items():
        assert archive.stream(archive.path / name).read() == content
    assert archive.listed(archive.path) == [("a", "file"), ("b", "folder"), ("é", "file")]
    archive.close()


def test_headers_made_by_hand_are_the_same(tmp_path):
    """So that the tables below differ from what is right in what they say, and in nothing else."""
    assert zipped(*(Raw(name.encode(), content) for name, content in GOOD.items())) == packed(GOOD)


def test_an_archive_stands_for_a_folder(tmp_path):
    archive = archive_of(tmp_path, packed(GOOD))
    below = archive.path
    assert not places.is_archived(below / "a")
    with places.mounted(archive, archive.path):
        assert places.is_archived(below / "a")
        assert not places.is_archived(tmp_path / "x.zipped")
        assert places.read(below / "a", below=below) == b"one\n"
        assert [*places.lines(below / "b/c", below=below / "b")] == [b"two\n"] * 1000
        assert places.listed(below / "b", below=below) == [("c", "file"), ("d", "file")]
        assert places.listed(below / "no", below=below) == []
        assert sorted(path.name for path, _ in places.walked(below, below=below)) == ["a", "b", "c", "d", "é"]
        assert places.status(below / "no", below=below) is None
        assert places.has_file(below / "a", below=below)
        assert places.has_folder(below / "b", below=below)
        assert places.link_target(below / "a", below=below) is None
        with pytest.raises(FileNotFoundError):
            places.read(below / "no", below=below)
        with pytest.raises(Misplaced):
            places.open_stream(below / "b", below=below)
        with pytest.raises(Misplaced):
            places.read(below / "a", below=below, at_most=3)
        with pytest.raises(Misplaced), places.folder(below / "b", below=below):
            pass
    with pytest.raises(Misplaced):
        places.read(below / "a", below=below)
    archive.close()


def test_large_content_is_read_in_pieces_from_its_beginning(tmp_path):
    content = os.urandom(1000) * 20_000
    archive = archive_of(tmp_path, packed({"a": content}))
    with archive.stream(archive.path / "a") as stream:
        assert b"".join(iter(lambda: stream.read(77_777), b"")) == content
        assert stream.tell() == len(content)
        stream.seek(0)
        assert stream.read(10) == content[:10]
        with pytest.raises(OSError, match="too large to be read from its end"):
            stream.seek(19_000_000)
    archive.close()


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name",
    [
        *("", "/a", "//a", "../a", "a/../b", "a/..", "..", ".", "a/./b", "a//b", "a/"),
        *("C:a", "c:/a", "\\a", "a\\b", "a" * 1001, "\ud800", "a\u202eb", "a\u200bb", "a\ufeff"),
        *("a\0b", "a\nb", "a\x1b[2Jb", "a\x7fb", "a\x85b"),
    ],
)  # fmt: skip
def test_names_that_nothing_is_called(name):
    assert name_problem(name) is not None


@pytest.mark.parametrize(
    "name", ["a", ".runs/t/cli/r/a b", "é", "a" * 1000, "CON", "...", "a..b", "~", "-rf", "$(x)"]
)
def test_names_that_are_fine(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *[("a", "A"), ("é", "e\u0301"), ("É", "e\u0301"), ("ß", "SS")],
        *[("a", "a/b"), ("a/b", "A"), ("x/a", "X/A"), ("a/b/c", "a/B")],
    ],
)
def test_names_of_which_one_system_or_another_would_make_one(first, second):
    names = Names()
    assert names.problem(first) is None
    assert names.problem(second) is not None


# ------------------------------------------------------------------ what is refused


A = Raw()
B = Raw(b"b")
LINK = 0o120777
ZIP64 = struct.pack("<HHQQ", 1, 16, 5, 7)
REFUSED: dict[str, tuple[bytes, str]] = {
    # names
    "absolute": (zipped(Raw(b"/etc/passwd")), "is absolute"),
    "dots": (zipped(Raw(b"../../x")), "leads elsewhere"),
    "dots inside": (zipped(Raw(b"a/../../x")), "leads elsewhere"),
    "backslashes": (zipped(Raw(b"..\\x")), "has a backslash"),
    "drive": (zipped(Raw(b"C:x")), "is absolute"),
    "folder": (zipped(Raw(b"a/", b"", mode=0o40755)), "has a header"),
    "folder as a file": (zipped(Raw(b"a/", b"")), "leads elsewhere"),
    "control": (zipped(Raw(b"a\x1b[31m")), "control character"),
    "newline": (zipped(Raw(b"a\nb")), "control character"),
    "nul": (zipped(Raw(b"a\0.txt")), "control character"),
    "right to left": (zipped(Raw("a\u202etxt".encode())), "control character"),
    "no text": (zipped(Raw(b"\xff\xfe")), "is no text"),
    "old encoding": (zipped(Raw("é".encode(), flags=0)), "has a header"),
    "empty": (zipped(Raw(b"")), "is empty"),
    "long": (zipped(A, Raw(b"b" * 1001)), "longer than"),
    "twice": (zipped(A, A), "is that of another one"),
    "by case": (zipped(Raw(b"A"), A), "is that of another one"),
    "by normal form": (zipped(Raw("e\u0301".encode()), Raw("é".encode())), "is that of another one"),
    "file and folder": (zipped(A, Raw(b"a/b")), "is that of another one"),
    "disorder": (zipped(B, A), "is not in its order"),
    # kinds
    "link": (zipped(Raw(content=b"/etc/passwd", mode=LINK)), "is a link"),
    "device": (zipped(Raw(mode=0o20644)), "has a header"),
    "executable": (zipped(Raw(mode=0o100755)), "has a header"),
    "by another system": (zipped(Raw(made_by=20)), "has a header"),
    "at another time": (zipped(Raw(moment=(1, 33))), "has a header"),
    "another disk": (zipped(Raw(disk=1)), "has a header"),
    "encrypted": (zipped(Raw(flags=1)), "is encrypted"),
    "strongly encrypted": (zipped(Raw(flags=0x41)), "is encrypted"),
    "stored": (zipped(Raw(method=0, packed=b"text\n")), "packed in a way (0)"),
    "bzip2": (zipped(Raw(method=12)), "packed in a way (12)"),
    "lzma": (zipped(Raw(method=14)), "packed in a way (14)"),
    "unknown": (zipped(Raw(method=4711)), "packed in a way (4711)"),
    "size after content": (zipped(Raw(flags=8)), "has a header"),
    "extra field": (zipped(Raw(extra=b"UT\1\0\0")), "has a header"),
    "comment of an entry": (zipped(Raw(comment=b"look")), "has a header"),
    # sizes and places
    "zip64 field": (zipped(Raw(extra=ZIP64, size=0xFFFF_FFFF, packed_size=0xFFFF_FFFF)), "zip64"),
    "zip64 extra alone": (zipped(Raw(extra=ZIP64)), "has a header"),
    "zip64 count": (zipped(A, end={"here": 0xFFFF, "all": 0xFFFF}), "zip64"),
    "zip64 start": (zipped(A, end={"start": 0xFFFF_FFFF}), "zip64"),
    "overlapping": (zipped(A, Raw(b"b", offset=0)), "overlaps"),
    "overlapping within": (zipped(A, Raw(b"b", offset=3)), "overlaps"),
    "quoted": (zipped(Raw(packed=Raw(b"b").local() + Raw(b"b").data), Raw(b"b", offset=31)), "overlaps"),
    "beyond the end": (zipped(Raw(offset=99_999)), "overlaps"),
    "local name": (zipped(A, local={"name": b"b"}), "one thing in front of it"),
    "local size": (zipped(A, local={"size": 4}), "one thing in front of it"),
    "local method": (zipped(A, local={"method": 0}), "one thing in front of it"),
    "local checksum": (zipped(A, local={"crc": 7}), "one thing in front of it"),
    "local extra": (zipped(A, local={"extra": b"UT\1\0\0"}), "one thing in front of it"),
    "leading": (zipped(A, before=b"#!/bin/sh\n"), "before its beginning"),
    "leading, told of": (zipped(A, before=b"#!/bin/sh\n", shift=10), "something is before it"),
    "between": (zipped(A, between=b"hidden"), "between its entries and its end"),
    "trailing": (zipped(A, after=b"\n"), "follows its end"),
    "comment": (zipped(A, end={"comment": b"hello"}), "follows its end"),
    "two ends": (zipped(A) + zipped(A), "before its beginning"),
    "another count": (zipped(A, end={"all": 2}), "not as it is written"),
    "several disks": (zipped(A, end={"disk": 1, "first": 1}), "not as it is written"),
    "fewer than there are": (zipped(A, B, end={"here": 1, "all": 1}), "between its entries"),
    "more than there are": (zipped(A, end={"here": 2, "all": 2}), "table of contents is cut off"),
    "no zip": (b"x" * 500, "it is no zip file, or cut off"),
    "nothing": (b"", "it is no zip file, or cut off"),
    "cut off": (zipped(A)[:-1], "follows its end"),
    "cut off early": (zipped(A)[:40], "it is no zip file, or cut off"),
    "cut off at the beginning": (zipped(A)[1:], "before its beginning"),
    "too many": (zipped(A, end={"here": 60_001, "all": 60_001}), "table of contents is too large"),
    "bomb": (zipped(Raw(size=3 << 30)), "more than 200 times as large"),
    "bomb of many": (zipped(*(Raw(b"%03d" % n, size=1 << 28) for n in range(9))), "more than 200 times"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(tmp_path, content, said):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no bundle that is read") as refused:
        Archive(path)
    assert said in refused.value.message
    assert len(refused.value.message.splitlines()) == 1


def test_each_of_these_is_one_clear_line_and_exit_2(tmp_path):
    project = Project(tmp_path)
    for name, (content, _) in REFUSED.items():
        (tmp_path / "x.zip").write_bytes(content)
        for command in ("verify", "status") if name in ("dots", "link", "bomb") else ("verify",):
            done = project.cli(command, "--run", "x.zip")
            assert (done.returncode, done.stdout) == (2, ""), name
            assert done.stderr.startswith("error: ")
            assert done.stderr.isprintable() or done.stderr.count("\n") == 2
            assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
        lambda path: path.mkdir(),
        lambda path: None,
    ],
    ids=["link", "pipe", "folder", "nothing"],
)
def test_what_is_no_file(tmp_path, make):
    make(tmp_path / "x.zip")
    with pytest.raises(UsageError):
        Archive(tmp_path / "x.zip")


# ------------------------------------------------------------------ what is damaged


def flipped_data(entry: Raw) -> bytes:
    return bytes([entry.data[0] ^ 0x08]) + entry.data[1:]


DAMAGED = {
    "checksum": Raw(crc=1),
    "too small": Raw(size=4),
    "too large": Raw(size=6),
    "not packed": Raw(packed=b"\xff\xff\xff\xff"),
    "cut off": Raw(packed=A.data[:-1]),
    "nothing": Raw(packed=b""),
    "more behind": Raw(packed=A.data + b"hidden"),
    "two of them": Raw(packed=A.data + A.data),
    "a bomb that says it is small": Raw(content=b"\0" * 50_000_000, size=10),
    "another content": Raw(packed=B.data, content=b"texT\n", crc=zlib.crc32(b"text\t")),
}


@pytest.mark.parametrize("entry", DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_is_found_when_it_is_read(tmp_path, entry):
    archive = archive_of(tmp_path, zipped(entry, B))
    assert [name for name, _ in archive.damages()] == ["a"]
    with pytest.raises(Damaged):
        archive.stream(archive.path / "a").read()
    assert archive.stream(archive.path / "b").read() == b"text\n"
    archive.close()


def test_a_bomb_is_not_unpacked_further_than_it_says(tmp_path, monkeypatch):
    archive = archive_of(tmp_path, zipped(Raw(content=b"\0" * 100_000_000, size=10)))
    seen, unpacker = [], zlib.decompressobj

    class Counting:
        def __init__(self):
            self._unpacker = unpacker(-zlib.MAX_WBITS)

        def __getattr__(self, name):
            return getattr(self._unpacker, name)

        def decompress(self, packed, most):
            block = self._unpacker.decompress(packed, most)
            seen.append(len(block))
            return block

    monkeypatch.setattr("codex_orchestrator.archives.reading.zlib.decompressobj", lambda _: Counting())
    assert len(list(archive.damages())) == 1
    assert 0 < sum(seen) <= 1 << 18
    archive.close()


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("sizes", "is_too_large"),
    [
        ({"entries": 60_000, "content": 0, "file": 0}, False),
        ({"entries": 60_001, "content": 0, "file": 0}, True),
        ({"entries": 1, "content": 1 << 30, "file": 100}, False),
        ({"entries": 1, "content": (1 << 30) + 1, "file": 100}, True),
        ({"entries": 1, "content": 200 << 24, "file": 1 << 24}, False),
        ({"entries": 1, "content": (200 << 24) + 1, "file": 1 << 24}, True),
        ({"entries": 1, "content": 1, "file": 0xFFFF_FFFF}, True),
    ],
)
def test_limits(sizes, is_too_large):
    assert (limit_problem(**sizes) is not None) == is_too_large


def test_what_would_not_be_read_is_not_written(monkeypatch):
    monkeypatch.setattr("codex_orchestrator.archives.entries._HARMLESS_BYTES", 1_000)
    writer = ArchiveWriter(io.BytesIO())
    writer.add("a", io.BytesIO(b"\0" * 1_000_000))
    with pytest.raises(UsageError, match="more than 200 times as large"):
        writer.finish()
