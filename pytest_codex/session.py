"""The pytest session that ``codex-orchestrator start`` is: in this process, with only what it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

import pytest

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.preparation import Prepared
from codex_orchestrator.run.approvals import Ask
from codex_orchestrator.run.shapes import Manifest

from . import newhooks
from .controller import Controller
from .engines import engine_plugin, jobs_of, require_room
from .others import load_plugins
from .terminal.session import SessionProgress

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
    prepared: Prepared,
    *,
    progress: TextIO,
    colour: bool,
    ask: Ask | None = None,
    jobs: str | None = None,
    quiet: bool = False,
    stream: bool = False,
) -> SessionResult:
    """Run a prepared pipeline as a pytest session of its own.

    Args:
        prepared: What to run.
        progress: Where the lines for people go.
        colour: Whether they may be coloured.
        ask: Asks a person to decide on a manual stage; None where nobody is to be asked.
        jobs: How many stages to run at once, as the user said it; None for one.
        quiet: Whether only failures are shown.
        stream: Whether what stages print is shown as it comes.

    Raises:
        UsageError: That is no number of jobs, or plugins have changed the plan to what cannot be run.
        ConfigurationError: A plugin cannot be loaded.
    """
    size = jobs_of(jobs)
    require_room([prepared], jobs=size)
    shown: SessionProgress
    asking = (lambda manifest, stage: shown.ask(ask, manifest, stage)) if ask else None
    controller = Controller([prepared], asking)
    shown = SessionProgress(progress, controller, colour=colour, quiet=quiet, output=stream)
    plugins: list[object] = [_Plugins(prepared, controller), controller, *shown.plugins.values()]
    if (engine := engine_plugin(controller, jobs=size)) is not None:
        plugins.append(engine)
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

    def __init__(self, prepared: Prepared, controller: Controller) -> None:
        self._prepared = prepared
        self._controller = controller

    def pytest_addhooks(self, pluginmanager: pytest.PytestPluginManager) -> None:
        """Bring hooks for other people's plugins, then these."""
        pluginmanager.add_hookspecs(newhooks)
        load_plugins(pluginmanager, self._prepared)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Have the plan made here: within the session, pytest would say by itself what is wrong with it."""
        try:
            self._controller.plan(config)
        except pytest.exit.Exception as error:
            raise OrchestratorError(f"A plugin ended the session before it began: {error.msg}") from error


@contextmanager
def _without_test_variables() -> Iterator[None]:
    """Keep variables that steer test runs from steering this one; stages got theirs from a copy."""
    kept = {name: os.environ.pop(name) for name in _VARIABLES_FOR_TESTS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
