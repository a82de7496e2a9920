"""A repo's own tests and a pipeline run leave each other alone, whichever way in."""

from __future__ import annotations

import json
import re

import pytest

pytestmark = pytest.mark.usefixtures("with_other_plugins")


TRAP = """\
from pathlib import Path
Path(r"{mark}").write_text(__name__)
raise RuntimeError("loaded")
"""

INI = {
    "pytest.ini": """\
[pytest]
minversion = 7.0
addopts = -q -ra --strict-markers --strict-config --doctest-modules
testpaths = tests nowhere
python_files = *.py
python_functions = *
norecursedirs = build
filterwarnings = error
xfail_strict = true
required_plugins = pytest-timeout
markers = slow: takes long
log_cli = true
usefixtures = missing_fixture
""",
    "pyproject.toml": """\
[tool.pytest]
strict = true
addopts = ["-ra", "-p", "no:cacheprovider"]
testpaths = ["tests"]
filterwarnings = ["error"]
python_files = ["*.py", "*.json"]
pythonpath = ["src"]
""",
}


@pytest.fixture
def mark(tmp_path):
    """A file that exists once any of the repo's Python has been loaded."""
    return tmp_path / "loaded"


@pytest.fixture
def trapped(project, mark):
    """A repo whose every Python file must not be loaded, with a folder named like the pipeline."""
    project.pipeline("echo one", "true")
    for folder in ("", "tests", "work", "src"):
        (project.root / folder).mkdir(exist_ok=True)
        for name in ("conftest.py", "test_unit.py", "s1.py"):
            (project.root / folder / name).write_text(TRAP.format(mark=mark))
    return project


def succeeded(project) -> bool:
    manifest = project.manifest()
    return [entry["status"] for entry in manifest["commands"]] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("strictness", ["strict = true", "filterwarnings = error", ""])
def test_keys_that_only_a_conftest_defines_disturb_nothing(trapped, strictness):
    (trapped.root / "pytest.ini").write_text(f"[pytest]\n{strictness}\nkey_of_the_conftest = 1\n")
    done = trapped.pytest("--codex-pipeline", "work", "--color=no")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "key_of_the_conftest" not in done.stdout + done.stderr
    assert succeeded(trapped)


def test_a_usage_error_of_another_plugin_is_not_swallowed(trapped):
    (trapped.root / "refuses.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(wrapper=True)\n"
        "def pytest_collection():\n"
        "    raise pytest.UsageError('not today')\n"
        "    yield\n"
    )
    done = trapped.pytest("--codex-pipeline", "work", "-p", "refuses", environment={"PYTHONPATH": "."})
    assert done.returncode == 4
    assert "not today" in done.stderr
    assert not trapped.runs()


def test_nothing_of_ours_is_compiled_anew_for_its_assertions(project):
    (project.root / "spy.py").write_text(
        "import sys, pytest\n"
        "pytest.register_assert_rewrite('codex_orchestrator', 'pytest_codex')\n"
        "def pytest_codex_run_completed():\n"
        "    for name in 'codex_orchestrator.engine.manager', 'pytest_codex.controller':\n"
        "        print(name, type(sys.modules[name].__loader__).__name__)\n"
    )
    project.pipeline("true")
    done = project.pytest(
        "--codex-pipeline=work", "-p", "spy", "-s", environment={"PYTHONPATH": "."}, fresh=True
    )
    for name in ("codex_orchestrator.engine.manager", "pytest_codex.controller"):
        assert f"{name} SourceFileLoader" in done.stdout


@pytest.mark.parametrize("ini", sorted(INI))
def test_nothing_of_the_repo_is_collected_or_loaded(trapped, mark, ini):
    (trapped.root / ini).write_text(INI[ini])
    done = trapped.pytest("--codex-pipeline", "work", "-v", "--color=no")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "warning" not in done.stdout
    assert succeeded(trapped)
    assert not mark.exists()


