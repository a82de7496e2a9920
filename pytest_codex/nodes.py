"""A pipeline as a collector and its stages as items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from codex_orchestrator.text import one_line, printable
from pytest_codex.leaving import LEAVING
from pytest_codex.plugins_for_tests import setup_hooks

if TYPE_CHECKING:
    from codex_orchestrator.definitions.planner import Planned


class StageRunner(Protocol):
    """What an item asks of the session's controller."""

    def prepare_stage(self, item: StageItem) -> None:
        """Skip the stage where a failure blocks it."""
        ...

    def run_stage(self, item: StageItem) -> None:
        """Run it; raises `StageFailed` where it failed and skips where the failure is allowed."""
        ...


class StageFailed(AssertionError):
    """A stage failed, or waits for somebody; what a person needs to know is in here.

    Reporters tell what failed from what broke by the type.

    Attributes:
        headline: One line: which stage, and how it ended.
        cause: How it ended, in a few words.
        details: Further lines: command, output, where to look.
        waits: Whether it did not fail, but waits: to pytest that is a failure too.
    """

    def __init__(self, title: str, cause: str, details: tuple[str, ...], *, waits: bool = False) -> None:
        how = cause if waits else f"failed: {cause}"
        # Here, as this goes to terminals, annotations and reports by many ways.
        self.headline = printable(f"Stage '{title}' {how}")
        self.waits = waits
        self.cause = printable(cause)
        self.details = tuple(map(one_line, details))
        super().__init__(self.headline)


class FailureReport:
    """A failure as pytest prints it; it quacks like pytest's own, which are not public.

    Attributes:
        reprcrash: Where the short summary and JUnit take their one line from.
        cause: How the stage ended, in a few words.
        waits: Whether it waits for somebody.
    """

    def __init__(self, nodeid: str, failure: StageFailed, *, one_line: bool = False) -> None:
        self.reprcrash = _Crash(nodeid, failure.headline)
        self.cause = failure.cause
        self.waits = failure.waits
        self._failure = failure
        self._one_line = one_line

    def toterminal(self, writer: Any) -> None:
        """Print it with pytest's terminal writer; under ``--tb=line`` pytest prints `reprcrash` itself."""
        if self._one_line:
            return
        writer.line(self._failure.headline, red=True, bold=True)
        for line in self._failure.details:
            writer.line(line)

    def __str__(self) -> str:
        return "\n".join((self._failure.headline, *self._failure.details))


class _Crash:
    """The one line of a failure."""

    def __init__(self, nodeid: str, message: str) -> None:
        self.path = nodeid
        self.lineno = 0
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class PipelineNode(pytest.Collector):
    """A pipeline; its node id is the pipeline's id, or the id of the stage that runs it."""

    def __init__(self, *, planned: Planned, runner: StageRunner, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._planned = planned
        self._runner = runner

    def collect(self) -> Iterator[StageItem | PipelineNode]:
        """The stages in serial order, and in the place of a sub-pipeline its stages."""
        for stage_id in self._planned.order:
            nodeid, child = f"{self.nodeid}::{stage_id}", self._planned.children.get(stage_id)
            if child is None:
                yield StageItem.from_parent(self, name=stage_id, nodeid=nodeid, runner=self._runner)
            else:
                yield PipelineNode.from_parent(
                    self, name=stage_id, nodeid=nodeid, planned=child, runner=self._runner
                )


class StageItem(pytest.Item):
    """A stage; it holds nothing of the run, which the controller owns."""

    # pytest-run-parallel has nothing to repeat in it.
    _parallel_custom_item = True

    def __init__(self, *, runner: StageRunner, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._runner = runner
        self._early: pytest.CallInfo[object] | None = None
        self._call: pytest.CallInfo[None] | None = None
        self._rest: Callable[..., object]

    @property
    def ihook(self) -> Any:
        """Pytest's hooks, without those of the setup that were called before."""
        hooks = super().ihook
        return hooks if self._early is None else _Hooks(hooks, pytest_runtest_setup=self._rest)

    def set_up_early(self) -> bool:
        """Call the setup hooks of plugins before the command runs, where its protocol follows it.

        Returns:
            Whether they let it run; if not, the protocol says why.
        """
        deciding, self._rest = setup_hooks(self)
        early = pytest.CallInfo.from_call(lambda: deciding(item=self), when="setup", reraise=LEAVING)
        self._early = early
        return early.excinfo is None

    def setup(self) -> None:
        """Skip what a plugin has skipped, or a failure blocks."""
        if self._early is not None and self._early.excinfo is not None:
            raise self._early.excinfo.value
        self._runner.prepare_stage(self)

    def runtest(self) -> None:
        """Run the stage, once: a plugin that repeats tests gets the same answer again."""
        if self._call is None:
            self._call = pytest.CallInfo.from_call(
                lambda: self._runner.run_stage(self), when="call", reraise=LEAVING
            )
        if self._call.excinfo is not None:
            raise self._call.excinfo.value

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A failed stage says what a person needs; anything else is pytest's to show."""
        if isinstance(excinfo.value, StageFailed):
            one_line = self.config.getoption("tbstyle", "auto") == "line"
            return FailureReport(self.nodeid, excinfo.value, one_line=one_line)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The pipeline stands for the file; the last part is the headline of a failure."""
        return self.config.rootpath / self.nodeid.partition("::")[0], 0, f"stage {self.name}"


class _Hooks:
    """pytest's hooks, with others in the place of some."""

    def __init__(self, hooks: Any, **instead: Callable[..., object]) -> None:
        self._hooks = hooks
        vars(self).update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hooks, name)


class Slot(pytest.Item):
    """A place in an xdist worker's list: the worker is told what to do for it, and makes no report of it."""

    def runtest(self) -> None:
        """Nothing: its protocol is not pytest's."""

    def reportinfo(self) -> tuple[Path, int, str]:
        """As a stage's."""
        return self.config.rootpath / self.nodeid.partition("::")[0], 0, f"stage {self.name}"
