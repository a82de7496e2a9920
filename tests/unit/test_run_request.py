"""The request of a run: what it says, and what is found wrong with one."""

from __future__ import annotations

import copy
import json

import pytest

from codex_orchestrator.model.control_plane import RequestProblem, control_plane_of
from codex_orchestrator.model.definitions import (
    CommandStage,
    ManualStage,
    Pipeline,
    Session,
    SubpipelineStage,
)
from codex_orchestrator.rules.run_request import build_request, problems_of
from tests.support.builders import NOW, layout_of

STAGES = (
    CommandStage(kind="command", id="build", title="Build", command="make", session=Session(id="s")),
    CommandStage(kind="command", id="lint", title="Lint", command="x", allow_failure=True, session=Session()),
    SubpipelineStage(kind="subpipeline", id="deep", title="Deep", pipeline="other", optional=True),
    ManualStage(kind="manual", id="gate", title="Gate"),
)


def pipeline(*stages, tags=None, title="Work", name="work") -> Pipeline:
    return Pipeline(
        id=name, title=title, description=None, tags=tags, guardrails_required=None, stages=stages or STAGES
    )


def request(**changes) -> dict:
    """A request as it is written."""
    return json.loads(
        json.dumps(build_request(layout_of(), pipeline(**changes), approval_policy="never", requested_at=NOW))
    )


def test_a_request_in_full():
    assert request(tags=("ci", "python")) == {
        "schema": "codex.control-plane.run-request",
        "version": "2.0.0",
        "requestId": "r",
        "task": {"id": "t", "title": "t", "slug": "t", "tags": ["ci", "python"]},
        "pipeline": {
            "id": "work",
            "version": "1.0.0",
            "title": "Work",
            "capabilities": ["ci", "python"],
            "stages": [
                {
                    "id": "build",
                    "kind": "command",
                    "title": "Build",
                    "optional": False,
                    "capabilities": ["session:s"],
                },
                {"id": "lint", "kind": "command", "title": "Lint", "optional": True},
                {"id": "deep", "kind": "subpipeline", "title": "Deep", "optional": True},
                {"id": "gate", "kind": "manual", "title": "Gate", "optional": False},
            ],
        },
        "schedule": {
            "strategy": "auto",
            "minInstances": 1,
            "maxInstances": 4,
            "fanOut": [
                {"capability": "ci", "weight": 1, "maxConcurrency": 1},
                {"capability": "python", "weight": 1, "maxConcurrency": 1},
            ],
            "recovery": {
                "heartbeatIntervalSeconds": 30,
                "missingHeartbeatTimeoutSeconds": 120,
                "maxRetries": 3,
            },
        },
        "streaming": {
            "handles": True,
            "resumeSupported": True,
            "observers": {"maxSubscribers": 8, "defaultBackpressureMs": 0},
        },
        "constraints": {"privacyLevel": "standard", "policyVersion": "1.0.0", "approvalPolicy": "never"},
        "metrics": {"emitIntervalSeconds": 5, "requiredDimensions": ["task_id", "pipeline_id", "status"]},
        "requestedAt": NOW,
        "requestedBy": {"actorId": "codex-cli", "channel": "cli", "name": "codex-orchestrator"},
        "metadata": {"artifactRoot": ".runs/t/cli/r", "pipelineId": "work", "taskSlug": "t"},
    }


@pytest.mark.parametrize("tags", [None, (), ("a",), ("a", "b")])
def test_our_own_requests_are_valid(tags):
    assert problems_of(request(tags=tags)) == []


def test_without_tags_the_capability_is_general():
    for tags in (None, ()):
        document = request(tags=tags)
        assert document["task"]["tags"] == document["pipeline"]["capabilities"] == ["general"]
        assert [each["capability"] for each in document["schedule"]["fanOut"]] == ["general"]


