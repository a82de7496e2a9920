"""A server that a stage leaves in the background, with its pipes open, serves the stages that follow."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.at_once import command, run
from tests.support.processes import is_alive, until

# Says what it is asked for; one whose output is not read dies of it. Its answer is there once it has said it.
SERVE = (
    "mkfifo ask; (exec 3<>ask; while read line <&3; do echo said $line; echo $line >> answers; done) & "
    "echo $! > pid; echo up"
)


LIMIT = 65_536
# A process that nobody has waited for is a zombie.
GONE = "stat=/proc/$(cat pid)/stat; [ ! -e $stat ] || grep -q ') Z' $stat"


def asks(word: str) -> str:
    return f"echo {word} > ask; until grep -qx {word} answers; do sleep 0.02; done"


def log_of(folder, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def said(events) -> str:
    return "".join(event["data"] for event in events if event["type"] == "exec:chunk")


@pytest.mark.parametrize("way", ["", "--jobs 2", "-n 2"])
def test_a_server_is_read_until_the_run_ends_and_named(project, way):
    project.pipeline(
        command("serve", SERVE),
        command("one", asks("one"), needs=["serve"], timeoutSeconds=30),
        command("two", asks("two"), needs=["one"], timeoutSeconds=30),
    )
    done = run(project, way)
    assert done.returncode == 0, done.stdout
    pid = int((project.root / "pid").read_text())
    assert not is_alive(pid)
    assert f"(pid {pid})" in project.manifest()["summary"]
    folder = project.runs()[-1]
    events = log_of(folder, "commands/01-serve.ndjson")
    assert said(events) == "up\nsaid one\nsaid two\n"
    numbers = [event["sequence"] for event in events if event["type"] == "exec:chunk"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({event["correlation_id"] for event in events if "correlation_id" in event} - {None}) == 1
    # Both logs have the same lines, and readers print them as any other output.
    runner = log_of(folder, "runner.ndjson")
    assert said([event for event in runner if event.get("index") == 1]) == said(events)
    types = [event["type"] for event in runner]
    assert types[-1] == "run:completed"
    assert project.cli("logs", "--run", "latest", "--stage", "serve").stdout == said(events)


@pytest.mark.parametrize("way", ["", "--jobs 2", "-n 2"])
def test_what_it_says_counts_for_the_limit_of_its_stage(project, way):
    talkative = SERVE.replace("echo up", f"printf '%0{LIMIT}d' 0")
    project.pipeline(command("serve", talkative), command("one", asks("one"), needs=["serve"]))
    definitions = json.loads((project.root / "codex.orchestrator.json").read_text())
    project.write({**definitions, "limits": {"logBytes": LIMIT}})
    done = run(project, way)
    assert done.returncode == 0, done.stdout
    events = log_of(project.runs()[-1], "commands/01-serve.ndjson")
    assert said(events) == "0" * LIMIT
    [told] = [event for event in events if event["type"] == "output:left-out"]
    assert (told["stage_id"], told["left_out_bytes"]) == ("serve", len("said one\n"))
    assert "left out 9 bytes of stage 'serve'" in project.manifest()["summary"]


def test_a_server_of_a_pipeline_within_one_ends_with_its_own_run(project):
    project.pipelines(
        work=[{"kind": "subpipeline", "id": "inner", "pipeline": "inner"}, GONE],
        inner=[SERVE, asks("one")],
    )
    outer = project.start("work")
    assert outer.exit_code == 0, outer.answer
    [inner] = [folder for folder in project.runs() if folder != outer.folder]
    assert said(log_of(inner, "commands/01-s1.ndjson")) == "up\nsaid one\n"


def test_a_run_that_is_killed_takes_its_server_along_and_can_be_resumed(project, live):
    project.pipeline(SERVE, f"{asks('one')}; {live.GATE}")
    going = live.start("work")
    going.has_printed("said one")
    server = going.stage_pid()
    going.signal(signal.SIGKILL)
    going.finish()
    until(lambda: not is_alive(server), "the end of the server")
    project.pipeline(SERVE, "true")
    (project.root / "gate").unlink()
    done = project.cli("resume", "--run", going.run_id, "--accept-changes")
    assert done.returncode == 0, done.stderr
    assert said(log_of(going.folder, "commands/01-s1.ndjson")) == "up\nsaid one\n"
