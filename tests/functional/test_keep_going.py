"""``--keep-going``: a failure stops only what needs the failed stage, in every mode; order is kept."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field

import pytest

from tests.support import commands
from tests.support.at_once import waits
from tests.support.environment import needs_xdist
from tests.support.invariants import broken, manifests
from tests.support.projects import Project, command, named
from tests.support.runs import contents, events
from tests.support.ways import WAYS, every_way

UNTIL_OK = "test -e ok"
HINT = "--keep-going runs what does not need the failed one."
LETTERS = {"succeeded": "s", "failed": "f", "pending": ".", "skipped": "k"}


def manual(name: str, **keys) -> dict:
    return {"kind": "manual", "id": name, **keys}


def sub(name: str, **keys) -> dict:
    return {"kind": "subpipeline", "id": name, "pipeline": name, **keys}


def flag(way: str) -> str:
    return "--codex-keep-going" if way.startswith("pytest") else "--keep-going"


def run(project: Project, way: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the pipeline ``work``, whichever way; the output is in one piece."""
    module, *given = WAYS[way]
    return commands.run(module, [*given, *words], cwd=project.root, env=project.environment, together=True)


def by_pipeline(project: Project) -> dict[str, dict]:
    return {manifest["pipeline_id"]: manifest for manifest in manifests(project.root).values()}


def ended(manifest: dict) -> str:
    """How the stages of a run ended, a letter each."""
    return "".join(LETTERS[entry["status"]] for entry in manifest["commands"])


@dataclass(frozen=True)
class Case:
    """A pipeline, how its stages end, and what its run says; those of others that it runs likewise.

    By default the first stage is called ``a`` and fails.
    """

    name: str
    stages: tuple[dict, ...]
    ended: str
    detail: str | None = "stage:a:failed"
    below: dict[str, tuple[tuple[dict, ...], str]] = field(default_factory=dict)


A, B, C = command("a", "exit 3"), command("b"), command("c")
CASES = (
    Case("what only follows it runs", (A, B, C), "fss"),
    Case("what needs it does not, nor what needs that", (A, command("b", needs=["a"]), C), "f.s"),
    Case(
        "by several needs",
        (A, command("b", needs=[]), command("c", needs=["a", "b"]), B | {"id": "d"}),
        "fs.s",
    ),
    Case(
        "needs reach through needs only",
        (A, command("b", needs=["a"]), command("c", needs=["b"]), command("d"), command("e", needs=["d"])),
        "f..ss",
    ),
    Case("the first is named", (command("z"), A, command("b", "exit 4"), C), "sffs"),
    Case(
        "the first declared is named, not the first that failed",
        (command("z", needs=["b"]), A | {"needs": ["z"]}, command("b", "exit 4", needs=[]), C),
        "..fs",
        "stage:b:failed",
    ),
    Case("a timeout", (command("a", "exec sleep 60", timeoutSeconds=0.1), B), "fs", "stage:a:timeout"),
    Case("death by a signal", (command("a", "kill -KILL $$"), B), "fs"),
    Case("what cannot be started", (command("a", cwd="gone"), B), "fs", "stage:a:error"),
    Case("attempts that are used up", (command("a", "false", retries=1), B), "fs"),
    Case("a failure that is allowed", (command("a", "false", allowFailure=True), B), "ks", None),
    Case("a decision that is waited for", (A, manual("gate"), B, C), "f..."),
    Case("beside a decision", (A, manual("gate"), command("b", needs=[]), C), "f.ss"),
    Case("a decision that needs it, and what comes after", (A, manual("gate", needs=["a"]), B, C), "f..."),
    Case(
        "a sub-pipeline that fails",
        (sub("inner"), B, command("c", needs=["inner"])),
        "fs.",
        "subpipeline:inner:failed",
        {"inner": ((A, B, command("c", needs=["a"])), "fs.")},
    ),
    Case("one that may", (sub("inner", optional=True), B), "ks", None, {"inner": ((A, B), "fs")}),
    Case("one that only follows", (A, sub("inner"), B), "fss", below={"inner": ((B,), "s")}),
    Case("one that needs it", (A, sub("inner", needs=["a"]), B), "f.s", below={"inner": ((B,), "")}),
    Case(
        "one in which somebody decides",
        (A, sub("inner"), B),
        "f..",
        below={"inner": ((manual("gate"), B), "..")},
    ),
    Case(
        "one in which somebody would decide",
        (sub("inner"), B),
        "f.",
        "subpipeline:inner:failed",
        {"inner": ((A, manual("gate", needs=["a"])), "f.")},
    ),
)


