"""What is opened, listed, made and removed: below a chosen folder no link is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from codex_orchestrator import named, places, sources
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence import files, lines

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture
def base(tmp_path) -> Path:
    """The folder that the user has chosen, beside one that is nobody's business."""
    theirs = tmp_path / "theirs"
    (theirs / "inner").mkdir(parents=True)
    (theirs / "file").write_text("theirs\n")
    (theirs / "inner" / "file").write_text("theirs\n")
    chosen = tmp_path / "base"
    (chosen / "a" / "b").mkdir(parents=True)
    return chosen


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


Act = Callable[[Path, Path], object]

# Each is called with a path and the folder above it that is trusted.
READS: dict[str, Act] = {
    "read": lambda path, base: places.read(path, below=base),
    "stream": lambda path, base: places.open_stream(path, below=base).close(),
    "has_file": lambda path, base: places.has_file(path, below=base),
}
WRITES: dict[str, Act] = {
    "append": lambda path, base: lines.append(path, b"ours\n", below=base),
    "mend": lambda path, base: lines.mend_last_line(path, below=base),
    "log": lambda path, base: lines.LogFile(path, below=base).close(durable=False),
    "overwrite": lambda path, base: files.overwrite(path, b"ours\n", below=base),
}
# What goes by the name of a file in a folder: a link there is replaced or removed itself, one above is met.
BY_NAME: dict[str, Act] = {
    "replace": lambda path, base: files.replace(path, b"ours\n", below=base),
    "create": lambda path, base: files.create(path, b"ours\n", below=base),
    "remove": lambda path, base: files.remove(path, below=base),
    "remove_tree": lambda path, base: files.remove_tree(path, below=base),
    "move": lambda path, base: files.move(path, path.with_name("other"), below=base),
    "make_new_folder": lambda path, base: files.make_new_folder(path, below=base),
    "status": lambda path, base: places.status(path, below=base),
}
FOLDERS: dict[str, Act] = {
    "listed": lambda path, base: places.listed(path, below=base),
    "walked": lambda path, base: list(places.walked(path, below=base)),
    "has_folder": lambda path, base: places.has_folder(path, below=base),
    "make_folder": lambda path, base: files.make_folder(path, below=base),
    "sync_folder": lambda path, base: files.sync_folder(path, below=base),
    "remove_temporaries": lambda path, base: files.remove_temporaries(path, below=base),
}


@pytest.mark.parametrize("act", [*READS, *WRITES])
def test_a_link_in_the_place_of_a_file_is_named_and_what_it_leads_to_is_as_it_was(base, tmp_path, act):
    (base / "a" / "file").symlink_to(tmp_path / "theirs" / "file")
    before = snapshot(tmp_path / "theirs")
    with pytest.raises(Misplaced, match=r"base/a/file is a link, which is not followed here") as met:
        (READS | WRITES)[act](base / "a" / "file", base)
    assert met.value.hint.startswith("Remove it, or put a file in its place.")
    assert snapshot(tmp_path / "theirs") == before


@pytest.mark.parametrize("act", FOLDERS)
def test_a_link_in_the_place_of_a_folder_is_named(base, tmp_path, act):
    (base / "a" / "inner").symlink_to(tmp_path / "theirs" / "inner")
    before = snapshot(tmp_path / "theirs")
    with pytest.raises(Misplaced, match="base/a/inner is a link"):
        FOLDERS[act](base / "a" / "inner", base)
    assert snapshot(tmp_path / "theirs") == before


@pytest.mark.parametrize("act", [*READS, *WRITES, *BY_NAME, *FOLDERS])
@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_link_above_is_named_whatever_is_to_be_done(base, tmp_path, act, absolute, depth):
    theirs = tmp_path / "theirs"
    link = base.joinpath("a", *["c"] * (depth - 1), "link")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(theirs if absolute else os.path.relpath(theirs, link.parent))
    before = snapshot(theirs)
    with pytest.raises(Misplaced, match="link is a link"):
        (READS | WRITES | BY_NAME | FOLDERS)[act](link / "inner" / "file", base)
    assert snapshot(theirs) == before


