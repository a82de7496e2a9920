"""The connection to a Dask scheduler: all that is asked of Dask itself."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import cloudpickle
from distributed import Client

from codex_orchestrator.engine.cloud import shipped
from codex_orchestrator.engine.cloud.facts import WorkerFacts, workers_of
from codex_orchestrator.engine.cloud.package import worker_module
from codex_orchestrator.errors import OrchestratorError

_T = TypeVar("_T")
# Dask keeps the last thousand words of a topic; ours are two numbers and an address each.
_TOPIC = "codex-orchestrator"
_ANSWER_SECONDS = 20.0
_FAREWELL_SECONDS = 2.0

# Workers need not have this package, so that what they call first goes to them whole.
cloudpickle.register_pickle_by_value(shipped)


class _Packed:
    """A function that goes to workers with each of many calls, made into bytes once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._data: bytes = cloudpickle.dumps(function)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        return pickle.loads, (self._data,)


_CALL = _Packed(shipped.call)


class Connection:
    """A client of a Dask scheduler, with an event loop in a thread of its own.

    Attributes:
        address: The scheduler's.
        workers: The workers by their addresses, as they were when it was last asked for them.
    """

    def __init__(self, address: str, *, seconds: float) -> None:
        """Connect.

        Args:
            address: The scheduler's.
            seconds: How long to wait for it.

        Raises:
            OrchestratorError: It cannot be reached.
        """
        self.address = address
        self.workers: dict[str, WorkerFacts] = {}
        # What becomes of a connection is said in our words.
        for name in ("client", "batched", "comm", "core"):
            logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL + 1)
        try:
            self._client = Client(address, timeout=seconds, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise OrchestratorError(
                f"No Dask scheduler answers at {address} within {seconds:g} s: {first_line(error)}",
                hint="Look at --cluster, cloud.address or DASK_SCHEDULER_ADDRESS.",
            ) from error
        self._module, self._source = worker_module()

    # From other threads than the client's.

    @property
    def size(self) -> int:
        """How many tasks its workers run at once."""
        return sum(worker.threads for worker in list(self.workers.values()))

    def call(self, coroutine: Coroutine[Any, Any, _T], seconds: float = _ANSWER_SECONDS) -> _T:
        """Have the client's thread run something, and wait for its answer.

        Raises:
            TimeoutError: There is none.
        """
        waiting = asyncio.wait_for(coroutine, seconds)
        return asyncio.run_coroutine_threadsafe(waiting, self._client.loop.asyncio_loop).result()

    def look(self) -> list[WorkerFacts]:
        """Ask which workers there are.

        Raises:
            OrchestratorError: The scheduler does not answer.
        """
        try:
            self.call(self.refresh())
        except (OSError, TimeoutError) as error:
            raise OrchestratorError(
                f"The Dask scheduler at {self.address} does not answer any more."
            ) from error
        return list(self.workers.values())

    def evaluate(self, expression: str, workers: Iterable[str]) -> dict[str, Any]:
        """What a Python expression is on workers, by their addresses; an exception where it has none.

        Raises:
            OrchestratorError: Not all of them answer.
        """
        try:
            return self.call(self.evaluated(expression, workers))
        except (OSError, TimeoutError) as error:
            raise OrchestratorError(
                f"Not all workers of {self.address} answer within {_ANSWER_SECONDS:g} s.",
                hint="End those that hang, or wait until Dask takes them for lost.",
            ) from error

    def hear(self, knocked: Callable[[str, int, str], None]) -> None:
        """Be told, in the client's thread, of tasks that begin: run, number and the worker's address."""

        def heard(event: tuple[float, Mapping[str, Any]]) -> None:
            _, told = event
            knocked(told["run"], told["number"], told["worker"])

        self._client.subscribe_topic(_TOPIC, heard)

    def submit(
        self,
        run: str,
        number: int,
        needs: Mapping[str, float],
        *,
        avoided: Collection[str],
        patience_seconds: float,
        ended: Callable[[str], None],
    ) -> Any:
        """Have some worker begin a task that asks whether it is to make an attempt.

        Args:
            run: The token of the session.
            number: The attempt's.
            needs: How much it needs of what on its worker.
            avoided: Workers that are not to have it, by their addresses.
            patience_seconds: How long the worker waits for the answer.
            ended: Told, in a thread of Dask's, what became of the task. What it has said is not asked for, as
                that is another way to the worker and back.

        Returns:
            Dask's future. It is to be released as soon as it is done: what is kept, Dask makes again when the
            worker that has it dies.
        """
        future = self._client.submit(
            shipped.knock,
            _TOPIC,
            self._module,
            run,
            number,
            patience_seconds,
            key=f"codex-orchestrator-{run}-{number}-{len(avoided)}",
            workers=[each for each in self.workers if each not in avoided] if avoided else None,
            pure=False,
            retries=0,
            resources=dict(needs) or None,
        )
        future.add_done_callback(lambda done: ended(done.status))
        return future

    def close(self) -> None:
        """End it."""
        self._client.close(timeout=_FAREWELL_SECONDS)

    # In the client's thread.

    async def refresh(self) -> None:
        """Ask which workers there are."""
        self.workers = workers_of(await self._client.scheduler.identity(n_workers=-1))

    async def places(self) -> dict[str, str]:
        """Which worker each task of the cluster is with, by their keys."""
        told = await self._client.scheduler.processing(workers=None)
        return {str(key): address for address, keys in told.items() for key in keys}

    async def has(self, address: str) -> bool:
        """Whether the scheduler has a worker."""
        await self.refresh()
        return address in self.workers

    async def evaluated(self, expression: str, workers: Iterable[str]) -> dict[str, Any]:
        """As `evaluate`."""
        return dict(await self._client.run(eval, expression, workers=list(workers), on_error="return"))

    async def at_worker(self, address: str, function: str, *args: object) -> Any:
        """Call a function of `at_worker`, which a new worker gets first."""
        answer: Any = shipped.MISSING
        for source in (None, self._source):
            if isinstance(answer, str) and answer == shipped.MISSING:
                told = await self._client.run(_CALL, self._module, source, function, args, workers=[address])
                answer = told[address]
        return answer


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
