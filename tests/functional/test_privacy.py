"""The privacy guard over whole runs: in enforce mode, no secret is in any file or on the terminal."""

from __future__ import annotations

import json
import shlex
import sys
from base64 import b64encode
from urllib.parse import quote

import pytest

from tests.support.environment import needs_xdist
from tests.support.secrets_corpus import BODY, CASES, ENVIRONMENT, HARMLESS_LINES, PLAIN

ENFORCE = {"CODEX_PRIVACY_GUARD_MODE": "enforce"}
SECRET = "sword-fish/99 & co"
HIDDEN = "[REDACTED]"


def everything(project) -> bytes:
    """All that the runs have left, names included."""
    return b"\n".join(
        [
            str(path).encode() + b"\n" + (path.read_bytes() if path.is_file() else b"")
            for folder in (".runs", "out", "reports")
            for path in sorted((project.root / folder).rglob("*"))
        ]
    )


def shown(done) -> bytes:
    return (done.stdout + done.stderr).encode()


def printing(text: str) -> str:
    """A command that prints a text without being it: backwards, as the guard knows a key in base64."""
    return f"printf %s {b64encode(text.encode()).decode()[::-1]} | rev | base64 -d"


def in_env(value: str, command: str, **keys) -> dict:
    return {"command": command, "env": {"SHOP_API_TOKEN": value}, **keys}


# Stages that each bring the secret to light in their own way.
STAGES = {
    "in the command": {"command": f"true --password={shlex.quote(SECRET)}"},
    "in a title and a hint": {
        "command": "true",
        "title": "Deploy with password=sword-fish/99",
        "summaryHint": "used token=sword-fish/99",
    },
    "in the output": {"command": printing("password=sword-fish/99 done\n")},
    "in a variable": in_env(SECRET, 'echo "$SHOP_API_TOKEN"'),
    "in an address": in_env(SECRET, f"echo https://example.test/{quote(SECRET, safe='')}"),
    "in base64": in_env(SECRET, 'printf %s "$SHOP_API_TOKEN" | base64'),
    "in a summary of a failure": in_env(SECRET, 'echo "no: $SHOP_API_TOKEN" >&2; exit 3'),
    "in a failure that is allowed": in_env(
        SECRET, 'echo "no: $SHOP_API_TOKEN" >&2; exit 3', allowFailure=True
    ),
    "in attempts": in_env(SECRET, 'echo "no: $SHOP_API_TOKEN" >&2; exit 3', retries=1),
    "in two writes": {"command": f"{printing('password=sword-')}; {printing('fish/99 done')}"},
    "in a long line": {
        "command": f"head -c 65520 /dev/zero | tr '\\0' x; {printing(' password=sword-fish/99')}"
    },
    "in what cannot be started": {"command": "true", "cwd": "password=sword-fish/99"},
}
FORMS = [
    form.encode()
    for form in (
        "sword-",
        "fish/99",
        quote(SECRET),
        quote(SECRET, safe=""),
        b64encode(SECRET.encode()).decode()[:-2],
    )
]
WAYS = {
    "start": lambda project: project.cli("start", "work", environment=ENFORCE),
    "start, as JSON": lambda project: project.cli("start", "work", "--format", "json", environment=ENFORCE),
    "start, two at once": lambda project: project.cli("start", "work", "--jobs", "2", environment=ENFORCE),
    "pytest": lambda project: project.pytest(
        "--codex-pipeline",
        "work",
        "-rA",
        "-p",
        "no:cacheprovider",
        "--junitxml",
        "reports/junit.xml",
        environment=ENFORCE,
    ),
}


def assert_hidden(project, done, *extra: bytes) -> None:
    left = everything(project) + shown(done) + b"".join(extra)
    # The definitions are the project's own.
    assert [form for form in FORMS if form in left] == []
    assert HIDDEN.encode() in left


