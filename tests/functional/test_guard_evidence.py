"""The evidence guard on runs that were really made, and on what people put in their place."""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial

import pytest

from tests.support.projects import Project

FINE = ".runs/t/cli/fine/manifest.json"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs: one that is fine, one that failed, one that left a stage out."""
    root = tmp_path_factory.mktemp("runs")
    project = Project(root)
    project.environment["MCP_RUNNER_TASK_ID"] = "t"
    project.pipelines(work=["true", "true"], broken=["false"])
    for name, words in {"fine": ["work"], "failed": ["broken"], "partial": ["work", "--only", "s1"]}.items():
        run = project.start(*words)
        run.folder.rename(run.folder.with_name(name))
    return root / ".runs"


@pytest.fixture
def lists(plain, runs):
    """Write task lists beside those runs."""
    shutil.copytree(runs, plain.root / ".runs")

    def write(text, path="tasks/tasks-t.md"):
        plain.write(path, text)

    return write


@pytest.fixture
def found(findings_of):
    """Check, and give place and rule of each finding."""
    return partial(findings_of, "evidence")


@pytest.mark.parametrize(
    ("cited", "rule"),
    [
        (f"`{FINE}`", None),
        (f"`./{FINE}`", None),
        (f"`/{FINE}`", None),
        (f"[the run](../{FINE})", None),
        (f"{FINE}#approvals[0]", None),
        (".runs/t/mcp/fine/manifest.json", "evidence-not-found"),
        (f"first .runs/t/cli/failed/manifest.json, then {FINE}", None),
        ("nothing", "evidence-missing"),
        (".runs/<task>/cli/<run>/manifest.json", "evidence-missing"),
        (".runs/t/cli/gone/manifest.json", "evidence-not-found"),
        (".runs/t/cli/failed/manifest.json", "evidence-not-succeeded"),
        (".runs/t/cli/partial/manifest.json", "evidence-partial"),
        ("../../etc/manifest.json", "evidence-not-found"),
    ],
)
def test_what_a_checked_box_must_cite(lists, found, cited, rule):
    lists(f"# Tasks\n\n- [ ] open\n- [x] done: {cited}\n")
    assert found() == ([] if rule is None else [f"tasks/tasks-t.md:4 {rule}"])


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("tasks/tasks-1-thing.md", True),
        ("tasks/1-thing.md", True),
        ("docs/TASKS.md", True),
        (".agent/task/1-thing.md", True),
        ("tasks/specs/1-thing.md", False),
        ("docs/other.md", False),
        ("README.md", False),
    ],
)
def test_which_pages_are_task_lists(lists, found, path, counts):
    lists("- [x] done\n", path)
    assert found() == ([f"{path}:1 evidence-missing"] if counts else [])


def change(plain, name="fine", **keys):
    path = plain.root / ".runs/t/cli" / name / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_manifests_that_are_not_what_a_run_leaves(plain, lists, found):
    lists(f"- [x] done {FINE}\n")
    assert found() == []
    change(plain, runtime_mode="cli")
    assert found() == [], "the Node CLI's own words about its runtime"
    change(plain, made_up=1)
    assert found() == ["tasks/tasks-t.md:1 evidence-invalid"]
    for content in (b"{", b"[]", b"\xff", b"[" * 100_000, b""):
        (plain.root / FINE).write_bytes(content)
        assert found() == ["tasks/tasks-t.md:1 evidence-invalid"]


def test_a_summary_that_does_not_approve_its_run(plain, lists, found):
    lists(f"- [x] done {FINE}\n")
    path = (plain.root / FINE).with_name("run-summary.json")
    document = json.loads(path.read_text())
    document["review"]["decision"]["approved"] = False
    path.write_text(json.dumps(document))
    assert found() == ["tasks/tasks-t.md:1 evidence-not-approved"]
    path.unlink()
    assert found() == [], "the manifest speaks for itself"
    path.write_text("{")
    assert found() == ["tasks/tasks-t.md:1 evidence-invalid"]


def test_a_partial_run_is_told_by_its_summary_too(plain, lists, found):
    lists("- [x] done .runs/t/cli/partial/manifest.json\n")
    change(plain, "partial", summary="Guardrails: spec-guard command not found.")
    assert found() == ["tasks/tasks-t.md:1 evidence-partial"]


def test_pointers_of_the_mcp_days_are_followed_once(plain, lists, found):
    lists("- [x] done .runs/t/mcp/x/manifest.json\n")
    pointer = {"redirect_to": ".runs/t/cli/fine", "manifest": FINE, "created_at": "x", "note": "x"}
    plain.write(".runs/t/mcp/x/manifest.json", json.dumps(pointer))
    assert found() == []
    plain.write(FINE, json.dumps(pointer | {"manifest": FINE}))
    assert found() == ["tasks/tasks-t.md:1 evidence-invalid"]


def test_evidence_does_not_lie_outside_of_the_repository(plain, lists, found, guard):
    outside = plain.root.parent / "elsewhere"
    shutil.move(plain.root / ".runs", outside)
    lists("- [x] done .runs/t/cli/fine/manifest.json\n- [x] two ../elsewhere/t/cli/fine/manifest.json\n")
    plain.write("codex.orchestrator.json", "{}")
    (plain.root / ".runs/t").mkdir(parents=True)
    (plain.root / ".runs/t/cli").symlink_to(outside / "t/cli")
    assert found() == ["tasks/tasks-t.md:1 evidence-outside", "tasks/tasks-t.md:2 evidence-outside"]


def test_a_configured_runs_folder_may_lie_elsewhere(plain, lists, found, monkeypatch):
    shutil.move(plain.root / ".runs", plain.root.parent / "elsewhere")
    monkeypatch.setenv("CODEX_ORCHESTRATOR_RUNS_DIR", "../elsewhere")
    lists("- [x] done ../elsewhere/t/cli/fine/manifest.json\n")
    assert found() == []


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.name)])
def test_what_is_no_file_is_no_evidence_and_no_page(plain, lists, found, make):
    lists(f"- [x] done {FINE}\n")
    (plain.root / FINE).unlink()
    make(plain.root / FINE)
    (place,) = found()
    assert place.split()[1] in ("evidence-not-found", "evidence-invalid")
    shutil.rmtree(plain.root / "tasks")
    (plain.root / "tasks").mkdir()
    make(plain.root / "tasks/1.md")
    assert found() == ([] if make is os.mkdir else ["tasks/1.md:0 evidence-unreadable"])


def test_odd_pages(plain, lists, guard):
    (plain.root.parent / "secret.md").write_text("- [x] done\n")
    lists("- [ ] open\n")
    (plain.root / "tasks/out.md").symlink_to("../../secret.md")
    plain.write("docs/TASKS.md").write_bytes(b"\xef\xbb\xbf- [x] \xff\0 done\r\n")
    with plain.write(".agent/task/huge.md", "- [x] huge\n").open("ab") as stream:
        stream.truncate(2 * 1024**3)  # sparse: it takes no room
    code, out, _ = guard("evidence", "--format", "json")
    document = json.loads(out)
    assert (code, document["checked_pages"], document["checked_boxes"]) == (1, 3, 2)
    assert [one["path"] for one in document["findings"]] == [".agent/task/huge.md", "docs/TASKS.md"]
    assert document["notices"] == [
        ".agent/task/huge.md is very long: only its first 1048576 bytes were read.",
        "tasks/out.md leads out of the repository and was not read.",
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no names that are not UTF-8")
def test_names_that_are_not_utf_8(plain, lists, guard):
    lists("- [x] done\n", os.fsdecode(b"tasks/\xff.md"))
    code, out, _ = guard("evidence", "--format", "json")
    assert (code, json.loads(out)["findings"][0]["path"]) == (1, "tasks/\\udcff.md")


def test_no_task_lists_at_all_are_no_finding(plain, guard):
    assert guard("evidence") == (
        0,
        (
            "evidence-guard: not checked: no task list has a checked box.\n"
            "evidence-guard: no findings; 0 checked boxes on 0 pages; 0 manifests cited.\n"
        ),
        "",
    )


def test_text_and_dry_run(lists, guard):
    lists(f"- [x] one {FINE}\n- [x] {'very ' * 20}long\n")
    code, out, err = guard("evidence")
    shown = ("very " * 20)[:60]
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f'tasks/tasks-t.md:2: "{shown}…" is checked, and cites no manifest. [evidence-missing]',
        "  Cite the manifest of a run that shows it (.runs/<task>/cli/<run>/manifest.json), or uncheck it.",
        "evidence-guard: 1 finding; 2 checked boxes on 1 page; 1 manifest cited.",
    ]
    code, out, _ = guard("evidence", "--dry-run")
    assert code == 0
    assert "1 finding (dry run: the exit code is 0 all the same);" in out


def test_json_is_one_document(lists, guard):
    lists(f"- [x] one {FINE}\n")
    code, out, err = guard("evidence", "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "guard": "evidence",
        "status": "ok",
        "unchecked": None,
        "checked_pages": 1,
        "checked_boxes": 1,
        "manifests": [FINE],
        "findings": [],
        "notices": [],
    }
