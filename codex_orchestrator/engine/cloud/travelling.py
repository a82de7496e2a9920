"""The work tree of a session on workers that do not see it: sent, and what stages make brought back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from codex_orchestrator.engine.cloud.tree_at_worker import pack_pieces, unpack_pieces
from codex_orchestrator.environment import PREFIX
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.executing import Executed, Execution, Executor
from codex_orchestrator.execution.process import NOT_EXECUTABLE
from codex_orchestrator.execution.reading import Capture, Output, StreamName
from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.rules.stage import StageRequest
from codex_orchestrator.workspace.sender import Sender

# What of the run's own variables is a path, which is another one in a copy.
_PATHS = tuple(f"{PREFIX}{name}" for name in ("ROOT", "RUN_DIR", "RUNS_DIR", "OUT_DIR", "MANIFEST_PATH"))


class Asked(Protocol):
    """A worker that can be asked about its copy."""

    def ask(self, what: str, value: object, data: bytes = b"") -> Iterator[tuple[Any, bytes]]:
        """See `link.Link.ask`."""
        ...


class TravellingTree:
    """Brings the work tree of a session to workers."""

    def __init__(self, sender: Sender, root: Path) -> None:
        """Nothing has travelled yet.

        Args:
            sender: Has the snapshot, taken.
            root: The root of the work tree.
        """
        self._sender = sender
        self._root = str(root)
        # By stages: other workers may have it from before.
        self._removed: set[str] = set()
        # The sender is for one thread.
        self._one_at_a_time = threading.RLock()

    def bring(self, worker: Asked, stage: CommandStage, stopped: Callable[[], bool]) -> str | None:
        """Have a worker's copy be as the snapshot is for a stage.

        Args:
            worker: The worker.
            stage: The stage that is to run there.
            stopped: Whether nobody wants that any more; asked again and again.

        Returns:
            The root of the copy; None where it was stopped.

        Raises:
            ExecutionLost: The worker was lost over it.
            OrchestratorError: Something cannot travel, or a disk refuses.
        """
        label = {"label": self._root}
        with self._one_at_a_time:
            pages = self._sender.pages(stage.inputs)
            for what in ("pages", "blobs"):
                lacking = _answer(worker.ask(what, {**label, "pages": pages}))
                for batch in self._sender.send(lacking):
                    if stopped():
                        return None
                    _answer(worker.ask("put", label, pack_pieces(batch)))
            removed = sorted(path for path in self._removed if self._sender.snapshot.at(path) is None)
        root: str = _answer(worker.ask("bring", {**label, "pages": pages, "removed": removed}))
        return root

    def take_back(self, worker: Asked, outputs: Sequence[str]) -> None:
        """Take what a stage has made into the work tree, and into the snapshot for the stages after it.

        Raises:
            ExecutionLost: The worker was lost over it.
            OrchestratorError: Something of it may not be written, or a disk refuses.
        """
        value = {"label": self._root, "patterns": list(outputs), "protected": list(self._sender.protected)}
        ((_, made),) = worker.ask("collect", value)
        with self._one_at_a_time:
            lacking = self._sender.lacking(made)
            if lacking:
                for _, batch in worker.ask("send", {"label": self._root, "digests": lacking}):
                    self._sender.put(unpack_pieces(batch))
            self._removed.update(self._sender.take_in(made, outputs).removed)

    def look_again(self, outputs: Sequence[str]) -> None:
        """Have the snapshot know what a stage that ran here has made.

        Raises:
            OrchestratorError: It cannot travel, or a disk refuses.
        """
        with self._one_at_a_time:
            self._removed.update(self._sender.look_again(outputs).removed)

    def there(self, request: StageRequest, root: str) -> StageRequest:
        """A request with paths in a copy instead of those in the work tree."""
        moved = {name: self._moved(request.environ[name], root) for name in _PATHS if name in request.environ}
        return replace(
            request, cwd=self._moved(request.cwd, root), environ={**request.environ, **moved}, run_dir=""
        )

    def close(self) -> None:
        """Nothing comes back any more.

        Raises:
            StorageError: The disk refuses.
        """
        with self._one_at_a_time:
            self._sender.close()

    def _moved(self, path: str, root: str) -> str:
        if path == self._root or path.startswith(f"{self._root}/"):
            return root + path.removeprefix(self._root)
        return path


class Refused:
    """In the place of an execution: it could not be got ready for."""

    def __init__(self, cause: str) -> None:
        """Args: what kept it."""
        self._cause = cause

    def run(self, captures: Mapping[StreamName, Capture], output: Output) -> Executed:  # noqa: ARG002
        """As a command that could not be started."""
        return refused(self._cause)


class WithOutputs:
    """An execution after which what it has made is taken, before it counts as succeeded."""

    def __init__(self, execution: Execution, take: Callable[[], None]) -> None:
        """Args: the execution, and what takes its outputs."""
        self._execution = execution
        self._take = take

    def run(self, captures: Mapping[StreamName, Capture], output: Output) -> Executed:
        """Execute it, and take what it has made where it succeeded."""
        executed = self._execution.run(captures, output)
        if executed.ending.exit_status == 0 and not executed.ending.timed_out:
            try:
                self._take()
            except OrchestratorError as error:
                return replace(refused(error.message), duration_ms=executed.duration_ms, left=executed.left)
        return executed


class LookingExecutor:
    """Executes commands here, and has the snapshot know what they have made."""

    def __init__(self, executor: Executor, tree: TravellingTree, outputs: Sequence[str]) -> None:
        """Args: what executes them, the tree, and the patterns of what they make."""
        self._executor = executor
        self._tree = tree
        self._outputs = outputs

    def prepare(self, request: StageRequest) -> Execution:
        """As the executor does."""
        return WithOutputs(self._executor.prepare(request), lambda: self._tree.look_again(self._outputs))


def refused(cause: str) -> Executed:
    """The end of what could not be done, as of a command that could not be started."""
    from codex_orchestrator.execution.watch import Ending

    return Executed(Ending(NOT_EXECUTABLE, timed_out=False, cancelled=False), 0, cause)


def _answer(answers: Iterator[tuple[Any, bytes]]) -> Any:
    ((value, _),) = answers
    return value
