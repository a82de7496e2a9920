"""Standard output and error: waits for a slow reader, and goes on without one that is gone.

A reader that goes away changes nothing but what is shown (docs/reference/command-line.md, "What is shown").
"""

from __future__ import annotations

import errno
import io
import os
import select
from typing import Any, TextIO

_BUFFER_BYTES = 65_536


def write_all(descriptor: int, data: bytes) -> None:
    """Write all data, in as many calls as the kernel needs."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            wait_until_writable(descriptor)


def wait_until_writable(descriptor: int) -> None:
    """Wait until a non-blocking descriptor takes more."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    waiting.poll()


def is_gone(error: OSError) -> bool:
    """Whether printing failed because nobody reads any more: a closed pipe, or a terminal that hung up."""
    return error.errno in (errno.EPIPE, errno.EIO)


class PatientOutput(io.RawIOBase):
    """A raw stream on a descriptor of the process that waits for slow readers.

    Attributes:
        is_read: Whether somebody reads, as far as is known; else what is written goes nowhere.
    """

    def __init__(self, descriptor: int) -> None:
        """Take a descriptor, which is never closed."""
        super().__init__()
        self.is_read = True
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write all data, however long that takes.

        Raises:
            OSError: What is written to refuses, as a full disk does.
        """
        if self.is_read:
            try:
                write_all(self._descriptor, data)
            except OSError as error:
                if not is_gone(error):
                    raise
                self.is_read = False
        return len(data)


def patient_stream(stream: TextIO) -> TextIO:
    """The same stream on a `PatientOutput`; a stream that is not the process's own is returned as it is."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(raw_stream(stream), PatientOutput):
        return stream
    try:
        raw: Any = PatientOutput(stream.fileno())
    except OSError:
        return stream  # It is no file.
    stream.flush()
    return io.TextIOWrapper(
        # As Python itself makes them: without a buffer where PYTHONUNBUFFERED is set.
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw, _BUFFER_BYTES),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def is_read(stream: TextIO | None) -> bool:
    """Whether somebody may still read what is written to a stream."""
    raw = raw_stream(stream)
    return not isinstance(raw, PatientOutput) or raw.is_read


def raw_stream(stream: TextIO | None) -> object:
    """The raw stream below a text stream."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)
