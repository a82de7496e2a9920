"""What people see of a run: on a terminal, in a pipe, and of what stages print."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import pytest_codex.progress.progress as progress_module
from pytest_codex.progress.heartbeat import Heartbeat
from tests.support.terminal import Terminal
from tests.support.ways import WAYS, every_way

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal(project):
    """Run a command on a terminal."""
    made: list[Terminal] = []

    def run(*words: str, under=(), columns=100, rows=24, **environment) -> Terminal:
        command = [*under, sys.executable, "-m", *words]
        variables = {**project.environment, "TERM": "xterm", "LOGNAME": "grace", **environment}
        made.append(Terminal(command, project.root, variables, columns=columns, rows=rows))
        return made[-1]

    yield run
    for one in made:
        one.close()


@pytest.fixture
def gate(project):
    """Opens the gate that stages wait at."""
    path = project.root / "gate"
    os.mkfifo(path)
    return lambda: path.write_text("through\n")


SLOW = {"id": "slow", "command": r"echo up; printf '\033[31mcomp\033[2Kiling\n'; cat gate", "needs": []}
BAD = {"id": "bad", "title": "Bad", "command": "echo why >&2; exit 3"}


def failing(project) -> None:
    """A stage that fails, one that waits at the gate, and one for each of them that follows."""
    project.pipeline(
        BAD,
        {"id": "after", "command": "true", "needs": ["bad"]},
        SLOW,
        {"id": "last", "command": "true", "needs": ["slow"]},
    )


def line(text: str, start: str) -> str:
    """The last line that begins so."""
    found = [one for one in text.splitlines() if one.startswith(start)]
    assert found, f"no line begins with {start!r}:\n{text}"
    return found[-1]


# On a terminal.


@every_way
def test_one_view_shows_all_stages_while_they_run(project, terminal, gate, way):
    failing(project)
    shown = terminal(*WAYS[way])
    shown.until(
        lambda screen: re.search(
            r"running (on gw\d )?for .*  compiling\n(.*\n)*\[#+-+\] 2 of 4 done, 1 failed", screen.text
        )
    )
    text = shown.screen.text
    view = (
        text[text.rindex("[1/4] bad: failed in") :].replace("running on gw0 for", "running for").splitlines()
    )
    assert [re.sub(r"\d+\.\d+ s", "N s", one.rstrip()) for one in view if one.strip()] == [
        "[1/4] bad: failed in N s, exit code 3",
        "[3/4] slow: running for N s  compiling",
        "[4/4] last: waiting",
        "[2/4] after: skipped, blocked: work::bad failed",
        "[##########----------] 2 of 4 done, 1 failed, 1 running, N s",
    ]
    assert not shown.screen.cursor_shown
    gate()
    assert shown.finish() == 1
    end = shown.screen
    assert end.cursor_shown
    assert not re.search(r"running (on gw\d )?for", end.text)
    assert "waiting" not in end.text
    assert [one.partition(" in ")[0] for one in end.text.splitlines() if re.match(r"\[\d/4\]", one)] == [
        "[1/4] bad: failed",
        "[2/4] after: skipped, blocked: work::bad failed",
        "[3/4] slow: passed",
        "[4/4] last: passed",
    ]


@every_way
@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_the_first_failure_is_the_last_thing_said(project, terminal, way, where):
    project.pipeline(
        {"id": "a", "command": "true"},
        {**BAD, "needs": ["a"]},
        {"id": "other", "title": "Other", "command": "exit 4", "needs": []},
        {"id": "c", "command": "true", "needs": ["bad"]},
        {"id": "d", "command": "true", "needs": ["c"]},
    )
    if where == "terminal":
        shown = terminal(*WAYS[way], columns=200)
        assert shown.finish() == 1
        text = shown.screen.text
    else:
        done = (project.cli if way.startswith("start") else project.pytest)(*WAYS[way][1:])
        assert done.returncode == 1
        text = done.stdout
    entry = next(entry for entry in project.manifest()["commands"] if entry["id"] == "bad")
    last = [
        "Stage 'Bad' failed: exit code 3",
        "  command: echo why >&2; exit 3",
        "  stderr:",
        "    why",
        f"  log: {entry['log_path']}",
        f"  error file: {entry['error_file']}",
        "2 stages did not run because of it: c, d.",
    ]
    answer = text.rstrip().splitlines()
    if way.startswith("start"):
        place = answer.index(last[0])
        assert answer[place : place + len(last)] == last
        assert answer.index("Stage 'Other' failed: exit code 4") < place
        summary = project.manifest()["summary"].splitlines()
        assert answer[place + len(last) :][:2] == ["", summary[0]]
        assert answer[-5].startswith("Run started: ")
    else:
        assert answer[-len(last) :] == last


def test_as_short_as_failures_are_wanted(project, run):
    project.pipeline(BAD)
    for style in ("no", "line"):
        *_, headline, log = run(f"--tb={style}").outlines
        assert headline == "Stage 'Bad' failed: exit code 3"
        assert log == f"  log: {project.manifest()['commands'][0]['log_path']}"


def test_what_ended_because_of_a_failure_is_one_line(project, gate):
    project.pipeline(
        {"id": "slow", "command": "echo up; cat gate", "needs": []},
        {**BAD, "command": "until [ -e up ]; do sleep 0.02; done; exit 3", "needs": []},
        {"id": "up", "command": "touch up; cat gate", "needs": []},
        {"id": "never", "command": "true", "needs": []},
    )
    done = project.pytest("--codex-pipeline=work", "--codex-jobs=3", "-x", "-p", "no:randomly")
    assert done.stdout.splitlines()[-1] == (
        "2 stages were cancelled because of it: slow, up. 1 stage did not run because of it: never."
    )


def test_without_colour_there_is_a_view_but_no_colour(project, terminal, gate):
    failing(project)
    shown = terminal(*WAYS["start --jobs"], NO_COLOR="1")
    shown.until(lambda screen: "slow: running for" in screen.text)
    gate()
    assert shown.finish() == 1
    assert not COLOUR.search(shown.text)
    in_colour = terminal(*WAYS["start"], "--only=after", "--only=bad")
    in_colour.finish()
    assert "\x1b[31m[1/4] bad: failed in" in in_colour.text


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"CI": "true"}], ids=["dumb", "CI"])
@every_way
def test_lines_where_a_terminal_can_do_no_more(project, terminal, gate, way, variables):
    failing(project)
    shown = terminal(*WAYS[way], **variables)
    shown.shows("slow: started")
    gate()
    assert shown.finish() == 1
    assert "running" not in shown.text
    for text in (
        "[1/4] bad: started",
        "[1/4] bad: failed in",
        "[3/4] slow: started",
        "[3/4] slow: passed in",
    ):
        assert shown.text.count(text) == 1
    assert "after: started" not in shown.text
    if "TERM" in variables and way.startswith("start"):
        assert "\x1b" not in shown.text


def test_what_there_is_no_room_for_is_counted(project, terminal, gate):
    quick = [{"id": f"q{number}", "command": "true", "needs": []} for number in range(12)]
    later = [{"id": f"l{number}", "command": "true", "needs": ["slow"]} for number in range(12)]
    project.pipeline(*quick, SLOW, *later)
    shown = terminal(*WAYS["start --jobs"], rows=10)
    shown.until(
        lambda screen: re.search(r"… 12 waiting, 12 passed\n\[#+-+\] 12 of 25 done, 1 running", screen.text)
    )
    assert line(shown.screen.text, "[13/25]").startswith("[13/25] slow: running for")
    gate()
    assert shown.finish() == 0


def test_lines_are_cut_to_the_width_that_the_terminal_has(project, terminal, gate):
    project.pipeline({"id": "slow", "command": "echo 'a line that is 漢字 wide, and long'; cat gate"})
    shown = terminal(*WAYS["start"], columns=40)
    shown.until(lambda screen: "slow: running for" in screen.text)
    assert len(line(shown.screen.text, "[1/1] slow: running for").rstrip()) < 40
    shown.resize(80, 24)
    shown.until(lambda screen: "and long" in shown.text)
    gate()
    assert shown.finish() == 0


def test_a_person_is_asked_without_the_view_in_the_way(project, terminal):
    project.pipeline(
        {"id": "build", "command": "true"},
        {"kind": "manual", "id": "gate", "title": "Look at it"},
        {"id": "ship", "command": "echo shipped"},
    )
    shown = terminal(*WAYS["start"])
    shown.shows("[a/r/l] ")
    screen = shown.screen
    assert screen.cursor_shown
    assert screen.text.splitlines()[-1] == "Approve, reject or later? [a/r/l]"
    assert "waiting" not in screen.text
    shown.types("a\n\n")
    assert shown.finish() == 0
    assert "[2/3] gate: passed" in shown.screen.text
    assert shown.screen.cursor_shown


@pytest.mark.parametrize("way", ["start", "start --jobs", "pytest"])
def test_an_interrupted_run_leaves_a_clean_terminal(project, terminal, way):
    project.pipeline({"id": "slow", "command": "echo up; exec sleep 600"})
    shown = terminal(*WAYS[way])
    shown.until(lambda screen: re.search(r"slow: running for .*  up", screen.text))
    shown.types("\x03")
    assert shown.finish() == (2 if way == "pytest" else 130)
    screen = shown.screen
    assert screen.cursor_shown
    assert "running for" not in screen.text
    assert line(screen.text, "[1/1] slow: failed in").endswith("cancelled by SIGINT")


SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(child, os.WUNTRACED)
assert os.WIFSTOPPED(status), status
os.tcsetpgrp(0, os.getpgrp())
print("$ stopped", flush=True)
where = sys.stdin.readline().strip()
print("$ going on", flush=True)
if where == "fg":
    os.tcsetpgrp(0, child)
os.kill(-child, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("where", ["fg", "bg"])
def test_a_stopped_run_leaves_the_terminal_to_the_shell(project, terminal, gate, where):
    project.pipeline(SLOW)
    shown = terminal(*WAYS["start"], under=(sys.executable, "-c", SHELL))
    shown.until(lambda screen: "slow: running for" in screen.text)
    shown.types("\x1a")
    shown.shows("$ stopped")
    assert shown.screen.cursor_shown
    assert "running for" not in shown.screen.text
    shown.types(f"{where}\n")
    shown.shows("$ going on")
    if where == "fg":
        shown.until(lambda screen: "slow: running for" in screen.text.partition("$ going on")[2])
    gate()
    assert shown.finish() == 0
    text = shown.screen.text
    assert shown.screen.cursor_shown
    assert text.index("$ stopped") < text.index("$ going on") < text.index("[1/1] slow: passed in")
    assert "running for" not in text


# What stages print.


@every_way
def test_output_is_streamed_line_by_line_while_it_is_printed(project, terminal, gate, way):
    slow = r"echo out; printf 'two\nhal'; cat gate; printf 'f\nrest'; echo err >&2"
    bold = r"printf '\033[1mbold\033[0m\033[2K\n'; printf last; echo; exit 3"
    project.pipeline({"id": "a", "command": slow, "needs": []}, {"id": "b", "command": bold, "needs": []})
    stream = "-s" if way.startswith("pytest") else "--stream"
    shown = terminal(*WAYS[way], stream, TERM="dumb", NO_COLOR="1")
    shown.shows("a | two")
    assert "a | hal" not in shown.text
    gate()
    assert shown.finish() == 1
    lines = [one for one in shown.screen.text.splitlines() if re.match(r"[ab] \| ", one)]
    assert [one for one in lines if one.startswith("b")] == ["b | bold", "b | last"]
    assert sorted(one for one in lines if one.startswith("a")) == sorted(
        ["a | out", "a | two", "a | halthrough", "a | f", "a | rest", "a | err"]
    )
    assert "[1/2] a: passed in" in shown.text


@pytest.mark.parametrize("words", [["-s", "-v"], ["-s", "-q"], ["-v", "--capture=no", "--codex-jobs=2"]])
def test_output_is_streamed_beside_pytests_own_lines(project, words):
    project.pipeline(r"printf 'one\ntwo'", "echo three")
    done = project.pytest("--codex-pipeline=work", *words)
    shown = done.stdout.splitlines()
    assert [one for one in shown if one.startswith("s")] == ["s1 | one", "s1 | two", "s2 | three"]
    if "-v" in words:
        assert [one for one in shown if one.startswith("work::") and "PASSED" in one]
    assert "started" not in done.stdout


@pytest.mark.parametrize("words", [[], ["--codex-jobs=2"]])
def test_lines_begin_where_a_plugin_has_left_one_open(project, words):
    (project.root / "counting.py").write_text(
        "def pytest_codex_stage_started(config):\n    config.get_terminal_writer().write('counting')\n"
    )
    project.pipeline("echo one", "echo two")
    shown = project.pytest("--codex-pipeline=work", "-s", "-pcounting", *words).stdout
    for name, text in (("s1", "one"), ("s2", "two")):
        assert f"counting\n{name} | {text}\n" in shown


def test_nothing_is_streamed_that_was_not_asked_for(project):
    project.pipeline("echo something")
    for done in (project.cli("start", "work"), project.pytest("--codex-pipeline=work")):
        assert done.returncode == 0
        assert "something" not in done.stdout.replace("echo something", "")


def test_with_json_the_answer_is_all_of_stdout(project):
    project.pipeline("echo something", "exit 1", "true")
    done = project.cli("start", "work", "--format=json", "--stream")
    assert json.loads(done.stdout)["status"] == "failed"
    assert "s1 | something\n" in done.stderr
    assert done.stderr.endswith("1 stage did not run because of it: s3.\n")


# Little, and now and then.


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_is_failures_and_the_answer(project, flag):
    project.pipeline("echo something", BAD, "true")
    done = project.cli("start", "work", flag)
    text = done.stdout.splitlines()
    assert text[1] == "Stage 'Bad' failed: exit code 3"
    assert "[" not in done.stdout
    assert text[text.index("1 stage did not run because of it: s3.") + 1] == ""
    assert text[-6].startswith("Run started: ")
    assert text[-2] == "1 stage was not run: --keep-going runs what does not need the failed one."
    project.pipeline("true")
    assert project.cli("start", "work", flag).stdout.splitlines()[3].startswith("Run started: ")


def test_quiet_and_streamed_is_a_contradiction(project):
    project.pipeline("true")
    done = project.cli("start", "work", "-q", "--stream")
    assert done.returncode == 2
    assert "--stream" in done.stderr
    assert not project.runs()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_silent_stage_is_spoken_of(project, said, monkeypatch, jobs):
    """The stage goes on until it has been spoken of."""

    def beating(board, clock, say):
        def noted(stage, now):
            say(stage, now)
            if stage.tail:
                (project.root / "spoken").touch()

        return Heartbeat(board, clock, noted, limit=0.05)

    monkeypatch.setattr(progress_module, "Heartbeat", beating)
    project.pipeline("echo up; until [ -e spoken ]; do sleep 0.02; done")
    code, out, _ = said("start", "work", "--jobs", jobs)
    assert code == 0
    assert re.search(r"^\[1/1\] s1: running for \d+\.\d s, last: up$", out, flags=re.MULTILINE)


def test_a_reader_that_goes_away_ends_no_run(project, gate):
    failing(project)
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "codex_orchestrator", "start", "work", "--jobs=2", "--stream"],
        cwd=project.root,
        env=project.environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    gate()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"")
    assert [entry["status"] for entry in project.manifest()["commands"]] == [
        "failed", "pending", "succeeded", "succeeded",
    ]  # fmt: skip
