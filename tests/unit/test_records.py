"""JSON to frozen dataclasses and back; where they must agree with pydantic is a property test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codex_orchestrator.errors import Problem
from codex_orchestrator.model.codec import Bounds, Mismatch, camel, dumps, dumps_line, from_json, to_json
from codex_orchestrator.model.definitions import CommandStage, Configuration, ManualStage, PipelineDefinition
from codex_orchestrator.model.events import AnyEvent, StageSkipped
from codex_orchestrator.model.exec_events import CommandEnd
from codex_orchestrator.model.explain import explain
from codex_orchestrator.model.manifest import Approval, Manifest, Owner

STAGE = {"kind": "command", "id": "a", "title": "A", "command": "true"}


def pipeline(*stages: object, **keys: object) -> dict[str, object]:
    return {"id": "p", "title": "P", "stages": list(stages), **keys}


def test_names_are_camel_case_in_definitions_and_plain_in_manifests():
    assert [camel(name) for name in ("id", "summary_hint", "error_detail_bytes", "schema_")] == [
        "id",
        "summaryHint",
        "errorDetailBytes",
        "$schema",
    ]
    stage = from_json(CommandStage, {**STAGE, "summaryHint": "h", "timeoutSeconds": 3, "needs": []})
    assert (stage.summary_hint, stage.timeout_seconds, stage.needs, stage.env) == ("h", 3, (), None)
    assert to_json(Owner(pid=1, start_token=None, host="h", boot_id="b")) == {
        "pid": 1,
        "start_token": None,
        "host": "h",
        "boot_id": "b",
    }


def test_a_key_tells_the_members_of_a_union_apart():
    read = from_json(PipelineDefinition, pipeline(STAGE, {"kind": "manual", "id": "m", "title": "M"}))
    assert [type(stage) for stage in read.stages] == [CommandStage, ManualStage]
    assert isinstance(read.stages, tuple)


def test_what_is_left_out_where_unknown_and_what_is_null():
    assert to_json(Approval(actor="me", timestamp="t")) == {"actor": "me", "timestamp": "t"}
    assert to_json(Approval(actor="me", timestamp="t", reason="r"))["reason"] == "r"
    event = CommandEnd(exit_code=None, signal=None, duration_ms=1, timestamp="t", index=1)
    assert to_json(event)["exit_code"] is None


@pytest.mark.parametrize(
    ("shape", "document", "where"),
    [
        (Configuration, [], "(document)"),
        (Configuration, {"pipelines": {}}, "pipelines"),
        (Configuration, {"pipelines": [pipeline(STAGE)], "extra": 1}, "extra"),
        (Configuration, {"pipelines": [pipeline({**STAGE, "extra": 1})]}, "pipelines[0].stages[0].extra"),
        (Configuration, {"pipelines": [pipeline({**STAGE, "kind": "x"})]}, "pipelines[0].stages[0]"),
        (Configuration, {"pipelines": [pipeline({**STAGE, "id": ""})]}, "pipelines[0].stages[0].id"),
        (
            Configuration,
            {"pipelines": [pipeline({**STAGE, "retries": -1})]},
            "pipelines[0].stages[0].retries",
        ),
        (
            Configuration,
            {"pipelines": [pipeline({**STAGE, "retries": True})]},
            "pipelines[0].stages[0].retries",
        ),
        (
            Configuration,
            {"pipelines": [pipeline({**STAGE, "retries": 1.0})]},
            "pipelines[0].stages[0].retries",
        ),
        (
            Configuration,
            {"pipelines": [pipeline({**STAGE, "env": {"A": 1}})]},
            "pipelines[0].stages[0].env.A",
        ),
        (
            Configuration,
            {"pipelines": [pipeline({**STAGE, "needs": [1]})]},
            "pipelines[0].stages[0].needs[0]",
        ),
        (
            Configuration,
            {"pipelines": [pipeline({**STAGE, "timeoutSeconds": 0})]},
            "pipelines[0].stages[0].timeoutSeconds",
        ),
        (Configuration, {"limits": {"streamBytes": 65_537}}, "limits.streamBytes"),
        (Configuration, {"limits": {"errorFileBytes": 1_023}}, "limits.errorFileBytes"),
        (Configuration, {"taskId": None, "plugins": None}, "plugins"),
        (Owner, {"pid": 1, "start_token": None, "host": "h"}, "boot_id"),
        (AnyEvent, {"type": "exec:nothing"}, "(document)"),
        (AnyEvent, {"type": "stage:skipped", "index": 0}, "stage_id"),
    ],
)
def test_a_wrong_document_is_refused_and_its_first_place_named(shape, document, where):
    with pytest.raises(Mismatch):
        from_json(shape, document)
    assert explain(shape, document)[0].where() == where


def test_readers_of_artefacts_ignore_keys_they_do_not_know():
    event = {
        "type": "stage:skipped",
        "stage_id": "a",
        "reason": "r",
        "timestamp": "t",
        "index": 2,
        "later": {},
    }
    with pytest.raises(Mismatch):
        from_json(AnyEvent, event)
    assert from_json(AnyEvent, event, strict=False) == StageSkipped(
        stage_id="a", reason="r", timestamp="t", index=2
    )
    with pytest.raises(Mismatch):
        from_json(AnyEvent, {**event, "index": "2"}, strict=False)


@pytest.mark.parametrize("version", [True, 2, 0, "1", None])
def test_version_one_is_the_number_one(version):
    assert [problem.where() for problem in explain(Manifest, {"version": version})].count("version") == 1


@pytest.mark.parametrize(
    ("limits", "allowed", "refused"),
    [
        ({"ge": 1, "le": 3}, [1, 2, 3], [0, 4]),
        ({"gt": 0}, [0.001, 5], [0, -1]),
        ({"min_length": 1}, ["a"], [""]),
        ({}, [0, -1, ""], []),
    ],
)
def test_bounds(limits, allowed, refused):
    bounds = Bounds(**limits)
    assert all(bounds.allow(value) for value in allowed)
    assert not any(bounds.allow(value) for value in refused)


@pytest.mark.parametrize("value", [Path("/x"), {1, 2}, b"bytes", object(), {"deep": [Path("x")]}, Owner])
def test_what_json_cannot_hold_is_no_accident(value):
    with pytest.raises(TypeError, match="not a JSON value"):
        to_json(value)


def test_the_two_ways_of_writing():
    value = {"b": ["ü€\u2028", None], "a": {}}
    assert dumps(value) == '{\n  "b": [\n    "ü€\u2028",\n    null\n  ],\n  "a": {}\n}\n'
    assert dumps_line(value) == '{"b":["ü€\u2028",null],"a":{}}\n'
    assert dumps_line("a\nb").count("\n") == 1
    assert json.loads(dumps(value)) == json.loads(dumps_line(value)) == value


def test_a_problem_names_its_place_as_people_write_it():
    assert Problem(("pipelines", 0, "stages", 2, "id"), "m").where() == "pipelines[0].stages[2].id"
    assert Problem((0, "id"), "m").where() == "[0].id"
    assert Problem((), "m").where() == "(document)"
