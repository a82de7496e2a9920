"""What is measured in turns: a tool at its work, a command line of the shell, or GNU make."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pytest_codex.plugins_for_tests import BARE

from .cases import NODE, Case
from .figures import Sample
from .history import make_history
from .processes import failure, run_measured
from .tools import Tool, Tools, neutral_environment
from .work import START, TASK_ID, EmptyTests, Make, Shell, StageCost, Work, configuration, makefile


class Contender(Protocol):
    """Something that can be measured again and again.

    It removes what a process wrote before the next is measured, which would else wait for the same disk.
    """

    def measure(self) -> Sample:
        """One process, from nothing to its end; raises CommandFailedError where it did not do its work."""
        ...


class ToolAtWork:
    """A tool in a project below ``folder``: fresh for each process, or one with runs made beforehand."""

    def __init__(self, tool: Tool, work: Work, folder: Path) -> None:
        self._tool = tool
        self._work = work
        self._outputs = folder
        self._project = folder / "project"
        self._keeps = work.needs_run or work.past_runs > 0 or bool(work.tree and work.tree.changed)
        self._run_id = ""
        self._turn = 0
        # What workers keep of work trees is theirs alone.
        self._kept_by_workers = folder / "dask"
        self._environment = {**tool.environment, "DASK_TEMPORARY_DIRECTORY": str(self._kept_by_workers)}
        if work.needs_run or work.past_runs:
            self._make_project()
            self._run_id = self._make_run()
        if work.past_runs:
            make_history(self._project, TASK_ID, self._run_id, work.past_runs)
            # It makes the aggregates of all these runs anew.
            self._make_run()
            os.sync()

    def measure(self) -> Sample:
        """Run the command line once, and check what it did."""
        if not self._keeps or not self._project.exists():
            self._make_project()
        self._change_files()
        command = (*self._tool.command, *self._work.command_line(self._run_id))
        sample = run_measured(command, self._environment, self._project, self._outputs)
        if self._work.starts_run:
            self._check_newest_run(command)
        fragment = self._work.output_fragment(self._run_id)
        if fragment not in (self._outputs / "stdout").read_text(encoding="utf-8"):
            raise failure(command, f"stdout does not hold {fragment!r}", self._outputs)
        if not self._keeps:
            _empty(self._project)
        return sample

    def _make_run(self) -> str:
        command = (*self._tool.command, *Work(self._work.stages, START).command_line(""))
        run_measured(command, self._tool.environment, self._project, self._outputs)
        return self._check_newest_run(command)

    def _check_newest_run(self, command: Sequence[str]) -> str:
        """The id of the project's newest run, checked by its manifest, at the same place for both tools."""
        # Run ids begin with the time.
        manifest_path = max(
            (self._project / ".runs" / TASK_ID / "cli").glob("*/manifest.json"),
            key=lambda path: path.parent.name,
            default=None,
        )
        if manifest_path is None:
            raise failure(command, "no run in the project", self._outputs)
        folder = manifest_path.parent
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        done = [entry["status"] for entry in manifest["commands"]].count("succeeded")
        if manifest["status"] != "succeeded" or done != len(self._work.stages):
            raise failure(
                command,
                f"run {manifest['status']}, {done} of {len(self._work.stages)} stages succeeded",
                self._outputs,
            )
        logged = sum(log.stat().st_size for log in (folder / "commands").iterdir())
        if logged < self._work.log_bytes:
            raise failure(
                command,
                f"{logged} bytes in the stage logs, at least {self._work.log_bytes} expected",
                self._outputs,
            )
        return folder.name

    def _make_project(self) -> None:
        _empty(self._project)
        text = json.dumps(configuration(self._work), indent=2) + "\n"
        (self._project / "codex.orchestrator.json").write_text(text, encoding="utf-8")
        if self._work.tree is not None:
            _empty(self._kept_by_workers)
            self._write_files(self._work.tree.files)

    def _change_files(self) -> None:
        if self._work.tree is not None and self._work.tree.changed:
            self._turn += 1
            self._write_files(self._work.tree.changed)

    def _write_files(self, count: int) -> None:
        for number in range(count):
            folder = self._project / f"src-{number // 100}"
            folder.mkdir(exist_ok=True)
            text = f"{number}, {self._turn}\n" * 100
            (folder / f"file-{number}.txt").write_text(text, encoding="utf-8")