@pytest.mark.parametrize("act", ["replace", "remove", "remove_tree"])
def test_a_link_that_is_replaced_or_removed_goes_itself(base, tmp_path, act):
    (base / "a" / "inner").symlink_to(tmp_path / "theirs" / "inner")
    before = snapshot(tmp_path / "theirs")
    BY_NAME[act](base / "a" / "inner", base)
    assert not (base / "a" / "inner").is_symlink()
    assert snapshot(tmp_path / "theirs") == before


def test_the_chosen_folder_itself_may_be_a_link(base, tmp_path):
    (tmp_path / "link").symlink_to(base)
    chosen = tmp_path / "link"
    files.replace(chosen / "a" / "file", b"ours", below=chosen)
    assert places.read(chosen / "a" / "file", below=chosen) == b"ours"
    assert places.listed(chosen / "a", below=chosen) == [("b", "folder"), ("file", "file")]


@pytest.mark.parametrize("act", [*READS, *WRITES])
def test_a_pipe_is_named_and_nobody_waits_for_it(base, act):
    os.mkfifo(base / "a" / "pipe")
    with pytest.raises(Misplaced, match="pipe is neither a file nor a folder where a file belongs"):
        (READS | WRITES)[act](base / "a" / "pipe", base)


@pytest.mark.parametrize("act", [*READS, *WRITES])
def test_a_folder_in_the_place_of_a_file_is_named(base, act):
    with pytest.raises(Misplaced, match="a/b is a folder where a file belongs"):
        (READS | WRITES)[act](base / "a" / "b", base)


def test_what_is_not_there_is_no_misplaced_thing(base):
    missing = base / "a" / "missing"
    assert places.listed(missing, below=base) == []
    assert places.status(missing / "deeper", below=base) is None
    assert not places.has_file(missing, below=base)
    with pytest.raises(FileNotFoundError):
        places.read(missing, below=base)


def test_a_path_that_leaves_the_chosen_folder_is_a_mistake_of_ours(base):
    for path in (base / ".." / "theirs" / "file", base.parent / "theirs" / "file"):
        with pytest.raises(ValueError, match="base"):
            places.read(path, below=base)


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
def test_what_is_read_as_a_whole_is_bounded(base, size, fits):
    path = base / "a" / "file"
    path.write_bytes(b"x" * size)
    if fits:
        assert len(places.read(path, below=base, at_most=10)) == size
    else:
        with pytest.raises(Misplaced, match="is larger than 10 bytes"):
            places.read(path, below=base, at_most=10)


def test_a_sparse_file_costs_no_memory(base):
    with (base / "a" / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Misplaced, match="is larger than"):
        places.read(base / "a" / "file", below=base)


# ------------------------------------------------------------------ races