# How stages are driven differs only in these two; that pytest's own command is no other, a few cases show.
IN_FULL = ("start", "start --jobs")
A_FEW = ("what needs it does not, nor what needs that", "beside a decision", "a sub-pipeline that fails")
COMBINED = [
    pytest.param(way, case, id=f"{way}-{case.name}", marks=needs_xdist if way == "pytest -n" else ())
    for case in CASES
    for way in WAYS
    if way in IN_FULL or case.name in A_FEW
]


@pytest.mark.parametrize(("way", "case"), COMBINED)
def test_what_runs_after_a_failure(project, way, case):
    project.pipelines(work=case.stages, **{name: stages for name, (stages, _) in case.below.items()})
    done = run(project, way, flag(way))
    runs = by_pipeline(project)
    work = runs.pop("work")
    assert (ended(work), work["status_detail"]) == (case.ended, case.detail), done.stdout
    assert {name: ended(below) for name, below in runs.items()} == {
        name: letters for name, (_, letters) in case.below.items() if letters
    }
    failed = case.detail is not None
    assert (done.returncode, work["status"]) == (int(failed), "failed" if failed else "succeeded")
    assert HINT not in done.stdout
    assert in_order(project, case.stages) == []
    assert broken(project.root) == []


def in_order(project: Project, stages) -> list[str]:
    """What of a run began before the stage declared before it had ended, though it has no needs."""
    folder = next(
        path
        for path in project.runs()
        if json.loads((path / "plan.json").read_bytes())["pipeline"]["id"] == "work"
    )
    lines = [json.loads(line) for line in (folder / "runner.ndjson").read_bytes().splitlines()]
    said = [
        (event["type"], event["index"])
        for event in lines
        if event["type"] in ("command:start", "command:end")
    ]
    places = {event: place for place, event in enumerate(said)}
    return [
        stage["id"]
        for index, stage in enumerate(stages, start=1)
        if "needs" not in stage
        and places.get(("command:start", index), len(said)) < places.get(("command:end", index - 1), -1)
    ]


@every_way
def test_without_it_a_failure_stops_what_follows(project, way):
    project.pipeline(A, B, command("c", needs=[]))
    done = run(project, way)
    assert done.returncode == 1
    assert ended(project.manifest()) == "f.s"


@every_way
def test_what_is_stopped_says_by_what(project, way):
    project.pipeline(A, command("b", needs=["a"]), C)
    done = run(project, way, flag(way), *(["-rs"] if way.startswith("pytest") else []))
    assert "blocked: work::a failed" in done.stdout
    skipped = events(project, "stage:skipped")
    assert [(event["stage_id"], event["reason"]) for event in skipped] == [("b", "blocked by a")]
    assert project.manifest()["summary"].splitlines()[0] == "Stage 'A' failed with exit code 3."


@needs_xdist
def test_a_lost_worker_is_a_failure_as_any_other(project, session):
    project.pipeline(command("a", waits("a")), B, command("c", needs=["a"]), command("d"))
    lively = session("-n 2", "--codex-keep-going")
    os.kill(lively.worker_of("a"), signal.SIGKILL)
    code, output = lively.finish()
    assert (code, ended(project.manifest())) == (1, "fs.s"), output
    assert project.manifest()["status_detail"] == "stage:a:error"
    assert broken(project.root) == []


# Decisions.


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_a_rejection_stops_all_that_comes_after_it(project, way):
    project.pipeline(B, manual("gate"), C, command("d", needs=[]), command("e"))
    assert run(project, way, flag(way)).returncode == (3 if way == "start" else 1)
    assert ended(project.manifest()) == "s..ss"
    assert project.cli("reject", "--stage", "gate", "--actor", "ada").returncode == 0
    assert resume(project, way, flag(way)).returncode == 1
    assert ended(project.manifest()) == "sf.ss"
    assert project.manifest()["status_detail"] == "stage:gate:rejected"
    assert broken(project.root) == []


def test_an_approval_lets_the_rest_run_after_a_failure(project):
    project.pipeline(A, manual("gate"), B)
    assert project.cli("start", "work", "--keep-going").returncode == 1
    assert ended(project.manifest()) == "f.."
    approved = project.cli("approve", "--stage", "gate", "--actor", "ada", "--resume", "--keep-going")
    assert approved.returncode == 1, approved.stderr
    assert ended(project.manifest()) == "fss"


# Cancelled, and ended early.


def test_a_cancelled_run_goes_on_with_nothing(project, live):
    project.pipeline(command("a", live.GATE), B)
    lively = live.start("work", "--keep-going")
    live.until((project.root / "pid").exists, "the first stage")
    lively.signal(signal.SIGINT)
    code, *_ = lively.finish()
    manifest = project.manifest()
    assert (code, manifest["status"], ended(manifest)) == (130, "cancelled", "f.")


def test_pytest_may_end_the_session_at_the_first_failure_all_the_same(project):
    project.pipeline(A, B)
    assert run(project, "pytest", "--codex-keep-going", "-x").returncode == 1
    assert ended(project.manifest()) == "f."


