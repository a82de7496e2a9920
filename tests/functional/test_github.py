"""In GitHub Actions: what is folded away, what is told to all, and that stages give no commands."""

from __future__ import annotations

import re
import sys

import pytest

from pytest_codex.progress.github import output
from tests.support.ways import WAYS, every_way

HOSTILE = r"printf '::error::hacked\n  ::add-mask::a\nx ##[error]old\n::endgroup::\n::stop-commands::me\n'"


def commands(text: str) -> tuple[list[str], str]:
    """The commands that a runner would take out of a log, and what is left of it."""
    taken, left, word = [], [], None
    for line in text.splitlines():
        if word is not None:
            if line.strip() == f"::{word}::":
                word = None
            else:
                left.append(line)
        elif line.lstrip().startswith("::stop-commands::"):
            word = line.strip().removeprefix("::stop-commands::")
        elif line.lstrip().startswith("::"):
            taken.append(line)
        elif "##[" in line:
            taken.append(line[line.index("##[") :])
        else:
            left.append(line)
    assert word is None, "commands are still stopped"
    return taken, "\n".join(left)


@pytest.fixture
def job(project, tmp_path):
    """Run a command as a step: the exit code, its commands, the rest of its log, stderr and its summary."""

    def run(*words, summary=tmp_path / "summary.md", **environment):
        if words[0] == "pytest":
            ran, words = project.pytest, words[1:]
        else:
            ran, words = project.cli, words[1:]
        variables = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        done = ran(*words, environment={**variables, **environment})
        written = summary.read_text() if summary.is_file() else ""
        return done.returncode, *commands(done.stdout), done.stderr, written

    return run


def hostile(project) -> None:
    project.pipeline(
        {"id": "build", "command": f"{HOSTILE}; {HOSTILE} >&2", "needs": []},
        {"id": "soft", "command": f"{HOSTILE} >&2; exit 3", "allowFailure": True, "needs": []},
        {"id": "test", "title": "100%, tests: all", "command": f"{HOSTILE}; exit 7", "needs": ["build"]},
        {"id": "silent", "command": "true", "needs": []},
        {"id": "after", "command": "true", "needs": ["test"]},
    )


@every_way
def test_a_group_for_each_stage_and_nothing_that_stages_command(project, job, way):
    hostile(project)
    code, taken, log, _, summary = job(*WAYS[way])
    assert code == 1
    *grouped, note = taken
    titles = sorted(re.sub(r"\d+\.\d\d s", "N s", line) for line in grouped[0::2])
    assert titles[0] == "::group::[1/5] build: passed in N s"
    assert titles[1].startswith(
        "::group::[2/5] soft: skipped, allowed failure: Exited with code 3 — ::error::"
    )
    assert titles[2:] == ["::group::[3/5] test: failed in N s, exit code 7"]
    assert grouped[1::2] == ["::endgroup::"] * 3
    entry = next(entry for entry in project.manifest()["commands"] if entry["id"] == "test")
    assert note.startswith("::error title=Stage '100%25%2C tests%3A all' failed%3A exit code 7::  command: ")
    assert f"%0A  log: {entry['log_path']}%0A" in note
    assert "[4/5] silent: passed in" in log
    assert log.count("x ##[error]old") >= 4
    assert (
        log.rstrip()
        .splitlines()[-1]
        .startswith(
            "1 stage did not run because of it: after." if way.startswith("pytest") else "Go on with: "
        )
    )
    assert "| build | passed | " in summary
    assert f" | {entry['log_path']} |" in summary
    assert "| after | skipped&#58; blocked&#58; work&#58;&#58;test failed |" in summary
    assert "**Stage &#39;100&#37;, tests&#58; all&#39; failed&#58; exit code 7**" in summary


@pytest.mark.parametrize("words", [["-v"], ["-s"], ["-s", "-v"], ["-q"], ["-rA"], ["--codex-jobs=2", "-v"]])
def test_no_stage_gives_commands_whatever_pytest_prints(project, job, words):
    hostile(project)
    code, taken, log, *_ = job("pytest", "--codex-pipeline=work", *words)
    assert code == 1
    kinds = [re.match(r"::(\w+)", line)[1] for line in taken]
    grouped = "-s" not in words and "-q" not in words
    assert sorted(kinds) == ["endgroup"] * 3 * grouped + ["error"] + ["group"] * 3 * grouped
    assert "hacked" in log


def test_with_start_quiet_is_quiet(project, job):
    hostile(project)
    code, taken, log, _, summary = job("codex_orchestrator", "start", "work", "-q")
    assert (code, len(taken)) == (1, 1)
    assert log.splitlines()[1].startswith("Stage '100%, tests: all' failed")
    assert "| silent | passed |" in summary


def test_a_stage_that_is_spoken_of_says_no_command(project, job):
    project.pipeline({"id": "s", "command": "echo '##[error]old' >&2; exit 3", "allowFailure": True})
    _, taken, log, *_ = job("pytest", "--codex-pipeline=work")
    assert [line.partition("]")[0] for line in taken] == ["::group::[1/1", "::endgroup::"]
    assert "[1/1] s: started" in log


