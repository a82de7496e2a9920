"""Stages on a Dask cluster: the same evidence, whatever happens to them, and who runs them is told."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.at_once import command, run, waits
from tests.support.clusters import Cluster, kill, needs_dask
from tests.support.compared import comparable, evidence, same, without
from tests.support.invariants import broken
from tests.support.processes import is_alive, until
from tests.support.projects import named

pytestmark = needs_dask

# Beside times, ids and workers, that stages ran on a cluster is said where it is said.
OF_MODE = {
    "mode",
    "execution_mode",
    "requires_cloud",
    "requiresCloud",
    "executionMode",
    "digest",
    "plan_digest",
}
# Which of two streams comes first is a matter of time: each stage here has one that is large.
NOISY = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 2000)"
SECRET = "Xk29vQpL7rTz84Wm"
GRAPH = [
    command("fetch", "echo fetched; echo doubt >&2"),
    command("build", "for part in 1 2 3; do echo $LEVEL.$part; done", needs=["fetch"], env={"LEVEL": "2"}),
    command("place", 'echo "${PWD##*/}"', cwd="sub", summaryHint="where it ran"),
    command("docs", "echo écrit >&2", needs=["fetch"]),
    command("lint", "echo warned >&2; exit 3", allowFailure=True, retries=1),
    command("bad", "echo why >&2; exit 7", needs=["build"]),
    command("after-bad", "true", needs=["bad"]),
    command("after-that", "true", needs=["after-bad", "docs"]),
    {"kind": "subpipeline", "id": "nested", "pipeline": "inner", "needs": ["docs"]},
    command("spec-guard", "true", needs=["lint", "nested"]),
    {"kind": "subpipeline", "id": "early", "pipeline": "other", "needs": []},
    command("late", "exec sleep 60", needs=["fetch"], timeoutSeconds=0.2),
    command("missing", "no-such-program-anywhere"),
    command("nowhere", "true", cwd="no-such-folder"),
    command("noisy", f'python3 -c "{NOISY}"'),
    command("broken", "printf '\\377\\303\\n' >&2; exit 1", allowFailure=True),
    command("large", "seq 1 40000 >&2"),
    command("second", "test -e tried || { : > tried; exit 1; }; echo tried twice", retries=2),
    command("labelled", "true", needs=["build"], session={"id": "shared", "persist": True}),
    command("leaky", f"echo password={SECRET}"),
    command("leaky-too", f"printf tok; sleep 0.01; printf 'en: '; echo {SECRET[::-1]} | rev"),
    command("names", "env | cut -d= -f1 | grep -e ^CODEX_ORCHESTRATOR_ -e ^MCP_ | sort"),
]
INNER = [command("one", "echo in"), command("two", "exit 4", needs=["one"], allowFailure=True)]
OTHER = [command("killed", "kill -TERM $$", allowFailure=True), command("shot", "kill -KILL $$")]
HERE, THERE = "--jobs 4", "--jobs 4 --execution-mode cloud --cluster"


@pytest.fixture
def left(project, cluster):
    """Do something here or on the cluster, and answer what is left; the folder is as before."""
    (project.root / "sub").mkdir()

    def do(way: str, run_all: Callable[[str], None]) -> dict:
        run_all(f"{way} {cluster.address}" if way == THERE else way)
        assert broken(project.root) == []
        files = evidence(project.root)
        for path in project.root.iterdir():
            if path.name not in ("sub", ".git", "codex.orchestrator.json"):
                path.rename(project.root.parent / f"{path.name}.{way.count('cloud')}")
        return files

    return do


def alike(here: dict, there: dict) -> None:
    """Have two pieces of evidence differ in nothing but times, ids and workers."""
    same(
        *(
            {path: (mode, without(OF_MODE, found)) for path, (mode, found) in comparable(each).items()}
            for each in (here, there)
        )
    )


@pytest.mark.parametrize("guard", ["shadow", "enforce"])
def test_a_cluster_leaves_what_threads_leave(project, left, guard):
    project.pipelines(work=GRAPH, inner=INNER, other=OTHER)

    def run_all(way: str) -> None:
        done = run(project, way, CODEX_PRIVACY_GUARD_MODE=guard)
        assert done.returncode == 1, done.stdout

    here, there = (left(way, run_all) for way in (HERE, THERE))
    alike(here, there)
    manifest = there[".runs/task-1/cli/<work>/manifest.json"][1][0]
    assert {one["instance_id"] for one in manifest["scheduler"]["assignments"]} <= {"w1", "w2"}
    told = [event for event in there[".runs/task-1/cli/<work>/runner.ndjson"][1] if "assigned_at" in event]
    assert {(one["instance_id"], one["assigned_at"], one["timestamp"]) for one in told} == {
        (worker["instance_id"], attempt["assigned_at"], attempt["completed_at"])
        for worker in manifest["scheduler"]["assignments"]
        for attempt in worker["attempts"]
    }
    assert there[".runs/task-1/cli/<work>/run-summary.json"][1][0]["mode"] == "cloud"
    leaks = [path for path, found in there.items() if SECRET in json.dumps(found)]
    assert bool(leaks) == (guard == "shadow"), leaks


def test_decided_on_and_resumed_it_leaves_the_same(project, left):
    def run_all(way: str) -> None:
        words = [word for word in way.split() if word not in ("--execution-mode", "cloud")]
        mode = "cloud" if "cloud" in way else "mcp"
        project.pipeline(
            command("before", "echo before", executionMode=mode),
            {"kind": "manual", "id": "gate", "needs": ["before"]},
            command(
                "after",
                "test -e mended || { echo why >&2; exit 4; }; echo fine",
                needs=["gate"],
                executionMode=mode,
            ),
        )
        for code, *given in (
            (3, "start", "work", *words),
            (0, "approve", "--run", "latest", "--stage", "gate", "--actor", "ada"),
            (1, "resume", "--run", "latest", *words),
            (0, "resume", "--run", "latest", *words),
        ):
            done = project.cli(*given)
            assert done.returncode == code, (given, done.stdout, done.stderr)
            if code == 1:
                (project.root / "mended").touch()

    here, there = (left(way, run_all) for way in (HERE, THERE))
    alike(here, there)


def test_cancelled_it_leaves_the_same(project, left, session):
    project.pipeline(command("long", waits("long")), command("next", needs=["long"]))

    def run_all(way: str) -> None:
        begun = session(way)
        pid = begun.pid("long")
        project.cli("cancel", "--run", "latest")
        code, output = begun.finish()
        assert code == 143, output
        assert not is_alive(pid)

    alike(*(left(way, run_all) for way in (HERE, THERE)))


def cloud_pipeline(project, *stages, **cloud) -> None:
    """A pipeline of stages that run on the cluster unless they say otherwise."""
    given = [{"executionMode": "cloud", **stage} for stage in stages]
    pipeline = {"id": "work", "title": "Work", "stages": named(given)}
    project.write({"pipelines": [pipeline], "cloud": {"lossSeconds": 2, **cloud}})


def test_stages_of_both_kinds_run_in_one_graph_and_get_no_more_variables_than_they_are_given(
    project, cluster
):
    cloud_pipeline(
        project,
        command("there", 'echo "$OURS:$NAMED:$OWN" > there', env={"OWN": "own"}),
        command("here", 'echo "$OURS:$NAMED"; cat there', needs=["there"], executionMode="mcp"),
        environment=["NAMED"],
    )
    done = run(project, f"--jobs 2 --cluster {cluster.address}", OURS="ours", NAMED="named")
    assert done.returncode == 0, done.stdout
    assert (project.root / "there").read_text() == ":named:own\n"
    manifest = project.manifest()
    assert manifest["commands"][1]["summary"].startswith("ours:named")
    (worker,) = manifest["scheduler"]["assignments"]
    assert [attempt["status"] for attempt in worker["attempts"]] == ["completed"]
    assert worker["instance_id"] in cluster.workers
    said = project.cli("status", "--run=latest").stdout
    assert f"Workers:\n  {worker['instance_id']}: succeeded, 1 command so far\n" in said
    assert broken(project.root) == []


def test_the_line_of_a_stage_says_on_which_worker_it_runs(project, cluster, terminal):
    path = project.root / "gate"
    os.mkfifo(path)
    cloud_pipeline(project, command("there", "cat gate"), command("after", needs=["there"]))
    shown = terminal("start", "work", f"--cluster={cluster.address}")
    shown.until(lambda screen: re.search(r"^\[1/2\] there: running on w\d for ", screen.text, re.MULTILINE))
    line = r"^  \[running\] THERE \(there\) — Runs on w\d$"
    until(lambda: re.search(line, project.cli("status").stdout, re.MULTILINE), "the worker in `status`")
    path.write_text("through\n")
    assert shown.finish() == 0
    assert project.manifest()["commands"][0]["summary"] == "through"


def test_what_was_started_for_the_cluster_is_resumed_there_unless_another_mode_is_given(project, cluster):
    project.pipelines(
        work=[
            command("there", "test -e mended"),
            {"kind": "subpipeline", "id": "nested", "pipeline": "inner"},
        ],
        inner=[command("below", "test -e whole")],
    )
    started = project.cli("start", "work", "--execution-mode=cloud", f"--cluster={cluster.address}")
    assert started.returncode == 1, started.stderr
    (project.root / "mended").touch()
    refused = project.cli("resume", "--run=latest")
    assert (refused.returncode, "No cluster is named." in refused.stderr) == (2, True), refused.stderr
    resumed = project.cli("resume", "--run=latest", f"--cluster={cluster.address}")
    assert resumed.returncode == 1, resumed.stderr
    manifests = [json.loads((run / "manifest.json").read_text()) for run in project.runs()]
    given = {one["pipeline_id"]: _attempts(one) for one in manifests}
    assert given == {"work": 2, "inner": 1}
    (project.root / "whole").touch()
    here = project.cli("resume", f"--run={manifests[0]['run_id']}", "--execution-mode=mcp")
    assert here.returncode == 0, here.stderr
    manifests = [json.loads((run / "manifest.json").read_text()) for run in project.runs()]
    assert {one["pipeline_id"]: _attempts(one) for one in manifests} == given
    for run_folder in project.runs():
        assert json.loads((run_folder / "plan.json").read_text())["execution_mode"] == "mcp"
    assert broken(project.root) == []


def _attempts(manifest: dict) -> int:
    return sum(len(worker["attempts"]) for worker in manifest["scheduler"]["assignments"])


def test_pytest_runs_them_too(project, cluster):
    cloud_pipeline(project, command("there", "echo done"))
    done = project.pytest("--codex-pipeline", "work", f"--codex-cluster={cluster.address}")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout
    assert project.manifest()["scheduler"]["assignments"]


def test_the_variable_of_dask_names_the_cluster(project, cluster):
    cloud_pipeline(project, command("there", "echo done"))
    done = project.cli("start", "work", environment={"DASK_SCHEDULER_ADDRESS": cluster.address})
    assert done.returncode == 0, done.stderr


REFUSED = {
    "none": ([], "No cluster is named.", 2),
    "no address": (["--cluster=moon"], '"moon" is no address of a Dask scheduler.', 2),
    "no number": (["--cluster=local:0"], '"local:0" is no cluster of this machine.', 2),
    "nobody there": (["--cluster=tcp://127.0.0.1:9"], "No Dask scheduler answers at tcp://127.0.0.1:9", 1),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_cluster_is_refused_before_anything_is_written(project, case):
    words, message, code = REFUSED[case]
    cloud_pipeline(project, command("there"), connectSeconds=1)
    done = project.cli("start", "work", *words)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.root / ".runs").exists()


def test_a_cluster_and_workers_of_xdist_are_refused_together(project):
    cloud_pipeline(project, command("there"))
    done = project.pytest("-n", "2", "--codex-pipeline=work", "--codex-cluster=local")
    assert done.returncode == 4, done.stdout
    assert "Stages on a cluster do not go together with pytest-xdist's workers." in done.stderr
    assert "Leave out -n and --tx: --codex-jobs runs other stages at once" in done.stderr
    assert not (project.root / ".runs").exists()


def test_what_no_worker_has_is_said_and_ends_the_session(project, cluster):
    cloud_pipeline(project, command("there", resources={"moon": 1}), connectSeconds=0.3)
    done = project.cli("start", "work", f"--cluster={cluster.address}")
    assert done.returncode == 1
    assert "No worker of the cluster has moon: 1: waiting for that, 0.3 s at most." in done.stderr
    assert "error: No worker of the cluster has moon: 1: waited 0.3 s" in done.stderr
    assert not (project.root / ".runs").exists()


def test_a_cancelled_session_leaves_nothing_on_workers(project, cluster, session):
    cloud_pipeline(project, command("long", "trap '' INT; " + waits("long")), command("next", needs=["long"]))
    begun = session(f"--jobs 2 --cluster {cluster.address}")
    pid = begun.pid("long")
    begun.process.send_signal(signal.SIGTERM)
    code, output = begun.finish()
    assert code == 143, output
    assert not is_alive(pid)
    manifest = project.manifest()
    assert [entry["status"] for entry in manifest["commands"]] == ["failed", "pending"]
    assert manifest["commands"][0]["summary"].startswith("Cancelled by SIGTERM"), manifest["commands"][0][
        "summary"
    ]
    assert broken(project.root) == []
    until(lambda: not cluster.runners(), "the end of what runs commands")


def test_what_a_stage_leaves_running_serves_later_stages_and_is_ended(project, cluster):
    cloud_pipeline(
        project,
        command(
            "server", "(trap 'exit' TERM; echo $$ > pid; while :; do echo up; sleep 0.05; done) & sleep 0.2"
        ),
        command("client", "kill -0 $(cat pid); sleep 0.3", needs=["server"]),
    )
    done = run(project, f"--jobs 1 --cluster {cluster.address}")
    assert done.returncode == 0, done.stdout
    assert "Ended what stages left running on w" in project.manifest()["summary"]
    log = (project.root / project.manifest()["commands"][0]["log_path"]).read_text()
    assert log.count("exec:chunk") > 4
    assert broken(project.root) == []


@pytest.fixture
def frail(tmp_path_factory):
    """A cluster that may be harmed."""
    made = Cluster(tmp_path_factory.mktemp("frail"), threads=1)
    yield made
    made.close()


LEDGER = "echo $CODEX_ORCHESTRATOR_OWNER_PID >> ledger; echo $$ > pid; "


def test_a_worker_that_dies_is_a_lost_attempt_and_runs_nothing_any_more(project, frail, session):
    once = LEDGER + "exec sleep 60"
    again = once.replace("ledger", "second").replace("> pid", "> again.pid")
    cloud_pipeline(
        project,
        command("once", once.replace("> pid", "> once.pid")),
        command("again", f"test -e second || {{ {again}; }}; echo fine", needs=[], retries=1),
    )
    begun = session(f"--jobs 1 --cluster {frail.address}", "--keep-going")
    pids = [begun.pid(name) for name in ("once", "again")]
    for worker in list(frail.workers.values()):
        kill(worker)
    frail.add("w3")
    code, output = begun.finish()
    assert code == 1, output
    assert [is_alive(pid) for pid in pids] == [False, False]
    first, second = project.manifest()["commands"]
    assert (first["status"], first["exit_code"], second["status"]) == ("failed", None, "succeeded"), output
    assert re.search(r"Worker w\d died", first["summary"])
    assert (project.root / "ledger").read_text().count("\n") == 1
    assert broken(project.root) == []


def test_the_death_of_the_orchestrator_ends_what_it_runs_on_workers(project, frail, session):
    # Not by its mark, as that would be found by what looks after this machine alone.
    cloud_pipeline(project, command("long", "unset $(env | grep ^CODEX_ | cut -d= -f1); " + waits("long")))
    begun = session(f"--jobs 1 --cluster {frail.address}")
    pid = begun.pid("long")
    begun.process.kill()
    begun.process.wait()
    until(lambda: not is_alive(pid), "the end of the command")
    until(lambda: not frail.runners(), "the end of what runs commands")
    cloud_pipeline(project, command("long", "echo anew"))
    done = project.cli("resume", f"--cluster={frail.address}", "--accept-changes", "--run=latest")
    assert done.returncode == 0, done.stderr
    assert broken(project.root) == []


# Each needs what the one before has made.
CHAIN = [
    command(
        "build",
        "mkdir -p dist && tr a-z A-Z < src/in > dist/out && ln -s out dist/link",
        outputs=["dist"],
    ),
    command("test", "grep -q HELLO dist/link && rm dist/link", needs=["build"], outputs=["dist"]),
    command("here", "echo made here > dist/local", needs=["test"], outputs=["dist"], executionMode="mcp"),
    command(
        "package",
        "cat dist/* > dist/all && chmod +x dist/all && rm dist/local && "
        'echo "$CODEX_ORCHESTRATOR_ROOT" > dist/root',
        needs=["here"],
        outputs=["dist"],
    ),
]


def test_the_work_tree_travels_and_what_stages_make_comes_back(project, cluster):
    project.root.joinpath("src").mkdir()
    project.root.joinpath("src/in").write_text("hello\n")
    cloud_pipeline(project, *CHAIN, workspace="snapshot")
    for _ in range(2):
        done = run(project, f"--jobs 2 --cluster {cluster.address}")
        assert done.returncode == 0, done.stdout
        dist = project.root / "dist"
        assert sorted(path.name for path in dist.iterdir()) == ["all", "out", "root"]
        assert (dist / "all").read_text() == "made here\nHELLO\n"
        assert (dist / "all").stat().st_mode & 0o111
        there = (dist / "root").read_text().strip()
        assert there != str(project.root)
        assert not list(Path(there).parent.glob("tree/*"))
        (dist / "all").unlink()
        (dist / "root").unlink()
    assert broken(project.root) == []


# Bytes, modes, links and names as builds make them; each stage needs what the one before has made.
PACKAGING = [
    command(
        "build",
        "mkdir -p dist/bin 'dist/with space'"
        " && head -c 300000 src/data | tr '\\000-\\177' '\\200-\\377' > dist/data"
        " && printf '#!/bin/sh\\necho built\\n' > dist/bin/tool && chmod 755 dist/bin/tool"
        " && ln -s ../data 'dist/with space/link' && : > dist/empty",
    ),
    command(
        "test",
        "test \"$(dist/bin/tool)\" = built && cksum < 'dist/with space/link' > dist/report && rm dist/empty",
        needs=["build"],
    ),
    command(
        "package",
        "cat dist/report dist/data dist/bin/tool > dist/package && cksum < dist/package",
        needs=["test"],
    ),
]


def test_a_build_over_three_workers_makes_what_it_makes_here(project, tmp_path_factory):
    (project.root / "src").mkdir()
    (project.root / "src/data").write_bytes(random.Random(1).randbytes(400_000))
    stages = [{**stage, "outputs": ["dist"], "resources": {stage["id"]: 1}} for stage in PACKAGING]
    made = Cluster(tmp_path_factory.mktemp("three"), 0)
    try:
        for stage in stages:
            made.add(f"of-{stage['id']}", "--resources", f"{stage['id']}=1")
        cloud_pipeline(project, *stages, workspace="snapshot", connectSeconds=60)
        done = run(project, f"--jobs 1 --cluster {made.address}")
        assert done.returncode == 0, done.stdout
    finally:
        made.close()
    workers = [one["instance_id"] for one in project.manifest()["scheduler"]["assignments"]]
    assert workers == ["of-build", "of-package", "of-test"]
    there = contents(project.root / "dist")
    shutil.rmtree(project.root / "dist")
    cloud_pipeline(project, *({**stage, "executionMode": "mcp"} for stage in stages))
    done = run(project, "--jobs 1")
    assert done.returncode == 0, done.stdout
    assert there == contents(project.root / "dist")
    assert {"bin/tool", "with space/link", "package"} <= there.keys()


def contents(folder: Path) -> dict[str, object]:
    """All below a folder: files with their modes, links with where they lead to."""
    return {
        str(path.relative_to(folder)): path.readlink()
        if path.is_symlink()
        else path.is_file() and (path.stat().st_mode & 0o111, path.read_bytes())
        for path in folder.rglob("*")
    }


def test_what_cannot_travel_is_said_before_anything_runs(project, cluster):
    (project.root / "link").symlink_to("/etc")
    cloud_pipeline(project, command("there"), workspace="snapshot")
    done = project.cli("start", "work", f"--cluster={cluster.address}")
    assert done.returncode == 1
    assert "error: link is a link that cannot travel" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_may_not_come_back_fails_its_stage(project, cluster):
    cloud_pipeline(project, command("there", "ln -s /etc made", outputs=["made"]), workspace="snapshot")
    done = project.cli("start", "work", f"--cluster={cluster.address}")
    assert done.returncode == 1, done.stderr
    (entry,) = project.manifest()["commands"]
    assert (entry["status"], entry["exit_code"]) == ("failed", 126)
    assert not (project.root / "made").is_symlink()
    assert broken(project.root) == []


def test_a_run_that_is_taken_up_again_ends_at_once_what_was_left_on_workers(project, cluster, session):
    stage = command("long", "unset $(env | grep ^CODEX_ | cut -d= -f1); " + waits("long"))
    cloud_pipeline(project, stage, lossSeconds=600)
    begun = session(f"--jobs 1 --cluster {cluster.address}")
    pid = begun.pid("long")
    begun.process.kill()
    begun.process.wait()
    cloud_pipeline(project, command("long", f"kill -0 {pid} || echo gone"))
    done = project.cli("resume", "--run=latest", "--accept-changes", f"--cluster={cluster.address}")
    assert done.returncode == 0, done.stderr
    assert project.manifest()["commands"][0]["summary"] == "gone"


def test_what_a_silent_worker_was_given_is_given_to_others(project, frail, session):
    gate = command("first", waits("first"))
    later = [command(f"later-{n}", "echo fine", needs=["first"]) for n in range(4)]
    cloud_pipeline(project, gate, *later, lossSeconds=4)
    begun = session(f"--jobs 1 --cluster {frail.address}")
    begun.pid("first")
    (busy,) = {one["instance_id"] for one in project.manifest()["scheduler"]["assignments"]}
    (idle,) = {"w1", "w2"} - {busy}
    frail.workers[idle].send_signal(signal.SIGSTOP)
    begun.open_gate("first")
    code, output = begun.finish()
    assert code == 0, output
    assert {one["instance_id"] for one in project.manifest()["scheduler"]["assignments"]} == {busy}