# Definitions.


def defined(project: Project, *, work=(), inner=(), **keys) -> None:
    """Two pipelines: the one that is started, with these keys, and another with those of ``inner``."""
    stages = {"work": [sub("inner"), command("after")], "inner": [A, B]}
    project.write(
        {
            "pipelines": [
                {"id": name, "title": name, "stages": named(stages[name]), **dict(own)}
                for name, own in (("work", work), ("inner", inner))
            ],
            **keys,
        }
    )


KEEPS = {"keepGoing": True}


@pytest.mark.parametrize("way", ["start", "pytest"])
@pytest.mark.parametrize(
    ("work", "inner", "found"),
    [
        ({}, {}, ("f.", "f.")),
        (KEEPS, {}, ("fs", "f.")),
        ({}, KEEPS, ("f.", "fs")),
        (KEEPS, KEEPS, ("fs", "fs")),
        ({"keepGoing": False}, KEEPS, ("f.", "fs")),
    ],
)
def test_a_definition_speaks_for_its_own_pipeline(project, way, work, inner, found):
    defined(project, work=work, inner=inner)
    assert run(project, way).returncode == 1
    runs = by_pipeline(project)
    assert (ended(runs["work"]), ended(runs["inner"])) == found


def test_the_flag_speaks_for_all_of_them(project):
    defined(project, work={"keepGoing": False})
    assert project.start("work", "--keep-going").exit_code == 1
    runs = by_pipeline(project)
    assert (ended(runs["work"]), ended(runs["inner"])) == ("fs", "fs")


def test_plan_says_it_where_the_definition_does(project):
    defined(project, work=KEEPS, inner=KEEPS)
    said = project.cli("plan", "work").stdout.splitlines()
    words = "after a failure, what does not need the failed stage still runs"
    assert f"Keeps going: {words}" in said
    assert f"     keeps going: {words}" in said
    document = json.loads(project.cli("plan", "work", "--format", "json").stdout)
    assert document["pipeline"]["keepGoing"] is True
    defined(project)
    assert "going" not in project.cli("plan", "work").stdout
    assert "keepGoing" not in project.cli("plan", "work", "--format", "json").stdout