@pytest.mark.parametrize("folder", ["tests", "work"])
def test_node_ids_are_the_same_from_every_folder(trapped, mark, folder):
    (trapped.root / "pytest.ini").write_text("[pytest]\naddopts = -rA\ntestpaths = tests\n")
    trapped.pipeline("true", {"command": "exit 1", "allowFailure": True}, "exit 1")
    done = trapped.pytest("--codex-pipeline", "work", "-v", cwd=trapped.root / folder)
    assert done.returncode == 1
    ids = re.findall(r"^(\S+) (?:PASSED|SKIPPED|FAILED) ", done.stdout, flags=re.MULTILINE)
    assert ids == ["work::s1", "work::s2", "work::s3"]
    lines = done.stdout.splitlines()
    place = lines.index("PASSED work::s1")
    assert lines[place : place + 3] == [
        "PASSED work::s1",
        "SKIPPED [1] work::s2: allowed failure: Exited with code 1",
        "FAILED work::s3 - Stage 'S3' failed: exit code 1",
    ]
    assert len(trapped.runs()) == 1
    assert not mark.exists()


@pytest.mark.parametrize("way", ["above", "variable"])
def test_definitions_may_lie_outside_of_pytests_rootdir(trapped, tmp_path, mark, way):
    elsewhere = trapped.root / "src" if way == "above" else tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    variables = {} if way == "above" else {"CODEX_ORCHESTRATOR_ROOT": str(trapped.root)}
    done = trapped.pytest("--codex-pipeline", "work", "-v", cwd=elsewhere, environment=variables)
    assert done.returncode == 0
    assert f"rootdir: {elsewhere}" in done.stdout
    assert "work::s2 PASSED" in done.stdout
    assert succeeded(trapped)
    assert not (elsewhere / ".runs").exists()
    assert not mark.exists()


# ---------------------------------------------------------------- without the option

SUITE = """\
import sys, warnings
import pytest

@pytest.fixture
def number(request):
    yield 1
    if request.node.name == "test_teardown":
        raise ValueError("teardown")

def test_passes(number): print("said")
def test_fails(): assert [1, 2] == [1, 3]
def test_teardown(number): pass
@pytest.mark.skip(reason="not now")
def test_skips(): pass
@pytest.mark.xfail
def test_xfails(): assert 0
@pytest.mark.parametrize("value", ["a", "b/c", "work::s1"])
def test_values(value): warnings.warn("careful")
class TestGroup:
    def test_in_class(self): pass
"""

LIGHT = """\
import sys

def test_light():
    heavy = ("pydantic", "rich", "filelock", "codex_orchestrator")
    assert "pytest_codex.plugin" in sys.modules
    assert [name for name in sys.modules if name.split(".")[0] in heavy] == []
    ours = sorted(name for name in sys.modules if name.split(".")[0] == "pytest_codex")
    assert ours == ["pytest_codex", "pytest_codex.newhooks", "pytest_codex.plugin"]
"""


def test_without_the_option_an_ordinary_test_run_is_the_same(project):
    project.pipeline("touch ran")
    (project.root / "test_suite.py").write_text(SUITE)

    def outcome(*words):
        done = project.pytest("-rA", "-v", "-p", "no:cacheprovider", "-p", "no:randomly", *words)
        text = re.sub(r"\d+\.\d+s", "N s", done.stdout)
        text = re.sub(r"^plugins: .*$", "", text, flags=re.MULTILINE)
        return done.returncode, re.sub(r"0x[0-9a-f]+", "0x", text), done.stderr

    with_plugin, without = outcome(), outcome("-p", "no:codex")
    assert with_plugin == without
    assert "1 error" in with_plugin[1]
    # What Python and pytest-benchmark, where it is installed, make in every run is not ours.
    assert {path.name for path in project.root.iterdir()} - {"__pycache__", ".benchmarks"} == {
        ".git",
        "codex.orchestrator.json",
        "test_suite.py",
    }


def test_without_the_option_nothing_heavy_is_imported_and_no_definitions_are_read(project):
    project.write("{ not even JSON")
    (project.root / "test_light.py").write_text(LIGHT)
    done = project.pytest("-p", "no:randomly", fresh=True)
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- plugins of the definitions

