"""The two functions that Dask itself takes to workers, by value: all else is called by them.

They know nothing of this package, and import what they need themselves.
"""

from __future__ import annotations

from typing import Any

MISSING = "codex-orchestrator: missing"


def knock(topic: str, module: str, run: str, number: int, patience_seconds: float) -> str:
    """The Dask task of an attempt: ask whether to make it, and wait for its end.

    Args:
        topic: Dask's, under which the orchestrator hears of it.
        module: The name by which a worker has `at_worker`.
        run: The token of the orchestrator's session.
        number: The attempt's, in that session.
        patience_seconds: How long to wait for an answer.

    Returns:
        What `at_worker.attend` says.
    """
    import sys
    import time

    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"run": run, "number": number, "worker": worker.address})
    for _ in range(round(patience_seconds / 0.005)):
        if module in sys.modules:
            answer: str = sys.modules[module].attend(run, number, patience_seconds)
            return answer
        time.sleep(0.005)
    return "unheard"


async def call(
    module: str, source: str | None, function: str, args: tuple[Any, ...], dask_worker: Any = None
) -> Any:
    """Call a function of `at_worker` on a worker.

    Args:
        module: The name by which the worker has it.
        source: Its source, where the worker may not have it yet.
        function: Which function.
        args: Its arguments.
        dask_worker: Filled in by Dask.

    Returns:
        What it answers, or `MISSING` where the module is not there.
    """
    import sys
    import types

    if module not in sys.modules:
        if source is None:
            return "codex-orchestrator: missing"
        made = types.ModuleType(module)
        exec(compile(source, module, "exec"), made.__dict__)  # noqa: S102 - the orchestrator's own module
        # Last, as tasks in other threads wait for it.
        sys.modules[module] = made
    return await getattr(sys.modules[module], function)(dask_worker, *args)
