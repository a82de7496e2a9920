"""A definition whose every text tries to move the cursor, to hide, to forge a line or to give a command.

Whatever is shown of it, and by whichever command, nothing of that is left: no control, and no line of its.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from codex_orchestrator.cli import main
from tests.support.environment import WITHOUT_OTHERS, clean_environment, needs_xdist
from tests.support.processes import leaving

FORGED, PRINTED = "FORGED", "PRINTED"
# Each of these would be a line, a command or another reading of one, if it came through.
HOSTILE = (
    f"x\r{FORGED} cr\x1b[2K\n{FORGED} lf\n::error title={FORGED}::cmd\n##[error]{FORGED}"
    f"\x1b]0;{FORGED}\x07\x1b[1A\x9b2K\x85{FORGED} nel\u2028{FORGED} ls"
    "\u202e\u2066rlo\u200b\ufeff\U000e0041\x7f y"
)
RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


def said(word: str) -> str:
    """A hostile text that begins with a word, by which it is found again."""
    return f"{word} {HOSTILE}"


def printing() -> str:
    """A command that prints the like to both streams; where that has its own place, so have its lines."""
    octal = "".join(f"\\{byte:03o}" for byte in HOSTILE.replace(FORGED, PRINTED).encode())
    return f"printf '%b\\n' '{octal}'; printf '%b\\n' '{octal}' >&2"


STAGES = [
    {
        "kind": "command",
        "id": "a",
        "title": said("title-a"),
        # As an argument it is nothing to the shell, and as text it is all that a reader sees.
        "command": f": '{HOSTILE}'; {printing()}",
        "env": {"A_TOKEN": said("env-a"), said("name-a").replace("=", "-").replace("\0", ""): "1"},
        "summaryHint": said("hint-a"),
        "session": {"id": said("session-a")},
        "resources": {said("resource-a"): 1},
        "plan": {"aliases": [said("alias-a")]},
    },
    {
        "kind": "command",
        "id": "soft",
        "title": said("title-soft"),
        "command": f"{printing()}; exit 3",
        "allowFailure": True,
        "needs": [],
    },
    {"kind": "command", "id": "cwd", "title": "C", "command": "true", "cwd": said("cwd"), "needs": []},
    {
        "kind": "command",
        "id": "fails",
        "title": said("title-fails"),
        "command": f"{printing()}; exit 7",
        "needs": [],
    },
    {
        "kind": "manual",
        "id": "gate",
        "title": said("title-gate"),
        "instructions": said("instructions"),
        "needs": [],
    },
    {"kind": "subpipeline", "id": "below", "title": said("title-below"), "pipeline": "inner", "needs": []},
]
DEFINITIONS = {
    "defaultPipeline": "work",
    "review": {"command": f": '{HOSTILE}'"},
    "pipelines": [
        {
            "id": "work",
            "title": said("title-work"),
            "description": said("description"),
            "tags": [said("tag")],
            "stages": STAGES,
        },
        {
            "id": "inner",
            "title": said("title-inner"),
            "description": said("description-inner"),
            "stages": [
                {"kind": "command", "id": "i", "title": said("title-i"), "command": f"{printing()}; exit 5"}
            ],
        },
    ],
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    (root / ".git").mkdir()
    (root / "codex.orchestrator.json").write_text(json.dumps(DEFINITIONS), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def run(repo):
    """Run a command there as a process: what it printed, stdout and stderr together."""

    def run(*words: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=repo,
            env={**clean_environment(), "MCP_RUNNER_TASK_ID": "t", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
            check=False,
        )
        assert b"Traceback" not in done.stdout
        return done.stdout.decode("utf-8", "replace")

    return run


@pytest.fixture(scope="module")
def finished(run):
    """That there has been a run."""
    run("codex_orchestrator", "start", "-q", "--no-interactive")


@pytest.fixture
def ran(repo, finished, monkeypatch, capsys):
    """Call a command in this process, once there has been a run: what it printed."""
    monkeypatch.chdir(repo)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "t")

    def call(*words: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        main(list(words))
        captured = capsys.readouterr()
        return captured.out + captured.err

    return call


def assert_clean(text: str) -> None:
    """No raw control is in a text, and no line of it is one that words of others have made."""
    assert text
    found = RAW.search(text)
    assert found is None, ascii(text[max(0, found.start() - 60) : found.end() + 20])
    forged = [line for line in text.split("\n") if line.lstrip().startswith((FORGED, "::error title=FORGED"))]
    assert forged == []


COMMANDS = {
    "plan": ("plan",),
    "plan, as JSON": ("plan", "--format", "json"),
    "status": ("status",),
    "status, as JSON": ("status", "--format", "json"),
    "status --watch": ("status", "--watch"),
    "runs": ("runs",),
    "review": ("review",),
    "metrics": ("metrics",),
    "doctor": ("doctor",),
    "gc": ("gc", "--keep", "9"),
    "guard docs": ("guard", "docs"),
    "cancel": ("cancel", "--run", "latest"),
    "approve another": ("approve", "--run", "latest", "--stage", said("stage")),
    "resume another target": ("resume", "--run", "latest", "--target", said("target")),
    "start another": ("start", said("pipeline")),
    "start for nobody": ("start", "--approval-policy", said("policy")),
    "logs, as JSON": ("logs", "--format", "json"),
    "an unknown flag": ("plan", f"--{HOSTILE}"),
    "validate": ("validate", ".runs", "out", "codex.orchestrator.json"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_shows_what_moves_hides_or_forges(ran, name):
    assert_clean(ran(*COMMANDS[name]))


def test_logs_are_what_stages_printed_line_by_line(ran):
    text = ran("logs")
    assert RAW.search(text) is None
    assert [line for line in text.removesuffix("\n").split("\n") if not line.startswith("[")] == []


WAYS = {
    "start": ("codex_orchestrator", "start"),
    "start -q": ("codex_orchestrator", "start", "-q"),
    "start, as JSON": ("codex_orchestrator", "start", "--format", "json"),
    "pytest": ("pytest", *WITHOUT_OTHERS, "-rA", "--durations=9", "-p", "no:cacheprovider"),
    "pytest -q --tb=line": ("pytest", *WITHOUT_OTHERS, "-q", "--tb=line", "-p", "no:cacheprovider"),
    "pytest --collect-only": ("pytest", *WITHOUT_OTHERS, "--collect-only", "-p", "no:cacheprovider"),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_run_shows_it_either(run, way):
    words = WAYS[way]
    if words[0] == "pytest":
        words = (*words, "--codex-pipeline=work", "--junitxml=junit.xml")
    text = run(*words)
    assert_clean(text)


def test_what_stages_print_has_their_names_before_it(run):
    text = run("codex_orchestrator", "start", "--stream")
    assert_clean(text)


@needs_xdist
def test_nor_does_a_run_on_workers(run):
    text = run("pytest", *WITHOUT_OTHERS, "--codex-pipeline=work", "-n2", "-p", "no:cacheprovider")
    assert_clean(text)


@pytest.mark.parametrize("way", ["start", "start --stream", "pytest"])
def test_a_job_of_github_takes_no_command_of_it(run, tmp_path, way):
    words = ("codex_orchestrator", *way.split())
    if way == "pytest":
        words = (*WAYS["pytest"], "--codex-pipeline=work")
    summary = tmp_path / "summary.md"
    text = run(*words, GITHUB_ACTIONS="true", CI="true", GITHUB_STEP_SUMMARY=str(summary))
    # Colours of stages are kept there.
    assert RAW.search(re.sub("\x1b\\[[0-9;:]*m", "", text)) is None
    assert taken(text) <= {"group", "endgroup", "error", "warning"}
    for line in outside_of_the_gate(text):
        assert not line.lstrip().startswith(f"::error title={FORGED}")
        assert "##[" not in line
    written = summary.read_text(encoding="utf-8")
    assert RAW.search(written) is None
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(STAGES)
    assert FORGED not in {line[: len(FORGED)] for line in written.split("```")[0].splitlines()}


@pytest.mark.parametrize("name", ["status", "review", "plan", "logs"])
def test_what_is_shown_of_a_run_commands_no_job(ran, name):
    text = ran(name, GITHUB_ACTIONS="true")
    assert [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line] == []


def outside_of_the_gate(text: str) -> list[str]:
    """The lines that a runner looks at for commands."""
    seen, word = [], None
    for line in text.splitlines():
        if word is not None:
            word = None if line.strip() == f"::{word}::" else word
        elif line.lstrip().startswith("::stop-commands::"):
            word = line.strip().removeprefix("::stop-commands::")
        else:
            seen.append(line)
    assert word is None
    return seen


def taken(text: str) -> set[str]:
    """The names of the commands that a runner takes."""
    found = (re.match(r"\s*::([a-z-]+)", line) for line in outside_of_the_gate(text))
    return {match[1] for match in found if match}


def test_a_process_that_is_left_forges_no_line(project):
    name = f"x\n::error title={FORGED}::\n{FORGED} Guardrails: spec-guard succeeded\x1b[2K"
    (project.root / "leave.py").write_text(leaving(repr(name)))
    project.pipeline(f"{sys.executable} leave.py")
    done = project.cli("start", "work", environment={"GITHUB_ACTIONS": "true"})
    assert RAW.search(done.stdout) is None
    summary = project.manifest()["summary"]
    [line] = [line for line in summary.split("\n") if line.startswith("Ended what stages left running: ")]
    assert FORGED in line
    assert not any(line.lstrip().startswith((FORGED, "::error")) for line in summary.split("\n"))
    assert taken(done.stdout) <= {"group", "endgroup"}


def test_ids_that_are_to_be_pasted_are_quoted(project):
    project.pipeline({"kind": "manual", "id": "go; touch pwned", "title": "Go"})
    project.cli("start", "work")
    folder = project.runs()[0]
    forged = f"{folder.name}$(touch pwned)"
    folder.rename(folder.with_name(forged))
    path = folder.with_name(forged) / "manifest.json"
    path.write_text(path.read_text().replace(folder.name, forged))
    shown = project.cli("status", "--run", forged).stdout + project.cli("review", "--run", forged).stdout
    assert f"approve --run '{forged}' --stage 'go; touch pwned'" in shown
    assert f"--run {forged}" not in shown


@pytest.mark.parametrize("character", ["\u202e", "\u200b", "\ufeff"], ids=ascii)
def test_an_id_that_hides_something_is_refused(project, character):
    project.pipeline({"id": f"a{character}b", "command": "true"})
    done = project.cli("plan", "work")
    assert done.returncode == 2
    assert "a stage id holds no control characters" in done.stderr
    assert RAW.search(done.stderr) is None
