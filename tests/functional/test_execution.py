"""What becomes of a stage's command, and what is written about it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.cli import main
from codex_orchestrator.environment import PREFIX
from tests.support import at_once

PYTHON = shlex.quote(sys.executable)
# Waits until this stage's log holds what it was told: then the next output is a read of its own.
LOGGED = (
    'logged() { until grep -qF "$1" "$CODEX_ORCHESTRATOR_RUN_DIR"/commands/*-"$2".ndjson; do :; done; }; '
)


TOO_LONG = "the command has 150002 bytes, and 131071 are taken"


def alone(stage_id: str, command: str, **keys) -> dict:
    """A stage that waits for no other."""
    return {"id": stage_id, "command": command, "needs": [], **keys}


def python(program: str) -> str:
    return f"{PYTHON} -c {shlex.quote(program)}"


def chunks(run, log: str) -> list[dict]:
    return [event for event in run.events(f"commands/{log}.ndjson") if event["type"] == "exec:chunk"]


def output(run, log: str, stream="stdout") -> str:
    return "".join(chunk["data"] for chunk in chunks(run, log) if chunk["stream"] == stream)


def test_how_a_command_ends_is_how_its_stage_ends(project):
    # id: stage, exit code, status, summary, reason, signal
    missing = project.root / "missing"
    cases = {
        "said": (alone("said", "echo ' all good '; echo noise >&2"), 0, "succeeded", "all good", None),
        "noise": (alone("noise", "echo noise >&2"), 0, "succeeded", "noise", None),
        "silent": (alone("silent", "true"), 0, "succeeded", "Command completed with code 0", None),
        "hint": (alone("hint", "echo x", summaryHint="As hinted"), 0, "succeeded", "As hinted", None),
        "long": (alone("long", "printf '%0300d' 7"), 0, "succeeded", "0" * 240 + "…", None),
        "three": (alone("three", "echo out; exit 3"), 3, "failed", "Exited with code 3", "failed"),
        "why": (alone("why", "echo why >&2; exit 4"), 4, "failed", "Exited with code 4 — why", "failed"),
        "hinted": (alone("hinted", "exit 5", summaryHint="Broken"), 5, "failed", "Broken", "failed"),
        "kill": (alone("kill", "kill -KILL $$"), 137, "failed", "Terminated with signal SIGKILL", "failed"),
        "term": (
            alone("term", "echo bye >&2; kill -TERM $$"),
            143,
            "failed",
            "Terminated with signal SIGTERM — bye",
            "failed",
        ),
        "allowed": (
            alone("allowed", "exit 6", allowFailure=True),
            6,
            "skipped",
            "Exited with code 6",
            "allow-failure",
        ),
        "no-folder": (
            alone("no-folder", "true", cwd="missing"),
            127,
            "failed",
            f"Exited with code 127 — No such file or directory: {missing}",
            "execution-error",
        ),
        "no-folder-but-a-file": (
            alone("no-folder-but-a-file", "true", cwd="codex.orchestrator.json"),
            126,
            "failed",
            f"Exited with code 126 — Not a directory: {project.root}/codex.orchestrator.json",
            "execution-error",
        ),
        "too-long": (
            alone("too-long", f": {'x' * 150_000}"),
            126,
            "failed",
            f"Exited with code 126 — Argument list too long: {TOO_LONG}",
            "execution-error",
        ),
    }
    project.pipeline(*(stage for stage, *_ in cases.values()))
    run = project.start("work")
    assert run.exit_code == 1
    for stage_id, (_, exit_code, status, summary, reason) in cases.items():
        entry = run.entry(stage_id)
        assert (stage_id, entry["exit_code"], entry["status"], entry["summary"]) == (
            stage_id,
            exit_code,
            status,
            summary,
        )
        assert entry["started_at"] <= entry["completed_at"]
        if reason is None:
            assert entry["error_file"] is None
            continue
        error = run.error(stage_id)
        assert error["reason"] == f"command-{reason}"
        assert error["details"]["exit_code"] == exit_code
        by_signal = {137: "SIGKILL", 143: "SIGTERM"}.get(exit_code)
        assert error["details"].get("signal") == by_signal
        end = run.events(f"{Path(entry['log_path']).relative_to(run.answer['artifact_root'])}")[-2]
        assert (end["type"], end["exit_code"], end["signal"]) == ("command:end", exit_code, by_signal)
    # The first failed stage by index is the one that the run names.
    assert run.manifest["status_detail"] == "stage:three:failed"
    assert run.manifest["summary"].split("\n")[0] == "Stage 'THREE' failed with exit code 3."


def test_a_command_that_cannot_be_started_is_an_execution_error(project):
    project.pipeline({"command": "true", "cwd": "missing"})
    run = project.start("work")
    assert run.exit_code == 1
    assert run.manifest["status_detail"] == "stage:s1:error"
    cause = f"No such file or directory: {project.root}/missing"
    assert run.answer["summary"].split("\n")[0] == f"Execution error: {cause}"
    assert run.error("s1")["details"]["cause"] == cause
    assert [event["type"] for event in run.events()] == [
        "run:started",
        "command:start",
        "exec:begin",
        "exec:end",
        "command:end",
        "stage:completed",
        "run:completed",
    ]


def test_a_stage_that_runs_out_of_time_is_ended_with_all_it_started(project, live):
    # What the first two do before their time is up takes a hundredth of it on a quiet machine.
    project.pipeline(
        alone("slow", "echo $$ > pid; sleep 600 & echo $! > pid2; echo up; wait", timeoutSeconds=2),
        alone("calm", "trap 'echo caught; exit 0' TERM; sleep 600 & wait", timeoutSeconds=2),
        alone("patient", "true", timeoutSeconds=31536000),
        {"id": "after", "command": "echo no", "needs": ["slow"]},
        alone("allowed", "sleep 600", timeoutSeconds=0.1, allowFailure=True),
    )
    run = project.start("work")
    assert run.exit_code == 1
    slow = run.entry("slow")
    assert (slow["status"], slow["exit_code"], slow["summary"]) == ("failed", 143, "Timed out after 2 s")
    details = run.error("slow")["details"]
    assert (details["timed_out"], details["signal"]) == (True, "SIGTERM")
    assert run.error("slow")["reason"] == "command-timeout"
    calm = run.entry("calm")
    assert (calm["status"], calm["exit_code"], calm["summary"]) == ("failed", 0, "Timed out after 2 s")
    assert output(run, "02-calm") == "caught\n"
    assert [entry["status"] for entry in run.manifest["commands"]] == [
        "failed",
        "failed",
        "succeeded",
        "pending",
        "skipped",
    ]
    assert run.error("allowed")["reason"] == "command-allow-failure"
    assert run.manifest["status_detail"] == "stage:slow:timeout"
    end = next(event for event in run.events("commands/01-slow.ndjson") if event["type"] == "exec:end")
    assert end["status"] == "timeout"
    for name in ("pid", "pid2"):
        pid = int((project.root / name).read_text())
        live.until(lambda pid=pid: not live.is_alive(pid), f"{name} {pid} is gone")


def test_both_streams_are_logged_as_they_come(project):
    project.pipeline(
        LOGGED + "echo a; logged '\"a\\n\"' s1; echo b >&2; logged '\"b\\n\"' s1; echo c",
        # The log shows each half before the next is written, so the reads cannot have met.
        LOGGED + r"""printf 'x\342\202'; logged '"data":"x"' s2; printf '\254y'""",
        LOGGED
        + r"""printf '\360'; printf 'e' >&2; logged '"data":"e"' s2; printf '\237\230\200'""".replace(
            "s2", "s3"
        ),
        r"printf '1\377\376 2\342\202 3\355\240\200'",
        r"printf 'end\342\202'",
    )
    run = project.start("work")
    assert run.exit_code == 0
    first = chunks(run, "01-s1")
    assert [(chunk["sequence"], chunk["stream"], chunk["data"], chunk["bytes"]) for chunk in first] == [
        (1, "stdout", "a\n", 2),
        (2, "stderr", "b\n", 2),
        (3, "stdout", "c\n", 2),
    ]
    assert [(chunk["data"], chunk["bytes"]) for chunk in chunks(run, "02-s2")] == [("x", 1), ("€y", 4)]
    assert output(run, "03-s3") == "😀"
    raw = b"1\xff\xfe 2\xe2\x82 3\xed\xa0\x80"
    assert output(run, "04-s4") == raw.decode("utf-8", "replace")
    assert sum(chunk["bytes"] for chunk in chunks(run, "04-s4")) == len(raw)
    assert output(run, "05-s5") == "end\ufffd"
    # The runner's log has every stage's lines, in the same bytes.
    lines = (run.folder / "runner.ndjson").read_bytes().splitlines()
    stages = [path.read_bytes().splitlines() for path in sorted((run.folder / "commands").iterdir())]
    assert [line for line in lines if json.loads(line).get("index")] == [
        line for log in stages for line in log
    ]


def test_long_output_is_logged_whole_and_its_end_is_kept(project):
    def ends(unit: str) -> str:
        return python(f"import sys; sys.stderr.buffer.write({unit} * 102400 + b'THE END'); sys.exit(1)")

    units = {"control": r"b'\x01'", "euro": "'€'.encode()", "newline": r"b'\n'", "invalid": r"b'\xff'"}
    project.pipeline(
        alone("line", python("print('x' * 102400, end='')")),
        *(alone(name, ends(unit)) for name, unit in units.items()),
        alone(
            "both", python("import sys; print('o' * 9000); sys.stderr.write('é\\x02' * 9000); sys.exit(2)")
        ),
    )
    run = project.start("work")
    assert output(run, "01-line") == "x" * 102400
    for log in sorted((run.folder / "commands").iterdir()):
        sizes = [chunk["bytes"] for chunk in chunks(run, log.stem)]
        assert max(sizes) <= 65536
        assert [chunk["sequence"] for chunk in chunks(run, log.stem)] == list(range(1, len(sizes) + 1))
    assert output(run, "03-euro", "stderr") == "€" * 102400 + "THE END"
    for name in units:
        size = (project.root / run.entry(name)["error_file"]).stat().st_size
        assert size <= 10_240
        details = run.error(name)["details"]
        assert details["stderr"].endswith("THE END")
        assert details["stderr_truncated"] is True
        # Nothing but the room ends it: most of the file is output.
        assert size > 7_000
    both = run.error("both")["details"]
    assert both["stdout"].endswith("o\n")
    assert both["stderr"].endswith("é\x02")
    assert (project.root / run.entry("both")["error_file"]).stat().st_size <= 10_240


def test_what_is_written_after_the_shells_exit_is_drained_and_a_daemon_hangs_nothing(project, live):
    project.pipeline(
        # The child writes when its parent has been reaped, which is when the stage has ended.
        "(while kill -0 $$ 2>/dev/null; do :; done; echo late) & echo early",
        # One holds the pipe, one has left the session too, one does not listen to SIGTERM.
        "sleep 600 & echo $! > pid; echo started",
        "setsid sleep 601 & echo $! > pid2",
        "(trap '' TERM; exec sleep 602) & echo $! > pid3",
        "for f in pid pid2 pid3; do kill -0 $(cat $f) || exit 1; done; echo all alive",
    )
    run = project.start("work")
    assert run.exit_code == 0
    assert output(run, "01-s1") == "early\nlate\n"
    assert output(run, "02-s2") == "started\n"
    assert output(run, "05-s5") == "all alive\n"
    pids = [int((project.root / name).read_text()) for name in ("pid", "pid2", "pid3")]
    for pid in pids:
        live.until(lambda pid=pid: not live.is_alive(pid), f"process {pid} is gone")
    warning = next(line for line in run.answer["summary"].split("\n") if "left running" in line)
    for number, pid in enumerate(pids):
        assert f"sleep {600 + number} (pid {pid})" in warning
    assert run.answer["summary"].split("\n")[-1].startswith("Guardrails: ")


DUMP = python(
    "import json, os, sys; from pathlib import Path;"
    "fds = sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}'));"
    "Path(sys.argv[1]).write_text(json.dumps({'env': dict(os.environ), 'cwd': os.getcwd(), 'fds': fds,"
    " 'stdin': os.readlink('/proc/self/fd/0'), 'read': sys.stdin.read()}))"
)


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_what_a_stage_inherits(project, tmp_path, way):
    sub = project.root / "sub"
    sub.mkdir()
    own = {"OWN": "mine", "INHERITED": "replaced", "CODEX_ORCHESTRATOR_TASK_ID": "faked", "EMPTY": ""}
    project.pipeline(
        f"{DUMP} one",
        {"command": f"{DUMP} ../two", "cwd": "sub", "env": own},
        {"command": f"{DUMP} '{project.root}/three'", "cwd": str(tmp_path)},
    )
    extra = {"INHERITED": "from outside", "PYTEST_ADDOPTS": "-p no:randomly"}
    before = {**project.environment, **extra}
    if way == "start":
        # From below the root: stages still start at the root.
        done = project.cli("start", "work", environment=extra, cwd=sub)
    else:
        done = project.pytest("--codex-pipeline", "work", environment=extra)
    assert done.returncode == 0, done.stdout + done.stderr
    one, two, three = (json.loads((project.root / name).read_text()) for name in ("one", "two", "three"))
    folder = project.runs()[0]
    run_names = {
        "MCP_RUNNER_TASK_ID": "task-1",
        f"{PREFIX}TASK_ID": "task-1",
        f"{PREFIX}RUN_ID": folder.name,
        f"{PREFIX}PIPELINE_ID": "work",
        f"{PREFIX}STAGE_ID": "s1",
        f"{PREFIX}MANIFEST_PATH": str(folder / "manifest.json"),
        f"{PREFIX}RUN_DIR": str(folder),
        f"{PREFIX}RUNS_DIR": str(project.root / ".runs"),
        f"{PREFIX}OUT_DIR": str(project.root / "out"),
        f"{PREFIX}ROOT": str(project.root),
        f"{PREFIX}LINEAGE": json.dumps([[str(project.root), str(folder)]]),
    }
    of_the_shell = {"PWD", "OLDPWD", "SHLVL", "_"}

    # Each run has another: it is looked at by itself.
    of_the_shell.add(f"{PREFIX}OWNER_PID")

    def seen(dump: dict) -> dict:
        return {name: value for name, value in dump["env"].items() if name not in of_the_shell}

    inherited = {name: value for name, value in before.items() if name not in of_the_shell}
    assert seen(one) == {**inherited, **run_names}
    assert seen(two) == {**inherited, **run_names, f"{PREFIX}STAGE_ID": "s2", **own}
    assert (one["cwd"], two["cwd"], three["cwd"]) == (str(project.root), str(sub), str(tmp_path))
    for dump in (one, two, three):
        assert (dump["stdin"], dump["read"], dump["fds"]) == ("/dev/null", "", [0, 1, 2])


def test_the_folders_may_lie_elsewhere(project, tmp_path):
    project.pipeline('echo "$CODEX_ORCHESTRATOR_RUNS_DIR $CODEX_ORCHESTRATOR_OUT_DIR"')
    elsewhere = {
        "CODEX_ORCHESTRATOR_RUNS_DIR": "deep/runs",
        "CODEX_ORCHESTRATOR_OUT_DIR": str(tmp_path / "out"),
    }
    run = project.start("work", environment=elsewhere)
    assert run.exit_code == 0
    assert run.entry("s1")["summary"] == f"{project.root}/deep/runs {tmp_path}/out"
    assert run.answer["artifact_root"].startswith("deep/runs/task-1/cli/")
    assert (tmp_path / "out" / "task-1" / "state.json").exists()
    assert {path.name for path in project.root.iterdir()} == {".git", "codex.orchestrator.json", "deep"}
    status = project.cli("status", "--format", "json", environment=elsewhere)
    assert json.loads(status.stdout)["run_id"] == run.answer["run_id"]


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_cancels_the_run_and_its_evidence_is_complete(project, live, number, exit_code):
    project.pipeline("echo done", f"sleep 600 & echo $! > pid2; {live.GATE}", "echo never")
    run = live.start("work", "--format", "json")
    run.has_printed("up")
    pids = [run.stage_pid("pid"), run.stage_pid("pid2")]
    run.signal(number)
    code, out, err = run.finish()
    assert code == exit_code
    name = signal.Signals(number).name
    manifest = run.manifest
    assert json.loads(out)["status"] == manifest["status"] == "cancelled"
    assert manifest["status_detail"] == f"cancelled:{name}"
    assert manifest["completed_at"] is not None
    assert manifest["metrics_recorded"] is True
    assert manifest["summary"].split("\n")[0] == f"Run cancelled by {name}."
    entries = manifest["commands"]
    assert [entry["status"] for entry in entries] == ["succeeded", "failed", "pending"]
    assert entries[1]["summary"] == f"Cancelled by {name}"
    assert entries[1]["exit_code"] == exit_code
    assert entries[1]["completed_at"] is not None
    error = json.loads((project.root / entries[1]["error_file"]).read_text())
    assert error["reason"] == "command-cancelled"
    assert error["details"]["signal"] == name
    assert "Traceback" not in err
    for pid in pids:
        live.until(lambda pid=pid: not live.is_alive(pid), f"process {pid} is gone")
    ends = [json.loads(line) for line in run.log().splitlines() if '"exec:end"' in line]
    assert [end["status"] for end in ends] == ["succeeded", "cancelled"]
    line = json.loads((project.root / ".runs/task-1/metrics.json").read_text())
    assert (line["status"], line["commands_passed"], line["commands_failed"]) == ("cancelled", 1, 1)


def test_a_second_signal_kills_what_does_not_listen_to_the_first(project, live):
    project.pipeline("trap 'echo heard' TERM; trap '' INT; echo $$ > pid; while :; do read x < gate; done")
    run = live.start("work")
    pid = run.stage_pid()
    run.signal(signal.SIGTERM)
    live.until(lambda: '"data":"heard' in run.log(), "the stage has heard the first signal")
    run.signal(signal.SIGINT)
    code, out, _ = run.finish()
    # The first signal is the one that cancelled.
    assert code == 143
    entry = run.manifest["commands"][0]
    assert (entry["status"], entry["exit_code"], entry["summary"]) == ("failed", 137, "Cancelled by SIGTERM")
    assert run.manifest["status_detail"] == "cancelled:SIGTERM"
    assert "Status: cancelled" in out
    assert not live.is_alive(pid)


def test_a_failure_blocks_what_depends_on_it_and_nothing_else(project):
    project.pipeline(
        {"id": "late", "command": "exit 1", "needs": ["base"]},
        {"id": "early", "command": "exit 2", "needs": []},
        {"id": "base", "command": "true", "needs": []},
        {"id": "next", "command": "true"},
        {"id": "blocked", "command": "true", "needs": ["early", "base"]},
        {"id": "behind", "command": "true"},
        {"id": "allowed", "command": "exit 3", "needs": [], "allowFailure": True},
        {"id": "beyond", "command": "true"},
    )
    run = project.start("work")
    assert run.exit_code == 1
    assert {entry["id"]: entry["status"] for entry in run.manifest["commands"]} == {
        "late": "failed",
        "early": "failed",
        "base": "succeeded",
        "next": "succeeded",
        "blocked": "pending",
        "behind": "pending",
        "allowed": "skipped",
        "beyond": "succeeded",
    }
    # "early" failed first, "late" is first by index.
    assert run.manifest["summary"].split("\n")[0] == "Stage 'LATE' failed with exit code 1."
    assert run.manifest["status_detail"] == "stage:late:failed"
    skipped = [
        (event["stage_id"], event["reason"]) for event in run.events() if event["type"] == "stage:skipped"
    ]
    assert skipped == [("blocked", "blocked by early"), ("behind", "blocked by early")]
    untouched = run.entry("blocked")
    for key in ("started_at", "completed_at", "exit_code", "summary", "error_file"):
        assert untouched[key] is None
    assert "skipped, blocked: work::early failed" in run.stderr


def test_fifty_megabytes_are_logged_whole_in_bounded_memory(project):
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's memory is read from /proc")
    line = "x" * 99
    project.pipeline(
        f"yes {line} | head -c 50000000",
        # The shell's parent is the orchestrator.
        "grep VmHWM /proc/$PPID/status",
    )
    run = project.start("work")
    assert run.exit_code == 0
    kilobytes = int(run.entry("s2")["summary"].split()[1])
    assert kilobytes < 80 * 1024
    logged = 0
    with (run.folder / "commands/01-s1.ndjson").open(encoding="utf-8") as log:
        for text in log:
            event = json.loads(text)
            if event["type"] == "exec:chunk":
                assert not event["data"].strip("x\n")
                assert event["bytes"] == len(event["data"])
                logged += event["bytes"]
    assert logged == 50_000_000
    sizes = [(run.folder / name).stat().st_size for name in ("commands/01-s1.ndjson", "runner.ndjson")]
    assert sizes[0] < sizes[1]
    # Temporary folders are kept for a while.
    for name in ("commands/01-s1.ndjson", "runner.ndjson"):
        (run.folder / name).unlink()


EVENT_KEYS = {
    "run:started": ["type", "run_id", "pipeline_id", "stages", "timestamp"],
    "command:start": ["type", "command", "timestamp", "index"],
    "exec:begin": [
        "type",
        "correlation_id",
        "attempt",
        "command",
        "args",
        "cwd",
        "session_id",
        "sandbox_state",
        "persisted",
        "timestamp",
        "index",
    ],
    "exec:chunk": [
        "type",
        "correlation_id",
        "attempt",
        "stream",
        "sequence",
        "bytes",
        "data",
        "timestamp",
        "index",
    ],
    "exec:end": [
        "type",
        "correlation_id",
        "attempt",
        "exit_code",
        "signal",
        "duration_ms",
        "status",
        "timestamp",
        "index",
    ],
    "command:end": ["type", "exit_code", "signal", "duration_ms", "timestamp", "index"],
}
METRICS_KEYS = [
    "run_id",
    "task_id",
    "pipeline_id",
    "status",
    "started_at",
    "completed_at",
    "duration_seconds",
    "commands_passed",
    "commands_failed",
    "guardrails_present",
    "recorded_at",
    "artifact_path",
    "child_runs",
    "control_plane_status",
    "scheduler_mode",
    "instance_stats",
    "privacy_mode",
    "privacy_log_path",
    "privacy_event_count",
    "privacy_events",
    "handle_count",
    "commands_skipped",
    "approvals_count",
    "approvals",
    "resumed",
    "attempts",
    "heartbeat_writes",
    "heartbeat_failures",
]
MANIFEST_KEYS = [
    "version",
    "task_id",
    "task_slug",
    "run_id",
    "parent_run_id",
    "pipeline_id",
    "pipeline_title",
    "runner",
    "approval_policy",
    "status",
    "status_detail",
    "started_at",
    "completed_at",
    "updated_at",
    "heartbeat_at",
    "heartbeat_interval_seconds",
    "heartbeat_stale_after_seconds",
    "artifact_root",
    "compat_path",
    "log_path",
    "summary",
    "metrics_recorded",
    "resume_token",
    "resume_events",
    "approvals",
    "commands",
    "child_runs",
    "run_summary_path",
    "plan_target_id",
    "instructions_hash",
    "instructions_sources",
]
LATER_KEYS = ("guardrails_required", "control_plane", "scheduler", "guardrail_status", "handles", "privacy")
ENTRY_KEYS = [
    "index",
    "id",
    "title",
    "command",
    "kind",
    "status",
    "started_at",
    "completed_at",
    "exit_code",
    "summary",
    "log_path",
    "error_file",
    "sub_run_id",
]


def test_the_evidence_of_two_runs(project):
    """The first succeeds, the second fails: every key, and the sums over both."""
    (project.root / "AGENTS.md").write_text("  Be careful.\n")
    guard = {"id": "spec-guard", "command": "echo 'guard ok'", "session": {"id": "shared", "persist": True}}
    project.pipeline("echo out; echo err >&2", guard, description="Two stages")
    first = project.start(
        "work", "--approval-policy", "never", "--parent-run", "2026-01-01T00-00-00-000Z-00000000"
    )
    project.pipeline("echo out; echo err >&2", {**guard, "command": "exit 9"})
    second = project.start("work")
    assert (first.exit_code, second.exit_code) == (0, 1)

    by_type = {event["type"]: list(event) for event in first.events()}
    assert {name: by_type[name] for name in EVENT_KEYS} == EVENT_KEYS
    begin = next(
        event for event in first.events("commands/02-spec-guard.ndjson") if event["type"] == "exec:begin"
    )
    assert (begin["attempt"], begin["args"], begin["cwd"], begin["sandbox_state"]) == (
        1,
        [],
        str(project.root),
        "none",
    )
    assert (begin["session_id"], begin["persisted"]) == ("shared", True)

    manifest = first.manifest
    keys = list(manifest)
    assert keys[:31] == MANIFEST_KEYS
    assert keys[31:] == [key for key in LATER_KEYS if key in keys]
    assert {"guardrails_required", "control_plane", "guardrail_status", "handles"} <= set(keys)
    assert all(list(entry) == ENTRY_KEYS for entry in manifest["commands"])
    assert (manifest["approval_policy"], manifest["parent_run_id"]) == (
        "never",
        "2026-01-01T00-00-00-000Z-00000000",
    )
    assert (manifest["plan_target_id"], manifest["instructions_sources"]) == ("work:s1", ["AGENTS.md"])
    assert manifest["heartbeat_at"] == (first.folder / ".heartbeat").read_text().strip()
    assert [handle["status"] for handle in manifest["handles"]] == ["closed", "closed"]
    assert [handle["frame_count"] for handle in manifest["handles"]] == [4, 3]

    lines = [
        json.loads(line) for line in (project.root / ".runs/task-1/metrics.json").read_text().splitlines()
    ]
    assert [list(line) for line in lines] == [METRICS_KEYS, METRICS_KEYS]
    one, two = lines
    assert (one["run_id"], two["run_id"]) == (first.answer["run_id"], second.answer["run_id"])
    assert (one["commands_passed"], one["commands_failed"], one["handle_count"]) == (2, 0, 2)
    assert (two["commands_passed"], two["commands_failed"], two["guardrails_present"]) == (1, 1, False)
    assert one["heartbeat_writes"] >= 2
    assert (one["heartbeat_failures"], one["attempts"], one["resumed"]) == (0, 1, False)
    assert (one["privacy_event_count"], one["instance_stats"], one["scheduler_mode"]) == (0, [], "unknown")

    totals = json.loads((project.root / ".runs/task-1/metrics-summary.json").read_text())
    assert list(totals) == [
        "generated_at",
        "task_id",
        "metrics_file",
        "entries_total",
        "entries_succeeded",
        "entries_failed",
        "success_rate",
        "guardrail_coverage",
        "average_duration_seconds",
        "parse_errors",
        "covered_bytes",
    ]
    assert (totals["entries_total"], totals["entries_succeeded"], totals["entries_failed"]) == (2, 1, 1)
    assert (totals["success_rate"], totals["guardrail_coverage"]) == (0.5, 0.5)
    assert totals["covered_bytes"] == (project.root / ".runs/task-1/metrics.json").stat().st_size
    assert totals["average_duration_seconds"] == pytest.approx(
        (one["duration_seconds"] + two["duration_seconds"]) / 2
    )

    summaries = [json.loads((run.folder / "run-summary.json").read_text()) for run in (first, second)]
    history = (project.root / "out/task-1/runs.ndjson").read_text().splitlines()
    assert [json.loads(line) for line in history] == summaries
    state = json.loads((project.root / "out/task-1/state.json").read_text())
    assert list(state) == ["taskId", "lastRunAt", "totalRuns", "runs"]
    assert (state["totalRuns"], state["lastRunAt"]) == (2, second.manifest["completed_at"])
    assert state["runs"] == [
        {
            **{key: value for key, value in summary.items() if key != "handles"},
            "privacy": {key: value for key, value in summary["privacy"].items() if key != "decisions"},
        }
        for summary in summaries
    ]
    good, poor = summaries
    assert list(good) == [
        "taskId",
        "runId",
        "mode",
        "plan",
        "build",
        "test",
        "review",
        "timestamp",
        "handles",
        "privacy",
        "controlPlane",
    ]
    assert good["plan"]["targetId"] == "work:s1"
    assert good["plan"]["notes"] == "Two stages"
    assert [item["selected"] for item in good["plan"]["items"]] == [True, False]
    assert (good["build"]["success"], good["test"]["success"], good["review"]["decision"]) == (
        True,
        True,
        {"approved": True},
    )
    assert good["test"]["reports"] == [{"name": "spec-guard", "status": "passed", "details": "guard ok"}]
    assert good["review"]["summary"] == manifest["summary"]
    assert (poor["build"]["success"], poor["test"]["success"]) == (False, False)
    assert poor["test"]["reports"][0]["status"] == "failed"
    assert poor["review"]["decision"]["approved"] is False
    assert second.entry("spec-guard")["error_file"] in [item["path"] for item in poor["build"]["artifacts"]]


RERUN = '"codex-orchestrator start diagnostics --approval-policy never --format json --no-interactive"'
GUARD = {"id": "g", "title": "Runs Spec-Guard", "command": "true"}


@pytest.mark.parametrize(
    ("stages", "keys", "status", "last_lines", "counts"),
    [
        (["true"], {}, "succeeded", ["Guardrails: spec-guard command not found."], (0, 0, 0, 0, 0)),
        (
            ["true"],
            {"guardrailsRequired": True},
            "succeeded",
            [
                f"Guardrail command missing; run {RERUN} to capture reviewer diagnostics.",
                "Guardrails: spec-guard command not found.",
            ],
            (0, 0, 0, 0, 0),
        ),
        (
            [GUARD, alone("h", "echo SPEC-GUARD")],
            {},
            "succeeded",
            ["Guardrails: spec-guard succeeded (2 passed)."],
            (2, 2, 0, 0, 0),
        ),
        (
            [GUARD, {**GUARD, "id": "h", "command": "exit 1"}, {**GUARD, "id": "i"}],
            {},
            "failed",
            [
                f"Guardrail command failed; re-run {RERUN} to gather failure artifacts.",
                "Guardrails: spec-guard failed (1/3 failed).",
            ],
            (3, 1, 1, 0, 1),
        ),
        (
            [{**GUARD, "command": "exit 1", "allowFailure": True}],
            {},
            "succeeded",
            ["Guardrails: spec-guard skipped (all 1 skipped)."],
            (1, 0, 0, 1, 0),
        ),
        (
            [
                GUARD,
                {**GUARD, "id": "h", "command": "exit 1", "allowFailure": True},
                "exit 1",
                {**GUARD, "id": "i"},
            ],
            {},
            "failed",
            ["Guardrails: spec-guard partial (1 passed, 1 skipped, 1 pending of 3)."],
            (3, 1, 0, 1, 1),
        ),
    ],
    ids=["none", "missing", "succeeded", "failed", "skipped", "partial"],
)
def test_the_last_line_is_about_the_guardrails(
    project, monkeypatch, stages, keys, status, last_lines, counts
):
    project.pipeline(*stages, **keys)
    monkeypatch.chdir(project.root)
    assert main(["start", "work", "--task", "task-1"]) == (0 if status == "succeeded" else 1)
    manifest = project.manifest()
    assert manifest["status"] == status
    assert manifest["summary"].split("\n")[-len(last_lines) :] == last_lines
    guardrails = manifest["guardrail_status"]
    assert guardrails["summary"] == last_lines[-1]
    assert guardrails["recommendation"] == (last_lines[0] if len(last_lines) > 1 else None)
    assert tuple(guardrails["counts"].values()) == counts
    assert list(guardrails["counts"]) == ["total", "succeeded", "failed", "skipped", "other"]
    assert guardrails["present"] is (counts[1] > 0)


def test_files_of_stages_are_named_by_index_and_slug(project):
    ids = ["Build & Test", "---", "a" * 200, "ünï", "../../etc"]
    project.pipeline(*(alone(stage_id, "exit 1") for stage_id in ids))
    run = project.start("work")
    names = ["01-Build-Test", "02-command", f"03-{'a' * 80}", "04-n", "05-etc"]
    assert sorted(path.name for path in (run.folder / "commands").iterdir()) == [f"{n}.ndjson" for n in names]
    assert sorted(path.name for path in (run.folder / "errors").iterdir()) == [f"{n}.json" for n in names]
    assert [path.name for path in project.root.parent.iterdir()] == [project.root.name]


WORDS = "grüße €日本"


@pytest.fixture(params=["C", "en_US.ISO-8859-1", "ja_JP.EUC-JP"])
def locale(request, tmp_path):
    """A locale whose texts are not UTF-8."""
    language, _, charmap = request.param.partition(".")
    if charmap:
        made = tmp_path / request.param
        words = ["localedef", "-i", language, "-f", charmap, str(made)]
        if (
            not shutil.which("localedef")
            or subprocess.run(words, capture_output=True, check=False).returncode
        ):
            pytest.skip(f"no {request.param} can be made here")
    return {"LC_ALL": request.param, "LOCPATH": str(tmp_path), "PYTHONUTF8": "0"}


@pytest.mark.parametrize("way", ["", "--jobs 2", "-n 2"])
def test_processes_get_what_the_definition_file_says_under_any_locale(project, locale, way):
    (project.root / WORDS).mkdir()
    project.pipeline(
        {
            "command": f'printf "%s|" "{WORDS}" "$WORD" "$THEIRS" > ../all; pwd > ../where; echo {WORDS}',
            "cwd": WORDS,
            "env": {"WORD": WORDS},
        }
    )
    # Inherited as it is, text or not.
    theirs = os.fsdecode(b"\xe9 \xc3\xa4 \xff")
    done = at_once.run(project, way, THEIRS=theirs, **locale)
    assert done.returncode == 0, done.stdout
    assert (project.root / "all").read_bytes() == f"{WORDS}|{WORDS}|".encode() + os.fsencode(theirs) + b"|"
    assert (project.root / "where").read_text("utf-8") == f"{project.root / WORDS}\n"
    folder = project.runs()[-1]
    assert f"{WORDS}\\n" in (folder / "commands" / "01-s1.ndjson").read_text("utf-8")


WAY_OF_A_CHUNK = """
import sys, traceback
from codex_orchestrator.evidence.run_folder import EventLog

