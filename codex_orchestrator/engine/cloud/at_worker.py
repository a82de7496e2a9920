"""What runs in a Dask worker: passes requests to a runner beside it, and frames from there to who asks.

The source of this module is sent to workers, which need not have this package: it imports the standard
library alone. No function that is called from afar raises, as a worker logs the arguments of calls that fail.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import subprocess
import sys
import threading
import zipfile
from collections import deque
from pathlib import Path
from typing import Any, Final

_HEADER = struct.Struct(">IIB")
_END: Final = 3
_GONE: Final = 6
# What a worker holds of output that nobody has asked for; above that, commands wait.
_BOX_BYTES = 2 << 20
_PIPE_BYTES = 1 << 20
# How long a request for output waits for some.
_PATIENCE_SECONDS = 1.0
_AFTERLIFE_SECONDS = 60.0
# A task is about to be there when its orchestrator answers.
_LOOKS, _LOOK_SECONDS = 400, 0.005
_RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from codex_orchestrator.engine.cloud.runner import main
main()
"""

_lock = threading.Lock()
_attempts: dict[tuple[str, int], _Attempt] = {}
_agents: dict[str, _Agent] = {}


class _Attempt:
    """An attempt of which this worker was told, by Dask or by the orchestrator, whichever was first."""

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.ended = threading.Event()
        self.state = "open"


def attend(run: str, number: int, patience_seconds: float) -> str:
    """Hold a thread of the worker while an attempt is made: the body of the Dask task.

    Returns:
        ``done`` when it was made here, ``refused`` where another worker makes it, ``unheard`` where nobody
        has answered in time.
    """
    attempt = _Attempt()
    with _lock:
        _attempts[run, number] = attempt
    try:
        if not attempt.decided.wait(patience_seconds):
            with _lock:
                if attempt.state == "open":
                    attempt.state = "unheard"
        if attempt.state == "started":
            attempt.ended.wait()
            return "done"
        return attempt.state
    finally:
        with _lock:
            _attempts.pop((run, number), None)


async def _attended(run: str, number: int) -> _Attempt | None:
    """An attempt that a thread of the worker is held for; None where there is none, or none any more."""
    for _ in range(_LOOKS):
        with _lock:
            if (run, number) in _attempts:
                return _attempts[run, number]
        await asyncio.sleep(_LOOK_SECONDS)
    return None


async def refuse(_worker: Any, run: str, number: int) -> str:
    """An attempt is not to be made here."""
    attempt = await _attended(run, number)
    if attempt is not None:
        attempt.state = "refused"
        attempt.decided.set()
    return "refused"


async def start(
    worker: Any,
    run: str,
    link: str,
    about: str,
    number: int,
    request: bytes,
    digest: str,
    package: bytes | None,
    lease: float,
) -> str:
    """Make an attempt.

    Args:
        worker: Dask's.
        run: The token of the orchestrator's session.
        link: The orchestrator's name for the runner that is to make it.
        about: The runs that the attempt is of, in a text that has their ids.
        number: The attempt's, in that session.
        request: What to tell the runner; empty where it is told later.
        digest: Of our package.
        package: A zip of it, where the worker does not have it yet.
        lease: How long the runner goes on without a word, in seconds.

    Returns:
        ``started``; ``package`` where that must come along; ``unheard`` where the task has given up; else
        why not.
    """
    folder = Path(worker.local_directory) / f"codex-orchestrator-{digest}"
    try:
        if not folder.exists():
            if package is None:
                return "package"
            _unpack(package, folder)
        agent = _agents.get(link)
        if agent is None:
            # Beside what Dask removes with the worker: what has come of work trees is kept for later runs.
            depot = folder.parent.parent / f"codex-orchestrator-{os.getuid()}"
            words = (str(folder), str(lease), str(depot), link)
            agent = _agents[link] = _Agent(link, words, asyncio.get_running_loop())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return f"{type(error).__name__}: {error}"
    attempt = await _attended(run, number)
    if attempt is None:
        return "unheard"
    with _lock:
        if attempt.state != "open":
            return attempt.state
        attempt.state = "started"
    agent.about.add(about)
    agent.give(number, attempt, request)
    attempt.decided.set()
    return "started"


async def tell(_worker: Any, link: str, line: bytes) -> str:
    """Tell the runner something."""
    agent = _agents.get(link)
    if agent is None:
        return "gone"
    agent.tell(line)
    return "told"


async def pull(_worker: Any, link: str, serial: int, room: int) -> bytes | None:
    """What the runner has said since; None where there is none.

    Args:
        link: The orchestrator's name for it.
        serial: One more than that of the last answer that has arrived; the same again has one repeated.
        room: How many bytes may come; 0 where this is but a sign of life.
    """
    agent = _agents.get(link)
    return None if agent is None else await agent.pull(serial, room)