PLUGIN = """\
import os
from pathlib import Path

print("printed on import")

def pytest_runtest_logreport(report):
    if report.when == "call":
        with Path("seen").open("a") as seen:
            seen.write(f"{report.nodeid} {report.outcome}\\n")
"""


def ways_in(project) -> dict:
    """Both ways to run the pipeline, as functions of an environment."""
    return {
        "start": lambda **keywords: project.cli("start", "work", "--format", "json", **keywords),
        "pytest": lambda **keywords: project.pytest("--codex-pipeline", "work", **keywords),
    }


@pytest.mark.parametrize("way", ["start", "pytest"])
def test_plugins_of_the_definitions_are_loaded(project, tmp_path, way):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ci_plugin.py").write_text(PLUGIN)
    stages = [{"kind": "command", "id": "s1", "title": "S1", "command": "true"}]
    pipelines = [{"id": "work", "title": "Work", "stages": stages}]
    project.write({"plugins": ["ci_plugin"], "pipelines": pipelines})
    done = ways_in(project)[way](environment={"PYTHONPATH": str(tmp_path / "lib")})
    assert done.returncode == 0, done.stderr
    assert (project.root / "seen").read_text() == "work::s1 passed\n"
    if way == "start":
        assert json.loads(done.stdout)["status"] == "succeeded"


MISSING = "ModuleNotFoundError: No module named 'ci_plugin'"
BROKEN = "RuntimeError: not today"


@pytest.mark.parametrize(
    ("way", "code", "body", "why"),
    [
        ("start", 2, None, MISSING),
        ("pytest", 4, None, MISSING),
        ("start", 2, "print('loading')\nraise RuntimeError('not today')", BROKEN),
        ("pytest", 4, "raise RuntimeError('not today')", BROKEN),
    ],
    ids=["start-missing", "pytest-missing", "start-broken", "pytest-broken"],
)
def test_a_plugin_that_cannot_be_loaded_is_a_usage_error(project, way, code, body, why):
    if body:
        (project.root / "ci_plugin.py").write_text(body)
    stages = [{"kind": "command", "id": "s1", "title": "S1", "command": "touch ran"}]
    pipelines = [{"id": "work", "title": "Work", "stages": stages}]
    project.write({"plugins": ["ci_plugin"], "pipelines": pipelines})
    done = ways_in(project)[way]()
    assert done.returncode == code
    assert f'codex.orchestrator.json: plugins: "ci_plugin" cannot be imported: {why}' in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project.root / ".runs").exists()
    if way == "start":
        assert json.loads(done.stdout)["error"]["code"] == "configuration"


# ---------------------------------------------------------------- start


def test_start_is_no_test_run_of_the_repo(trapped, mark):
    (trapped.root / "pytest.ini").write_text("[pytest\nnot an ini file\n")
    (trapped.root / "pyproject.toml").write_text("[[[ not TOML")
    trapped.pipeline("printenv PYTEST_ADDOPTS PYTEST_PLUGINS", "! printenv PYTEST_CURRENT_TEST")
    steering = {"PYTEST_ADDOPTS": "-x --collect-only --nonsense", "PYTEST_PLUGINS": "nonsense"}
    run = trapped.start("work", environment=steering)
    assert run.exit_code == 0, run.stderr
    assert run.answer["status"] == "succeeded"
    assert succeeded(trapped)
    assert run.entry("s1")["summary"] == "-x --collect-only --nonsense\nnonsense"
    assert not mark.exists()
    assert not (trapped.root / ".pytest_cache").exists()
    assert not list(trapped.root.rglob("__pycache__"))


def test_pytest_honours_addopts_and_its_variables(trapped, mark):
    (trapped.root / "pytest.ini").write_text("[pytest]\naddopts = --codex-pipeline=work\ntestpaths = tests\n")
    done = trapped.pytest(environment={"PYTEST_ADDOPTS": "-k s2 -v"})
    assert done.returncode == 0
    assert "work::s2 PASSED" in done.stdout
    assert [entry["status"] for entry in trapped.manifest()["commands"]] == ["pending", "succeeded"]
    assert not mark.exists()
