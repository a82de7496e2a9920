"""Options, hooks and registration; without ``--codex-pipeline`` only `newhooks` is loaded besides."""

from __future__ import annotations

from collections.abc import Generator

import pytest

_GROUP = "codex-orchestrator"


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Hooks for other people's plugins."""
    from pytest_codex import newhooks

    pluginmanager.add_hookspecs(newhooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, each the twin of a flag of ``codex-orchestrator start``."""
    group = parser.getgroup(_GROUP, "pipelines of codex-orchestrator")
    group.addoption(
        "--codex-pipeline",
        action="append",
        metavar="ID",
        help="run the stages of this pipeline instead of tests",
    )
    group.addoption("--codex-resume", metavar="RUN", help="take this run up again (a run id, or latest)")
    group.addoption("--codex-task", metavar="ID", help="task id (default: MCP_RUNNER_TASK_ID)")
    group.addoption("--codex-parent-run", metavar="RUN", help="the run that starts this one")
    group.addoption("--codex-approval-policy", metavar="POLICY", help="record this approval policy")
    group.addoption("--codex-target", metavar="STAGE", help="target stage of the plan")
    group.addoption("--codex-execution-mode", metavar="MODE", help="mcp or cloud, where a stage does not say")
    group.addoption(
        "--codex-only", action="append", metavar="STAGE", default=[], help="run only this stage (repeatable)"
    )
    group.addoption("--codex-from", metavar="STAGE", help="begin at this stage")
    group.addoption(
        "--codex-keep-going",
        action="store_true",
        help="after a failure, run what does not need the failed stage",
    )
    group.addoption(
        "--codex-jobs", metavar="N", help="run so many stages at once in this process (a number, or auto)"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """A pipeline run loads no conftest, and leaves out what serves tests only: they are not what runs."""
    known = early_config.known_args_namespace
    if getattr(known, "codex_pipeline", None) or getattr(known, "codex_resume", None):
        from pytest_codex.plugins_for_tests import keep_away

        keep_away(early_config, parser, args)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Have options mean for stages what they can mean for them."""
    if _is_wanted(config):
        from pytest_codex.distribution import settle
        from pytest_codex.plugins_for_tests import heed_command_line

        heed_command_line(config, config.option)
        settle(config.option)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take the session over where a pipeline is asked for; last, when the terminal reporter is there."""
    if _is_wanted(config) and not config.getoption("help", False):
        from pytest_codex.takeover import register

        register(config)


def _is_wanted(config: pytest.Config) -> bool:
    return bool(config.getoption("codex_pipeline") or config.getoption("codex_resume"))