class StageAmongOthers:
    """The cost of one stage: a tool at much work and at little, each below ``folder``."""

    def __init__(self, tool: Tool, work: StageCost, folder: Path) -> None:
        self._many = ToolAtWork(tool, work.many, _made(folder / "many"))
        self._few = ToolAtWork(tool, work.few, _made(folder / "few"))
        self._difference = work.difference

    def measure(self) -> Sample:
        """Run both once, and share out the difference."""
        many, few = self._many.measure(), self._few.measure()
        seconds = (many.wall_seconds - few.wall_seconds) / self._difference
        return Sample(seconds, many.peak_memory_bytes)


class EmptyTestFile:
    """pytest without our plugin, on a file of empty tests below ``folder``."""

    def __init__(self, tool: Tool, work: EmptyTests, folder: Path) -> None:
        self._environment = tool.environment
        self._outputs = folder
        self._folder = _made(folder / "project")
        tests = (f"def test_{number}():\n    pass\n" for number in range(work.count))
        (self._folder / "test_empty.py").write_text("\n\n".join(tests), encoding="utf-8")

    def measure(self) -> Sample:
        """Run it once; without any test that passes, pytest's exit code is another one."""
        command = (sys.executable, "-m", "pytest", *BARE, "test_empty.py")
        return run_measured(command, self._environment, self._folder, self._outputs)


class ShellCommand:
    """A command line of the shell, in an empty folder below ``folder``."""

    def __init__(self, work: Shell, folder: Path) -> None:
        self._work = work
        self._outputs = folder
        self._folder = folder / "files"

    def measure(self) -> Sample:
        """Run it once, and check what it wrote."""
        _empty(self._folder)
        command = (shutil.which("sh") or "/bin/sh", "-c", self._work.command)
        sample = run_measured(command, neutral_environment(self._outputs), self._folder, self._outputs)
        for name in self._work.files:
            path = self._folder / name
            if not path.exists() or path.stat().st_size < self._work.size:
                raise failure(command, f"{name} holds less than {self._work.size} bytes", self._outputs)
        _empty(self._folder)
        return sample


class MakeAtWork:
    """GNU make with a ``Makefile`` of its own below ``folder``."""

    def __init__(self, tool: Tool, work: Make, folder: Path) -> None:
        self._command = (*tool.command, f"-j{work.jobs}")
        self._environment = tool.environment
        self._recipes = sorted(stage.command for stage in work.stages)
        self._outputs = folder
        self._folder = folder / "project"
        _empty(self._folder)
        (self._folder / "Makefile").write_text(makefile(work), encoding="utf-8")

    def measure(self) -> Sample:
        """Run it once, and check that it ran all recipes, each of which it prints."""
        sample = run_measured(self._command, self._environment, self._folder, self._outputs)
        printed = (self._outputs / "stdout").read_text(encoding="utf-8").splitlines()
        if sorted(printed) != self._recipes:
            raise failure(self._command, "stdout does not hold every recipe once", self._outputs)
        return sample


def contenders(case: Case, tools: Tools, folder: Path) -> list[Contender]:
    """Our tool, and the case's peer where there is one; each below a new folder of its own in ``folder``.

    Raises CommandFailedError where a run that is needed beforehand fails.
    """
    mine, theirs = folder / case.key / "ours", folder / case.key / "peer"
    mine.mkdir(parents=True)
    theirs.mkdir()
    found: list[Contender] = [_ours(tools, case.work, mine)]
    match case.peer_work:
        case Shell() as work:
            found.append(ShellCommand(work, theirs))
        case Work() | StageCost() as work:
            found.append(_ours(tools, work, theirs))
        case EmptyTests() as work:
            found.append(EmptyTestFile(tools.ours, work, theirs))
        case Make() as work if tools.make is not None:
            found.append(MakeAtWork(tools.make, work, theirs))
        case None if tools.node is not None and case.peer == NODE and isinstance(case.work, Work):
            found.append(ToolAtWork(tools.node, case.work, theirs))
    return found


def _ours(tools: Tools, work: Work | StageCost, folder: Path) -> Contender:
    if isinstance(work, StageCost):
        return StageAmongOthers(tools.for_contributors(work.many), work, folder)
    return ToolAtWork(tools.for_contributors(work), work, folder)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
