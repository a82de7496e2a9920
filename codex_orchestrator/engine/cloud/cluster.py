"""The attempts that a session gives to a cluster.

Which worker runs an attempt is Dask's to say: its task asks here, and exactly one is told to start it.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import defaultdict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from codex_orchestrator.clock import Clock
from codex_orchestrator.engine.cloud.connection import Connection, first_line
from codex_orchestrator.engine.cloud.facts import WorkerFacts, unmet
from codex_orchestrator.engine.cloud.link import Link
from codex_orchestrator.engine.cloud.package import package
from codex_orchestrator.engine.cloud.remote import RemoteAttempt

# Looks at a worker that is to run its first attempt; the answer is why it may not, or None.
Admit = Callable[[WorkerFacts], Coroutine[Any, Any, str | None]]

_LOOK_SECONDS = 1.0
_SAY_SECONDS = 30.0
_START_SECONDS = 20.0
# What `at_worker.start` answers, besides what went wrong.
_STARTED, _WANTS_PACKAGE, _GIVEN_UP = "started", "package", ("unheard", "refused")


class Cluster:
    """Gives attempts to workers, and takes up what becomes of them.

    Attributes:
        grown: Called in the client's thread when workers have come; whether that was heard.
    """

    def __init__(
        self,
        connection: Connection,
        admit: Admit,
        *,
        loss_seconds: float,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        """Be ready for attempts.

        Args:
            connection: To the scheduler.
            admit: Looks at a worker that is to run its first attempt.
            loss_seconds: After how much silence a worker counts as lost.
            clock: Time.
            tell: Tells a person what should not have to be waited for.
        """
        self.grown: Callable[[], bool] = lambda: True
        self._connection = connection
        self._admit = admit
        self._loss = loss_seconds
        self._clock = clock
        self._tell = tell
        self._run = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._attempts: dict[int, RemoteAttempt] = {}
        self._tasks: dict[int, Any] = {}
        self._links: dict[str, Link] = {}
        self._linking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: dict[str, float] = {}
        # Why the scheduler is taken for lost; None while it answers.
        self._silence: str | None = None
        self._watching: asyncio.Task[None]
        connection.hear(self._knocked)
        connection.call(self._begin_to_watch())

    # From other threads than the client's.

    @property
    def size(self) -> int:
        """How many commands it can run at once."""
        return self._connection.size

    def number(self) -> int:
        """One that no attempt of this session has yet."""
        return next(self._numbers)

    def submit(self, attempt: RemoteAttempt) -> None:
        """Have some worker make an attempt, when one is free."""
        number = attempt.number
        self._attempts[number] = attempt
        attempt.since = self._clock.monotonic()
        try:
            self._tasks[number] = self._connection.submit(
                self._run,
                number,
                attempt.needs,
                avoided=attempt.avoided,
                patience_seconds=max(self._loss, _START_SECONDS),
                ended=partial(self._ended, attempt, len(attempt.avoided)),
            )
        except Exception as error:  # noqa: BLE001 - Dask raises whatever a lost connection does
            self._silence = self._silence or f"The scheduler was lost: {first_line(error)}"
        if self._silence is not None:
            self._lose_waiting(self._silence)

    def forget(self, attempt: RemoteAttempt) -> None:
        """Nothing more is expected of an attempt."""
        self._attempts.pop(attempt.number, None)
        task = self._tasks.pop(attempt.number, None)
        if task is not None:
            task.release()

    def end(self, run_id: str) -> None:
        """End what a session that has died left running of a run: its lease may go on for a while."""
        self._connection.call(self._end(run_id))

    def close(self) -> dict[str, list[tuple[int, str]]]:
        """End what commands have left running, and the connection: by worker, pids and command lines."""
        try:
            self._connection.call(self._finish(), 2 * _START_SECONDS)
        except (OSError, TimeoutError):
            pass  # Nobody answers: leases end what runs.
        finally:
            self._connection.close()
        return {link.name: link.left for link in self._links.values() if link.left}

    # In the client's thread.

    async def _begin_to_watch(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def _end(self, run_id: str) -> None:
        ending = [self._connection.at_worker(address, "end", run_id) for address in self._connection.workers]
        # One that does not answer ends it with the lease.
        await asyncio.gather(*ending, return_exceptions=True)

    async def _finish(self) -> None:
        self._watching.cancel()
        await asyncio.gather(*(link.finish() for link in self._links.values()))

    async def _watch(self) -> None:
        """Say that workers have come, and what waits in vain."""
        known, heard = self.size, self._clock.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.wait_for(self._connection.refresh(), self._loss)
            except Exception:  # noqa: BLE001 - Dask raises whatever a connection does
                if self._clock.monotonic() - heard > self._loss:
                    self._silence = f"The scheduler gave no sign of life for {self._loss:g} s"
                    self._lose_waiting(self._silence)
                continue
            heard, self._silence = self._clock.monotonic(), None
            self._say_unmet()
            await self._move_waiting()
            if self.size <= known or self.grown():
                known = self.size

    def _lose_waiting(self, cause: str) -> None:
        """Nobody will begin what has no worker yet."""
        for attempt in list(self._attempts.values()):
            if attempt.claim():
                attempt.lose(cause, "missed-heartbeat")

    async def _move_waiting(self) -> None:
        """Give what a worker has had for long, and has not asked about, to others: it may be silent.

        Should it ask in the end, that is answered as ever: the first who asks makes the attempt.
        """
        late = self._clock.monotonic() - self._loss
        waiting = [each for each in list(self._attempts.values()) if each.waits and each.since < late]
        places = await self._connection.places() if waiting else {}
        for attempt in waiting:
            address = places.get(str(getattr(self._tasks.get(attempt.number), "key", "")))
            others = self._connection.workers.keys() - attempt.avoided - {address}
            if address is not None and others:
                attempt.avoided.add(address)
                old = self._tasks.pop(attempt.number)
                self.submit(attempt)
                old.release()

    def _say_unmet(self) -> None:
        workers = list(self._connection.workers.values())
        waiting = [each.needs for each in list(self._attempts.values()) if each.waits]
        reasons = {why for needs in waiting if (why := unmet(needs, workers)) is not None}
        now = self._clock.monotonic()
        for why in sorted(reasons):
            if now - self._told.get(why, now - _SAY_SECONDS) >= _SAY_SECONDS:
                self._told[why] = now
                self._tell(f"{why}: a stage waits for that.")

    def _ended(self, attempt: RemoteAttempt, avoided: int, status: str) -> None:
        """In a thread of Dask's: an attempt's task has ended."""
        if avoided < len(attempt.avoided):
            return  # Another task has taken its place.
        self.forget(attempt)
        # Where a worker was told to make it, its link hears how it goes.
        if attempt.claim():
            attempt.lose(f"The cluster did not run it: its task has {status}")

    def _knocked(self, run: str, number: int, address: str) -> None:
        if run == self._run:
            asyncio.get_running_loop().create_task(self._answer(number, address))

    async def _answer(self, number: int, address: str) -> None:
        attempt = self._attempts.get(number)
        if attempt is None or not attempt.claim():
            await self._refuse(number, address)
            return
        try:
            why = await asyncio.wait_for(self._start(attempt, address), _START_SECONDS)
        except Exception as error:  # noqa: BLE001 - whether it was started is not known: it may have been
            link = self._links.get(address)
            if link is not None:
                attempt.begin(link)
            why = f"Worker {address} was lost: {first_line(error)}"
        if why is not None:
            attempt.lose(why)
            await self._refuse(number, address)

    async def _start(self, attempt: RemoteAttempt, address: str) -> str | None:
        """Have a worker start an attempt; the answer is why it did not, or None."""
        async with self._linking[address]:
            link = await self._link(address)
        if isinstance(link, str):
            return link
        link.add(attempt)
        code = package()
        answer = _WANTS_PACKAGE
        for data in (None, code.data):
            if answer == _WANTS_PACKAGE:
                args = (self._run, link.key, attempt.about, attempt.number, attempt.line)
                more = (code.digest, data, self._loss)
                answer = await self._connection.at_worker(address, "start", *args, *more)
        if answer == _STARTED:
            link.follow()
            attempt.begin(link)
            return f"Worker {link.name} was lost" if link.is_over else None
        link.remove(attempt)
        if answer in _GIVEN_UP:
            return f"Worker {link.name} had given it up"
        return f"Worker {link.name} could not start it: {answer}"

    async def _link(self, address: str) -> Link | str:
        """The link to a worker, made where there is none; or why that cannot run stages."""
        link = self._links.get(address)
        if link is None or link.is_over:
            if address not in self._connection.workers:
                await self._connection.refresh()
            facts = self._connection.workers.get(address)
            if facts is None:
                return f"Worker {address} is gone"
            refusal = await self._admit(facts)
            if refusal is not None:
                return f"Worker {facts.name} cannot run it: {refusal}"
            link = self._links[address] = Link(
                facts.name,
                address,
                f"{self._run}-{secrets.token_hex(4)}",
                call=self._connection.at_worker,
                is_there=self._connection.has,
                loss_seconds=self._loss,
                clock=self._clock,
            )
        return link

    async def _refuse(self, number: int, address: str) -> None:
        try:
            refusing = self._connection.at_worker(address, "refuse", self._run, number)
            await asyncio.wait_for(refusing, _START_SECONDS)
        except Exception:  # noqa: BLE001 - a worker that is not told gives up by itself
            return