TEXT = "must be a text that is not blank"
LIST = "must be a list that is not empty"
COUNT = "must be a whole number from 1 on"
# A text, as it is part of a test's name.
GONE = "(left out)"
BROKEN = [
    ("schema", "codex.control-plane", "must be codex.control-plane.run-request"),
    ("version", "1.0.0", "must be 2.0.0"),
    ("version", 2, "must be 2.0.0"),
    ("requestId", "", TEXT),
    ("requestId", GONE, "is missing"),
    ("surprise", 1, "is not known"),
    ("task", GONE, "is missing"),
    ("task", [], "must be an object"),
    ("task.id", 7, TEXT),
    ("task.slug", 7, "must be a text or null"),
    ("task.tags", "ci", LIST),
    ("task.tags[0]", "\t", TEXT),
    ("task.surprise", None, "is not known"),
    ("pipeline.capabilities", [], LIST),
    ("pipeline.stages", [], LIST),
    ("pipeline.stages[1]", None, "must be an object"),
    ("pipeline.stages[1].id", GONE, "is missing"),
    ("pipeline.stages[3].title", " \n ", TEXT),
    ("pipeline.stages[0].kind", "cloud", "must be command or subpipeline or manual"),
    ("pipeline.stages[0].kind", ["command"], "must be command or subpipeline or manual"),
    ("pipeline.stages[0].optional", "no", "must be true or false"),
    ("pipeline.stages[0].capabilities[0]", "", TEXT),
    ("schedule.strategy", "later", "must be auto or manual"),
    ("schedule.minInstances", 0, COUNT),
    ("schedule.minInstances", True, COUNT),
    ("schedule.minInstances", 5, "must not be above maxInstances"),
    ("schedule.maxInstances", 2.5, COUNT),
    ("schedule.fanOut[0].weight", 0, "must be a number above 0"),
    ("schedule.fanOut[0].weight", True, "must be a number above 0"),
    ("schedule.fanOut[0].maxConcurrency", 0, COUNT),
    ("schedule.recovery.maxRetries", -1, "must be a whole number from 0 on"),
    ("streaming.handles", 1, "must be true or false"),
    ("streaming.observers", GONE, "is missing"),
    ("streaming.observers.defaultBackpressureMs", -1, "must be a whole number from 0 on"),
    ("constraints.privacyLevel", "none", "must be standard or restricted or sensitive"),
    ("constraints.policyVersion", GONE, "is missing"),
    ("constraints.approvalPolicy", 0, "must be a text or null"),
    ("metrics.requiredDimensions", [], LIST),
    ("requestedAt", "soon", "must be a timestamp"),
    ("requestedAt", 0, "must be a timestamp"),
    ("requestedBy.actorId", "", TEXT),
    ("metadata", "x", "must be an object"),
]


@pytest.mark.parametrize(("path", "value", "message"), BROKEN, ids=lambda part: str(part)[:40])
def test_what_is_wrong_with_a_request_has_its_path(path, value, message):
    document = request()
    *steps, last = [int(p[:-1]) if p.endswith("]") else p for p in path.replace("[", ".").split(".")]
    inner = document
    for step in steps:
        inner = inner[step]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    assert problems_of(document) == [RequestProblem(f"$.{path}", message)]


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_what_is_no_object_is_no_request(document):
    assert problems_of(document) == [RequestProblem("$", "must be an object")]


def test_all_that_is_wrong_is_found():
    document = request()
    before = copy.deepcopy(document)
    document["pipeline"]["stages"][0]["title"] = ""
    document["pipeline"]["stages"][2].pop("kind")
    document["requestedAt"] = None
    assert [problem.path for problem in problems_of(document)] == [
        "$.pipeline.stages[0].title",
        "$.pipeline.stages[2].kind",
        "$.requestedAt",
    ]
    assert problems_of(before) == []


@pytest.mark.parametrize("optional", ["task.slug", "task.tags", "constraints.approvalPolicy", "metadata"])
def test_what_may_be_missing(optional):
    document = request()
    *steps, last = optional.split(".")
    del (document[steps[0]] if steps else document)[last]
    assert problems_of(document) == []


# ------------------------------------------------------------------ what is made of it


@pytest.mark.parametrize(
    ("mode", "count", "refuses"),
    [("shadow", 0, False), ("shadow", 1, False), ("enforce", 0, False), ("enforce", 1, True)],
)
def test_only_what_is_wrong_and_enforced_is_refused(mode, count, refuses):
    found = control_plane_of("r", [RequestProblem("$.a", "is missing")] * count, mode=mode, timestamp=NOW)
    assert found.refuses is refuses
    assert found.validation.status == ("failed" if count else "passed")
    assert (found.enforcement.enabled, found.enforcement.activated_at) == (
        mode == "enforce",
        NOW if mode == "enforce" else None,
    )


def test_the_line_for_people_names_the_first_five():
    problems = [RequestProblem(f"$.a[{place}]", "is missing") for place in range(7)]
    assert control_plane_of("r", problems[:1], mode="enforce", timestamp=NOW).summary == (
        "Control plane validation failed: $.a[0] is missing."
    )
    line = control_plane_of("r", problems, mode="enforce", timestamp=NOW).summary
    assert "$.a[4] is missing; and 2 more." in line
    assert "$.a[5]" not in line