async def end(_worker: Any, run_id: str) -> list[str]:
    """End what another session has begun of a run, at once; the answer is which runners that were."""
    ended = {link: agent for link, agent in _agents.items() if any(run_id in about for about in agent.about)}
    for link in ended:
        await drop(_worker, link)
    for _ in range(_LOOKS):
        if all(agent.is_gone for agent in ended.values()):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return list(ended)


async def drop(_worker: Any, link: str) -> str:
    """The runner is needed no more."""
    agent = _agents.pop(link, None)
    if agent is not None:
        agent.close()
    return "dropped"


def _unpack(package: bytes, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.{os.getpid()}.{threading.get_ident()}")
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        archive.extractall(part)
    part.rename(folder)


class _Agent:
    """The runner of one session on this worker, and the box for what it says.

    Attributes:
        about: The runs that it has made attempts of.
        is_gone: Whether it has ended.
    """

    def __init__(self, link: str, words: tuple[str, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.about: set[str] = set()
        self._attempts: dict[int, _Attempt] = {}
        self.is_gone = False
        self._link = link
        self._loop = loop
        self._lock = threading.Condition()
        self._box: deque[bytes] = deque()
        self._box_bytes = 0
        self._serial = 0
        self._answer = b""
        self._arrived = asyncio.Event()
        self._pulling = asyncio.Lock()
        self._lines: deque[bytes] = deque()
        self._has_lines = threading.Condition()
        self._closed = False
        # In a session of its own: what ends the worker is not for it, it hears of that by its input.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _RUN, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        for target in (self._read, self._write):
            threading.Thread(target=target, name=f"codex-orchestrator {link}", daemon=True).start()

    def give(self, number: int, attempt: _Attempt, request: bytes) -> None:
        """Have an attempt made."""
        with self._lock:
            if self.is_gone:
                attempt.ended.set()
            else:
                self._attempts[number] = attempt
        if request:
            self.tell(request)

    def tell(self, line: bytes) -> None:
        """Have a line written to it, in the order of calls."""
        with self._has_lines:
            self._lines.append(line)
            self._has_lines.notify()

    async def pull(self, serial: int, room: int) -> bytes:
        """Frames, up to so many bytes, or one that is larger."""
        if not self._lines:
            self.tell(b'{"alive": true}\n')
        # One that nobody waits for any more may still be at work.
        async with self._pulling:
            if serial != self._serial:
                self._serial, self._answer = serial, await self._take(room) if room else b""
            return self._answer

    async def _take(self, room: int) -> bytes:
        if not self._box:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), _PATIENCE_SECONDS)
            except TimeoutError:
                return b""
        taken: list[bytes] = []
        with self._lock:
            while self._box and (not taken or len(self._box[0]) <= room):
                taken.append(self._box.popleft())
                room -= len(taken[-1])
                self._box_bytes -= len(taken[-1])
            self._lock.notify()
        return b"".join(taken)

    def close(self) -> None:
        """End it: its input ends, and what it says is of no interest any more."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        with self._has_lines:
            self._has_lines.notify()

    def _write(self) -> None:
        """A thread of its own, as a line may be longer than a pipe."""
        stream = self._process.stdin
        while stream is not None:
            with self._has_lines:
                while not self._lines and not self._closed:
                    self._has_lines.wait()
                if not self._lines:
                    break
                line = self._lines.popleft()
            try:
                stream.write(line)
                stream.flush()
            except OSError:
                return  # It has ended, which is noticed at its output.
        if stream is not None:
            stream.close()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        _widen(stream.fileno())
        while len(header := stream.read(_HEADER.size)) == _HEADER.size:
            length, number, kind = _HEADER.unpack(header)
            payload = stream.read(length)
            if len(payload) < length:
                break
            self._put(header + payload)
            if kind == _END:
                with self._lock:
                    ended = self._attempts.pop(number, None)
                if ended is not None:
                    ended.ended.set()
        code = self._process.wait()
        said = json.dumps({"exit_code": code}).encode()
        self._put(_HEADER.pack(len(said), 0, _GONE) + said)
        with self._lock:
            self.is_gone = True
            for attempt in self._attempts.values():
                attempt.ended.set()
        # Whoever was to take it may have died long ago.
        self._loop.call_soon_threadsafe(self._loop.call_later, _AFTERLIFE_SECONDS, self._forget)

    def _put(self, frame: bytes) -> None:
        with self._lock:
            while self._box_bytes > _BOX_BYTES and not self._closed:
                self._lock.wait()
            self._box.append(frame)
            self._box_bytes += len(frame)
        self._loop.call_soon_threadsafe(self._arrived.set)

    def _forget(self) -> None:
        if _agents.get(self._link) is self:
            del _agents[self._link]
        self.close()


def _widen(descriptor: int) -> None:
    try:
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return  # Smaller pipes are slower, and that is all.
