"""Sessions in this process."""

from __future__ import annotations

import pytest

import pytest_codex.takeover  # noqa: F401 (once here, or every inner session would load it anew)
from codex_orchestrator.cli import main


@pytest.fixture
def run(project, pytester, monkeypatch):
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
def said(project, monkeypatch, capsys):
    """Run a command in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