def test_no_more_than_ten_annotations(project, job):
    project.pipeline(*({"id": f"s{n}", "command": "exit 1", "needs": []} for n in range(1, 15)))
    _, taken, _, _, summary = job("codex_orchestrator", "start", "work", "--jobs=2")
    errors = [line for line in taken if line.startswith("::error ")]
    assert len(errors) == 10
    assert errors[0].startswith("::error title=Stage 'S1' failed")
    assert errors[-1] == "::error title=… and 5 more::s10, s11, s12, s13, s14"
    assert summary.count("failed&#58; exit code 1 |") == 14


def test_what_waits_is_a_warning(project, job):
    project.pipeline({"kind": "manual", "id": "gate", "title": "Look"})
    code, taken, _, _, summary = job("codex_orchestrator", "start", "work")
    assert code == 3
    (warning,) = taken
    assert warning.startswith("::warning title=Stage 'Look' waits for approval::")
    assert "codex-orchestrator approve" in warning
    assert "| gate | waits&#58; waits for approval |" in summary


def test_the_end_of_much_output(project, job):
    code = "import sys; sys.stdout.write(''.join(f'line {n}\\n' for n in range(200_000)))"
    project.pipeline(f'"{sys.executable}" -c "{code}"')
    _, taken, log, *_ = job("codex_orchestrator", "start", "work")
    assert len(taken) == 2
    shown = [line for line in log.splitlines() if line.startswith("line ")]
    assert shown[-1] == "line 199999"
    assert 200_000 < sum(map(len, shown)) < 400_000
    assert f"… the beginning is in {project.manifest()['commands'][0]['log_path']}" in log


def test_summaries_of_a_step_come_one_after_the_other(project, job, tmp_path):
    project.pipeline("true")
    for count in (1, 2):
        *_, summary = job("codex_orchestrator", "start", "work")
        assert summary.count("### work&#58; succeeded") == count
    full = tmp_path / "full.md"
    full.write_text("x" * (1 << 20))
    *_, summary = job("codex_orchestrator", "start", "work", summary=full)
    assert len(summary) == 1 << 20


def test_a_summary_that_cannot_be_written_is_a_warning(project, job, tmp_path):
    project.pipeline("true")
    code, _, _, err, _ = job(
        "codex_orchestrator", "start", "work", summary=tmp_path / "missing" / "summary.md"
    )
    assert code == 0
    assert err.startswith("codex-orchestrator: the step has no summary of this run: Cannot append to ")
    assert len(err.splitlines()) == 1


def test_elsewhere_nothing_is_said_of_github(project, tmp_path):
    project.pipeline("echo one", "exit 1")
    summary = tmp_path / "summary.md"
    done = project.cli("start", "work", environment={"CI": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    assert commands(done.stdout) == ([], done.stdout.rstrip("\n"))
    assert not summary.exists()


def outputs(text: str) -> dict[str, str]:
    """What the runner makes of a file of outputs."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, _, mark = line.partition("<<")
        found[name] = "\n".join(iter(lambda: next(lines), mark))
    return found


@pytest.mark.parametrize(
    "words", [("codex_orchestrator", "start", "work"), ("pytest", "--codex-pipeline=work")]
)
def test_later_steps_get_run_manifest_and_status(project, job, tmp_path, words):
    # What a stage starts is no step of its own, and what was written before it ran is there already.
    inner = f"{sys.executable} -m codex_orchestrator start inner"
    project.write(
        {
            "pipelines": [
                {
                    "id": name,
                    "title": "T",
                    "stages": [{"kind": "command", "id": "a", "title": "A", "command": to}],
                }
                for name, to in (("work", f"cat $GITHUB_OUTPUT; {inner}; exit 3"), ("inner", "true"))
            ]
        }
    )
    file = tmp_path / "outputs"
    file.write_text("theirs=1")
    job(*words, GITHUB_OUTPUT=str(file))
    run = next(path for path in project.runs() if "work" in (path / "plan.json").read_text())
    first, _, ours = file.read_text().partition("\n")
    assert first == "theirs=1"
    assert outputs(ours) == {
        "run_id": run.name,
        "manifest": f".runs/task-1/cli/{run.name}/manifest.json",
        "status": "failed",
    }
    assert "run_id<<end-" in (run / "runner.ndjson").read_text()


def test_an_output_cannot_be_ended_by_what_is_in_it():
    assert outputs(output("manifest", ["a\nend-x", "b"])) == {"manifest": "a\\nend-x\nb"}


def test_outputs_that_cannot_be_written_change_nothing_else(project, job, tmp_path):
    project.pipeline("true")
    code, _, _, err, _ = job(
        "codex_orchestrator", "start", "work", GITHUB_OUTPUT=str(tmp_path / "no" / "file")
    )
    assert code == 0
    assert "the step has no outputs of this run: " in err
