"""``retries``, ``timeoutSeconds`` of each attempt, and ``session``: the same by CLI and by pytest."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence

import pytest

from codex_orchestrator.evidence.artefacts import check_file
from tests.support.projects import Run

# Counts its runs in a file of the stage's own: "$n" is the number of this one.
COUNT = 'n=$(($(cat "$N" 2>/dev/null || echo 0) + 1)); echo $n > "$N"; '


def flaky(stage_id: str, passes_at: int, **keys) -> dict:
    """A stage that fails until its n-th run, and waits for no other."""
    command = f"{COUNT}echo try $n; echo err $n >&2; test $n -ge {passes_at}"
    return {"id": stage_id, "command": command, "needs": [], "env": {"N": f"{stage_id}.count"}, **keys}


@pytest.fixture(params=["cli", "pytest"])
def door(request, project):
    """Both ways in: starts the pipeline ``work``, or resumes the latest run, and gives what was left."""

    def enter(*, resume: bool = False) -> Run:
        if request.param == "cli":
            words = ("resume", "--run", "latest") if resume else ("start", "work")
            done = project.cli(*words)
        else:
            words = ("--codex-resume", "latest") if resume else ("--codex-pipeline", "work")
            done = project.pytest(*words)
        folder = project.runs()[-1]
        valid(folder)
        return Run(project, done, {"artifact_root": str(folder.relative_to(project.root))})

    return enter


def valid(folder) -> None:
    """Every file of the run is what its schema says."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name: check_file(path).problems for path in files} == {path.name: () for path in files}


def of(run, kind: str, index: int = 1) -> list[dict]:
    return [event for event in run.events() if event["type"] == kind and event["index"] == index]


def numbers(events: Sequence[dict]) -> list[int]:
    return [event["attempt"] for event in events]


def error_files(run) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in sorted((run.folder / "errors").glob("*"))}


# id: stage, attempts, status, exit code, summary, reason of the error file
CASES = {
    "first": (flaky("first", 1, retries=2), 1, "succeeded", 0, "try 1", None),
    "second": (flaky("second", 2, retries=2), 2, "succeeded", 0, "try 2 (passed on attempt 2)", None),
    "last": (flaky("last", 3, retries=2), 3, "succeeded", 0, "try 3 (passed on attempt 3)", None),
    "hint": (
        flaky("hint", 2, retries=1, summaryHint="As hinted"),
        2,
        "succeeded",
        0,
        "As hinted (passed on attempt 2)",
        None,
    ),
    "long": (
        {"command": f"{COUNT}printf '%0300d' 7; test $n -ge 2", "retries": 1},
        2,
        "succeeded",
        0,
        f"{'0' * 240}… (passed on attempt 2)",
        None,
    ),
    "never": (flaky("never", 9, retries=1), 2, "failed", 1, "Exited with code 1 — err 2", "failed"),
    "once": (flaky("once", 9), 1, "failed", 1, "Exited with code 1 — err 1", "failed"),
    "allowed": (
        flaky("allowed", 9, retries=1, allowFailure=True),
        2,
        "skipped",
        1,
        "Exited with code 1 — err 2",
        "allow-failure",
    ),
    "soft": (
        flaky("soft", 2, retries=1, allowFailure=True),
        2,
        "succeeded",
        0,
        "try 2 (passed on attempt 2)",
        None,
    ),
    "signal": (
        {"command": f"{COUNT}kill -KILL $$", "retries": 1},
        2,
        "failed",
        137,
        "Terminated with signal SIGKILL",
        "failed",
    ),
    "slow": (
        {"command": "exec sleep 600", "retries": 1, "timeoutSeconds": 0.2},
        2,
        "failed",
        143,
        "Timed out after 0.2 s",
        "timeout",
    ),
    "spawn": (
        {"command": "true", "cwd": "codex.orchestrator.json", "retries": 1},
        2,
        "failed",
        126,
        None,
        "execution-error",
    ),
}


def test_a_stage_ends_as_its_last_attempt_does(project, door):
    full = {
        name: {"id": name, "needs": [], "env": {"N": f"{name}.count"}, **stage}
        for name, (stage, *_) in CASES.items()
    }
    project.pipeline(*full.values())
    run = door()
    assert run.exit_code == 1
    for index, (name, case) in enumerate(CASES.items(), start=1):
        _, attempts, status, exit_code, summary, reason = case
        entry = run.entry(name)
        assert (name, entry["status"], entry["exit_code"]) == (name, status, exit_code)
        assert summary is None or entry["summary"] == summary
        told_of_attempts(run, index, attempts)
        stem = f"{index:02d}-{name}"
        kept = [f"{stem}.attempt-{number}.json" for number in range(1, attempts)]
        errors = {path: error for path, error in error_files(run).items() if path.startswith(stem)}
        assert list(errors) == (kept if reason is None else [*kept, f"{stem}.json"])
        failed = of(run, "attempt:failed", index)
        assert [event["error_file"] for event in failed] == [
            f"{run.answer['artifact_root']}/errors/{path}" for path in kept
        ]
        for path, event in zip(kept, failed, strict=True):
            assert errors[path]["reason"] == event["reason"]
            assert errors[path]["details"]["stdout"] == printed(run, event["correlation_id"])
        if reason is None:
            assert entry["error_file"] is None
        else:
            assert run.error(name)["reason"] == f"command-{reason}"
    assert run.manifest["status_detail"] == "stage:never:failed"
    handles = {handle["correlation_id"]: handle for handle in run.manifest["handles"]}
    assert len(handles) == sum(attempts for _, attempts, *_ in CASES.values())
    for correlation_id, handle in handles.items():
        own = [event for event in exec_events(run) if event["correlation_id"] == correlation_id]
        assert (handle["status"], handle["frame_count"]) == ("closed", len(own))


