"""``task new`` and ``task sync`` as a user calls them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.spec import SpecGuardRequest, check_specs
from codex_orchestrator.evidence.locks import held_lock
from codex_orchestrator.tasks.mirrors import write_changes
from codex_orchestrator.tasks.texts import Texts

NAME = "0042-payments"
CHECKLIST = f"tasks/tasks-{NAME}.md"
COPIES = (f"tasks/{NAME}.md", f".agent/task/{NAME}.md", "docs/TASKS.md", "docs/ACTION_PLAN.md")
DOCUMENTS = (
    "docs/PRD-payments.md",
    "docs/TECH_SPEC-payments.md",
    "docs/ACTION_PLAN-payments.md",
    f"tasks/specs/{NAME}.md",
)
ALL = {CHECKLIST, *COPIES, *DOCUMENTS, "tasks/index.json"}


def files(root: Path) -> dict[str, bytes]:
    """Every file of the repository, but for runs and git."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not {".git", ".runs", "out"} & set(path.relative_to(root).parts)
    }


def part(root: Path, path: str, name: str = NAME) -> str:
    """What a file holds between the marks of a task."""
    text = (root / path).read_bytes().decode().replace("\r\n", "\n")
    (found,) = re.findall(
        rf"^<!-- begin task {name}.*?-->\n(.*?)^<!-- end task {name} -->$", text, re.MULTILINE | re.DOTALL
    )
    return found


def edit(root: Path, path: str, old: str, new: str) -> None:
    content = (root / path).read_bytes()
    assert old.encode() in content
    (root / path).write_bytes(content.replace(old.encode(), new.encode()))


def index_of(root: Path) -> list[dict]:
    return json.loads((root / "tasks/index.json").read_text(encoding="utf-8"))["items"]


@pytest.fixture
def task(said, project):
    """The repository, with one task begun."""
    assert said("task", "new", NAME, "--title", "Take payments")[0] == 0
    return project.root


# ------------------------------------------------------------------ new


def test_a_new_task_has_all_of_its_files(said, project):
    code, out, err = said("task", "new", NAME, "--title", 'Take "payments": übrigens', "--format", "json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["task_id"], answer["slug"], answer["title"]) == (
        NAME,
        "payments",
        'Take "payments": übrigens',
    )
    assert set(answer["created"]) == ALL == set(files(project.root))
    assert (answer["updated"], answer["troubles"]) == ([], [])
    (item,) = index_of(project.root)
    assert item == {"id": NAME, "slug": "payments", "title": 'Take "payments": übrigens'}
    assert said("task", "sync", "--check")[0] == 0


def test_the_spec_guard_is_content_with_the_mini_spec(said, project):
    before = datetime.now(UTC).date()
    assert said("task", "new", NAME, "--title", 'A "b": c # d')[0] == 0
    spec = (project.root / f"tasks/specs/{NAME}.md").read_text(encoding="utf-8")
    reviewed = re.search(r"^last_review: (\S+)$", spec, re.MULTILINE)[1]
    assert reviewed in (str(before), str(datetime.now(UTC).date()))
    assert 'title: "A \\"b\\": c # d"\n' in spec
    change = ChangeRequest(root=project.root, environ=dict(os.environ))
    report = check_specs(SpecGuardRequest(change, datetime.now(UTC).date()))
    assert (report.checked_specs, report.findings) == (1, ())


def test_every_path_that_a_new_task_names_is_there(task):
    named = set()
    for content in files(task).values():
        named |= {path for path in re.findall(r"`([^`\n]+/[^`\n]+)`", content.decode()) if " " not in path}
    assert {CHECKLIST, DOCUMENTS[0]} <= named <= ALL


def test_a_title_is_made_from_the_slug(said, project):
    assert said("task", "new", "7-card-payments")[0] == 0
    assert index_of(project.root)[0]["title"] == "Card payments"


