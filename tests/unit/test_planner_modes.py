"""The one resolver of execution modes, as a table."""

from __future__ import annotations

import pytest

from codex_orchestrator.definitions.planner import parse_mode, resolve_mode
from codex_orchestrator.model.definitions import CommandStage, ManualStage, PlanHints


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        *((word, "cloud") for word in ("cloud", "true", "1", "yes", " Cloud ", "TRUE", "Yes\n")),
        *((word, "mcp") for word in ("mcp", "false", "0", "no", " MCP", "False")),
        *((word, None) for word in ("", " ", "local", "2", "on", "cloudy")),
    ],
)
def test_mode_words(word, mode):
    assert parse_mode(word) == mode


@pytest.mark.parametrize(
    ("plan_flag", "stage_flag", "plan_word", "stage_word", "run_mode", "mode"),
    [
        (None, None, None, None, None, "mcp"),
        (None, None, None, None, "cloud", "cloud"),
        (None, None, None, "mcp", "cloud", "mcp"),
        (None, None, None, "yes", None, "cloud"),
        (None, None, "cloud", "mcp", "mcp", "cloud"),
        (None, None, "no", "cloud", "cloud", "mcp"),
        (None, True, "mcp", "mcp", "mcp", "cloud"),
        (None, False, "cloud", "cloud", "cloud", "mcp"),
        (False, True, "cloud", "cloud", "cloud", "mcp"),
        (True, False, "mcp", "mcp", "mcp", "cloud"),
    ],
)
def test_flags_come_before_words_and_words_before_the_run(
    plan_flag, stage_flag, plan_word, stage_word, run_mode, mode
):
    stage = CommandStage(
        kind="command",
        id="a",
        title="A",
        command="true",
        requires_cloud=stage_flag,
        execution_mode=stage_word,
        plan=PlanHints(requires_cloud=plan_flag, execution_mode=plan_word),
    )
    assert resolve_mode(stage, run_mode) == mode


@pytest.mark.parametrize(("run_mode", "mode"), [(None, "mcp"), ("mcp", "mcp"), ("cloud", "cloud")])
def test_stages_without_a_mode_of_their_own_follow_the_run(run_mode, mode):
    assert resolve_mode(CommandStage(kind="command", id="a", title="A", command="true"), run_mode) == mode
    assert resolve_mode(ManualStage(kind="manual", id="a", title="A"), run_mode) == mode
