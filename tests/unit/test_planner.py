"""A pipeline as plan items, a target and an order."""

from __future__ import annotations

import pytest

from codex_orchestrator.definitions.planner import CommandPlanner
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.codec import from_json, to_json
from codex_orchestrator.model.definitions import Pipeline


def pipeline(*stages: dict[str, object], description: str | None = None) -> Pipeline:
    full = [{"kind": "command", "command": "true", **stage} for stage in stages]
    named = [{"title": str(stage["id"]).title(), **stage} for stage in full]
    for stage in named:
        if stage["kind"] != "command":
            del stage["command"]
    return from_json(
        Pipeline,
        {
            "id": "p",
            "title": "P",
            "description": description,
            "tags": None,
            "guardrailsRequired": None,
            "stages": named,
        },
    )


def test_an_item_says_all_that_readers_of_either_tool_look_for():
    plan = CommandPlanner(
        pipeline(
            {"id": "a", "plan": {"aliases": ["first"], "defaultTarget": True}},
            {"id": "b", "needs": [], "requiresCloud": True, "plan": {"runnable": False}},
            description="What it is for.",
        )
    ).plan()
    assert to_json(plan) == {
        "items": [
            {
                "id": "p:a",
                "description": "A",
                "requires_cloud": False,
                "requiresCloud": False,
                "runnable": True,
                "selected": True,
                "metadata": {
                    "pipelineId": "p",
                    "stageId": "a",
                    "stageKind": "command",
                    "index": 0,
                    "requiresCloud": False,
                    "aliases": ["first"],
                    "defaultTarget": True,
                },
            },
            {
                "id": "p:b",
                "description": "B",
                "requires_cloud": True,
                "requiresCloud": True,
                "runnable": False,
                "selected": False,
                "metadata": {
                    "pipelineId": "p",
                    "stageId": "b",
                    "stageKind": "command",
                    "index": 1,
                    "requiresCloud": True,
                    "needs": [],
                },
            },
        ],
        "targetId": "p:a",
        "notes": "What it is for.",
    }


def test_a_pipeline_without_description_has_no_notes():
    assert "notes" not in to_json(CommandPlanner(pipeline({"id": "a"})).plan())


HINTED = pipeline(
    {"id": "Build", "plan": {"runnable": False}},
    {"id": "test", "plan": {"aliases": ["check", "T"]}},
    {"id": "gate", "kind": "manual"},
    {"id": "ship"},
)


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        (None, "p:test"),
        ("ship", "p:ship"),
        ("p:ship", "p:ship"),
        ("build", "p:Build"),
        ("P:gate", None),
        ("p:GATE", "p:gate"),
        ("Check", "p:test"),
        ("p:t", "p:test"),
        ("other:ship", None),
        ("nothing", None),
    ],
)
def test_a_target_is_named_by_id_or_alias_with_or_without_its_pipeline(wanted, target):
    planner = CommandPlanner(HINTED, target=wanted)
    if target is None:
        with pytest.raises(UsageError, match="Unknown target stage") as refused:
            planner.plan()
        assert refused.value.hint == "Stages: Build, test, gate, ship."
    else:
        plan = planner.plan()
        assert plan.targetId == target
        assert [item.id for item in plan.items if item.selected] == [target]


@pytest.mark.parametrize(
    ("stages", "target"),
    [
        ([{"id": "a"}, {"id": "b"}], "p:a"),
        ([{"id": "a", "plan": {"runnable": False}}, {"id": "b"}], "p:b"),
        ([{"id": "a"}, {"id": "b", "plan": {"defaultTarget": True}}], "p:b"),
        ([{"id": "a", "plan": {"runnable": False}}], "p:a"),
        ([{"id": "a", "plan": {"defaultTarget": False}}, {"id": "b"}], "p:a"),
    ],
)
def test_the_planner_s_own_target_is_the_flagged_then_the_first_runnable_stage(stages, target):
    assert CommandPlanner(pipeline(*stages)).plan().targetId == target


def test_the_run_s_mode_is_for_stages_without_their_own():
    planner = CommandPlanner(pipeline({"id": "a"}, {"id": "b", "executionMode": "mcp"}), mode="cloud")
    assert [item.requires_cloud for item in planner.plan().items] == [True, False]


def test_items_are_as_declared_and_the_order_is_as_they_run():
    planner = CommandPlanner(pipeline({"id": "a", "needs": ["b"]}, {"id": "b", "needs": []}))
    assert [item.id for item in planner.plan().items] == ["p:a", "p:b"]
    assert planner.order() == ["b", "a"]