def write(log, event, really=EventLog.write):
    if event.type == "exec:chunk":
        frames = [frame.filename for frame in traceback.extract_stack()[:-1]]
        ours = [name for name in frames if "/codex_orchestrator/" in name or "/pytest_codex/" in name]
        read = max(place for place, name in enumerate(ours) if name.endswith("execution/reading.py"))
        print("\\n".join(ours[read:]), file=sys.stderr)
    return really(log, event)

EventLog.write = write
sys.argv = ["codex-orchestrator", "start", "work"]
from codex_orchestrator.__main__ import run
run()
"""


def test_the_way_from_the_pipe_to_the_log_is_short(project):
    project.pipeline("echo hello")
    done = subprocess.run(
        [sys.executable, "-c", WAY_OF_A_CHUNK],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ways = [line for line in done.stderr.splitlines() if line.endswith(".py")]
    assert ways[0].endswith("execution/reading.py")
    assert ways[-1].endswith("evidence/recording.py")
    # docs/explanation/architecture.md tells it in eight steps, of which two come after the write.
    assert len(ways) <= 8, ways


def test_a_stage_knows_the_process_that_started_it(project):
    # The shell's parent is who started it.
    project.pipeline("echo $PPID $CODEX_ORCHESTRATOR_OWNER_PID")
    parent, owner = project.start("work").entry("s1")["summary"].split()
    assert parent == owner
