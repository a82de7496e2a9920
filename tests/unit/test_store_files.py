"""The only writer of bytes: whole or not at all, and nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from codex_orchestrator.errors import StorageError
from codex_orchestrator.store import files

FULL = OSError(errno.ENOSPC, "No space left on device")


class Disk:
    """The system calls of `files`, of which one may fail or take only a part."""

    def __init__(self, *, fail_at: int | None = None, most: int | None = None) -> None:
        self._fail_at = fail_at
        self._most = most
        self.calls: list[str] = []

    def __getattr__(self, name: str):
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "rename", "close", "ftruncate"):
            return real

        def call(*arguments, **keywords):
            self.calls.append(name)
            if self._fail_at == len(self.calls) - 1:
                if name == "close":
                    real(*arguments)
                raise FULL
            if name == "write" and self._most is not None:
                return real(arguments[0], arguments[1][: self._most])
            return real(*arguments, **keywords)

        return call


@pytest.fixture
def disk(monkeypatch):
    """Put a `Disk` under `files`."""

    def install(**keywords) -> Disk:
        made = Disk(**keywords)
        monkeypatch.setattr(files, "os", made)
        return made

    return install


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, b"old content, and longer than the new one"])
@pytest.mark.parametrize("data", [b"", b"new\n", b"x" * 100_000])
def test_replace_puts_the_new_content_in_place(tmp_path, before, data):
    path = tmp_path / "a.json"
    if before is not None:
        path.write_bytes(before)
    files.replace(path, data)
    assert path.read_bytes() == data
    assert left(tmp_path) == ["a.json"]


def test_replace_syncs_the_file_before_and_the_folder_after_the_rename(tmp_path, disk):
    calls = disk().calls
    files.replace(tmp_path / "a", b"x")
    assert calls == ["open", "write", "fsync", "close", "rename", "open", "fsync", "close"]
    calls.clear()
    files.replace(tmp_path / "a", b"x", durable=False)
    assert calls == ["open", "write", "close", "rename"]


def test_replace_gives_permissions_before_there_is_content(tmp_path):
    before = os.umask(0o022)
    try:
        files.replace(tmp_path / "public", b"x")
        files.replace(tmp_path / "private", b"x", mode=files.PRIVATE)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("public", "private")]
    assert modes == [0o644, 0o600]


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("fail_at", range(8))
def test_whatever_fails_there_is_the_old_file_or_the_new_one_and_nothing_else(
    tmp_path, disk, before, fail_at
):
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)
    calls = disk(fail_at=fail_at).calls
    with pytest.raises(StorageError) as refused:
        files.replace(path, b"new")
    assert refused.value.message == f"Cannot write {path}: No space left on device."
    assert refused.value.hint is not None
    assert refused.value.__cause__ is FULL
    renamed = calls.count("rename") == 1 and fail_at > calls.index("rename")
    content = path.read_bytes() if path.exists() else None
    assert content == (b"new" if renamed else before)
    assert left(tmp_path) in ([], ["a"])


def test_an_interrupt_leaves_no_temporary_file_either(tmp_path, monkeypatch):
    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.replace(tmp_path / "a", b"new")
    assert left(tmp_path) == []


@pytest.mark.parametrize("most", [1, 3, 1_000])
def test_a_kernel_that_takes_less_than_it_is_given(tmp_path, disk, most):
    disk(most=most)
    data = bytes(range(256)) * 3
    files.replace(tmp_path / "a", data)
    files.append(tmp_path / "b", data)
    files.append(tmp_path / "b", data)
    log = files.LogFile(tmp_path / "c")
    log.write(data)
    log.close(durable=True)
    assert (tmp_path / "a").read_bytes() == data
    assert (tmp_path / "b").read_bytes() == data * 2
    assert (tmp_path / "c").read_bytes() == data


@pytest.mark.parametrize("fail_at", range(4))
def test_an_append_that_fails_says_so(tmp_path, disk, fail_at):
    path = tmp_path / "a"
    path.write_bytes(b"first\n")
    disk(fail_at=fail_at)
    with pytest.raises(StorageError, match="Cannot append to"):
        files.append(path, b"second\n")
    assert path.read_bytes().startswith(b"first\n")


def test_overwrite_keeps_the_very_file(tmp_path):
    path = tmp_path / "run.lock"
    files.overwrite(path, b"a long owner\n")
    inode = path.stat().st_ino
    files.overwrite(path, b"short\n")
    assert path.read_bytes() == b"short\n"
    assert path.stat().st_ino == inode


def test_remove_takes_what_is_there_and_minds_nothing_that_is_not(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    files.remove(path)
    files.remove(path)
    assert left(tmp_path) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="Cannot remove"):
        files.remove(tmp_path / "folder")


def test_only_a_folder_that_we_made_is_kept_from_git(tmp_path):
    files.make_folder(tmp_path / "a" / "b", ignored=True)
    assert left(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b" / ".gitignore").read_text().endswith("\n*\n")
    (tmp_path / "theirs").mkdir()
    files.make_folder(tmp_path / "theirs", ignored=True)
    assert left(tmp_path / "theirs") == []
    files.make_folder(tmp_path / "plain")
    assert left(tmp_path / "plain") == []


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StorageError, match="Cannot make the folder"):
            files.make_folder(path)


def test_a_new_folder_is_new_to_one_caller_only(tmp_path):
    assert files.make_new_folder(tmp_path / "run") is True
    assert files.make_new_folder(tmp_path / "run") is False
    with pytest.raises(StorageError):
        files.make_new_folder(tmp_path / "missing" / "run")


def test_a_log_goes_on_where_it_was_and_closes_once(tmp_path):
    for line in (b"one\n", b"two\n"):
        log = files.LogFile(tmp_path / "log")
        log.write(line)
        log.close(durable=False)
        log.close(durable=True)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    with pytest.raises(StorageError, match="Cannot open"):
        files.LogFile(tmp_path / "missing" / "log")


def test_a_log_that_cannot_be_synced_is_closed_all_the_same(tmp_path, disk):
    log = files.LogFile(tmp_path / "log")
    calls = disk(fail_at=0).calls
    with pytest.raises(StorageError, match="Cannot append to"):
        log.close(durable=True)
    assert calls == ["fsync", "close"]
