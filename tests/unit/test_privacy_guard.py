"""What the guard makes of a pipeline and of words that people say."""

from __future__ import annotations

import pytest

from codex_orchestrator.model.definitions import (
    CommandStage,
    ManualStage,
    PlanHints,
    Session,
    SubpipelineStage,
)
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.policy import PrivacyPolicy
from tests.support.builders import pipeline_of

SECRET = "from-stage"
ENFORCING = PrivacyGuard(PrivacyPolicy("enforce", (), (SECRET,)))
COMMAND = CommandStage(
    kind="command",
    id="deploy-from-stage",
    title="To from-stage",
    command="deploy --token=abcdef",
    cwd="from-stage",
    env={"B_TOKEN": "from-stage", "D": "plain"},
    summary_hint="password: swordfish",
    session=Session(id="at from-stage", reuse=True),
    needs=("from-stage",),
    execution_mode="mcp",
    resources={"from-stage": 1},
    plan=PlanHints(aliases=("from-stage",)),
)


@pytest.mark.parametrize("guard", [PrivacyGuard(), ENFORCING], ids=["shadow", "enforce"])
def test_no_mode_shows_the_value_of_a_variable(guard):
    shown = guard.pipeline(pipeline_of(COMMAND)).stages[0]
    assert shown.env == {"B_TOKEN": "[REDACTED]", "D": "[REDACTED]"}


def test_shadow_mode_changes_nothing_else():
    shown = PrivacyGuard().pipeline(pipeline_of(COMMAND))
    assert {**vars(shown.stages[0]), "env": COMMAND.env} == vars(COMMAND)


def test_ids_and_words_of_a_list_stay_and_all_other_texts_are_looked_through():
    shown = ENFORCING.pipeline(pipeline_of(COMMAND)).stages[0]
    assert vars(shown) == {
        **vars(COMMAND),
        "title": "To [REDACTED]",
        "command": "deploy --token=[REDACTED]",
        "cwd": "[REDACTED]",
        "env": {"B_TOKEN": "[REDACTED]", "D": "[REDACTED]"},
        "summary_hint": "password: [REDACTED]",
        "session": Session(id="at [REDACTED]", reuse=True),
        "resources": {"[REDACTED]": 1},
        "plan": PlanHints(aliases=("[REDACTED]",)),
    }


def test_other_stages_are_looked_through_too():
    manual = ManualStage(
        kind="manual", id="m", title="M", instructions="password=swordfish99 from-stage", policy="human"
    )
    child = SubpipelineStage(kind="subpipeline", id="c", title="C from-stage", pipeline="from-stage")
    shown = ENFORCING.pipeline(pipeline_of(manual, child)).stages
    assert vars(shown[0]) == {**vars(manual), "instructions": "password=[REDACTED] [REDACTED]"}
    assert vars(shown[1]) == {**vars(child), "title": "C [REDACTED]"}


@pytest.mark.parametrize(
    ("said", "recorded"),
    [
        ("by from-stage\nand on", "by [REDACTED] and on"),
        ("from-\x1b[31mstage", "[REDACTED]"),
        ("from-\u202estage", "[REDACTED]"),
    ],
    ids=ascii,
)
def test_what_people_say_is_one_line_without_secrets(said, recorded):
    assert ENFORCING.line(said) == recorded


def test_the_environment_alone_makes_a_guard():
    variables = {"API_TOKEN": "kelp-harbour-71", "CODEX_PRIVACY_GUARD_MODE": "enforce"}
    guard = PrivacyGuard.of_variables(variables)
    assert guard.scrub("at kelp-harbour-71") == "at [REDACTED]"
    assert not PrivacyGuard.of_variables({"API_TOKEN": "kelp-harbour-71"}).enforces
