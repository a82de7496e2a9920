"""``logs``: what stages printed, while they run and afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from codex_orchestrator.cli import main

RUN = "2026-01-01T00-00-00-000Z-aaaaaaaa"


@pytest.fixture
def said(project, monkeypatch, capsys):
    """Run ``logs`` in this process: stdout of a command that succeeds."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MCP_RUNNER_TASK_ID", "task-1")

    def run(*words: str) -> str:
        code = main(["logs", *words])
        captured = capsys.readouterr()
        assert (code, captured.err) == (0, "")
        return captured.out

    return run


def chunk(data: str, index: int = 1, stream: str = "stdout", sequence: int = 1) -> str:
    """A line of output as the Node CLI writes it."""
    event = {
        "type": "exec:chunk",
        "correlation_id": "58b4b15c-152d-4498-adbe-f731c2812a12",
        "attempt": 1,
        "stream": stream,
        "sequence": sequence,
        "bytes": len(data.encode()),
        "data": data,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "index": index,
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def node_run(project, *lines: str, ids=("build", "test"), **changes):
    """A run as the Node CLI leaves it, with these lines in its log."""
    root = f".runs/task-1/cli/{RUN}"
    folder = project.root / root
    folder.mkdir(parents=True)
    commands = [
        {"index": index, "id": stage_id, "title": stage_id, "kind": "command", "status": "succeeded"}
        for index, stage_id in enumerate(ids, start=1)
    ]
    manifest = {
        "version": 1,
        "task_id": "task-1",
        "run_id": RUN,
        "parent_run_id": None,
        "pipeline_id": "diagnostics",
        "status": "succeeded",
        "artifact_root": root,
        "log_path": f"{root}/runner.ndjson",
        "commands": commands,
        "runtime_mode": "cli",
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "runner.ndjson").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_the_output_of_several_stages_is_prefixed(project, said):
    project.pipeline("echo one; printf 'no newline'", "echo err >&2; exit 3", "echo never")
    run = project.start("work")
    assert said() == "[s1] one\n[s1] no newline\n[s2] err\n"
    assert said("--run", run.answer["run_id"]) == said()
    assert said("--stage", "s1") == "one\nno newline"
    assert said("--stage=s2") == "err\n"
    assert said("--stage=s3") == ""


def test_the_output_of_a_single_stage_is_as_it_was(project, said):
    project.pipeline("printf 'a\\n\\n  b\\t€\\n'; printf 'end'")
    project.start("work")
    assert said() == "a\n\n  b\t€\nend"


def test_as_json_it_is_the_event_lines(project, said):
    project.pipeline("echo one", "echo two")
    run = project.start("work")
    log = (run.folder / "runner.ndjson").read_text(encoding="utf-8")
    assert said("--format", "json") == log
    assert said("--format=json", "--stage=s2") == (run.folder / "commands/02-s2.ndjson").read_text()


def test_a_stage_or_run_that_is_not_there_is_named(project, capsys, said):
    node_run(project)
    assert main(["logs", "--stage", "s9"]) == 2
    err = capsys.readouterr().err
    assert err == f'error: Unknown stage "s9" in run {RUN}.\nStages: build, test.\n'
    assert main(["logs", "--stage", "s9", "--format", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["hint"] == "Stages: build, test."


def test_a_run_of_the_node_cli_is_read(project, said):
    node_run(
        project,
        '{"type":"command:start","command":"npm run build","timestamp":"2026-01-01T00:00:00.000Z","index":1}',
        '{"type":"exec:begin","correlation_id":"x","attempt":1,"args":[],"sandbox_state":"sandboxed","index":1}',
        chunk("bui"),
        chunk("lt\n", sequence=2),
        chunk("warned\n", stream="stderr", sequence=3),
        '{"type":"exec:end","correlation_id":"x","attempt":1,"exit_code":0,"signal":null,"index":1}',
        '{"type":"something:new","index":1}',
        chunk("testing… ", index=2),
        chunk("ok", index=2, sequence=2),
    )
    assert said() == "[build] built\n[build] warned\n[test] testing… ok"
    assert said("--stage", "build") == "built\nwarned\n"
    assert said("-f") == said()
    assert len(said("--format", "json").splitlines()) == 9


def test_stages_that_print_in_turns_keep_their_lines_apart(project, said):
    node_run(
        project,
        chunk("one "),
        chunk("two\n", index=2),
        chunk("three\n"),
        chunk("four", index=2),
        chunk("five\r\nsix"),
    )
    text = said()
    assert text == "[test] two\n[build] one three\n[build] five\n[test] four\n[build] six"


def test_of_a_progress_bar_its_end_is_shown(project, said):
    bar = r"for i in 1 2 3 4 5 6 7 8 9; do printf '\rstep %s of 9' $i; done; sleep 0.01"
    project.pipeline({"id": "bar", "command": rf"{bar}; printf '\rerror: full\n'; exit 1"})
    done = project.cli("start", "work", "--stream")
    assert "bar | error: full\n" in done.stdout
    assert "step 8" not in done.stdout
    assert said() == "error: full\n"
    status = project.cli("status").stdout
    assert "\r" not in status


def test_broken_and_torn_lines_are_passed_over(project, said):
    folder = node_run(
        project, chunk("one\n"), "{broken", "[]", '"text"', '{"type":"exec:chunk"}', chunk("two\n")
    )
    with (folder / "runner.ndjson").open("a", encoding="utf-8") as log:
        log.write(chunk("torn\n")[:-5])
    assert said("--stage", "build") == "one\ntwo\n"
    assert "torn" not in said("--format", "json")


def test_a_run_without_a_log_printed_nothing(project, said):
    folder = node_run(project)
    (folder / "runner.ndjson").unlink()
    assert said() == said("-f") == said("--format", "json") == ""


def test_long_output_comes_out_whole(project, said):
    project.pipeline("yes 'a line of output' | head -n 200000")
    project.start("work")
    assert said() == "a line of output\n" * 200_000


def follow(project, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "codex_orchestrator", "logs", "--follow", *words],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_following_a_live_run_shows_all_of_it_and_ends_with_it(project, live):
    project.pipeline("echo before", live.GATE, "for i in 1 2 3; do echo $i; done; echo last >&2")
    run = live.start("work")
    run.has_printed("up")
    whole, stage, events = (
        follow(project),
        follow(project, "--stage", "s3"),
        follow(project, "--format", "json"),
    )
    try:
        assert [whole.stdout.readline() for _ in range(2)] == ["[s1] before\n", "[s2] up\n"]
        run.open_gate()
        assert run.finish()[0] == 0
        ended = [process.communicate(timeout=60) for process in (whole, stage, events)]
    finally:
        for process in (whole, stage, events):
            process.kill()
            process.wait()
    assert [process.returncode for process in (whole, stage, events)] == [0, 0, 0]
    assert [err for _, err in ended] == ["", "", ""]
    assert sorted(ended[0][0].splitlines()) == sorted(
        ["[s2] through", "[s3] 1", "[s3] 2", "[s3] 3", "[s3] last"]
    )
    assert sorted(ended[1][0].splitlines()) == ["1", "2", "3", "last"]
    assert ended[2][0] == run.log()
    assert '"run:completed"' in ended[2][0].splitlines()[-1]


def test_an_interrupted_reader_says_nothing_more(project, live):
    project.pipeline(live.GATE)
    run = live.start("work")
    run.has_printed("up")
    reader = follow(project)
    try:
        assert reader.stdout.readline() == "up\n"
        reader.send_signal(signal.SIGINT)
        _, err = reader.communicate(timeout=60)
    finally:
        reader.kill()
        reader.wait()
    assert (reader.returncode, err) == (130, "")
    # The run is none of its reader's business.
    run.open_gate()
    assert run.finish()[0] == 0


def test_stages_that_were_moved_meanwhile_keep_their_names(project):
    a, b, new = ({"id": name, "command": f"echo from {name}"} for name in ("a", "b", "new"))
    project.pipeline(a, b, {"id": "s3", "command": "test -e ok"})
    assert project.cli("start", "work").returncode == 1
    project.pipeline(new, b, a, {"id": "s3", "command": "true"})
    assert project.cli("resume", "--run", "latest", "--accept-changes").returncode == 0
    done = project.cli("logs", "--run", "latest")
    first, second, resumed, last = done.stdout.splitlines()
    assert (first, second, last) == ("[a] from a", "[b] from b", "[new] from new")
    assert resumed.startswith("--- resumed at 2")
    for name in ("a", "b", "new"):
        assert project.cli("logs", "--run", "latest", "--stage", name).stdout == f"from {name}\n"
