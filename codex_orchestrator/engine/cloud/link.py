"""What passes between the orchestrator and one worker: one request for output at a time, whatever runs there.

All of it in the event loop of Dask's client, but for what says otherwise.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import selectors
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from codex_orchestrator.clock import Clock
from codex_orchestrator.engine.cloud import frames
from codex_orchestrator.engine.cloud.arrivals import Arrivals
from codex_orchestrator.engine.cloud.remote import RemoteAttempt
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.executing import ExecutionLost

# Calls a function of `at_worker` on a worker: its address, the function's name, its arguments.
Call = Callable[..., Awaitable[Any]]

_MOST_BYTES = 1 << 20
_LEAST_ROOM = 1 << 16
_PAUSE_SECONDS = 0.02
_AGAIN_SECONDS = 0.2
# A request that has no answer by then is made again: two seconds more than it may wait for output.
_PATIENCE_SECONDS = 4.0
# Beyond the lease, so that what was running is gone when the worker is given up.
_MARGIN_SECONDS = 2.0
_FAREWELL_SECONDS = 15.0


class Link:
    """A worker that attempts of this session run on, or ran.

    Attributes:
        name: The worker, as evidence names it.
        address: The same, as Dask does.
        key: By which the worker knows the runner of this link.
        heard: When it last answered, by the monotonic clock.
        left: What its runner has ended when the session did: pids and command lines.
    """

    def __init__(
        self,
        name: str,
        address: str,
        key: str,
        *,
        call: Call,
        is_there: Callable[[str], Awaitable[bool]],
        loss_seconds: float,
        clock: Clock,
    ) -> None:
        """Nothing runs there yet.

        Args:
            name: The worker, as evidence names it.
            address: The same, as Dask does.
            key: By which the worker is to know the runner of this link.
            call: Calls a function of `at_worker` on a worker.
            is_there: Whether the scheduler has a worker of that address.
            loss_seconds: After how much silence it counts as lost.
            clock: Time.
        """
        self.name = name
        self.address = address
        self.key = key
        self.heard = clock.monotonic()
        self.left: list[tuple[int, str]] = []
        self._call = call
        self._is_there = is_there
        self._loss = loss_seconds
        self._clock = clock
        self._attempts: dict[int, RemoteAttempt] = {}
        self._questions: dict[int, Arrivals] = {}
        self._numbers = itertools.count(1)
        self._serial = 1
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._pulling: asyncio.Task[None] | None = None
        self._finishing = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come from there."""
        return self._pulling is not None and self._pulling.done()

    def add(self, attempt: RemoteAttempt) -> None:
        """An attempt is about to be started there."""
        self._attempts[attempt.number] = attempt

    def follow(self) -> None:
        """Ask for what is said of attempts, now that one has been started."""
        if self._pulling is None:
            self.heard = self._clock.monotonic()
            self._pulling = asyncio.create_task(self._pull_all())
        self._wanted.set()

    def remove(self, attempt: RemoteAttempt) -> None:
        """It was not."""
        self._attempts.pop(attempt.number, None)

    def tell(self, line: bytes) -> None:
        """Have its runner told something; called in any thread."""
        asyncio.run_coroutine_threadsafe(self._tell(line), self._loop)

    def ask(self, what: str, value: object, data: bytes = b"") -> Iterator[tuple[Any, bytes]]:
        """Ask its runner something about its copy of the work tree; called in a thread that may wait.

        Args:
            what: See `tree_at_worker.TreeAtWorker.answer`.
            value: What it has to know for that.
            data: Bytes that go with it.

        Raises:
            ExecutionLost: The worker was lost over it.
            OrchestratorError: There is no answer but an error.
        """
        number, arrivals = next(self._numbers), Arrivals()
        self._questions[number] = arrivals
        asked = {"ask": number, "what": what, "value": value, "bytes": len(data)}
        self.tell(json.dumps(asked).encode() + b"\n" + data)
        self._loop.call_soon_threadsafe(self._wanted.set)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(arrivals, selectors.EVENT_READ)
                while True:
                    frame = arrivals.take()
                    if frame is None:
                        if self.is_over:
                            raise ExecutionLost(f"Worker {self.name} was lost")
                        selector.select(_AGAIN_SECONDS)
                        arrivals.drain()
                        continue
                    said, answer = frames.unpacked(frame.payload)
                    if "error" in said:
                        raise OrchestratorError(said["error"])
                    if not said["more"]:
                        return
                    yield said["value"], answer
        finally:
            del self._questions[number]
            arrivals.close()

    async def finish(self) -> None:
        """Have its runner end what was left running, and end."""
        if self._pulling is None:
            return
        if not self.is_over:
            self._finishing = True
            self._wanted.set()
            await self._tell(b'{"finish": true}\n')
            await asyncio.wait([self._pulling], timeout=_FAREWELL_SECONDS)
            self._pulling.cancel()
        await self._quietly("drop", self.key)

    async def _tell(self, line: bytes) -> None:
        # Where it is not told, the end of its lease does the same.
        await self._quietly("tell", self.key, line)

    async def _quietly(self, function: str, *args: object) -> None:
        seconds = _MARGIN_SECONDS if self.is_over else _FAREWELL_SECONDS
        try:
            await asyncio.wait_for(self._call(self.address, function, *args), seconds)
        except Exception:  # noqa: BLE001 - what comes of it is seen by `_pull_all`
            return

    async def _pull_all(self) -> None:
        while True:
            await self._wait_for_need()
            try:
                answer = await asyncio.wait_for(self._pull(), _PATIENCE_SECONDS)
            except Exception:  # noqa: BLE001 - Dask raises whatever a connection does
                if await self._is_lost():
                    return None
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self.heard = self._clock.monotonic()
            if answer is None:
                return self._lose(f"Worker {self.name} has started anew")
            self._serial += 1
            if not self._deliver(answer):
                return self._lose(f"What runs commands on worker {self.name} has ended")

    async def _wait_for_need(self) -> None:
        """While nothing runs there, a sign of life now and then is all that the worker gets."""
        self._attempts = {number: each for number, each in self._attempts.items() if each.is_open}
        if not self._attempts and not self._questions and not self._finishing:
            self._wanted.clear()
            try:
                await asyncio.wait_for(self._wanted.wait(), self._loss / 4)
            except TimeoutError:
                return

    async def _pull(self) -> bytes | None:
        room = await self._room()
        answer: bytes | None = await self._call(self.address, "pull", self.key, self._serial, room)
        return answer

    async def _room(self) -> int:
        """How much may come; 0 where whoever takes it up has not done so for a second."""
        until = self._clock.monotonic() + 1.0
        while self._clock.monotonic() < until:
            rooms = [each.room for each in self._attempts.values()]
            rooms += [each.room for each in self._questions.copy().values()]
            room = min([_MOST_BYTES, *rooms])
            if room >= _LEAST_ROOM:
                return room
            await asyncio.sleep(_PAUSE_SECONDS)
        return 0

    def _deliver(self, answer: bytes) -> bool:
        """Hand frames to whom they are about; whether there will be more."""
        for frame in frames.parsed(answer):
            if frame.kind == frames.GONE:
                return False
            if frame.kind == frames.LEFT:
                self.left = [(pid, command) for pid, command in frame.value()]
            elif frame.kind == frames.ANSWER:
                if (question := self._questions.get(frame.number)) is not None:
                    question.put(frame)
            elif frame.number in self._attempts:
                self._attempts[frame.number].take(frame)
        return True

    async def _is_lost(self) -> bool:
        """Whether a request without an answer means that the worker will give none any more."""
        silence = self._clock.monotonic() - self.heard
        if silence >= self._loss + _MARGIN_SECONDS:
            self._lose(f"Worker {self.name} gave no sign of life for {self._loss:g} s", is_silent=True)
            return True
        try:
            is_there = await asyncio.wait_for(self._is_there(self.address), _MARGIN_SECONDS)
        except Exception:  # noqa: BLE001 - the scheduler does not answer either: silence decides
            return False
        if is_there:
            return False
        # Its connection ended, as its process did; the runner hears of that at once, and needs its moment.
        await asyncio.sleep(_MARGIN_SECONDS / 2)
        self._lose(f"Worker {self.name} died")
        return True

    def _lose(self, cause: str, *, is_silent: bool = False) -> None:
        # Of one that is being started it is not known yet whether it was: whoever starts it finds out.
        for attempt in [each for each in self._attempts.values() if each.worker is not None]:
            attempt.lose(cause, "missed-heartbeat" if is_silent else "auto")
