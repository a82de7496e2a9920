"""Files of lines: whole lines or nothing of them, and a torn end is mended."""

from __future__ import annotations

import pytest

from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence.lines import LogFile, append, append_block, lines_backwards, mend_last_line


@pytest.mark.parametrize("most", [1, 3, 1_000])
def test_a_kernel_that_takes_less_than_it_is_given(tmp_path, disk, most):
    disk(most=most)
    data = bytes(range(256)) * 3 + b"\n"
    for _ in range(2):
        append(tmp_path / "a", data, below=tmp_path)
    log = LogFile(tmp_path / "b", below=tmp_path)
    log.write(data)
    log.write(data)
    log.close(durable=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == data * 2


@pytest.mark.parametrize("fail_at", range(4))
def test_an_append_that_fails_says_so(tmp_path, disk, fail_at):
    path = tmp_path / "a"
    path.write_bytes(b"first\n")
    disk(fail_at=fail_at)
    with pytest.raises(StorageError, match="Cannot append to"):
        append(path, b"second\n", below=tmp_path)
    assert path.read_bytes() in (b"first\n", b"first\nsecond\n")


def test_a_line_that_the_disk_took_a_part_of_is_taken_back(tmp_path, disk):
    path = tmp_path / "a"
    append(path, b"first\n", below=tmp_path)
    disk(most=3, fail_at=2)
    with pytest.raises(StorageError, match="No space left on device"):
        append(path, b"second\n", below=tmp_path)
    assert path.read_bytes() == b"first\n"


@pytest.mark.parametrize("cut_at_once", [True, False])
def test_a_log_goes_on_with_whole_lines_after_the_disk_was_full(tmp_path, disk, monkeypatch, cut_at_once):
    log = LogFile(tmp_path / "log", below=tmp_path)
    log.write(b"first\n")
    made = disk(most=3, fail_at=1)
    if not cut_at_once:
        monkeypatch.setattr(made, "ftruncate", refuse, raising=False)
    with pytest.raises(StorageError, match="No space left on device"):
        log.write(b"second\n")
    assert (tmp_path / "log").read_bytes() == (b"first\n" if cut_at_once else b"first\nsec")
    monkeypatch.undo()
    log.write(b"third\n")
    log.close(durable=True)
    assert (tmp_path / "log").read_bytes() == b"first\nthird\n"


def test_a_log_that_ends_with_a_torn_line_loses_it_when_it_is_closed(tmp_path, disk, monkeypatch):
    log = LogFile(tmp_path / "log", below=tmp_path)
    log.write(b"first\n")
    made = disk(most=3, fail_at=1)
    monkeypatch.setattr(made, "ftruncate", refuse, raising=False)
    with pytest.raises(StorageError):
        log.write(b"second\n")
    monkeypatch.undo()
    log.close(durable=False)
    assert (tmp_path / "log").read_bytes() == b"first\n"


def refuse(_descriptor, _length):
    raise OSError(5, "Input/output error")


WHOLE = b'{"a": 1}\n{"b": 2}\n'


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        (b"", b""),
        (WHOLE, WHOLE),
        (WHOLE + b"{", WHOLE),
        (WHOLE + b'{"c": "' + b"x" * 200_000, WHOLE),
        (WHOLE + b'{"c": "\xc3', WHOLE),
        (WHOLE + b'{"c": 3}', WHOLE + b'{"c": 3}\n'),
        (b'{"a"', b""),
        (b'{"a": 1}', b'{"a": 1}\n'),
        (b"x" * 65_535 + b"\n{", b"x" * 65_535 + b"\n"),
        (b"x" * 65_536 + b"\n", b"x" * 65_536 + b"\n"),
        (WHOLE + b"[" * 100_000, WHOLE),
    ],
    ids=lambda text: f"{text[:20]!r}-{len(text)}",
)
def test_the_end_of_a_file_whose_writer_died(tmp_path, text, mended):
    path = tmp_path / "log"
    path.write_bytes(text)
    mend_last_line(path, below=tmp_path)
    assert path.read_bytes() == mended
    LogFile(path, below=tmp_path).close(durable=False)
    assert path.read_bytes() == mended


def test_a_file_that_is_not_there_needs_no_mending(tmp_path):
    mend_last_line(tmp_path / "log", below=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_log_goes_on_where_it_was_and_closes_once(tmp_path):
    for line in (b"one\n", b"two\n"):
        log = LogFile(tmp_path / "log", below=tmp_path)
        log.write(line)
        log.close(durable=False)
        log.close(durable=True)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    with pytest.raises(StorageError, match="Cannot open"):
        LogFile(tmp_path / "missing" / "log", below=tmp_path)


def test_a_log_that_cannot_be_synced_is_closed_all_the_same(tmp_path, disk):
    log = LogFile(tmp_path / "log", below=tmp_path)
    calls = disk(fail_at=0).calls
    with pytest.raises(StorageError, match="Cannot append to"):
        log.close(durable=True)
    assert calls == ["fsync", "close"]


@pytest.mark.parametrize("size", [0, 1, 30_000, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_lines_are_read_from_the_end_back(tmp_path, size, count):
    path = tmp_path / "log"
    lines = [b"%d" % number + b"x" * size for number in range(count)]
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + b"what comes later\n")
    assert list(lines_backwards(path, len(whole), below=tmp_path)) == lines[::-1]


@pytest.mark.parametrize("before", [None, b"", b"theirs\n", b"theirs"])
def test_lines_in_a_file_that_others_write_begin_on_a_line_of_their_own(tmp_path, before):
    path = tmp_path / "a"
    if before is not None:
        path.write_bytes(before)
    append_block(path, b"ours\n", below=tmp_path)
    assert path.read_bytes() == (b"theirs\nours\n" if before else b"ours\n")