@pytest.mark.parametrize("way", WAYS)
def test_no_secret_is_in_any_file_or_on_the_terminal(project, way):
    stages = [{"id": f"s{place}", "needs": [], **stage} for place, stage in enumerate(STAGES.values())]
    project.pipeline(*stages)
    done = WAYS[way](project)
    assert_hidden(project, done)
    assert done.returncode == 1


@needs_xdist
def test_workers_send_no_secret(project):
    project.pipeline(
        *({"id": f"s{place}", "needs": [], **stage} for place, stage in enumerate(STAGES.values()))
    )
    done = project.pytest(
        "--codex-pipeline", "work", "-n", "2", "-rA", "-p", "no:cacheprovider", environment=ENFORCE
    )
    assert_hidden(project, done)


@pytest.mark.parametrize("name", STAGES)
def test_each_way_to_light_is_closed_by_itself(project, name):
    project.pipeline({"id": "only", **STAGES[name]})
    done = project.cli("start", "work", environment=ENFORCE)
    assert_hidden(project, done)


def test_a_nested_pipeline_is_guarded_with_its_own_totals(project):
    project.pipelines(
        outer=[
            {"command": "true"},
            {"kind": "subpipeline", "id": "inner", "title": "Inner", "pipeline": "inner"},
        ],
        inner=[STAGES["in the output"]],
    )
    done = project.cli("start", "outer", environment=ENFORCE)
    assert_hidden(project, done)
    by_pipeline = {
        manifest["pipeline_id"]: manifest["privacy"]["totals"]
        for path in project.root.glob(".runs/*/cli/*/manifest.json")
        for manifest in [json.loads(path.read_text())]
    }
    assert by_pipeline["outer"] == {
        "total_frames": 2,
        "redacted_frames": 0,
        "blocked_frames": 0,
        "allowed_frames": 2,
    }
    assert by_pipeline["inner"] == {
        "total_frames": 3,
        "redacted_frames": 1,
        "blocked_frames": 0,
        "allowed_frames": 2,
    }


def test_a_run_started_from_within_a_stage_is_guarded_too(project):
    project.pipelines(
        outer=[f"{sys.executable} -m codex_orchestrator start inner --format json"],
        inner=[STAGES["in the output"]],
    )
    assert_hidden(project, project.cli("start", "outer", environment=ENFORCE))


def test_the_whole_corpus_comes_through_a_run_as_expected(project):
    """What all of it comes to is checked over streams alone; here it is that nothing goes past them."""
    (project.root / "corpus").mkdir()
    for place, case in enumerate(CASES):
        (project.root / "corpus" / f"{place:03}").write_bytes(case.text + b"\n")
    project.pipeline("for each in corpus/*; do cat $each; done; cat corpus/* >&2; exit 1")
    done = project.cli("start", "work", environment={**ENFORCE, **ENVIRONMENT})
    left = everything(project) + shown(done)
    secrets = {secret for case in CASES for secret in case.secrets}
    assert [secret for secret in secrets if secret in left] == []
    # Logs are JSON, in which they would look otherwise.
    escaped = {json.dumps(secret.decode(), ensure_ascii=False)[1:-1].encode() for secret in secrets}
    assert [secret for secret in escaped if secret in left] == []


def output_of(run) -> bytes:
    lines = [json.loads(line) for line in (run.folder / "runner.ndjson").read_text().splitlines()]
    return "".join(line["data"] for line in lines if line["type"] == "exec:chunk").encode()


def test_in_shadow_mode_output_stays_and_what_was_found_is_told(project):
    text = b"\n".join([*(case.text for case in CASES if b"\xff" not in case.text), *HARMLESS_LINES[:50]])
    (project.root / "text").write_bytes(text)
    project.pipeline("cat text")
    run = project.start("work", environment=ENVIRONMENT)
    assert output_of(run) == text
    privacy = run.manifest["privacy"]
    assert privacy["mode"] == "shadow"
    assert {each["action"] for each in privacy["decisions"]} == {"allow"}
    assert {each["reason"] for each in privacy["decisions"]} == {"shadow-mode"}
    assert {each["rule"] for each in privacy["decisions"]} == {
        "sensitive-token",
        "url-password",
        "aws-key-id",
        "private-key",
        "environment-value",
    }
    totals = privacy["totals"]
    assert (totals["redacted_frames"], totals["blocked_frames"]) == (0, 0)
    assert totals["total_frames"] == totals["allowed_frames"] == run.manifest["handles"][0]["frame_count"]


