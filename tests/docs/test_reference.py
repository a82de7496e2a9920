"""The reference says what the code does: its generated parts are up to date, and nothing is left out."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import codex_orchestrator
import pytest_codex
from codex_orchestrator import cli, errors
from codex_orchestrator.environment import PREFIX, discover, stage_variables
from codex_orchestrator.model import manifest as shapes
from codex_orchestrator.rules.layout import TaskLayout, source_store
from codex_orchestrator.schemas import schema_names, schema_text

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
BESIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md")]
PACKAGES = tuple(Path(str(package.__file__)).parent for package in (codex_orchestrator, pytest_codex))
FIX = "run: python docs/generate.py"
# Variables of other programs that we take away from them or set for them.
NOT_OURS = ("GIT_", "LC_", "PYTEST_")


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def headings(text: str) -> list[str]:
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return [heading.replace("`", "").strip() for heading in found]


# ------------------------------------------------------------------ generated parts


@pytest.mark.parametrize("path", sorted((DOCS / "reference").glob("*.md")), ids=name_of)
def test_generated_parts_are_up_to_date(path):
    assert dict(generate.pages())[path] == path.read_text(encoding="utf-8"), FIX


def test_every_command_and_option_has_its_part():
    parts = set(generate.parts())
    assert {f"command {name}" for name in cli.COMMANDS} <= parts
    assert {"commands", "exit-codes", "error-codes", "event-types", "event-keys", "pytest-options"} <= parts
    assert set(cli.COMMANDS) <= set(headings(page("reference/command-line.md")))


def test_every_hook_is_documented_and_in_the_example():
    hooks = generate.hook_specs()
    assert len(hooks) == 6
    assert "hooks" in generate.parts()
    assert set(hooks) <= set(headings(page("reference/python-api.md")))
    example = page("how-to/write-a-plugin.md")
    assert not [name for name in hooks if f"def {name}(" not in example]


def test_every_shape_of_every_schema_has_its_part():
    documented = {part.split()[-1] for part in generate.parts()} | {"config", "event"}
    documented |= {"RunSummary", "DriftSample", "SealDraft"}  # what the schemas of like names describe
    for name in schema_names():
        inside = set(json.loads(schema_text(name)).get("$defs", {})) if name != "event" else set()
        assert {name, *inside} <= documented, f"schema {name}: {sorted({name, *inside} - documented)}"


def test_no_meaning_is_left_over():
    used = {part.split()[-1] for part in generate.parts()} | {"config", "event", "event-types", "shared"}
    for shape, texts in generate.meanings().items():
        assert shape in used, f"[{shape}] describes nothing"
        if shape not in ("shared", "event-types"):
            assert set(texts) <= known_keys(shape), f"[{shape}]: {sorted(set(texts) - known_keys(shape))}"


def known_keys(shape: str) -> set[str]:
    documents = [json.loads(schema_text(name)) for name in schema_names()]
    if shape == "event":
        (document,) = (one for one in documents if "oneOf" in one)
        return {key for one in document["$defs"].values() for key in one["properties"]}
    if shape in schema_names():
        return set(json.loads(schema_text(shape))["properties"])
    return {key for one in documents for key in one.get("$defs", {}).get(shape, {}).get("properties", ())}


def test_the_generator_says_what_it_finds(capsys, monkeypatch, tmp_path):
    for path in (DOCS / "reference").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(generate, "REFERENCE", tmp_path)
    stale = tmp_path / "pytest-options.md"
    stale.write_text(
        stale.read_text(encoding="utf-8").replace("`--codex-task", "`--old-task"), encoding="utf-8"
    )
    assert generate.main(["--check"]) == 1
    assert "--old-task" in stale.read_text(encoding="utf-8")
    assert generate.main([]) == 0
    assert "--codex-task" in stale.read_text(encoding="utf-8")
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr().out == f"out of date: {stale}\nwritten: {stale}\n"


@pytest.mark.parametrize("name", schema_names())
def test_a_schema_offers_no_key_that_does_not_exist(name):
    def defaults(part):
        if isinstance(part, dict):
            yield from ([part["default"]] if "default" in part and "properties" not in part else [])
            part = list(part.values())
        for inside in part if isinstance(part, list) else ():
            yield from defaults(inside)

    assert not [
        default
        for default in defaults(json.loads(schema_text(name)))
        if isinstance(default, dict) and default
    ]


# ------------------------------------------------------------------ what code and pages cite


def citations() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Pages and sections that the sources cite: file, page, sections."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for cited in re.finditer(
                r'(docs/(?:reference|explanation)/[\w-]+\.md)((?:,?\s+(?:section|and)?\s*"[^"\n]+")*)', text
            ):
                sections = tuple(re.findall(r'"([^"]+)"', cited[2]))
                yield path.relative_to(package.parent).as_posix(), cited[1], sections


@pytest.mark.parametrize(("source", "cited", "sections"), list(citations()))
def test_what_a_docstring_cites_exists(source, cited, sections):
    assert (ROOT / cited).is_file(), f"{source} cites {cited}"
    known = headings((ROOT / cited).read_text(encoding="utf-8"))
    assert set(sections) <= set(known), f"{source} cites sections of {cited}: {sections}"


def test_sections_are_cited():
    assert ("docs/reference/manifest.md", ("Status", "Run summary")) in [found[1:] for found in citations()]


@pytest.mark.parametrize("path", [*PAGES, *BESIDE], ids=name_of)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.is_file(), f"{name_of(path)} links to {target}"
        if anchor:
            anchors = [slug(heading) for heading in headings(there.read_text(encoding="utf-8"))]
            assert anchor in anchors, f"{name_of(path)} links to {target}"


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# ------------------------------------------------------------------ variables, codes, words


# What `Environment.enforces` is asked for, which has two variables each.
ENFORCED = ("CODEX_CONTROL_PLANE", "CODEX_PRIVACY_GUARD")


@cache
def variables_in_code() -> set[str]:
    """Names of environment variables: literals that look like one, and those made with our prefix."""
    names = stage_names()
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names.update(names_in(node))
    return {name for name in names if not name.startswith(NOT_OURS) and PREFIX + name not in names}


def names_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr) and ast.unparse(node).startswith("f'{PREFIX}"):
        yield from (PREFIX + str(part.value) for part in node.values if isinstance(part, ast.Constant))
    elif isinstance(node, ast.Constant) and node.value in ENFORCED:
        yield from (f"{node.value}_{name}" for name in ("MODE", "ENFORCE"))
    elif isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+|CLICOLOR|TERM", str(node.value)):
        yield node.value


def stage_names() -> set[str]:
    environment = discover(ROOT, {})
    own = stage_variables(
        environment,
        task_id="t",
        run_id="r",
        pipeline_id="p",
        stage_id="s",
        run_dir=ROOT,
        owner_pid=1,
        own={},
    )
    return set(own)


def test_every_variable_is_documented():
    names = variables_in_code()
    assert {"MCP_RUNNER_TASK_ID", "BASE_SHA", "NO_COLOR", "CODEX_ORCHESTRATOR_OUT_DIR"} <= names
    text = page("reference/configuration.md")
    assert not [name for name in sorted(names) if f"`{name}" not in text]


@pytest.mark.parametrize("path", [*PAGES, *BESIDE], ids=name_of)
def test_no_page_names_a_variable_that_is_none(path):
    named = re.findall(r"\b(?:CODEX|MCP)_[A-Z_]+\b", path.read_text(encoding="utf-8"))
    assert set(named) <= variables_in_code()


def test_each_promise_of_safety_names_tests_that_there_are():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!Promise|---)(.+) \| (.+) \|$", text, re.MULTILINE)
    assert rows
    for promise, held_by in rows:
        named = re.findall(r"`(tests/[\w/.]+)`", held_by)
        assert named, promise
        assert all((ROOT / name).exists() for name in named), promise


def test_exit_codes_are_the_same_everywhere():
    told = set(re.findall(r"^  ([\d/]+)", cli.EXIT_CODES, re.MULTILINE))
    single = {int(code) for codes in told for code in codes.split("/")}
    constants = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    of_errors = {
        item.exit_code
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.OrchestratorError)
    }
    assert constants | of_errors | {129, 130, 143} == single
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d, ]+) \|", readme, re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == single


@pytest.mark.parametrize("words", [shapes.RunStatus, shapes.StageStatus, shapes.Reason], ids=str)
def test_every_status_and_reason_is_explained(words):
    text = page("reference/manifest.md")
    assert not [word for word in get_args(words) if f"`{word}`" not in text]


# ------------------------------------------------------------------ files


def generic(path: str) -> str:
    """A path of a run of task-1 as the pages write it."""
    path = re.sub(r"\d{4}-\d\d-\d\dT[\d-]+Z-[0-9a-f]{8}", "R", path).replace("task-1", "T")
    path = re.sub(r"(?<=\.attempt-)\d+(?=\.json$)", "K", path)
    return re.sub(r"\d\d-[\w-]+(?=(\.attempt-K)?\.(nd)?json$)", "NN-slug", path)


def documented_files() -> set[str]:
    rows = re.findall(
        r"^\| (`[.\w].*?) \|", page("reference/files.md").partition("## How files")[0], re.MULTILINE
    )
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> set[str]:
    """The files that a run with a failed stage leaves."""
    root = tmp_path_factory.mktemp("left")
    stages = [
        {"kind": "command", "id": "build", "title": "Build", "command": "true", "allowFailure": True},
        {"kind": "command", "id": "test", "title": "Test", "command": "false"},
    ]
    document = {"taskId": "task-1", "pipelines": [{"id": "work", "title": "Work", "stages": stages}]}
    (root / "codex.orchestrator.json").write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "codex_orchestrator", "start", "work", "--root", str(root)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CODEX_", "MCP_"))}
    done = subprocess.run(command, cwd=root, env=ours, capture_output=True, timeout=100, check=False)
    assert done.returncode == 1, done.stderr
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {generic(name) for name in found if not name.startswith("codex.")}


def test_every_file_of_a_run_is_documented(left):
    assert "out/T/state.json" in left
    assert not left - documented_files()


def test_every_documented_file_has_its_place_in_the_layout():
    task = TaskLayout(discover(ROOT, {}, str(ROOT)), "task-1")
    run = task.run("2026-11-21T02-44-32-979Z-6f1e3102")
    places = [
        getattr(layout, name)
        for layout in (task, run)
        for name, value in vars(type(layout)).items()
        if isinstance(value, property)
        and name
        not in (
            "runs_dir",
            "cli_dir",
            "live_dir",
            "out_dir",
            "control_plane_dir",
            "pending_dirs",
            "pending_places",
            "node_summary",
            "base",
            "folder",
            "children",
            "base",
            "mcp_folder",
            "compat_folder",
        )
    ]
    places += [run.command_log(1, "a"), run.error_file(1, "a"), run.attempt_error_file(1, "a", 1)]
    places.append(run.child_record("C"))
    known = {generic(task.environment.relative(path)) for path in places}
    known = {f"{name}/R.json" if name.endswith(".pending") else name for name in known}
    known.add(task.environment.relative(source_store(task.environment)) + "/")
    assert known | {".runs/.gitignore", "out/T/.gitignore"} == documented_files()


def test_the_readme_shows_the_files_that_a_run_leaves(left):
    shown = {
        path
        for path in left
        if not path.endswith((".gitignore", ".metrics.lock", ".runs.lock", ".samples.lock", ".seals.lock"))
    }
    assert tree((ROOT / "README.md").read_text(encoding="utf-8")) == shown


def tree(text: str) -> set[str]:
    """The files of the tree in the README."""
    (drawing,) = re.findall(r"^```text\n(\.runs/\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    files: set[str] = set()
    folders: list[str] = []
    for line in drawing.splitlines():
        name = line.lstrip("│├└─ ")
        depth = (len(line) - len(name)) // 4
        name = re.split(r"\s{2,}", name)[0].replace("<task>", "T").replace("<run>", "R")
        folders[depth:] = [name.rstrip("/")]
        if not name.endswith("/"):
            files.add(generic("/".join(folders)))
    return files