def test_a_second_task_goes_beside_the_first(task, said):
    first = {path: part(task, path) for path in (CHECKLIST, *COPIES)}
    code, out, _ = said("task", "new", "0043-refunds", "--format", "json")
    assert code == 0
    assert json.loads(out)["updated"] == ["tasks/index.json", "docs/TASKS.md", "docs/ACTION_PLAN.md"]
    assert [item["id"] for item in index_of(task)] == [NAME, "0043-refunds"]
    assert {path: part(task, path) for path in first} == first
    assert part(task, "docs/TASKS.md", "0043-refunds") == part(task, "tasks/0043-refunds.md", "0043-refunds")


@pytest.mark.parametrize(
    ("words", "said_so"),
    [
        (["new"], "NAME is missing"),
        (["new", "0042"], "it is not <id>-<slug>"),
        (["new", "../x-y"], "it starts with '.'"),
        (["new", "a/b-c"], "it contains '/'"),
        (["new", "0042-pay ments"], "it is not <id>-<slug>"),
        (["new", "0042-pay--ments"], "it is not <id>-<slug>"),
        (["new", "0042-päyments"], "it is not <id>-<slug>"),
        (["new", "0042-$(touch x)"], "it is not <id>-<slug>"),
        (["new", "0042-pay\nments"], "control character"),
        (["new", "0042-" + "p" * 130], "longer than 128 bytes"),
        (["new", "latest"], "'latest' is reserved"),
        (["new", "0042-x", "--title", " "], "--title"),
        (["new", "0042-x", "--title", "a\nb"], "--title"),
        (["new", "0042-x", "--check"], "--check is for task sync"),
        (["sync", "0042-x"], "task sync takes neither"),
        (["sync", "--title", "x"], "task sync takes neither"),
        (["list"], "invalid choice"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_writes_nothing(said, project, words, said_so):
    code, out, err = said("task", *words)
    assert (code, out) == (2, "")
    assert said_so in err
    assert files(project.root) == {}


@pytest.mark.parametrize(
    ("there", "words", "said_so"),
    [
        ({}, [NAME], f'"{NAME}" is taken'),
        ({}, ["0042-other"], f'"0042" is taken by "{NAME}"'),
        ({"docs/PRD-b.md": "mine"}, ["1-b"], "docs/PRD-b.md is there already"),
        ({".agent/task/1-b.md": ""}, ["1-b"], ".agent/task/1-b.md is there already"),
        ({"docs/TASKS.md": "<!-- begin task x -->\n"}, ["1-b"], "docs/TASKS.md: Line 1: the beginning"),
        ({"tasks/index.json": "{"}, ["1-b"], "tasks/index.json:1: not valid JSON"),
        ({"codex.orchestrator.json": '{"tasks": {"9*": "."}}'}, ["1-b"], 'Unknown task "1-b"'),
    ],
)
def test_nothing_that_is_there_is_overwritten(task, said, there, words, said_so):
    for path, text in there.items():
        (task / path).parent.mkdir(parents=True, exist_ok=True)
        (task / path).write_text(text)
    before = files(task)
    code, _, err = said("task", "new", *words)
    assert code == 2
    assert said_so in err
    assert files(task) == before


def test_a_task_of_the_registry_can_be_begun_by_its_bare_id(said, project):
    project.write({"tasks": {"1": "."}})
    assert said("task", "new", "1-b")[0] == 0


# ------------------------------------------------------------------ sync and evidence


def test_a_run_fills_in_links_and_gate(task, project, said):
    project.pipeline("true")
    run = project.start("work", "--task", NAME)
    manifest = run.answer["manifest"]
    before = files(task)
    code, out, _ = said("task", "sync", "--check", "--format", "json")
    answer = json.loads(out)
    assert (code, answer["status"]) == (1, "out-of-step")
    assert {change["path"] for change in answer["changes"]} == {CHECKLIST, *COPIES, "tasks/index.json"}
    assert files(task) == before, "--check writes nothing"
    code, out, _ = said("task", "sync", "--format", "json")
    assert (code, json.loads(out)["status"]) == (0, "updated")
    (whole, *_) = json.loads(project.cli("cite", "--task", NAME, "--format", "json").stdout)["claims"]
    token = whole["token"]
    cited = {"task_id": NAME, "run_id": run.answer["run_id"], "status": "succeeded", "manifest": manifest}
    cited |= {"token": token}
    assert json.loads(out)["tasks"] == [cited]
    for path in (CHECKLIST, *COPIES):
        assert f"- Run Manifest Link: `{manifest}` _(status: `succeeded`)_\n" in part(task, path)
        assert f"- Evidence Token: `{token}`\n" in part(task, path)
        snapshots = f"`.runs/{NAME}/metrics.json`, `out/{NAME}/state.json`"
        assert f"- Metrics / State Snapshots: {snapshots}\n" in part(task, path)
    gate = {"status": "succeeded", "run_id": run.answer["run_id"], "log": manifest, "token": token}
    assert index_of(task)[0]["gate"] == gate
    after = files(task)
    assert said("task", "sync", "--check")[:2] == (0, "1 task: in step.\n")
    assert said("task", "sync")[:2] == (0, "1 task: in step.\n")
    assert files(task) == after
    assert json.loads(said("task", "sync", "--format", "json")[1])["status"] == "in-step"


def test_a_failed_run_is_evidence_too_and_a_partial_one_is_not(task, project, said):
    project.pipeline("true", "false")
    failed = project.start("work", "--task", "0042")
    partial = project.start("work", "--task", NAME, "--only", "s1")
    assert (failed.exit_code, partial.exit_code) == (1, 0)
    assert said("task", "sync")[0] == 0
    gate = index_of(task)[0]["gate"]
    assert (gate["status"], gate["run_id"]) == ("failed", failed.answer["run_id"])
    assert f"`.runs/0042/cli/{gate['run_id']}/manifest.json` _(status: `failed`)_" in part(
        task, "docs/TASKS.md"
    )


def test_a_stage_may_check_its_own_task(task, project, said):
    project.pipeline("true")
    project.start("work", "--task", NAME)
    assert said("task", "sync")[0] == 0
    project.pipeline(f"{sys.executable} -m codex_orchestrator task sync --check")
    run = project.start("work", "--task", NAME)
    assert run.exit_code == 0, "a run that has not ended is no evidence yet"


def test_where_the_runs_are_not_the_links_stay(task, project, said, tmp_path):
    project.pipeline("true")
    project.start("work", "--task", NAME)
    said("task", "sync")
    (task / ".runs").rename(tmp_path / "elsewhere")
    assert said("task", "sync", "--check")[0] == 0


def test_the_run_has_slug_and_status_the_title(task, project, said):
    project.pipelines(work=[{"kind": "subpipeline", "pipeline": "inner", "id": "sub"}], inner=["true"])
    run = project.start("work", "--task", "0042")
    assert (run.exit_code, run.manifest["task_id"], run.manifest["task_slug"]) == (0, "0042", "payments")
    (child,) = run.manifest["child_runs"]
    assert json.loads((task / child["manifest"]).read_text())["task_slug"] == "payments"
    assert f"Task: Take payments ({NAME})\n" in said("status", "--task", "0042")[1]
    assert project.start("inner", "--task", "0043").manifest["task_slug"] == "0043"
    assert "Task:" not in said("status", "--task", "0043")[1]


def test_a_broken_index_stops_no_run_and_is_said(task, project):
    project.pipeline("true")
    (task / "tasks/index.json").write_text('{"items": [}')
    run = project.start("work", "--task", NAME)
    assert (run.exit_code, run.manifest["task_slug"]) == (0, NAME)
    assert "tasks/index.json:1: not valid JSON" in run.stderr
    assert "Slug and title" in run.stderr


# ------------------------------------------------------------------ sync and people


def test_an_edit_of_the_checklist_reaches_all_copies(task, said):
    edit(task, CHECKLIST, "- [ ] The change is made", "- [x] The thing ü is made")
    assert said("task", "sync", "--check")[0] == 1
    code, out, _ = said("task", "sync")
    assert code == 0
    assert out.count("- - [ ] The change is made") == 1, "what changes alike is shown once"
    assert out.endswith("1 task: 4 files brought into step.\n")
    assert {part(task, path) for path in COPIES} == {part(task, CHECKLIST)}
    assert "- [x] The thing ü is made" in part(task, CHECKLIST)


def test_two_tasks_are_brought_into_step_at_once(task, said):
    assert said("task", "new", "0043-refunds")[0] == 0
    edit(task, CHECKLIST, "- [ ] The change is made", "- [ ] First\n- [ ] and more")
    edit(task, "tasks/tasks-0043-refunds.md", "- [ ] The change is made", "- [ ] Second")
    assert said("task", "sync")[1].endswith("2 tasks: 6 files brought into step.\n")
    for name, line in ((NAME, "- [ ] First\n- [ ] and more"), ("0043-refunds", "- [ ] Second")):
        copies = {part(task, path, name) for path in (f"tasks/tasks-{name}.md", *COPIES[2:])}
        assert len(copies) == 1
        assert line in copies.pop()
    assert said("task", "sync", "--check")[0] == 0


def test_a_new_task_leaves_others_to_the_next_sync(task, said):
    edit(task, CHECKLIST, "- [ ] The change is made", "- [x] The change is made")
    assert said("task", "new", "0043-refunds")[0] == 0
    assert "- [ ] The change is made" in part(task, "docs/TASKS.md")
    assert said("task", "sync", "--check")[0] == 1


def test_what_somebody_else_changes_in_that_moment_is_not_overwritten(task):
    texts = Texts(task)
    texts.put("docs/TASKS.md", "ours\n")
    texts.put("docs/new.md", "ours\n")
    (task / "docs/TASKS.md").write_text("theirs\n")
    (task / "docs/new.md").write_text("theirs\n")
    troubles = write_changes(texts, texts.changes())
    assert [trouble.path for trouble in troubles] == ["docs/TASKS.md", "docs/new.md"]
    assert {(task / trouble.path).read_text() for trouble in troubles} == {"theirs\n"}


@pytest.mark.parametrize("path", COPIES)
def test_an_edit_of_a_copy_is_shown_and_does_not_last(task, said, path):
    before = files(task)
    edit(task, path, "- [ ] The change is made", "- [x] The change is made by hand")
    code, out, _ = said("task", "sync", "--check")
    assert code == 1
    assert f"Would update {path}\n  - - [x] The change is made by hand" in out
    code, out, _ = said("task", "sync", "--format", "json")
    (change,) = json.loads(out)["changes"]
    assert (code, change["path"], change["kind"]) == (0, path, "updated")
    assert [line for line in change["removed"] if "by hand" in line]
    assert files(task) == before


def test_text_outside_of_the_marks_is_left_alone(task, said):
    around = {}
    for path in (CHECKLIST, *COPIES):
        content = (task / path).read_bytes()
        before, after = b"Mine.\r\n\tno end\n\n", b"\n\nAlso mine, \xc3\xbc"
        (task / path).write_bytes(before + content + after)
        around[path] = (before, after)
    edit(task, CHECKLIST, "- [ ] The change", "- [ ] All")
    assert said("task", "sync")[0] == 0
    for path, (before, after) in around.items():
        content = (task / path).read_bytes()
        assert content.startswith(before)
        assert content.endswith(after)
        assert "- [ ] All is made" in part(task, path)


@pytest.mark.parametrize("path", [CHECKLIST, *COPIES])
def test_each_file_keeps_its_line_ends(task, said, path):
    content = (task / path).read_bytes()
    (task / path).write_bytes(content.replace(b"\n", b"\r\n"))
    assert said("task", "sync", "--check")[0] == 0
    edit(task, CHECKLIST, "- [ ] The change", "- [ ] All")
    assert said("task", "sync")[0] == 0
    for each in (CHECKLIST, *COPIES):
        content = (task / each).read_bytes()
        assert content.count(b"\r\n") == (content.count(b"\n") if each == path else 0)
        assert b"- [ ] All is made" in content
    assert said("task", "sync", "--check")[0] == 0


@pytest.mark.parametrize("path", COPIES)
def test_a_copy_that_is_gone_is_made_again(task, said, path):
    before = files(task)
    (task / path).unlink()
    assert said("task", "sync", "--check")[0] == 1
    assert not (task / path).exists()
    assert said("task", "sync")[0] == 0
    assert files(task) == before


@pytest.mark.parametrize("path", COPIES)
def test_where_marks_are_missing_the_part_is_added_at_the_end(task, said, path):
    (task / path).write_text("# Ours\n\nText.")
    assert said("task", "sync")[0] == 0
    text = (task / path).read_text()
    assert text.startswith(f"# Ours\n\nText.\n\n<!-- begin task {NAME} (a copy, edit {CHECKLIST}")
    assert part(task, path) == part(task, CHECKLIST)
    assert said("task", "sync", "--check")[0] == 0


def spoil_end(content: bytes) -> bytes:
    return content.replace(f"<!-- end task {NAME} -->".encode(), b"")


def double(content: bytes) -> bytes:
    return content + content


def no_text(_content: bytes) -> bytes:
    return b"\xff\xfe"


def unmark(_content: bytes) -> bytes:
    return b"# No marks\n"


def empty(_content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("path", "spoil", "said_so"),
    [
        ("docs/TASKS.md", spoil_end, f'Line 3: the beginning of task "{NAME}" has no end.'),
        ("docs/TASKS.md", double, f'task "{NAME}" begins a second time.'),
        (COPIES[1], spoil_end, "has no end."),
        (COPIES[0], no_text, "not valid UTF-8"),
        (CHECKLIST, spoil_end, "has no end."),
        (CHECKLIST, unmark, f"There is no marked part of task {NAME}."),
        (CHECKLIST, empty, f"There is no marked part of task {NAME}."),
    ],
)
def test_a_file_that_cannot_be_brought_into_step_is_named_and_left_alone(task, said, path, spoil, said_so):
    edit(task, CHECKLIST, "- [ ] The change", "- [ ] All")
    (task / path).write_bytes(spoil((task / path).read_bytes()))
    spoiled = (task / path).read_bytes()
    code, out, _ = said("task", "sync", "--format", "json")
    (trouble,) = json.loads(out)["troubles"]
    assert (code, json.loads(out)["status"]) == (1, "troubles")
    assert trouble["path"] == path
    assert said_so in trouble["message"]
    assert trouble["hint"]
    assert (task / path).read_bytes() == spoiled
    if path != CHECKLIST:
        others = [each for each in COPIES if each != path]
        assert all("- [ ] All is made" in part(task, each) for each in others), "the others are in step"
    code, out, _ = said("task", "sync", "--check")
    assert code == 1
    assert f"{path}: " in out


def test_a_folder_a_pipe_and_a_link_out_are_no_files(task, said, tmp_path):
    for path in COPIES:
        (task / path).unlink()
    (task / COPIES[0]).mkdir()
    os.mkfifo(task / COPIES[1])
    (tmp_path / "out.md").write_text("theirs")
    (task / COPIES[2]).symlink_to(tmp_path / "out.md")
    code, out, _ = said("task", "sync", "--format", "json")
    troubles = {one["path"]: one["message"] for one in json.loads(out)["troubles"]}
    assert code == 1
    assert set(troubles) == set(COPIES[:3])
    assert "leads out of the repository" in troubles[COPIES[2]]
    assert (tmp_path / "out.md").read_text() == "theirs"
    assert part(task, COPIES[3]) == part(task, CHECKLIST)


def test_a_copy_that_is_a_link_to_the_checklist_stays_one(task, said):
    link = task / COPIES[1]
    link.unlink()
    link.symlink_to(task / CHECKLIST)
    edit(task, CHECKLIST, "- [ ] The change", "- [ ] All")
    assert said("task", "sync")[0] == 0
    assert link.is_symlink()
    assert said("task", "sync", "--check")[0] == 0


def test_a_checklist_that_is_gone_is_missed_while_there_are_copies(task, said):
    (task / CHECKLIST).unlink()
    before = files(task)
    code, out, _ = said("task", "sync")
    assert code == 1
    assert f"{CHECKLIST}: The checklist of task {NAME} is missing, and there are copies of it" in out
    assert files(task) == before


def test_a_task_without_a_checklist_keeps_only_a_gate_that_it_has(project, said):
    project.pipeline("true")
    index = project.root / "tasks" / "index.json"
    index.parent.mkdir()
    items = [{"id": "0001-a"}, {"id": "0002-b", "gate": {"note": "kept"}}, {"id": "odd name"}]
    index.write_text(json.dumps({"items": items}, indent=4) + "\n")
    runs = {name: project.start("work", "--task", name).answer["run_id"] for name in ("0001-a", "0002-b")}
    assert said("task", "sync")[:1] == (0,)
    first, second, _ = index_of(project.root)
    assert "gate" not in first
    assert second["gate"]["run_id"] == runs["0002-b"]
    assert second["gate"]["note"] == "kept"
    assert '\n    "items"' in index.read_text()
    assert set(files(project.root)) == {"codex.orchestrator.json", "tasks/index.json"}


def test_a_name_that_marks_cannot_hold_is_said(project, said):
    (project.root / "tasks").mkdir()
    (project.root / "tasks" / "index.json").write_text('{"items": [{"id": "odd name"}]}')
    (project.root / "tasks" / "tasks-odd name.md").write_text("list\n")
    code, out, _ = said("task", "sync")
    assert code == 1
    assert "cannot stand in marks" in out


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"items": [{"slug": "x"}]}', b"\xff"])
@pytest.mark.parametrize("words", [["sync"], ["sync", "--check", "--format", "json"]])
def test_a_broken_index_is_refused(task, said, content, words):
    (task / "tasks/index.json").write_bytes(content)
    before = files(task)
    code, out, err = said("task", *words)
    assert code == 2
    assert "tasks/index.json" in err
    assert files(task) == before
    if "json" in words:
        assert json.loads(out)["error"]["code"] == "usage"


def test_no_index_is_nothing_to_do(project, said):
    code, out, err = said("task", "sync", "--check")
    assert (code, out) == (0, "0 tasks: in step.\n")
    assert "There is no tasks/index.json" in err
    assert files(project.root) == {}


def test_a_disk_that_refuses_is_one_message(task, said, monkeypatch):
    edit(task, CHECKLIST, "- [ ] The change", "- [ ] All")

    def refuse(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codex_orchestrator.evidence.files.write_all", refuse)
    before = files(task)
    code, _, err = said("task", "sync")
    assert code == 1
    assert "Cannot write" in err
    assert "No space left on device" in err
    assert files(task) == before


def test_tasks_begun_at_once_are_all_there(project):
    names = [f"{number}-task" + "-x" * number for number in range(1, 7)]
    words = [sys.executable, "-m", "codex_orchestrator", "task", "new"]
    begun = [
        subprocess.Popen([*words, name], cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL)
        for name in names
    ]
    assert [process.wait(100) for process in begun] == [0] * len(names)
    assert sorted(item["id"] for item in index_of(project.root)) == names
    for name in names:
        assert part(project.root, "docs/TASKS.md", name) == part(project.root, f"tasks/tasks-{name}.md", name)


def test_who_waits_in_vain_says_so(task, said, monkeypatch):
    monkeypatch.setattr("codex_orchestrator.tasks.texts._PATIENCE_SECONDS", 0.0)
    edit(task, CHECKLIST, "- [ ] The change", "- [ ] All")
    with held_lock(task / ".runs" / ".tasks.lock", below=task) as held:
        assert held
        before = files(task)
        code, _, err = said("task", "sync")
        assert (code, files(task)) == (75, before)
        assert "A live process changes the files of tasks." in err
        assert said("task", "sync", "--check")[0] == 1, "to look needs no lock"


def test_to_check_leaves_nothing_at_all(task, said):
    shutil.rmtree(task / ".runs")
    assert said("task", "sync", "--check")[0] == 0
    assert not (task / ".runs").exists()


def test_what_is_left_in_the_runs_folder_is_known(task, said):
    assert said("validate", str(task / ".runs"))[0] == 0


def test_this_repository_is_in_step(said):
    root = Path(__file__).resolve().parents[2]
    assert said("task", "sync", "--check", "--root", str(root))[0] == 0