@pytest.mark.parametrize("mode", ["shadow", "enforce"])
def test_harmless_output_stays_as_it_is(project, mode):
    lines = [line for line in HARMLESS_LINES if b"\xff" not in line]
    (project.root / "text").write_bytes(b"\n".join(lines))
    project.pipeline("cat text")
    run = project.start("work", environment={"CODEX_PRIVACY_GUARD_MODE": mode})
    assert output_of(run) == b"\n".join(lines)
    assert run.manifest["privacy"] == {
        "mode": mode,
        "decisions": [],
        "totals": {
            "total_frames": run.manifest["handles"][0]["frame_count"],
            "redacted_frames": 0,
            "blocked_frames": 0,
            "allowed_frames": run.manifest["handles"][0]["frame_count"],
        },
        "log_path": None,
    }


def test_what_was_found_is_in_manifest_log_summary_and_metrics(project):
    project.pipeline(
        {
            "id": "leaks",
            "command": printing(
                f"password=sword-fish/99\n-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n"
            ),
        }
    )
    run = project.start("work", environment=ENFORCE)
    privacy = run.manifest["privacy"]
    handle = run.manifest["handles"][0]
    assert [(each["rule"], each["action"], each["sequence"]) for each in privacy["decisions"]] == [
        ("private-key", "block", 1),
        ("sensitive-token", "redact", 1),
    ]
    assert {each["handle_id"] for each in privacy["decisions"]} == {handle["handle_id"]}
    assert {each["stage_id"] for each in privacy["decisions"]} == {"leaks"}
    assert privacy["totals"] == {
        "total_frames": 3,
        "redacted_frames": 0,
        "blocked_frames": 1,
        "allowed_frames": 2,
    }
    assert privacy["log_path"] == f"{run.manifest['artifact_root']}/privacy-decisions.ndjson"
    logged = [json.loads(line) for line in (project.root / privacy["log_path"]).read_text().splitlines()]
    assert sorted(logged, key=lambda each: each["rule"]) == privacy["decisions"]
    summary = json.loads((run.folder / "run-summary.json").read_text())["privacy"]
    assert summary["mode"] == "enforce"
    assert summary["totals"]["blockedFrames"] == 1
    assert [each["stageId"] for each in summary["decisions"]] == ["leaks", "leaks"]
    line = json.loads((project.root / ".runs/task-1/metrics.json").read_text())
    assert (line["privacy_mode"], line["privacy_event_count"]) == ("enforce", 2)
    assert line["privacy_events"] == privacy["decisions"]
    assert line["privacy_log_path"] == privacy["log_path"]
    state = json.loads((project.root / "out/task-1/state.json").read_text())
    assert "decisions" not in state["runs"][0]["privacy"]