def told_of_attempts(run, index: int, attempts: int) -> None:
    """The stage's log tells of so many attempts, each with an id of its own, in one session."""
    begun, ended, retried, failed = (
        of(run, kind, index) for kind in ("exec:begin", "exec:end", "exec:retry", "attempt:failed")
    )
    assert numbers(begun) == numbers(ended) == list(range(1, attempts + 1))
    assert numbers(retried) == numbers(failed) == list(range(1, attempts))
    assert [event["delay_ms"] for event in retried] == [250, 500][: attempts - 1]
    ids = [event["correlation_id"] for event in begun]
    assert len(set(ids)) == attempts
    assert [event["correlation_id"] for event in ended] == ids
    assert [event["correlation_id"] for event in retried] == ids[:-1]
    assert {event["session_id"] for event in begun} == {ids[0]}
    assert len(of(run, "command:start", index)) == len(of(run, "command:end", index)) == 1
    (last,) = of(run, "stage:completed", index)
    assert last["correlation_id"] == ids[-1]


def exec_events(run) -> list[dict]:
    return [event for event in run.events() if event["type"].startswith("exec:")]


def printed(run, correlation_id: str) -> str:
    """What an attempt wrote to its output."""
    return "".join(
        event["data"]
        for event in exec_events(run)
        if event["correlation_id"] == correlation_id and event.get("stream") == "stdout"
    )


def test_each_attempt_has_the_whole_time(project, door):
    # The first takes all of it; the second passes, when the time of one is long over.
    command = f"{COUNT}test $n -ge 2 || exec sleep 600"
    project.pipeline({"command": command, "retries": 2, "timeoutSeconds": 3, "env": {"N": "count"}})
    run = door()
    assert run.exit_code == 0
    assert [event["status"] for event in of(run, "exec:end")] == ["timeout", "succeeded"]
    assert [event["error"] for event in of(run, "exec:retry")] == ["Timed out after 3 s"]
    errors = error_files(run)
    assert list(errors) == ["01-s1.attempt-1.json"]
    error = errors["01-s1.attempt-1.json"]
    assert (error["reason"], error["details"]["timed_out"]) == ("command-timeout", True)
    assert run.entry("s1")["summary"] == "Command completed with code 0 (passed on attempt 2)"


def test_attempts_are_counted_over_resumes(project, door):
    project.pipeline(
        "echo once >> ran",
        flaky("bad", 6, retries=1, needs=["s1"]),
        {"id": "behind", "command": "true", "needs": ["bad"]},
    )
    stem = "02-bad"
    for life, said in enumerate(["err 2", "err 4"]):
        run = door(resume=life > 0)
        assert run.exit_code == 1
        assert run.entry("bad")["summary"] == f"Exited with code 1 — {said}"
        assert run.entry("behind")["status"] == "pending"
        highest = 2 * (life + 1)
        assert numbers(of(run, "exec:begin", 2)) == list(range(1, highest + 1))
        assert list(error_files(run)) == [
            *(f"{stem}.attempt-{number}.json" for number in range(1, highest)),
            f"{stem}.json",
        ]
    run = door(resume=True)
    assert run.exit_code == 0
    assert run.entry("bad")["summary"] == "try 6 (passed on attempt 6)"
    assert run.entry("bad")["error_file"] is None
    errors = error_files(run)
    assert list(errors) == [f"{stem}.attempt-{number}.json" for number in range(1, 6)]
    for number, error in enumerate(errors.values(), start=1):
        assert error["details"]["stderr"] == f"err {number}\n"
    # Each life of the run begins with the shortest pause.
    assert [event["delay_ms"] for event in of(run, "exec:retry", 2)] == [250] * 3
    assert (project.root / "ran").read_text() == "once\n"


