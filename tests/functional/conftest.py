"""Sessions in this process."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress

import pytest

import pytest_codex.takeover  # noqa: F401 (once here, or every inner session would load it anew)
from codex_orchestrator.cli import main
from tests.support.at_once import Session
from tests.support.clusters import Cluster
from tests.support.processes import processes_in
from tests.support.sshd import Server, why_not_here
from tests.support.terminal import Terminal


@pytest.fixture
def run(project, pytester, monkeypatch, no_waiting_for_the_disk):
    """Run pytest in this process, in the project, with our plugin and those given."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def runner(*words, pipeline="work", plugins=()):
        return pytester.runpytest_inprocess(
            "-p", "pytest_codex.plugin", "--codex-pipeline", pipeline, *words, plugins=plugins
        )

    return runner


@pytest.fixture
def said(project, monkeypatch, capsys, no_waiting_for_the_disk):
    """Run a command in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def findings_of(guard):
    """Run a guard: place and rule of each finding."""

    def check(name: str) -> list[str]:
        code, out, _ = guard(name, "--format", "json")
        findings = json.loads(out)["findings"]
        assert code == bool(findings)
        return [f"{one['path']}:{one.get('line', 0)} {one['rule']}" for one in findings]

    return check


@pytest.fixture
def session(project):
    """Start sessions with stages at once, which go on while the test looks."""
    started: list[Session] = []

    def start(*arguments, **keywords) -> Session:
        started.append(Session(project, *arguments, **keywords))
        return started[-1]

    yield start
    for each in started:
        each.end()
    for pid in processes_in(project.root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """An SSH server on loopback."""
    if reason := why_not_here():
        pytest.skip(reason)
    server = Server(tmp_path_factory.mktemp("sshd"))
    yield server
    server.close()


@pytest.fixture
def terminal(project):
    """Run commands on terminals."""
    made: list[Terminal] = []

    def run(*words: str, module="codex_orchestrator", under=(), **environment) -> Terminal:
        command = [*under, sys.executable, "-m", module, *words]
        variables = {**project.environment, "LOGNAME": "grace", **environment}
        made.append(Terminal(command, project.root, variables))
        return made[-1]

    yield run
    for one in made:
        one.close()


@pytest.fixture
def with_other_plugins(project):
    """Sessions of the project have all plugins that are installed."""
    project.pytest_words = []


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A scheduler and two workers, of which the second has a rare thing; nobody may harm them."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()