@pytest.mark.parametrize(("most", "held"), [("-1", 2), ("0", 0), ("1", 1), ("7", 2), ("x", 2), ("", 2)])
def test_metrics_hold_no_more_decisions_than_asked_for_but_count_all(project, most, held):
    project.pipeline("echo password=sword-fish/99")
    run = project.start("work", environment={**ENFORCE, "CODEX_METRICS_PRIVACY_EVENTS_MAX": most})
    line = json.loads((project.root / ".runs/task-1/metrics.json").read_text())
    # One in the command, one in its output.
    assert line["privacy_event_count"] == len(run.manifest["privacy"]["decisions"]) == 2
    assert line["privacy_events"] == run.manifest["privacy"]["decisions"][:held]


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "shadow"),
        ({"CODEX_PRIVACY_GUARD_MODE": " Enforce "}, "enforce"),
        ({"CODEX_PRIVACY_GUARD_MODE": "YES"}, "enforce"),
        ({"CODEX_PRIVACY_GUARD_MODE": "strict"}, "shadow"),
        ({"CODEX_PRIVACY_GUARD_ENFORCE": "1"}, "enforce"),
        ({"CODEX_PRIVACY_GUARD_ENFORCE": "on", "CODEX_PRIVACY_GUARD_MODE": ""}, "enforce"),
        ({"CODEX_PRIVACY_GUARD_ENFORCE": "true", "CODEX_PRIVACY_GUARD_MODE": "shadow"}, "shadow"),
        ({"CODEX_PRIVACY_GUARD_ENFORCE": "no"}, "shadow"),
    ],
)
def test_the_mode_comes_from_the_environment(project, variables, mode):
    project.pipeline("true")
    assert project.start("work", environment=variables).manifest["privacy"]["mode"] == mode


def test_a_resumed_run_counts_on(project):
    project.pipeline({"command": "echo password=sword-fish/99; test -e ok", "id": "again"})
    before = project.start("work", environment=ENFORCE).manifest["privacy"]
    (project.root / "ok").touch()
    second = project.resume(environment=ENFORCE)
    after = second.manifest["privacy"]
    assert after["decisions"][: len(before["decisions"])] == before["decisions"]
    assert len(after["decisions"]) == 2 * len(before["decisions"])
    assert after["totals"]["total_frames"] == sum(each["frame_count"] for each in second.manifest["handles"])
    assert after["totals"]["redacted_frames"] == 2 * before["totals"]["redacted_frames"]


def test_rules_and_variables_of_the_configuration_count(project):
    project.write(
        {
            "privacy": {
                "rules": [{"name": "badge", "pattern": "badge-[0-9]{6}", "action": "block"}],
                "variables": ["shop_conn*"],
            },
            "pipelines": [
                {
                    "id": "work",
                    "title": "Work",
                    "stages": [
                        {
                            "kind": "command",
                            "id": "a",
                            "title": "A",
                            "command": 'echo "badge-$((123450 + 6)) $SHOP_CONNECTION"',
                        }
                    ],
                }
            ],
        }
    )
    run = project.start("work", environment={**ENFORCE, "SHOP_CONNECTION": "db://kim:pw@host"})
    assert output_of(run) == b"[REDACTED] [REDACTED]\n"
    assert run.manifest["privacy"]["totals"]["blocked_frames"] == 1


def test_a_plan_is_shown_without_secrets(project):
    project.pipeline(in_env(SECRET, f"true --password=sword-fish/99 {PLAIN!r}"))
    for form in ("text", "json"):
        done = project.cli("plan", "work", "--format", form, environment={**ENFORCE, **ENVIRONMENT})
        assert [each for each in (*FORMS, PLAIN.encode()) if each in shown(done)] == []
        assert HIDDEN in done.stdout


def test_reasons_for_decisions_are_recorded_without_secrets(project):
    project.pipeline({"kind": "manual", "id": "gate", "title": "Gate"}, "true")
    project.cli("start", "work", environment=ENFORCE)
    done = project.cli(
        "approve",
        "--run",
        "latest",
        "--stage",
        "gate",
        "--reason",
        "token=sword-fish/99",
        "--resume",
        environment=ENFORCE,
    )
    assert done.returncode == 0, done.stderr
    assert_hidden(project, done)


def test_output_is_not_held_back_for_long(project, live):
    """A prompt without a line end comes through while the command waits."""
    project.environment.update(ENFORCE)
    project.pipeline("printf 'password: '; cat gate")
    run = live.start("work")
    run.has_printed("password: ")
    run.open_gate()
    assert run.finish()[0] == 0
