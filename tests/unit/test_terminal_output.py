"""Where progress goes, and who else prints there."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from pytest_codex.progress.pytest_writer import LinesAboveView, PatientWriter
from pytest_codex.progress.screen import OutputStream


@pytest.fixture
def pipe():
    """Both ends of a pipe, and a stream on its entry."""
    ours, theirs = os.pipe()
    stream = os.fdopen(theirs, "w", encoding="ascii")
    yield ours, stream
    for close in (stream.close, lambda: os.close(ours)):
        with suppress(OSError):
            close()


def test_what_is_written_is_there_at_once_and_after_what_others_have_written(pipe):
    ours, stream = pipe
    stream.write("theirs\n")
    out = OutputStream(stream)
    out.write("ours …\n")
    assert os.read(ours, 100) == b"theirs\nours \\u2026\n"
    assert not out.is_terminal
    assert out.size == (80, 24)


def test_its_own_descriptor_goes_where_the_stream_went(pipe, tmp_path):
    ours, stream = pipe
    out = OutputStream(stream, own=True)
    elsewhere = os.open(tmp_path / "captured", os.O_WRONLY | os.O_CREAT)
    os.dup2(elsewhere, stream.fileno())
    out.write("seen\n")
    assert os.read(ours, 100) == b"seen\n"
    out.close()
    out.write("not any more\n")
    os.close(elsewhere)
    assert (tmp_path / "captured").read_bytes() == b""


def test_a_stream_that_is_no_file_is_written_to_itself():
    stream = io.StringIO()
    out = OutputStream(stream, own=True)
    out.write("here\n")
    out.close()
    assert stream.getvalue() == "here\n"
    assert out.descriptor is None


def test_a_line_that_somebody_left_open_is_ended_once(pipe):
    ours, stream = pipe
    out = OutputStream(stream)
    out.is_open = True
    out.write("a\n")
    out.write("b\n")
    assert os.read(ours, 100) == b"\na\nb\n"
    assert not out.is_open


def test_where_nobody_reads_any_more_nothing_is_written(pipe):
    ours, stream = pipe
    out = OutputStream(stream)
    os.close(ours)
    out.write("lost\n")
    assert out._gone
    out.write("nor this\n")


def test_a_closed_stream_is_nobody():
    stream = io.StringIO()
    stream.close()
    OutputStream(stream).write("lost\n")


def waiting_in(descriptor) -> int:
    """How many bytes wait in a pipe."""
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]


def read_slowly(descriptor, into):
    """Read what there is to its end, in another thread, once the pipe is full."""

    def read():
        while waiting_in(descriptor) < 60_000:
            os.sched_yield()
        while data := os.read(descriptor, 65_536):
            into.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


@pytest.mark.parametrize("of_pytest", [False, True])
def test_a_reader_who_is_slow_is_waited_for_where_writing_does_not_wait(pipe, monkeypatch, of_pytest):
    ours, stream = pipe
    os.set_blocking(stream.fileno(), False)
    monkeypatch.setattr(sys, "stdout", stream)
    writer = SimpleNamespace(write_raw=stream.write, flush=stream.flush)
    write = PatientWriter(writer).write if of_pytest else OutputStream(stream).write
    seen: list[bytes] = []
    reader = read_slowly(ours, seen)
    for number in range(40):
        write(f"{number:02} {'x' * 10_000}\n")
    stream.close()
    reader.join()
    lines = b"".join(seen).split(b"\n")
    assert [line[:2] for line in lines] == [*(b"%02d" % number for number in range(40)), b""]
    assert {len(line) for line in lines[:-1]} == {10_003}


def test_pytest_s_own_words_do_without_a_reader_who_is_gone(pipe, monkeypatch):
    ours, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)
    writer = SimpleNamespace(write_raw=stream.write, flush=stream.flush)
    patience = PatientWriter(writer)
    os.close(ours)
    writer.write_raw("lost\n", flush=True)
    writer.write_raw("nor this\n")
    stream.write("by somebody else\n")
    patience.forget()
    stream.close()


# What pytest prints while there is a view.


class View(SimpleNamespace):
    """A screen that notes what is printed above it."""

    def __init__(self) -> None:
        super().__init__(is_drawn=False, above=[], before_drawing=None)

    def say_as_it_is(self, text: str) -> None:
        self.above.append(text)


@pytest.fixture
def printed():
    """A writer's output, the view, and the writer."""
    out: list[str] = []
    view, writer = View(), SimpleNamespace(write_raw=lambda text, flush=False: out.append(text))
    LinesAboveView(writer, view)
    return out, view, writer


def test_without_a_view_all_is_as_ever(printed):
    out, view, writer = printed
    writer.write_raw("collected 4 items")
    assert out == ["collected 4 items"]
    view.before_drawing()
    view.before_drawing()
    assert out == ["collected 4 items", "\n"]


def test_whole_lines_appear_above_the_view(printed):
    out, view, writer = printed
    view.is_drawn = True
    writer.write_raw("one\ntwo")
    writer.write_raw(" and three", flush=True)
    writer.write_raw("\x1b]9;4;1;50\x1b\\")
    writer.write_raw("\n")
    writer.write_raw("\r1 worker\r2 workers\n")
    writer.write_raw("rest")
    assert view.above == ["one", "two and three", "2 workers"]
    assert out == ["\x1b]9;4;1;50\x1b\\"]
    view.is_drawn = False
    writer.write_raw("!\n")
    assert out[1:] == ["rest!\n"]


def test_a_line_that_counts_up_and_never_ends_ends_with_the_view(printed):
    out, view, writer = printed
    view.is_drawn = True
    writer.write_raw("\rgw0 I")
    view.is_drawn = False
    writer.write_raw("\n")
    assert (view.above, out) == ([], ["\n"])
