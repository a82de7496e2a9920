"""The writer of whole files: whole or not at all, and nothing left behind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, b"old content, and longer than the new one"])
@pytest.mark.parametrize("data", [b"", b"new\n", b"x" * 100_000])
def test_replace_puts_the_new_content_in_place(tmp_path, before, data):
    path = tmp_path / "a.json"
    if before is not None:
        path.write_bytes(before)
    files.replace(path, data, below=tmp_path)
    assert path.read_bytes() == data
    assert left(tmp_path) == ["a.json"]


def test_replace_syncs_the_file_before_and_the_folder_after_the_rename(tmp_path, disk):
    calls = disk().calls
    files.replace(tmp_path / "a", b"x", below=tmp_path)
    assert calls == ["open", "write", "fsync", "close", "rename", "fsync"]
    calls.clear()
    files.replace(tmp_path / "a", b"x", durable=False, below=tmp_path)
    assert calls == ["open", "write", "close", "rename"]


def test_replace_gives_permissions_before_there_is_content(tmp_path):
    before = os.umask(0o022)
    try:
        files.replace(tmp_path / "public", b"x", below=tmp_path)
        files.replace(tmp_path / "private", b"x", mode=files.PRIVATE, below=tmp_path)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("public", "private")]
    assert modes == [0o644, 0o600]


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("fail_at", range(6))
def test_whatever_fails_there_is_the_old_file_or_the_new_one_and_nothing_else(
    tmp_path, disk, before, fail_at
):
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)
    calls = disk(fail_at=fail_at).calls
    with pytest.raises(StorageError) as refused:
        files.replace(path, b"new", below=tmp_path)
    assert refused.value.message == f"Cannot write {path}: No space left on device."
    assert refused.value.hint is not None
    assert isinstance(refused.value.__cause__, OSError)
    renamed = calls.count("rename") == 1 and fail_at > calls.index("rename")
    content = path.read_bytes() if path.exists() else None
    assert content == (b"new" if renamed else before)
    assert left(tmp_path) in ([], ["a"])


def test_an_interrupt_leaves_no_temporary_file_either(tmp_path, monkeypatch):
    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.replace(tmp_path / "a", b"new", below=tmp_path)
    assert left(tmp_path) == []


def test_overwrite_keeps_the_very_file(tmp_path):
    path = tmp_path / "run.lock"
    files.overwrite(path, b"a long owner\n", below=tmp_path)
    inode = path.stat().st_ino
    files.overwrite(path, b"short\n", below=tmp_path)
    assert path.read_bytes() == b"short       \n"
    assert path.stat().st_ino == inode
    files.overwrite(path, b"longer than ever\n", below=tmp_path)
    assert path.read_bytes() == b"longer than ever\n"


def test_what_is_overwritten_is_never_half_empty(tmp_path, disk):
    path = tmp_path / "run.lock"
    files.overwrite(path, b"a long owner\n", below=tmp_path)
    calls = disk().calls
    files.overwrite(path, b"short\n", below=tmp_path)
    assert calls.count("write") == 1
    assert "ftruncate" not in calls


def test_remove_takes_what_is_there_and_minds_nothing_that_is_not(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    files.remove(path, below=tmp_path)
    files.remove(path, below=tmp_path)
    assert left(tmp_path) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="Cannot remove"):
        files.remove(tmp_path / "folder", below=tmp_path)


def test_only_a_folder_that_we_made_is_kept_from_git(tmp_path):
    files.make_folder(tmp_path / "a" / "b", ignored=True, below=tmp_path)
    assert left(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b" / ".gitignore").read_text().endswith("\n*\n")
    (tmp_path / "theirs").mkdir()
    files.make_folder(tmp_path / "theirs", ignored=True, below=tmp_path)
    assert left(tmp_path / "theirs") == []
    files.make_folder(tmp_path / "plain", below=tmp_path)
    assert left(tmp_path / "plain") == []


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StorageError, match="Cannot make the folder"):
            files.make_folder(path, below=tmp_path)


def test_a_new_folder_is_new_to_one_caller_only(tmp_path):
    assert files.make_new_folder(tmp_path / "run", below=tmp_path) is True
    assert files.make_new_folder(tmp_path / "run", below=tmp_path) is False
    with pytest.raises(StorageError):
        files.make_new_folder(tmp_path / "missing" / "run", below=tmp_path)


@pytest.mark.parametrize("most", [1, 3, 1_000])
def test_a_kernel_that_takes_less_than_it_is_given(tmp_path, disk, most):
    disk(most=most)
    data = bytes(range(256)) * 3
    files.replace(tmp_path / "a", data, below=tmp_path)
    assert files.create(tmp_path / "b", data, below=tmp_path) is True
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == data


def test_create_never_touches_what_is_there(tmp_path):
    path = tmp_path / "a"
    assert files.create(path, b"first", below=tmp_path) is True
    assert files.create(path, b"second", below=tmp_path) is False
    assert path.read_bytes() == b"first"
    assert left(tmp_path) == ["a"]


@pytest.mark.parametrize("fail_at", range(3))
def test_what_could_not_be_created_whole_is_not_there(tmp_path, disk, fail_at):
    disk(fail_at=fail_at)
    with pytest.raises(StorageError, match="Cannot write"):
        files.create(tmp_path / "a", b"content", below=tmp_path)
    assert left(tmp_path) == (["a"] if fail_at == 2 else [])


def test_only_temporaries_of_ours_are_swept(tmp_path):
    ours = (".a.json.1-0123abcd.tmp", "..heartbeat.22-ffffffff.tmp", ".b.json.3-0123abcd.tmp")
    others = (
        "a.json",
        ".a.json.tmp",
        ".a.json.1-0123abc.tmp",
        "a.json.1-0123abcd.tmp",
        ".a.json.1-0123ABCD.tmp",
    )
    for name in (*ours, *others):
        (tmp_path / name).write_bytes(b"x")
    assert files.remove_temporaries(tmp_path, of="a.json", below=tmp_path) == 1
    assert left(tmp_path) == sorted((*ours[1:], *others))
    assert files.remove_temporaries(tmp_path, below=tmp_path) == 2
    assert left(tmp_path) == sorted(others)
    assert files.remove_temporaries(tmp_path / "missing", below=tmp_path) == 0


def test_what_replace_leaves_behind_when_it_is_killed_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "unlink", lambda _path, **_: None)
    monkeypatch.setattr(files.os, "rename", lambda _old, _new, **_: pytest.fail("killed here"))
    for name in ("manifest.json", ".heartbeat"):
        with pytest.raises(pytest.fail.Exception):
            files.replace(tmp_path / name, b"x", below=tmp_path)
    monkeypatch.undo()
    assert len(left(tmp_path)) == 2
    assert files.remove_temporaries(tmp_path, below=tmp_path) == 2


def test_a_tree_is_removed_but_not_what_its_links_lead_to(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"x")
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "link").symlink_to(kept)
    files.remove_tree(tree, below=tmp_path)
    (tmp_path / "link").symlink_to(kept)
    files.remove_tree(tmp_path / "link", below=tmp_path)
    files.remove_tree(tmp_path / "missing", below=tmp_path)
    assert left(tmp_path) == ["kept"]
    assert left(kept) == ["file"]
