"""Every way by which words get into files or onto terminals: in enforce mode none takes a secret along.

One secret for each way, all of them values of variables whose names say so, searched for byte by byte.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.support.environment import needs_xdist
from tests.support.processes import leaving

CHANNELS = (
    *("title", "description", "tag", "pipeline_title", "instructions", "manual_title", "session", "alias"),
    *("resource", "hint", "command", "cwd", "variable", "below_title", "policy", "actor", "reason"),
    *("resume_actor", "resume_reason", "process", "hook", "item_hook", "notes", "reviewer", "reviewed"),
)
SECRETS = {name: f"Zk39-{name}-lmXw71pQ5r" for name in CHANNELS}
VARIABLES = {f"{name.upper()}_TOKEN": secret for name, secret in SECRETS.items()}
ENFORCE = {"CODEX_PRIVACY_GUARD_MODE": "enforce", **VARIABLES}

PLUGIN = """
import os, pytest

def pytest_codex_stage_started(entry):
    raise RuntimeError("hook " + os.environ["HOOK_TOKEN"])

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.nodeid.endswith("::broken"):
        raise RuntimeError("hook " + os.environ["ITEM_HOOK_TOKEN"])
"""
# Cut off in the middle of its secret, where only what is shown of it is looked through.
LEAVE = leaving(
    '"server --data-dir /var/lib/some/long/path/for/the/application --key " + os.environ["PROCESS_TOKEN"]'
)


def stages(secrets: dict[str, str]) -> list[dict]:
    command = {"kind": "command", "command": "true", "needs": []}
    return [
        {
            **command,
            "id": "all",
            "title": f"T {secrets['title']}",
            "command": f": {secrets['command']}; {sys.executable} leave.py",
            "env": {"PLAIN": secrets["variable"]},
            "summaryHint": secrets["hint"],
            "session": {"id": secrets["session"]},
            "resources": {secrets["resource"]: 1},
            "plan": {"aliases": [secrets["alias"]]},
        },
        {**command, "id": "nowhere", "title": "N", "cwd": secrets["cwd"]},
        {**command, "id": "broken", "title": "B"},
        {
            "kind": "manual",
            "id": "gate",
            "title": secrets["manual_title"],
            "instructions": f"log in with {secrets['instructions']}",
            "needs": [],
        },
        {"kind": "subpipeline", "id": "below", "title": "C", "pipeline": "inner", "needs": []},
    ]


@pytest.fixture
def guarded(project):
    """A project whose definitions hold all of the secrets."""
    project.environment.update(ENFORCE)
    project.environment["PYTHONPATH"] = str(project.root)
    (project.root / "hooks_of_a_plugin.py").write_text(PLUGIN)
    (project.root / "leave.py").write_text(LEAVE)
    inner = {"kind": "command", "id": "i", "title": SECRETS["below_title"], "command": "true"}
    reviewer = f"echo {SECRETS['reviewer']} to $REVIEWED_TOKEN; printf $REVIEWED_TOKEN >&2"
    project.write(
        {
            "plugins": ["hooks_of_a_plugin"],
            "review": {"command": reviewer},
            "pipelines": [
                {
                    "id": "work",
                    "title": SECRETS["pipeline_title"],
                    "description": f"D {SECRETS['description']}",
                    "tags": [SECRETS["tag"]],
                    "stages": stages(SECRETS),
                },
                {"id": "inner", "title": "I", "stages": [inner]},
            ],
        }
    )
    return project


def left_by(project) -> dict[str, bytes]:
    """All that runs and reports have left, by path."""
    return {
        str(path.relative_to(project.root)): path.read_bytes()
        for folder in (".runs", "out", "reports", ".pytest_cache")
        for path in sorted((project.root / folder).rglob("*"))
        if path.is_file()
    }


def found(project, *done) -> list[tuple[str, str]]:
    """Which secrets are where; their halves count too, as what is cut may leave one."""
    places = left_by(project)
    for number, each in enumerate(done):
        places[f"stdout of {number}"] = each.stdout.encode()
        places[f"stderr of {number}"] = each.stderr.encode()
    # Of each the beginning, which is its own, and of all the end.
    parts = {**{name: secret[: 6 + len(name)] for name, secret in SECRETS.items()}, "some": "mXw71pQ5r"}
    return [
        (name, place)
        for place, content in places.items()
        for name, part in parts.items()
        if part.encode() in content
    ]


WAYS = {
    "start": ("start", "work", f"--approval-policy={SECRETS['policy']}"),
    "start -q": ("start", "work", "-q"),
    "start --stream": ("start", "work", "--stream"),
    "start, as JSON": ("start", "work", "--format", "json"),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_channel_of_a_run_takes_a_secret_along(guarded, way):
    done = guarded.cli(*WAYS[way])
    assert done.returncode == 1
    assert found(guarded, done) == []
    manifest = json.loads((guarded.runs()[0] / "manifest.json").read_text())
    assert "[REDACTED]" in manifest["commands"][0]["title"]
    assert "pytest_codex_stage_started raised RuntimeError: hook [REDACTED]\n" in done.stderr
    assert "--key [REDACTED] " in manifest["summary"]


@pytest.mark.parametrize("words", [(), pytest.param(("-n2",), marks=needs_xdist)], ids=["here", "on workers"])
def test_no_report_of_pytest_takes_one_along(guarded, words):
    done = guarded.pytest("--codex-pipeline=work", "-rA", "--junitxml=reports/j.xml", *words)
    assert done.returncode == 1
    assert found(guarded, done) == []


def test_no_job_of_github_shows_one(guarded):
    (guarded.root / "reports").mkdir()
    summary = guarded.root / "reports" / "summary.md"
    done = guarded.cli(
        "start", "work", environment={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    )
    assert found(guarded, done) == []
    assert "::warning title=" in done.stdout
    assert summary.stat().st_size > 0


def test_what_people_say_is_looked_through(guarded):
    only = ("--only", "gate", "--only", "all")
    done = [guarded.cli("start", "work", *only)]
    run = guarded.runs()[-1].name
    done.append(
        guarded.cli(
            *("approve", "--run", run, "--stage", "gate"),
            *("--actor", f"ada {SECRETS['actor']}", "--reason", f"as {SECRETS['reason']}"),
        )
    )
    done.append(
        guarded.cli(
            *("resume", "--run", run, "--actor", SECRETS["resume_actor"]),
            *("--reason", SECRETS["resume_reason"]),
        )
    )
    done += [
        guarded.cli(*words) for words in (("status", "--run", run), ("logs", "--run", run), ("metrics",))
    ]
    assert found(guarded, *done) == []
    assert "approved by ada [REDACTED]" in done[1].stdout


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_review_is_looked_through_and_so_is_its_reviewer(guarded, form):
    guarded.cli("start", "work", "-q")
    done = guarded.cli("review", "--force", "--notes", f"see {SECRETS['notes']}", "--format", form)
    assert (done.returncode, found(guarded, done)) == (0, [])
    assert "[REDACTED] to [REDACTED]" in (done.stdout if form == "text" else done.stderr)
    handed_over = guarded.cli("review", "--notes", f"see {SECRETS['notes']}", "--format", form)
    assert found(guarded, handed_over) == []
    assert "see [REDACTED]" in handed_over.stdout


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_plan_is_looked_through(guarded, form):
    done = guarded.cli("plan", "work", "--format", form)
    assert (done.returncode, found(guarded, done)) == (0, [])


def test_a_target_is_found_by_an_alias_that_is_not_shown(guarded):
    done = guarded.cli("plan", "work", f"--target={SECRETS['alias']}", "--format=json")
    assert json.loads(done.stdout)["targetId"] == "work:all"


BROKEN = {
    "an unknown need": {"needs": [SECRETS["title"]]},
    "an unknown mode": {"executionMode": SECRETS["title"]},
    "an unknown key": {SECRETS["title"]: 1},
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("ran", ["cli", "cli, as JSON", "pytest"])
def test_what_is_wrong_with_definitions_is_told_without_it(project, name, ran):
    project.environment.update(ENFORCE)
    project.pipeline({"command": "true", **BROKEN[name]})
    if ran == "pytest":
        done = project.pytest("--codex-pipeline=work")
    else:
        done = project.cli("start", "work", *(("--format", "json") if "JSON" in ran else ()))
    assert done.returncode in (2, 4)
    assert found(project, done) == []
    assert "[REDACTED]" in done.stdout + done.stderr


@pytest.mark.parametrize("ran", ["cli", "pytest"])
def test_what_a_plugin_says_as_it_is_imported_is_looked_through(project, ran):
    project.environment.update(ENFORCE)
    project.environment["PYTHONPATH"] = str(project.root)
    (project.root / "a_plugin.py").write_text("import os\nraise RuntimeError(os.environ['HOOK_TOKEN'])\n")
    stage = {"kind": "command", "id": "a", "title": "A", "command": "true"}
    project.write({"plugins": ["a_plugin"], "pipelines": [{"id": "work", "title": "W", "stages": [stage]}]})
    done = project.pytest("--codex-pipeline=work") if ran == "pytest" else project.cli("start", "work")
    assert found(project, done) == []
    assert "cannot be imported: RuntimeError: [REDACTED]" in done.stdout + done.stderr


@pytest.mark.parametrize("words", [(), ("-q",), ("--format", "json")])
def test_in_no_mode_is_the_value_of_a_variable_written_or_shown(project, words):
    value = "s3cr3t-0001"
    project.pipeline({"command": "true", "env": {"API_TOKEN": value, "PLAIN": f"x{value}"}})
    done = [project.cli("start", "work", *words), project.cli("plan", "work", *words[1:])]
    assert [place for place, content in left_by(project).items() if value.encode() in content] == []
    assert value not in "".join(each.stdout + each.stderr for each in done)
    plan = json.loads((project.runs()[0] / "plan.json").read_text())
    assert plan["pipeline"]["stages"][0]["env"] == {"API_TOKEN": "[REDACTED]", "PLAIN": "[REDACTED]"}


def test_a_resume_takes_variables_from_the_definitions(project):
    stage = {"command": 'test "$ANSWER" = 42', "env": {"ANSWER": "41"}}
    project.pipeline(stage)
    assert project.cli("start", "work").returncode == 1
    project.pipeline({**stage, "env": {"ANSWER": "42"}})
    refused = project.cli("resume", "--run", "latest")
    assert refused.returncode == 2
    assert "values that the plan does not show" in refused.stderr
    assert project.cli("resume", "--run", "latest", "--accept-changes").returncode == 0