def test_the_plan_of_others_is_as_it_was(project):
    """Approvals and resumes are held to it: the digest is that from before there was such a key."""
    project.pipeline("true")
    project.cli("start", "work", "--keep-going")
    plan = json.loads((project.runs()[-1] / "plan.json").read_bytes())
    assert "keepGoing" not in plan["pipeline"]
    assert plan["digest"] == "9dbc7a7c0af8fce1329596a453423d19eed40efc85747ae1e980d41285349a14"
    project.pipeline("true", keepGoing=True)
    project.cli("start", "work")
    plan = json.loads((project.runs()[-1] / "plan.json").read_bytes())
    assert plan["pipeline"]["keepGoing"] is True
    text = json.dumps(plan["pipeline"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan["digest"] == hashlib.sha256(text.encode()).hexdigest()


# Resuming.


def resume(project: Project, way: str, *words: str) -> subprocess.CompletedProcess[str]:
    if way == "start":
        return project.cli("resume", *words)
    return project.pytest("--codex-resume=latest", *words)


RESUMED = (
    command("a", f"echo a >> ran; {UNTIL_OK}"),
    command("b", "echo b >> ran"),
    command("c", "echo c >> ran", needs=["a"]),
    command("d", "echo d >> ran"),
)


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_a_resume_runs_what_failed_and_what_did_not_run(project, way):
    project.pipeline(*RESUMED)
    assert run(project, way, flag(way)).returncode == 1
    assert ended(project.manifest()) == "fs.s"
    (project.root / "ok").touch()
    assert resume(project, way).returncode == 0
    assert ended(project.manifest()) == "ssss"
    assert (project.root / "ran").read_text().split() == ["a", "b", "d", "a", "c"]
    assert broken(project.root) == []


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_a_resume_keeps_going_where_it_is_told_to(project, way):
    project.pipeline(*RESUMED)
    assert run(project, way).returncode == 1
    assert ended(project.manifest()) == "f..."
    assert resume(project, way).returncode == 1
    assert ended(project.manifest()) == "f..."
    assert resume(project, way, flag(way)).returncode == 1
    assert ended(project.manifest()) == "fs.s"
    assert broken(project.root) == []


def test_to_keep_going_by_definition_is_a_change_of_the_pipeline(project):
    project.pipeline(*RESUMED)
    project.start("work")
    project.pipeline(*RESUMED, keepGoing=True)
    before = contents(project)
    refused = project.cli("resume")
    assert refused.returncode == 2
    assert "keep_going is different" in refused.stderr
    assert contents(project) == before
    assert project.cli("resume", "--accept-changes").returncode == 1
    assert ended(project.manifest()) == "fs.s"


# What people are told.


@pytest.mark.parametrize(
    ("stages", "words", "hint"),
    [
        ((A, B, C), (), f"2 stages were not run: {HINT}"),
        ((B, A, C), (), f"1 stage was not run: {HINT}"),
        ((A, command("b", needs=["a"]), C), (), f"2 stages were not run: {HINT}"),
        ((A, B, C), ("--only=a", "--only=c"), f"1 stage was not run: {HINT}"),
        ((A, manual("gate"), B), (), f"2 stages were not run: {HINT}"),
        # It would run no more,
        ((A, command("b", needs=["a"])), (), None),
        ((A, B), ("--only=a",), None),
        ((A, command("b", needs=["a"]), C), ("--keep-going",), None),
        # or nothing has failed.
        ((B, C), (), None),
        ((B, manual("gate"), C), (), None),
    ],
)
def test_the_end_names_the_flag_where_it_would_run_more(project, stages, words, hint):
    project.pipeline(*stages)
    said = project.cli("start", "work", *words).stdout.splitlines()
    assert [line for line in said if HINT in line] == ([hint] if hint else [])
    if hint:
        assert said[said.index(hint) + 1].startswith("Go on with: codex-orchestrator resume ")
    assert "not run:" not in json.dumps(project.manifest())


def test_the_json_answer_is_as_it_was(project):
    project.pipeline(A, B)
    done = project.cli("start", "work", "--format", "json")
    assert HINT not in done.stdout + done.stderr
    assert list(json.loads(done.stdout)) == [
        "run_id",
        "status",
        "artifact_root",
        "manifest",
        "log_path",
        "summary",
    ]


# Stage sets with needs.

CHECKS = [
    {"kind": "command", "id": "build", "title": "Build", "command": "echo build >> ran", "needs": []},
    {"kind": "command", "id": "lint", "title": "Lint", "command": "echo lint >> ran; false", "needs": []},
    {"kind": "command", "id": "test", "title": "Test", "command": "echo test >> ran", "needs": ["build"]},
]
REF = {"kind": "stage-set", "ref": "checks"}


def taken_in(project: Project, *stages: dict, checks=CHECKS) -> None:
    """A pipeline of these stages, the set ``checks`` among them."""
    stages_in_full = [stage if stage is REF else named([stage])[0] for stage in stages]
    work = {"id": "work", "title": "Work", "stages": stages_in_full}
    project.write({"stageSets": {"checks": checks}, "pipelines": [work]})


@pytest.mark.parametrize("way", ["start", "start --jobs"])
@pytest.mark.parametrize(
    ("stages", "found"),
    [
        ((REF,), "sfs"),
        # What stands after a set follows its last stage, what needs one of it just this.
        ((REF, command("after")), "sfss"),
        ((REF, command("after", needs=["lint"])), "sfs."),
        ((REF, command("after", needs=["build", "test"]), command("last")), "sfsss"),
        # What stands before it holds up only what has no needs.
        ((command("before", "false"), REF), "fsfs"),
    ],
)
def test_needs_within_a_set_are_those_of_the_pipeline_that_takes_it_in(project, way, stages, found):
    taken_in(project, *stages)
    assert run(project, way).returncode == 1
    assert ended(project.manifest()) == found
    ran = (project.root / "ran").read_text().split()
    assert ran.index("build") < ran.index("test")
    assert broken(project.root) == []


def test_a_set_may_need_a_stage_that_the_pipeline_brings(project):
    checks = [{**CHECKS[2], "needs": ["own"]}]
    taken_in(project, command("own", "false"), command("other", needs=[]), REF, checks=checks)
    assert run(project, "start").returncode == 1
    assert ended(project.manifest()) == "fs."
    taken_in(project, REF, checks=checks)
    refused = project.cli("plan", "work")
    assert refused.returncode == 2
    assert 'stageSets.checks[0].needs[0]: unknown stage "own"' in refused.stderr


def test_a_stage_in_the_place_of_one_of_a_set_is_needed_as_that_one_was(project):
    """A repository takes in all but one, which it brings itself under the same id."""
    taken_in(project, command("build", "echo own >> ran; false"), REF, checks=CHECKS[1:])
    assert run(project, "start", "--keep-going").returncode == 1
    assert ended(project.manifest()) == "ff."
    assert (project.root / "ran").read_text().split() == ["own", "lint"]


def test_a_set_that_is_taken_in_twice_is_refused_and_named_once(project):
    taken_in(project, REF, REF)
    refused = project.cli("plan", "work")
    assert refused.returncode == 2
    assert refused.stderr.count("duplicate stage id") == len(CHECKS)
