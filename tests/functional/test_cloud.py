"""Stages on a Dask cluster: the same evidence, whatever happens to them, and who runs them is told."""

from __future__ import annotations

import json

import pytest

from tests.support.at_once import command, run
from tests.support.clusters import needs_dask
from tests.support.compared import comparable, evidence, same, without
from tests.support.invariants import broken

pytestmark = needs_dask

# Beside times, ids and workers, that stages ran on a cluster is said where it is said.
OF_MODE = {"mode", "requires_cloud", "requiresCloud"}
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
    """Run the project's pipeline here or on the cluster, and answer what is left; the folder is as before."""
    (project.root / "sub").mkdir()

    def begin(way: str, code: int, **variables: str) -> dict:
        for name in ("tried",):
            (project.root / name).unlink(missing_ok=True)
        done = run(project, f"{way} {cluster.address}" if way == THERE else way, **variables)
        assert done.returncode == code, done.stdout
        assert broken(project.root) == []
        files = evidence(project.root)
        for name in (".runs", "out"):
            (project.root / name).rename(project.root.parent / f"{name}.{way.count('cloud')}")
        return files

    return begin


@pytest.mark.parametrize("guard", ["shadow", "enforce"])
def test_a_cluster_leaves_what_threads_leave(project, left, guard):
    project.pipelines(work=GRAPH, inner=INNER, other=OTHER)
    here, there = (left(way, 1, CODEX_PRIVACY_GUARD_MODE=guard) for way in (HERE, THERE))
    manifest = there[".runs/task-1/cli/<work>/manifest.json"][1][0]
    assert {one["instance_id"] for one in manifest["scheduler"]["assignments"]} <= {"w1", "w2"}
    same(
        *(
            {path: (mode, without(OF_MODE, found)) for path, (mode, found) in comparable(each).items()}
            for each in (here, there)
        )
    )
    summary = there[".runs/task-1/cli/<work>/run-summary.json"][1][0]
    assert summary["mode"] == "cloud"
    leaks = [path for path, found in there.items() if SECRET in json.dumps(found)]
    assert bool(leaks) == (guard == "shadow"), leaks
