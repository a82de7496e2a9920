"""Manual stages: who decides, when people are asked, and what a decision is good for."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys

import pytest

from codex_orchestrator.evidence.owner import read_owner
from tests.support.processes import DEADLINE_SECONDS, until
from tests.support.projects import Project
from tests.support.runs import contents

GATE = {"kind": "manual", "id": "gate", "title": "Look at it", "instructions": "See that it is good."}
COMMANDS = ("start", "pytest")


def command(stage_id: str, **keys) -> dict:
    return {"kind": "command", "id": stage_id, "title": stage_id.title(), "command": "true", **keys}


SHIP = command("ship")


def gated(project: Project, *, then=(SHIP,), **keys) -> None:
    """Build, then a gate, then what waits for it."""
    project.pipeline(command("build"), {**GATE, **keys}, *then)


def begin(project: Project, way: str = "start", *words: str) -> int:
    """Run the pipeline, one way or the other: its exit code."""
    if way == "start":
        return project.cli("start", "work", *words).returncode
    return project.pytest("--codex-pipeline", "work", *words).returncode


def go_on(project: Project, way: str = "start") -> int:
    if way == "start":
        return project.cli("resume", "--run", "latest").returncode
    return project.pytest("--codex-resume", "latest").returncode


def decide(
    project: Project, word: str = "approve", *words: str, stage: str = "gate", run="latest", **options
):
    return project.cli(word, "--run", run, "--stage", stage, "--actor", "ada", *words, **options)


def entry(project: Project, stage_id: str = "gate") -> dict:
    return next(item for item in project.manifest()["commands"] if item["id"] == stage_id)


def statuses(project: Project) -> list[str]:
    return [item["status"] for item in project.manifest()["commands"]]


def receipts(project: Project) -> list[dict]:
    path = project.runs()[-1] / "approvals.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_valid(project: Project) -> bool:
    done = project.cli("validate", ".runs", "out", "codex.orchestrator.json")
    assert done.returncode == 0, done.stdout
    return True


# Waiting, and going on.


@pytest.mark.parametrize("way", COMMANDS)
def test_a_run_stops_at_its_gate_and_what_does_not_wait_for_it_runs(project, way):
    gated(project, then=(command("ship"), command("side", needs=["build"])))
    assert begin(project, way) == {"start": 3, "pytest": 1}[way]
    manifest = project.manifest()
    assert (manifest["status"], manifest["status_detail"]) == ("in_progress", "stage:gate:awaiting-approval")
    assert (manifest["completed_at"], manifest["summary"]) == (None, None)
    assert statuses(project) == ["succeeded", "pending", "pending", "succeeded"]
    assert entry(project)["summary"] == "Waiting for approval: See that it is good."
    assert not (project.root / ".runs/task-1/metrics.json").exists()
    assert is_valid(project)


def test_a_run_that_waits_says_so_everywhere(project):
    gated(project)
    done = project.cli("start", "work")
    run_id = project.manifest()["run_id"]
    for part in (
        "waits for approval",
        "See that it is good.",
        f"codex-orchestrator approve --run {run_id} --stage gate",
        f"codex-orchestrator resume --run {run_id}",
    ):
        assert part in done.stdout
    text = project.cli("status").stdout
    assert "in_progress (stage:gate:awaiting-approval), waiting" in text
    assert f"codex-orchestrator approve --run {run_id} --stage gate" in text
    assert json.loads(project.cli("status", "--format", "json").stdout)["liveness"] == "waiting"
    told = project.pytest("--codex-resume", "latest")
    assert told.returncode == 1
    assert "waits for approval" in told.stdout


@pytest.mark.parametrize("way", COMMANDS)
def test_an_approval_lets_the_run_go_on(project, way):
    gated(project)
    begin(project, way)
    said = decide(project, "approve", "--reason", "looks good", "--format", "json")
    assert said.returncode == 0
    manifest = project.manifest()
    (receipt,) = receipts(project)
    path = f".runs/task-1/cli/{manifest['run_id']}/manifest.json"
    assert json.loads(said.stdout) == {"run_id": manifest["run_id"], "manifest": path, **receipt}
    plan = json.loads((project.runs()[-1] / "plan.json").read_text())
    assert receipt == {
        "run_id": manifest["run_id"],
        "stage_id": "gate",
        "decision": "approved",
        "actor": "ada",
        "actor_kind": "unattended",
        "reason": "looks good",
        "timestamp": receipt["timestamp"],
        "expires_at": None,
        "plan_digest": plan["digest"],
    }
    named = {
        "actor": "ada",
        "timestamp": receipt["timestamp"],
        "reason": "stage:gate:approved: looks good",
    }
    assert manifest["approvals"] == [named]
    assert is_valid(project)
    assert "Decided: Look at it (gate), approved by ada" in project.cli("status").stdout

    assert go_on(project, way) == 0
    manifest = project.manifest()
    assert statuses(project) == ["succeeded"] * 3
    assert manifest["approvals"] == [named]
    assert entry(project)["summary"] == f"Approved by ada (unattended): looks good — {path}#approvals[0]"
    assert "Approvals: ada (stage:gate:approved: looks good)" in manifest["summary"].splitlines()
    line = json.loads((project.root / ".runs/task-1/metrics.json").read_text())
    assert (line["approvals_count"], line["resumed"]) == (1, True)
    events = [json.loads(text) for text in (project.runs()[-1] / "runner.ndjson").read_text().splitlines()]
    recorded = [event for event in events if event["type"] == "approval:recorded"]
    assert recorded == [{"type": "approval:recorded", **named, "timestamp": receipt["timestamp"]}]
    assert is_valid(project)


@pytest.mark.parametrize("way", COMMANDS)
def test_a_rejection_fails_the_run_and_a_resume_asks_again(project, way):
    gated(project)
    begin(project, way)
    assert decide(project, "reject", "--reason", "too slow").returncode == 0
    assert go_on(project, way) == 1
    manifest = project.manifest()
    assert (manifest["status"], manifest["status_detail"]) == ("failed", "stage:gate:rejected")
    assert statuses(project) == ["succeeded", "failed", "pending"]
    assert manifest["summary"].splitlines()[0] == "Stage 'Look at it' was rejected by ada: too slow."
    error = json.loads((project.root / entry(project)["error_file"]).read_text())
    assert (error["reason"], error["command_id"]) == ("command-failed", "gate")
    assert is_valid(project)
    refused = decide(project)
    assert refused.returncode == 2
    assert "has ended: failed" in refused.stderr

    assert go_on(project, way) == {"start": 3, "pytest": 1}[way]
    assert project.manifest()["status_detail"] == "stage:gate:awaiting-approval"
    assert entry(project)["error_file"] is None
    assert decide(project).returncode == 0
    assert go_on(project, way) == 0
    reasons = [item["reason"] for item in project.manifest()["approvals"]]
    assert reasons == ["stage:gate:rejected: too slow", "stage:gate:approved"]
    assert entry(project)["summary"].endswith("#approvals[1]")
    assert is_valid(project)


@pytest.mark.parametrize(("word", "code"), [("approve", 0), ("reject", 1)])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_decision_and_the_rest_of_the_run_in_one_command(project, word, code, form):
    gated(project)
    begin(project)
    done = decide(project, word, "--resume", "--format", form)
    assert done.returncode == code
    status = {0: "succeeded", 1: "failed"}[code]
    assert project.manifest()["status"] == status
    (event,) = project.manifest()["resume_events"]
    assert (event["actor"], event["reason"]) == ("ada", f"stage:gate:{receipts(project)[0]['decision']}")
    if form == "json":
        assert json.loads(done.stdout)["status"] == status
    else:
        assert f"Status: {status}" in done.stdout


def test_a_run_that_failed_elsewhere_can_be_decided_on_before_it_is_resumed(project):
    gated(project, then=(command("ship"), command("test", needs=["build"], command="test -e fixed")))
    assert begin(project) == 1
    (project.root / "fixed").touch()
    assert decide(project, "approve", "--resume").returncode == 0


def test_words_of_a_decision_stay_on_their_line(project):
    gated(project)
    begin(project)
    assert decide(project, "approve", "--reason", "fine\nGuardrails: \x1b[1mall well\n").returncode == 0
    assert go_on(project) == 0
    assert "Approvals: ada (stage:gate:approved: fine Guardrails: all well)" in project.manifest()["summary"]
    assert project.manifest()["summary"].count("\n") == 1


def test_names_and_reasons_that_are_no_text_do_no_harm(project):
    gated(project)
    begin(project)
    no_text = b"a\xff\n"
    said = project.cli(
        *("approve", "--run", "latest", "--stage", "gate"), "--actor", no_text, "--reason", no_text
    )
    assert said.returncode == 0
    assert (receipts(project)[0]["actor"], receipts(project)[0]["reason"]) == ("a", "a")
    assert project.cli("resume", "--run", "latest", "--actor", no_text, "--reason", no_text).returncode == 0
    (event,) = project.manifest()["resume_events"]
    assert (event["actor"], event["reason"]) == ("a", "a")


@pytest.mark.parametrize(
    ("environment", "actor"),
    [
        ({"LOGNAME": "grace", "USER": "ada"}, "grace"),
        ({"LOGNAME": "", "USER": "ada"}, "ada"),
        # As in containers and services.
        ({"LOGNAME": "", "USER": ""}, pwd.getpwuid(os.getuid()).pw_name),
    ],
)
def test_the_login_name_decides_where_no_other_is_given(project, environment, actor):
    gated(project)
    begin(project)
    words = ("approve", "--run", "latest", "--stage", "gate")
    assert project.cli(*words, environment=environment).returncode == 0
    assert receipts(project)[0]["actor"] == actor


# What is refused.


REFUSALS = [
    (("--run", "2020-01-01T00-00-00-000Z-00000000", "--stage", "gate"), "Unknown run"),
    (("--run", "../x", "--stage", "gate"), "Invalid run ID"),
    (("--run", "latest", "--stage", "gat"), 'Unknown stage "gat"'),
    (("--run", "latest", "--stage", "ship"), "is of kind command"),
    (("--run", "latest", "--stage", "build"), "is of kind command"),
    (("--run", "latest", "--stage", "person"), "for a person at a terminal"),
    (("--run", "latest", "--stage", "gate", "--actor", " "), "--actor is empty"),
]


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_what_cannot_be_decided_is_refused_and_nothing_is_changed(project, word):
    person = {"kind": "manual", "id": "person", "title": "Person", "policy": "human", "needs": ["build"]}
    gated(project, then=(command("ship"), person))
    assert begin(project) == 3
    before = contents(project)
    for words, message in REFUSALS:
        done = project.cli(word, *words, "--format", "json")
        assert done.returncode == 2, message
        assert message in json.loads(done.stdout)["error"]["message"]
        assert done.stderr.count("error:") == 1
        assert "Traceback" not in done.stderr
        assert contents(project) == before, message


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "manifest.json").write_text("{"), "is not JSON"),
        (lambda run: (run / "manifest.json").write_text('{"run_id": "x"}'), "is not a run manifest"),
        (lambda run: (run / "manifest.json").unlink(), "Cannot read"),
        (lambda run: (run / "plan.json").unlink(), "plan.json is missing"),
        (lambda run: (run / "plan.json").write_text("[]"), "plan.json is missing or not a plan"),
    ],
    ids=["torn", "foreign", "missing", "no plan", "broken plan"],
)
def test_a_run_that_cannot_be_read_is_not_decided_on(project, spoil, message):
    gated(project)
    begin(project)
    run = project.runs()[-1]
    spoil(run)
    before = contents(project)
    done = decide(project, run=run.name)
    assert done.returncode == 2
    assert message in done.stderr
    assert contents(project) == before


def test_a_manifest_of_another_run_is_not_decided_on(project):
    gated(project)
    begin(project)
    begin(project)
    first, second = project.runs()
    (first / "manifest.json").write_bytes((second / "manifest.json").read_bytes())
    before = contents(project)
    done = decide(project, run=first.name)
    assert done.returncode == 2
    assert f"is the manifest of another run: {second.name}" in done.stderr
    assert contents(project) == before


@pytest.mark.parametrize("first", ["approve", "reject"])
@pytest.mark.parametrize("second", ["approve", "reject"])
def test_a_decision_is_made_once(project, first, second):
    gated(project)
    begin(project)
    assert decide(project, first).returncode == 0
    before = contents(project)
    done = decide(project, second)
    assert done.returncode == 2
    assert re.search(r'Stage "gate" .* is (approved|rejected) already, by ada at ', done.stderr)
    assert contents(project) == before


def test_a_run_that_has_succeeded_has_nothing_to_decide(project):
    gated(project)
    assert begin(project, "start", "--only", "build") == 0
    before = contents(project)
    done = decide(project)
    assert done.returncode == 2
    assert "the run has succeeded without it" in done.stderr
    assert contents(project) == before


def test_of_several_at_once_one_decides(project):
    gated(project)
    begin(project)
    words = ["--run", "latest", "--stage", "gate"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "codex_orchestrator", word, *words],
            cwd=project.root,
            env=project.environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for word in ("approve", "reject", "approve", "reject")
    ]
    codes = sorted(process.wait(DEADLINE_SECONDS) for process in started)
    assert codes[0] == 0
    assert set(codes[1:]) <= {2, 75}
    (receipt,) = receipts(project)
    (approval,) = project.manifest()["approvals"]
    assert approval["reason"] == f"stage:gate:{receipt['decision']}"


def test_a_decision_that_would_not_count_is_not_taken(project):
    gated(project)
    begin(project)
    decide(project, "reject", "--resume")
    begin_again = project.cli("resume", "--run", "latest")
    assert begin_again.returncode == 3
    log = project.runs()[-1] / "runner.ndjson"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    for event in events:
        if event["type"] == "stage:completed":
            event["timestamp"] = "2100-01-01T00:00:00.000Z"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    before = contents(project)
    done = decide(project)
    assert done.returncode == 2
    assert "which lies in the future" in done.stderr
    assert contents(project) == before


def test_a_run_that_lives_on_another_machine_is_left_alone(project):
    gated(project)
    begin(project)
    run = project.runs()[-1]
    lock = run / "run.lock"
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "host": "elsewhere"}))
    (run / ".heartbeat").write_text("2100-01-01T00:00:00.000Z\n")
    before = contents(project)
    assert decide(project).returncode == 75
    assert contents(project) == before


def test_a_live_run_is_left_alone(live, project):
    gated(project, then=(command("slow", needs=["build"], command=live.GATE),))
    run = live.start("work")
    run.stage_pid()
    before = (run.folder / "manifest.json").read_bytes()
    done = decide(project, run=run.run_id)
    assert done.returncode == 75
    assert "A live process owns the run" in done.stderr
    assert not (run.folder / "approvals.ndjson").exists()
    assert json.loads(before)["approvals"] == run.manifest["approvals"] == []
    run.open_gate()
    assert run.finish()[0] == 3


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("way", COMMANDS)
def test_where_no_approval_may_come_a_pipeline_with_a_gate_is_not_started(project, way, nested):
    pipelines = [{"id": "work", "title": "Work", "stages": [GATE]}]
    if nested:
        sub = {"kind": "subpipeline", "id": "sub", "title": "Sub", "pipeline": "inner"}
        pipelines[0] = {**pipelines[0], "id": "inner"}
        pipelines.append({"id": "work", "title": "Work", "stages": [sub]})
    project.write({"pipelines": pipelines})
    option = {"start": "--approval-policy", "pytest": "--codex-approval-policy"}[way]
    assert begin(project, way, option, "never") == {"start": 2, "pytest": 4}[way]
    assert not (project.root / ".runs").exists()
    assert not (project.root / "out").exists()


# What a receipt is good for.


def test_a_changed_plan_is_asked_about_again(project):
    gated(project)
    begin(project)
    assert decide(project).returncode == 0
    gated(project, then=(command("ship", command="echo other"),))
    assert project.cli("resume", "--run", "latest").returncode == 2
    assert project.cli("resume", "--run", "latest", "--accept-changes").returncode == 3
    assert decide(project, "approve", "--resume").returncode == 0
    assert [item["decision"] for item in receipts(project)] == ["approved", "approved"]
    assert len({item["plan_digest"] for item in receipts(project)}) == 2


def test_what_was_approved_before_a_change_is_asked_about_again(project):
    gated(project, then=(command("ship", command="false"),))
    begin(project)
    assert decide(project, "approve", "--resume").returncode == 1
    assert statuses(project) == ["succeeded", "succeeded", "failed"]
    assert go_on(project) == 1, "the same plan is not asked about again"
    gated(project, then=(command("ship", command="echo other"),))
    assert project.cli("resume", "--run", "latest", "--accept-changes").returncode == 3
    assert statuses(project) == ["succeeded", "pending", "pending"]


def test_a_decision_expires(project):
    gated(project, expiresSeconds=0.001)
    begin(project)
    for count in (1, 2):
        done = decide(project)
        assert done.returncode == 0
        (*_, receipt) = receipts(project)
        assert receipt["timestamp"] < receipt["expires_at"]
        assert f", until {receipt['expires_at']}" in done.stdout
        assert go_on(project) == 3
        assert len(receipts(project)) == count
    gated(project, expiresSeconds=3600)
    assert project.cli("resume", "--run", "latest", "--accept-changes").returncode == 3
    assert decide(project, "approve", "--resume").returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        {"plan_digest": "0" * 64},
        {"stage_id": "other"},
        {"expires_at": "2020-01-01T00:00:00.000Z"},
        {"actor_kind": "agent"},
        {"actor_kind": "unattended"},
        {"decision": "waved through"},
        {"run_id": "2026-01-01T00-00-00-000Z-00000000"},
        {"run_id": None},
        {"timestamp": "2020-01-01T00:00:00.000Z"},
        {"timestamp": "2999-01-01T00:00:00.000Z"},
    ],
    ids=lambda change: "-".join(map(str, *change.items()))[:30],
)
def test_a_receipt_that_is_not_for_this_is_none(project, change):
    gated(project, policy="human")
    begin(project)
    run = project.runs()[-1]
    good = {
        "run_id": run.name,
        "stage_id": "gate",
        "decision": "approved",
        "actor": "ada",
        "actor_kind": "tty",
        "reason": None,
        "timestamp": project.manifest()["started_at"],
        "expires_at": None,
        "plan_digest": json.loads((run / "plan.json").read_text())["digest"],
    }
    (run / "approvals.ndjson").write_text(json.dumps({**good, **change}) + "\n{torn")
    assert go_on(project) == 3
    with (run / "approvals.ndjson").open("a") as file:
        file.write("\n" + json.dumps(good) + "\n")
    assert go_on(project) == 0


def test_a_receipt_of_another_run_is_none_of_this_one(project):
    gated(project)
    begin(project)
    assert decide(project, "approve", "--resume").returncode == 0
    first = project.runs()[-1]
    begin(project)
    second = project.runs()[-1]
    shutil.copy(first / "approvals.ndjson", second)
    assert go_on(project) == 3
    assert project.manifest()["approvals"] == []
    assert decide(project, "approve", "--resume").returncode == 0


def test_a_receipt_of_a_version_that_named_no_run_is_asked_for_again(project):
    gated(project)
    begin(project)
    assert decide(project).returncode == 0
    path = project.runs()[-1] / "approvals.ndjson"
    old = {key: value for key, value in json.loads(path.read_text()).items() if key != "run_id"}
    path.write_text(json.dumps(old) + "\n")
    assert go_on(project) == 3
    assert decide(project, "approve", "--resume").returncode == 0


def test_a_receipt_that_the_manifest_does_not_know_is_made_good(project):
    gated(project)
    begin(project)
    before = (project.runs()[-1] / "manifest.json").read_bytes()
    assert decide(project).returncode == 0
    (project.runs()[-1] / "manifest.json").write_bytes(before)
    lines = (project.runs()[-1] / "runner.ndjson").read_text().splitlines(keepends=True)
    (project.runs()[-1] / "runner.ndjson").write_text("".join(lines[:-1]))
    assert go_on(project) == 0
    assert [item["reason"] for item in project.manifest()["approvals"]] == ["stage:gate:approved"]
    assert is_valid(project)


def test_a_decision_changes_nothing_else_of_the_run(project):
    gated(project)
    begin(project)
    run = project.runs()[-1]
    manifest = {**project.manifest(), "of_a_later_version": {"a": [1]}}
    (run / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    before = contents(project)
    owner = read_owner(run / "run.lock", below=run)
    assert decide(project).returncode == 0
    after = contents(project)
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed == {"manifest.json", "runner.ndjson", "approvals.ndjson"}
    (receipt,) = receipts(project)
    approval = {"actor": "ada", "timestamp": receipt["timestamp"], "reason": "stage:gate:approved"}
    assert project.manifest() == {**manifest, "approvals": [approval], "updated_at": receipt["timestamp"]}
    assert read_owner(run / "run.lock", below=run) == owner
    assert json.loads(project.cli("status", "--format", "json").stdout)["liveness"] == "waiting"


@pytest.mark.parametrize(
    ("variable", "kind"),
    [("AI_AGENT", "agent"), ("CLAUDECODE", "agent"), ("CI", "ci"), ("CODEX_ORCHESTRATOR_RUN_ID", "agent")],
)
def test_a_receipt_says_what_kind_of_actor_decided(project, variable, kind):
    gated(project)
    begin(project)
    assert decide(project, environment={variable: "1"}).returncode == 0
    assert receipts(project)[0]["actor_kind"] == kind


# Gates of sub-pipelines.


def nested(project: Project, *subs: str) -> None:
    """A pipeline whose stages are runs of a gated one."""
    stages = [
        {"kind": "subpipeline", "id": name, "title": name.title(), "pipeline": "inner", "needs": []}
        for name in subs
    ]
    inner = {"id": "inner", "title": "Inner", "stages": [command("build"), GATE, command("ship")]}
    own = [*stages, command("after", needs=list(subs)), command("free", needs=[])]
    project.write({"pipelines": [inner, {"id": "work", "title": "Work", "stages": own}]})


def parent_of(project: Project) -> dict:
    return json.loads((project.runs()[0] / "manifest.json").read_text())


@pytest.mark.parametrize("named", ["parent", "child"])
@pytest.mark.parametrize("way", COMMANDS)
def test_a_gate_within_a_sub_pipeline(project, way, named):
    nested(project, "sub")
    assert begin(project, way) == {"start": 3, "pytest": 1}[way]
    parent, child = parent_of(project), project.manifest()
    assert [entry["status"] for entry in parent["commands"]] == ["pending", "pending", "succeeded"]
    assert parent["status_detail"] == "stage:sub:awaiting-approval"
    assert child["status_detail"] == "stage:gate:awaiting-approval"
    assert [(run["run_id"], run["status"]) for run in parent["child_runs"]] == [
        (child["run_id"], "in_progress")
    ]
    text = project.cli("status", "--run", parent["run_id"]).stdout
    assert f"codex-orchestrator approve --run {child['run_id']} --stage gate" in text
    assert is_valid(project)
    run = {"parent": parent, "child": child}[named]["run_id"]
    done = decide(project, run=run)
    assert done.returncode == 0
    assert f"codex-orchestrator resume --run {parent['run_id']}" in done.stdout
    assert len(project.manifest()["approvals"]) == 1
    assert parent_of(project)["approvals"] == []
    assert go_on(project, way) == 0
    assert parent_of(project)["status"] == project.manifest()["status"] == "succeeded"
    assert is_valid(project)


def test_a_decision_on_a_child_can_take_up_its_parent(project):
    nested(project, "sub")
    begin(project)
    done = decide(project, "approve", "--resume", run=project.manifest()["run_id"])
    assert done.returncode == 0
    assert f"Run resumed: {parent_of(project)['run_id']}" in done.stdout
    assert parent_of(project)["status"] == "succeeded"


def test_a_rejection_within_a_sub_pipeline_fails_both_and_is_asked_about_again(project):
    nested(project, "sub")
    begin(project)
    assert decide(project, "reject", "--resume", run=parent_of(project)["run_id"]).returncode == 1
    assert parent_of(project)["status_detail"] == "subpipeline:inner:failed"
    assert project.manifest()["status_detail"] == "stage:gate:rejected"
    assert [run["status"] for run in parent_of(project)["child_runs"]] == ["failed"]
    assert is_valid(project)
    assert go_on(project) == 3
    assert decide(project, "approve", "--resume").returncode == 0
    assert parent_of(project)["status"] == project.manifest()["status"] == "succeeded"
    assert is_valid(project)


def test_which_of_two_children_is_meant_must_be_said(project):
    nested(project, "one", "two")
    assert begin(project) == 3
    _, *children = (run.name for run in project.runs())
    before = contents(project)
    done = decide(project, run=project.runs()[0].name)
    assert done.returncode == 2
    assert all(child in done.stderr for child in children)
    assert contents(project) == before
    for child in children:
        assert decide(project, run=child).returncode == 0
    assert go_on(project) == 0


def test_a_stage_that_no_run_has_is_named_with_those_that_wait(project):
    nested(project, "sub")
    begin(project)
    done = decide(project, stage="gat")
    assert done.returncode == 2
    assert 'Unknown stage "gat"' in done.stderr
    assert "To be decided on: gate." in done.stderr


# On a terminal.


CHOICE = "[a/r/l] "
REASON = "Reason (may be empty): "
END_OF_FILE, CONTROL_C = "\x04", "\x03"


@pytest.mark.parametrize(
    ("word", "policy"),
    [("a", "any"), ("Approve", "human"), ("perhaps\na", "human"), ("\udcff\na", "any")],
    ids=ascii,
)
def test_a_person_is_asked_and_approves(project, terminal, policy, word):
    gated(project, policy=policy)
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    assert f"Approval: Look at it (work::gate, run {project.manifest()['run_id']})" in shown.text
    assert "  See that it is good." in shown.text
    shown.types(f"{word}\n")
    shown.shows(REASON)
    shown.types("well done\n")
    assert shown.finish() == 0
    (receipt,) = receipts(project)
    assert (receipt["actor"], receipt["actor_kind"], receipt["reason"]) == ("grace", "tty", "well done")
    assert statuses(project) == ["succeeded"] * 3
    (approval,) = project.manifest()["approvals"]
    assert approval["reason"] == "stage:gate:approved: well done"
    assert is_valid(project)


def test_what_was_typed_before_the_question_is_no_answer(project, terminal):
    go = project.root / "go"
    project.pipeline(
        command("build", command="until test -e go; do sleep 0.05; done"), {**GATE, "policy": "human"}, SHIP
    )
    shown = terminal("start", "work")
    shown.shows("build")
    shown.types("a\ntyped ahead\n")
    go.touch()
    shown.shows(CHOICE)
    assert not receipts(project)
    shown.types("r\nnot yet\n")
    assert shown.finish() == 1
    assert [(each["decision"], each["reason"]) for each in receipts(project)] == [("rejected", "not yet")]


def test_a_person_is_asked_when_nothing_else_can_run(project, terminal):
    gated(project, then=(command("ship"), command("side", needs=["build"]), command("free", needs=[])))
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    log = (project.runs()[-1] / "runner.ndjson").read_text().splitlines()
    done = [event["stage_id"] for event in map(json.loads, log) if event["type"] == "stage:completed"]
    assert done == ["build", "side", "free"]
    until(lambda: entry(project, "side")["status"] == "succeeded", "the manifest, which follows the log")
    shown.types("a\n\n")
    assert shown.finish() == 0
    assert receipts(project)[0]["reason"] is None


def test_a_person_rejects(project, terminal):
    gated(project)
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    shown.types("r\nnot yet\n")
    assert shown.finish() == 1
    assert project.manifest()["status_detail"] == "stage:gate:rejected"
    assert "was rejected by grace: not yet." in project.manifest()["summary"]
    assert is_valid(project)


@pytest.mark.parametrize("answer", ["l\n", "later\n", END_OF_FILE, f"a\n{END_OF_FILE}"], ids=repr)
def test_what_is_left_for_later_waits_and_is_asked_again_by_a_resume(project, terminal, answer):
    gated(project)
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    shown.types(answer)
    assert shown.finish() == 3
    assert project.manifest()["status_detail"] == "stage:gate:awaiting-approval"
    assert receipts(project) == []
    again = terminal("resume", "--run", "latest")
    again.shows(CHOICE)
    again.types("a\n\n")
    assert again.finish() == 0
    assert is_valid(project)


@pytest.mark.parametrize("question", [CHOICE, REASON])
def test_a_person_cancels(project, terminal, question):
    gated(project)
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    if question == REASON:
        shown.types("a\n")
        shown.shows(REASON)
    shown.types(CONTROL_C)
    assert shown.finish() == 130
    assert "Traceback" not in shown.text
    assert project.manifest()["status"] == "cancelled"
    assert project.manifest()["status_detail"] == "cancelled:SIGINT"
    assert statuses(project) == ["succeeded", "pending", "pending"]
    assert receipts(project) == []
    assert is_valid(project)


ELSEWHERE = """
import signal, sys, threading
from codex_orchestrator.cli import main
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
sys.exit(main(sys.argv[4:]))
"""


def test_a_signal_that_interrupts_no_read_ends_the_question(project, terminal):
    """It comes to another thread here; the same happens where it comes just before the read begins."""
    gated(project)
    shown = terminal("start", "work", under=(sys.executable, "-c", ELSEWHERE))
    shown.shows(CHOICE)
    shown.types(CONTROL_C)
    assert shown.finish() == 130
    assert project.manifest()["status_detail"] == "cancelled:SIGINT"
    assert is_valid(project)


def test_a_terminal_that_goes_away_cancels(project, terminal):
    gated(project)
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    assert shown.hangs_up() == 129
    assert project.manifest()["status_detail"] == "cancelled:SIGHUP"
    assert is_valid(project)


def test_a_person_cancels_within_a_sub_pipeline(project, terminal):
    nested(project, "sub")
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    shown.types(CONTROL_C)
    assert shown.finish() == 130
    assert parent_of(project)["status"] == project.manifest()["status"] == "cancelled"
    assert [run["status"] for run in parent_of(project)["child_runs"]] == ["cancelled"]
    assert is_valid(project)
    assert decide(project, run=project.manifest()["run_id"]).returncode == 0
    assert go_on(project) == 0
    assert is_valid(project)


def test_a_run_that_asks_is_alive_and_says_what_for(project, terminal, live):
    gated(project)
    shown = terminal("start", "work")
    shown.shows(CHOICE)
    live.until(lambda: project.manifest()["status_detail"], "the manifest to say so")
    status = json.loads(project.cli("status", "--format", "json").stdout)
    assert (status["liveness"], status["status_detail"]) == ("alive", "stage:gate:awaiting-approval")
    assert decide(project).returncode == 75
    shown.types("a\n\n")
    assert shown.finish() == 0
    assert project.manifest()["status_detail"] is None


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (("--no-interactive",), {}),
        (("--format", "json"), {}),
        ((), {"CLAUDECODE": "1"}),
        ((), {"CI": "true"}),
    ],
    ids=["flag", "json", "agent", "ci"],
)
def test_nobody_is_asked_where_nobody_is_there(project, terminal, words, environment):
    gated(project)
    shown = terminal("start", "work", *words, **environment)
    assert shown.finish() == 3
    assert CHOICE not in shown.text
    assert project.manifest()["status_detail"] == "stage:gate:awaiting-approval"


def test_nobody_is_asked_under_pytest(project, terminal):
    gated(project)
    shown = terminal("--codex-pipeline", "work", module="pytest")
    assert shown.finish() == 1
    assert CHOICE not in shown.text
    assert project.manifest()["status_detail"] == "stage:gate:awaiting-approval"


def test_a_job_in_the_background_does_not_ask(project, terminal):
    gated(project)
    in_background = ("sh", "-mc", '"$@" </dev/tty & wait $!', "sh")
    shown = terminal("start", "work", under=in_background)
    assert shown.finish() == 3
    assert CHOICE not in shown.text
    assert project.manifest()["status_detail"] == "stage:gate:awaiting-approval"


def test_a_person_decides_on_a_run_that_waits(project, terminal):
    gated(project, policy="human")
    assert begin(project) == 3
    assert decide(project).returncode == 2
    assert terminal("approve", "--run", "latest", "--stage", "gate", CLAUDECODE="1").finish() == 2
    assert receipts(project) == []
    assert terminal("approve", "--run", "latest", "--stage", "gate").finish() == 0
    (receipt,) = receipts(project)
    assert (receipt["actor"], receipt["actor_kind"]) == ("grace", "tty")
    assert go_on(project) == 0


def test_a_gate_of_a_sub_pipeline_is_asked_for_when_nothing_else_can_run(project, terminal):
    nested(project, "one", "two")
    shown = terminal("start", "work")
    for name in ("one", "two"):
        started = f"{name}::gate: started"
        shown.shows(started)
        # What is typed before its own question is no answer to it.
        shown.shows(CHOICE, since=shown.text.index(started))
        if name == "one":
            assert "two::build: passed" in shown.text
            assert "free: passed" in shown.text
        shown.types("a\n\n")
    assert shown.finish() == 0
    assert is_valid(project)