def test_a_stage_that_passes_at_once_when_resumed_was_not_retried(project, door):
    project.pipeline(flaky("s1", 2))
    assert door().exit_code == 1
    run = door(resume=True)
    assert (run.exit_code, run.entry("s1")["summary"]) == (0, "try 2")
    assert numbers(of(run, "exec:begin")) == [1, 2]
    assert list(error_files(run)) == ["01-s1.attempt-1.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pause_is_cancelled_like_a_command(project, live, number):
    # The pauses double: without the signal this would take years.
    project.pipeline(flaky("s1", 99, retries=60), {"id": "after", "command": "true", "needs": ["s1"]})
    run = live.start("work")
    live.until(lambda: '"delay_ms":2000' in run.log(), "a long pause")
    run.signal(number)
    exit_code, out, _ = run.finish()
    assert exit_code == 128 + number
    valid(run.folder)
    name = signal.Signals(number).name
    manifest = run.manifest
    entry = manifest["commands"][0]
    assert (entry["status"], entry["summary"]) == ("failed", f"Cancelled by {name}")
    assert (manifest["status"], manifest["status_detail"]) == ("cancelled", f"cancelled:{name}")
    assert "Status: cancelled" in out
    error = json.loads((project.root / entry["error_file"]).read_text())
    assert (error["reason"], error["details"]["cancelled_by"]) == ("command-cancelled", name)
    events = [json.loads(line) for line in run.log().splitlines()]
    begun = [event for event in events if event["type"] == "exec:begin"]
    kept = [event for event in events if event["type"] == "attempt:failed"]
    assert numbers(kept) == list(range(1, len(kept) + 1))
    for event in kept:
        assert (project.root / event["error_file"]).is_file()

    # Going on, the numbers do, and no error of an attempt is lost or has another's number.
    (project.root / "s1.count").write_text("98\n")
    assert project.cli("resume", "--run", run.run_id).returncode == 0
    valid(run.folder)
    last = [json.loads(line) for line in run.log().splitlines()]
    attempts = [event for event in last if event["type"] == "exec:begin" and event["index"] == 1]
    assert numbers(attempts) == list(range(1, len(begun) + 2))
    names = [path.name for path in sorted((run.folder / "errors").iterdir())]
    assert names == [f"01-s1.attempt-{attempt}.json" for attempt in range(1, len(begun) + 1)]
    assert run.manifest["commands"][0]["summary"] == "try 99"


def test_who_dies_between_attempts_loses_none_of_them(project, live):
    project.pipeline(flaky("s1", 99, retries=60))
    run = live.start("work")
    live.until(lambda: '"delay_ms":1000' in run.log(), "a pause")
    run.signal(signal.SIGKILL)
    run.finish()
    begun = run.log().count('"exec:begin"')
    (project.root / "s1.count").write_text("98\n")
    assert project.cli("resume", "--run", run.run_id).returncode == 0
    valid(run.folder)
    events = [json.loads(line) for line in run.log().splitlines()]
    attempts = numbers([event for event in events if event["type"] == "exec:begin"])
    assert attempts == list(range(1, begun + 2))
    told = [event for event in events if event["type"] == "attempt:failed"]
    assert len(told) >= begun - 1 >= 2
    for event in told:
        assert (project.root / event["error_file"]).is_file()
    handles = {handle["correlation_id"]: handle for handle in run.manifest["handles"]}
    for event in told:
        assert handles[event["correlation_id"]]["status"] == "closed"
        assert handles[event["correlation_id"]]["frame_count"] == event["frames"]


# id: session, the session it is in (its own where that is None), persisted
SESSIONS = {
    "plain": (None, None, False),
    "early": ({"reuse": True}, None, False),
    "kept": ({"persist": True}, None, True),
    "again": ({"reuse": True}, "kept", False),
    "named": ({"id": "mine", "persist": True}, "mine", True),
    "other": ({"id": "other"}, "other", False),
    "takes": ({"reuse": True, "persist": True}, "mine", True),
    "label": ({"id": "other", "reuse": True}, "other", False),
    "new": ({"persist": True}, None, True),
    "newest": ({"reuse": True}, "new", False),
    "alone": ({}, None, False),
}


def test_sessions_label_what_belongs_together(project, door):
    project.pipeline(
        *(
            {"id": name, "command": "true", **({} if session is None else {"session": session})}
            for name, (session, _, _) in SESSIONS.items()
        ),
        {"id": "stop", "command": "test -e go"},
        {"id": "after", "command": "true", "session": {"reuse": True}},
    )
    run = door()
    assert run.exit_code == 1
    begun = {}
    for index, (name, (_, label, persisted)) in enumerate(SESSIONS.items(), start=1):
        (begin,) = of(run, "exec:begin", index)
        begun[name] = begin["session_id"]
        expected = begun.get(label, label) if label else begin["correlation_id"]
        assert (name, begin["session_id"], begin["persisted"]) == (name, expected, persisted)
    # What was persisted before the run was resumed can be taken up after it.
    (project.root / "go").touch()
    run = door(resume=True)
    assert run.exit_code == 0
    (begin,) = of(run, "exec:begin", len(SESSIONS) + 2)
    assert begin["session_id"] == begun["new"]
