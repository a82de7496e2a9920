"""The pytest session that ``codex-orchestrator start`` is: in this process, with only what it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TextIO

import pytest

from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.preparation import Prepared
from codex_orchestrator.run.approvals import Ask
from codex_orchestrator.run.shapes import Manifest

from . import newhooks
from .controller import Controller
from .local import JobsLoop, jobs_of
from .others import load_plugins
from .terminal import PlainProgress

# Builtin plugins that serve tests; leaving them out saves a tenth of the start.
_NOT_NEEDED = (
    "assertion",
    "cacheprovider",
    "debugging",
    "doctest",
    "faulthandler",
    "junitxml",
    "logging",
    "monkeypatch",
    "nose",
    "pastebin",
    "recwarn",
    "setuponly",
    "setupplan",
    "skipping",
    "stepwise",
    "terminal",
    "threadexception",
    "tmpdir",
    "unittest",
    "unraisableexception",
    "warnings",
)
_VARIABLES_FOR_TESTS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


@dataclass(frozen=True)
class SessionResult:
    """How the session ended.

    Attributes:
        manifest: The finished run, or None where none could be opened.
        cancelled_by: The number of the signal that cancelled it, or None.
        error: Why the evidence could not be written, or None.
    """

    manifest: Manifest | None
    cancelled_by: int | None
    error: OrchestratorError | None


def run_session(
    prepared: Prepared, *, progress: TextIO, colour: bool, ask: Ask | None = None, jobs: str | None = None
) -> SessionResult:
    """Run a prepared pipeline as a pytest session of its own.

    Args:
        prepared: What to run.
        progress: Where the lines for people go.
        colour: Whether they may be coloured.
        ask: Asks a person to decide on a manual stage; None where nobody is to be asked.
        jobs: How many stages to run at once, as the user said it; None for one.

    Raises:
        UsageError: That is no number of jobs.
        ConfigurationError: A plugin cannot be loaded.
    """
    size = jobs_of(jobs)
    controller = Controller([prepared], ask)
    plugins: list[object] = [
        _Plugins(prepared),
        controller,
        PlainProgress(progress, controller, colour=colour),
    ]
    if size > 1:
        plugins.append(JobsLoop(controller, size))
    arguments = [
        f"--rootdir={prepared.environment.root}",
        f"--config-file={os.devnull}",
        "--disable-plugin-autoload",
        "--noconftest",
        "--capture=no",
    ]
    for name in _NOT_NEEDED:
        arguments += ["-p", f"no:{name}"]
    # Whatever plugins print, stdout belongs to the command's answer.
    with _without_test_variables(), redirect_stdout(progress):
        pytest.main(arguments, plugins=plugins)
    manifest = next(iter(controller.manifests), None)
    return SessionResult(manifest, controller.halt.cancelled_by, controller.halt.error)


class _Plugins:
    """What loading plugins automatically, and ours among them, would do."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def pytest_addhooks(self, pluginmanager: pytest.PytestPluginManager) -> None:
        """Bring hooks for other people's plugins, then these."""
        pluginmanager.add_hookspecs(newhooks)
        load_plugins(pluginmanager, self._prepared)


@contextmanager
def _without_test_variables() -> Iterator[None]:
    """Keep variables that steer test runs from steering this one; stages got theirs from a copy."""
    kept = {name: os.environ.pop(name) for name in _VARIABLES_FOR_TESTS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
