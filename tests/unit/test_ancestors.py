"""Which runs are above one that is about to begin, and what may not begin below them."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.environment import discover
from codex_orchestrator.errors import UsageError
from codex_orchestrator.evidence.lineage import ancestors, refuse_recursion


@pytest.fixture
def runs(tmp_path):
    """Make runs of a task by pipeline, status and parent; the answer is the environment within the last."""

    def make(**made):
        for run_id, (pipeline, status, parent) in made.items():
            folder = tmp_path / ".runs/t/cli" / run_id
            folder.mkdir(parents=True)
            document = {"run_id": run_id, "pipeline_id": pipeline, "status": status, "parent_run_id": parent}
            (folder / "manifest.json").write_text(json.dumps(document))
        return discover(
            tmp_path,
            {
                "CODEX_ORCHESTRATOR_RUN_ID": run_id,
                "CODEX_ORCHESTRATOR_RUN_DIR": str(folder),
                "CODEX_ORCHESTRATOR_ROOT": str(tmp_path),
            },
        )

    return make


ALIVE = "in_progress"


@pytest.mark.parametrize(
    ("made", "above"),
    [
        ({"r1": ("p", ALIVE, None)}, ["p"]),
        ({"r1": ("p", ALIVE, None), "r2": ("q", ALIVE, "r1"), "r3": ("s", ALIVE, "r2")}, ["s", "q", "p"]),
        ({"r1": ("p", "succeeded", None), "r2": ("q", ALIVE, "r1")}, ["q"]),
        ({"r2": ("q", ALIVE, "gone")}, ["q"]),
        ({"r2": ("q", ALIVE, "../../x")}, ["q"]),
        ({"r2": ("q", ALIVE, ["r1"])}, ["q"]),
        ({"r2": ("q", None, "r1")}, []),
        ({"r1": ("p", ALIVE, "r1")}, ["p"]),
        ({"r1": ("p", ALIVE, "r2"), "r2": ("q", ALIVE, "r1")}, ["q", "p"]),
    ],
    ids=["one", "three", "ended", "missing", "no id", "no text", "no run", "its own parent", "a circle"],
)
def test_runs_above_are_followed_as_far_as_they_are_found(runs, made, above):
    assert [run.pipeline_id for run in ancestors(runs(**made), list(made)[-1])] == above


def test_a_pipeline_above_is_refused_with_its_lineage_and_another_is_not(runs):
    environment = runs(r1=("p", ALIVE, None), r2=("q", ALIVE, "r1"))
    refuse_recursion(environment, "s", starting=["s"], parents=["r2"])
    with pytest.raises(UsageError) as refused:
        refuse_recursion(environment, "s", starting=["s", "p"], parents=["r2"])
    assert refused.value.message == 'Pipeline "p" would start itself: p (r1) > q (r2) > s.'


def test_a_pipeline_of_the_same_name_in_another_root_is_another_one(runs, tmp_path):
    inherited = runs(r1=("p", ALIVE, None)).variables
    inner = tmp_path / "packages" / "foo"
    inner.mkdir(parents=True)
    (inner / "codex.orchestrator.json").write_text("{}")
    refuse_recursion(discover(inner, inherited), "p", starting=["p"], parents=["r1"])
