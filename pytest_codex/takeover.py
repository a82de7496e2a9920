"""From pytest's options to a controller, or a usage error before anything is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from codex_orchestrator.engine.preparation import Invocation, prepare, require_runnable, with_signing_key
from codex_orchestrator.engine.source import SourceLook
from codex_orchestrator.environment import Environment, discover
from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.views.lookup import named_run, task_of
from codex_orchestrator.views.resume_invocation import resume_invocation
from pytest_codex import plugins_for_tests as for_tests
from pytest_codex.controller import Controller
from pytest_codex.distribution import is_distributed, require, unheeded, workers_of
from pytest_codex.engines import engine_plugin, jobs_of, require_room
from pytest_codex.messages import tell
from pytest_codex.progress.reporting import PytestProgress
from pytest_codex.run_plugins import load_plugins

_NAME = "codex-controller"


def register(config: pytest.Config) -> None:
    """Register the controller of the pipeline that the options ask for.

    Raises:
        pytest.UsageError: The request, or the repo's definitions, cannot be used.
    """
    _refuse_what_does_not_fit(config)
    try:
        environment = discover(config.invocation_params.dir, os.environ)
        prepared = [prepare(environment, invocation) for invocation in _invocations(config, environment)]
        for each in prepared:
            require_runnable(each)
        prepared = [with_signing_key(each, _nobody) for each in prepared]
        jobs = jobs_of(config.getoption("codex_jobs"))
        require_room(prepared, jobs=jobs, workers=workers_of(config))
    except OrchestratorError as error:
        # There may be no definitions, and so no guard but the one that the environment asks for.
        raise pytest.UsageError(PrivacyGuard.of_variables(os.environ).scrub(str(error))) from error
    guard = prepared[0].options.guard
    for notice in dict.fromkeys(notice for each in prepared for notice in each.notices):
        tell(guard.scrub(notice))
    if not config.getoption("collectonly"):
        prepared[0] = replace(prepared[0], look=SourceLook(environment))
    controller = Controller(prepared)
    try:
        load_plugins(config.pluginmanager, prepared[0], installed=_wants_installed(config))
        controller.plan(config)
        engine = engine_plugin(controller, jobs=jobs, distributed=is_distributed(config))
    except OrchestratorError as error:
        raise pytest.UsageError(guard.scrub(str(error))) from error
    config.pluginmanager.register(controller, _NAME)
    if engine is not None:
        config.pluginmanager.register(engine, "codex-engine")
    for_tests.make_names_known(config)
    for_tests.keep_cache_apart(config)
    # A stage is no file: its id is the same from whichever folder pytest is called.
    config.cwd_relative_nodeid = lambda nodeid: nodeid  # type: ignore[method-assign]
    config.pluginmanager.register(_Progress(controller), "codex-progress-at-start")


class _Progress:
    """Brings progress in once the terminal reporter is there that stays: plugins may replace pytest's."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Nothing has been printed yet, and nothing is captured."""
        manager = session.config.pluginmanager
        reporter = manager.get_plugin("terminalreporter")
        if reporter is not None:
            progress = PytestProgress(session.config, reporter, self._controller)
            for name, plugin in progress.plugins.items():
                manager.register(plugin, name)


def _nobody(_key: str) -> None:
    """Pytest captures what is typed: nobody is asked for the passphrase of a key."""


def _wants_installed(config: pytest.Config) -> bool:
    """Whether installed plugins are loaded: where pytest loads those of its own too."""
    variable = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    return not (variable or config.getoption("disable_plugin_autoload", False))


def _refuse_what_does_not_fit(config: pytest.Config) -> None:
    pipelines = config.getoption("codex_pipeline") or []
    if pipelines and config.getoption("codex_resume"):
        raise pytest.UsageError("--codex-resume takes the run's own pipeline: leave out --codex-pipeline.")
    _refuse_ambiguity(config, pipelines)
    if paths := for_tests.paths_asked_for(config):
        raise pytest.UsageError(
            f"--codex-pipeline runs stages and takes no paths: {' '.join(paths)}. "
            "Select with -k or --deselect."
        )
    _refuse_dry_runs(config)
    if is_distributed(config):
        if config.getoption("codex_jobs"):
            raise pytest.UsageError("--codex-jobs is for this process, -n for workers: leave one out.")
        if (way := unheeded(config)) is not None:
            tell(f"--dist {way} is not heeded: stages go by their graph.")
        from pytest_codex.scheduling import StageScheduling

        require(config, StageScheduling)


def _refuse_ambiguity(config: pytest.Config, pipelines: Sequence[str]) -> None:
    """Refuse, with several pipelines, what can be meant for one only."""
    if len(set(pipelines)) < len(pipelines):
        raise pytest.UsageError("--codex-pipeline: each pipeline once.")
    for option in ("codex_target", "codex_only", "codex_from") if len(pipelines) > 1 else ():
        if config.getoption(option):
            flag = f"--{option.replace('_', '-')}"
            raise pytest.UsageError(f"{flag} names a stage: with several pipelines, leave it out.")


def _refuse_dry_runs(config: pytest.Config) -> None:
    for option, flag in (("setupplan", "--setup-plan"), ("setuponly", "--setup-only")):
        if config.getoption(option, False):
            raise pytest.UsageError(
                f"--codex-pipeline: stages have nothing to set up: leave out {flag}, or pass --collect-only."
            )


def _invocations(config: pytest.Config, environment: Environment) -> list[Invocation]:
    resumed, keep_going = config.getoption("codex_resume"), config.getoption("codex_keep_going")
    cluster = config.getoption("codex_cluster")
    if resumed:
        task = task_of(environment, config.getoption("codex_task"))
        target = config.getoption("codex_target")
        return [
            resume_invocation(
                environment,
                resumed,
                task,
                target=target,
                execution_mode=config.getoption("codex_execution_mode"),
                keep_going=keep_going,
                cluster=cluster,
            )
        ]
    invocation = Invocation(
        task=config.getoption("codex_task"),
        parent_run=named_run(
            environment, config.getoption("codex_parent_run"), config.getoption("codex_task")
        ),
        approval_policy=config.getoption("codex_approval_policy"),
        target=config.getoption("codex_target"),
        execution_mode=config.getoption("codex_execution_mode"),
        only=tuple(config.getoption("codex_only")),
        start_from=config.getoption("codex_from"),
        keep_going=keep_going,
        cluster=cluster,
    )
    return [replace(invocation, pipeline=pipeline) for pipeline in config.getoption("codex_pipeline")]