def swapped(monkeypatch, path: Path, target: Path, at: int) -> list[int]:
    """Put a link in the place of a folder just before the n-th folder is opened."""
    opened: list[int] = []
    real = os.open

    def call(name, flags, *arguments, **keywords):
        if flags & os.O_DIRECTORY:
            opened.append(1)
            if len(opened) == at:
                path.rename(path.with_name("moved"))
                path.symlink_to(target)
        return real(name, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", call)
    return opened


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("act", [*READS, *WRITES, *BY_NAME, *FOLDERS])
def test_a_folder_that_becomes_a_link_between_two_steps_is_not_followed(base, tmp_path, monkeypatch, act, at):
    theirs = tmp_path / "theirs"
    for name in ("file", "inner"):
        (base / "a" / "b" / name).mkdir() if name == "inner" else (base / "a" / "b" / name).write_text("")
    (base / "a" / "b" / "inner" / "file").write_text("ours\n")
    before = snapshot(theirs)
    with monkeypatch.context() as patched:
        swapped(patched, base / "a" / "b", theirs, at)
        # Either it was met, or what was opened before it came was the right folder.
        try:
            (READS | WRITES | BY_NAME | FOLDERS)[act](base / "a" / "b" / "inner" / "file", base)
        except (StorageError, OSError) as error:
            assert isinstance(error, Misplaced | OSError)  # noqa: PT017
    assert snapshot(theirs) == before


def test_a_tree_is_emptied_where_it_was_opened_whatever_takes_its_place(base, tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    (base / "a" / "b" / "deep" / "deeper").mkdir(parents=True)
    before = snapshot(theirs)
    real = os.scandir
    looked = []

    def scandir(descriptor):
        looked.append(descriptor)
        if len(looked) == 2:
            (base / "a" / "b").rename(base / "moved")
            (base / "a" / "b").symlink_to(theirs)
        return real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        with pytest.raises(StorageError):
            files.remove_tree(base / "a" / "b", below=base)
    assert snapshot(theirs) == before


@pytest.mark.parametrize("depth", [1, 3, 1_500])
def test_no_depth_is_too_deep_to_remove(base, depth):
    tree = base / "a" / "tree"
    tree.mkdir()
    descriptor = os.open(tree, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=descriptor)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
        inner = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    files.remove_tree(tree, below=base)
    assert places.listed(base / "a", below=base) == [("b", "folder")]


def test_no_descriptor_is_left_open(base, tmp_path):
    (base / "a" / "link").symlink_to(tmp_path / "theirs")
    before = len(list(Path("/dev/fd").iterdir()))
    for act in (READS | WRITES | BY_NAME | FOLDERS).values():
        with pytest.raises(Misplaced):
            act(base / "a" / "link" / "file", base)
    assert len(list(Path("/dev/fd").iterdir())) == before


# ------------------------------------------------------------------ the repository, and what is named


def test_a_link_within_the_repository_is_followed(base):
    (base / "real.txt").write_text("text")
    (base / "a" / "link").symlink_to("../real.txt")
    (base / "way").symlink_to("a")
    assert sources.read(base / "way" / "link", root=base) == b"text"
    assert sources.kind(base / "way" / "link", root=base) == "file"
    assert sources.listed(base / "way", root=base) == [("b", "folder"), ("link", "link")]


@pytest.mark.parametrize("place", ["link", "way/file"])
def test_a_link_out_of_the_repository_is_refused(base, tmp_path, place):
    (base / "link").symlink_to(tmp_path / "theirs" / "file")
    (base / "way").symlink_to(tmp_path / "theirs")
    for act in (sources.read, sources.open_stream, sources.kind):
        with pytest.raises(Misplaced, match="leads out of"):
            act(base / place, root=base)


def test_what_leads_nowhere_or_in_a_circle_is_no_source(base):
    (base / "nowhere").symlink_to("missing")
    (base / "circle").symlink_to("circle")
    (base / "file").write_text("")
    assert sources.kind(base / "nowhere", root=base) is None
    for name in ("nowhere", "file/below"):
        with pytest.raises(FileNotFoundError):
            sources.read(base / name, root=base)
    with pytest.raises(Misplaced):
        sources.read(base / "circle", root=base)


def test_what_the_user_names_may_be_a_link_but_no_pipe(base, tmp_path):
    (base / "link").symlink_to(tmp_path / "theirs" / "file")
    assert named.read(base / "link") == b"theirs\n"
    os.mkfifo(base / "pipe")
    with pytest.raises(Misplaced):
        named.read(base / "pipe")


def test_the_current_folder_and_the_first_of_all_are_folders_too(base, monkeypatch):
    monkeypatch.chdir(base)
    (base / "a" / "x").write_text("x")
    assert places.read(Path("a/x"), below=Path()) == b"x"
    assert sorted(path for path, _ in places.walked(Path(), below=Path())) == [
        *(Path("a"), Path("a/b"), Path("a/x")),
    ]
    assert places.read(base / "a" / "x", below=Path("/")) == b"x"
    with pytest.raises(ValueError, match="does not stay below"):
        places.read(base / "a" / "x", below=Path())
