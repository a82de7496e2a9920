"""The pytest session that ``codex-orchestrator start`` is: in this process, with only what it needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.engine.preparation import Prepared
from codex_orchestrator.errors import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    OrchestratorError,
    UsageError,
)
from codex_orchestrator.model.manifest import Manifest
from pytest_codex import newhooks
from pytest_codex.controller import Controller
from pytest_codex.engines import engine_plugin, jobs_of, require_room
from pytest_codex.plugins_for_tests import BARE, VARIABLES
from pytest_codex.progress.session import SessionProgress
from pytest_codex.run_plugins import load_plugins

if TYPE_CHECKING:
    from codex_orchestrator.rules.approvals import Ask

_ROOT = "CODEX_ORCHESTRATOR_ROOT"
# What pytest's own codes are here, where they are not about the run.
_CODES: dict[int, int] = {
    pytest.ExitCode.INTERRUPTED: EXIT_INTERRUPTED,
    pytest.ExitCode.INTERNAL_ERROR: EXIT_INTERNAL,
    pytest.ExitCode.USAGE_ERROR: EXIT_USAGE,
    pytest.ExitCode.NO_TESTS_COLLECTED: 0,
}


@dataclass(frozen=True)
class SessionResult:
    """How the session ended.

    Attributes:
        manifest: The finished run, or None where none could be opened.
        cancelled_by: The number of the signal that cancelled it, or None.
        error: Why the evidence could not be written, or why no run was opened, or None.
        code: The exit code that something else than the run's outcome asks for, or 0.
        broken: What somebody's code raised that nobody expected, or None.
        scrub: Takes out of a text what the run's privacy guard finds in it.
    """

    manifest: Manifest | None
    cancelled_by: int | None
    error: OrchestratorError | None
    code: int
    broken: BaseException | None
    scrub: Callable[[str], str]


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
    # Whatever plugins print, stdout belongs to the command's answer.
    with _own_variables(prepared.environment.root), redirect_stdout(progress):
        code, errors = _run(plugins)
    manifest = next(iter(controller.manifests), None)
    error = controller.halt.error
    if manifest is None and error is None:
        error = _why_no_run(code, errors.refusal)
    return SessionResult(
        manifest,
        controller.halt.cancelled_by,
        error,
        _CODES.get(code, code),
        errors.first,
        controller.scrub,
    )


def _run(plugins: list[object]) -> tuple[int, _Errors]:
    """Pytest's exit code, and what was raised in it."""
    arguments = [f"--rootdir=${_ROOT}", "--capture=no", *BARE]
    errors = _Errors()
    try:
        code = pytest.main(arguments, plugins=[*plugins, errors])
    except (OrchestratorError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - other people's code; it is told of
        # A hook of the session's end; those of its course are caught by pytest.
        errors.first = errors.first or error
        return int(pytest.ExitCode.INTERNAL_ERROR), errors
    return int(code), errors


def _why_no_run(code: int, refusal: str | None) -> OrchestratorError:
    if code == pytest.ExitCode.USAGE_ERROR:
        return UsageError(f"No run was opened: {refusal or 'pytest has refused the session'}.")
    return OrchestratorError("No run was opened: a plugin ended the session before it began.")


class _Errors:
    """Keeps what pytest, or a plugin, has raised.

    Attributes:
        first: The first of what pytest would print as INTERNALERROR; others may only follow from it.
        refusal: What somebody has refused the session for, or None.
    """

    def __init__(self) -> None:
        self.first: BaseException | None = None
        self.refusal: str | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self) -> Generator[None, object, object]:
        """Hear of refusals, which pytest prints."""
        try:
            return (yield)
        except pytest.UsageError as error:
            self.refusal = " ".join(" ".join(map(str, error.args)).split()).rstrip(".")
            raise

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        """It is told of when the session is over."""
        self.first = self.first or excinfo.value
        return True


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
def _own_variables(root: Path) -> Iterator[None]:
    """Keep variables that steer test runs from steering this one; stages got theirs from a copy.

    The root is handed to pytest by one: in what stands on its command line, pytest expands variables.
    """
    kept = {name: os.environ.pop(name) for name in (*VARIABLES, _ROOT) if name in os.environ}
    os.environ[_ROOT] = str(root)
    try:
        yield
    finally:
        del os.environ[_ROOT]
        os.environ.update(kept)
