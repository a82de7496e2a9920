"""The wheel and the sdist: what is in them, and that the wheel works far from the checkout."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("codex_orchestrator", "pytest_codex")
PACKAGED = "codex_orchestrator/definitions/packaged/"
LEFT_BEHIND = {".venv", ".nox", ".runs", "out", "dist", "build", ".coverage", ".hypothesis"}


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, built from the sdist, and the sdist, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    return HeaderParser().parsestr(in_wheel(wheel, "METADATA"))


def in_wheel(wheel: Path, name: str) -> str:
    """The text of one file of the wheel's ``dist-info``."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (found for found in archive.namelist() if found.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def sources(folder: Path) -> set[str]:
    """The files of a checkout's folder that are source."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


# ------------------------------------------------------------------ what is inside


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_each_package_whole(names: set[str], package: str) -> None:
    here = {name for name in names if name.startswith(f"{package}/") and not name.startswith(PACKAGED)}
    assert here == sources(ROOT / package)
    assert f"{package}/py.typed" in here


def test_the_wheel_holds_the_pipelines_byte_for_byte(wheel: Path, names: set[str]) -> None:
    expected = {path.name: path.read_bytes() for path in (ROOT / "pipelines").iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        packaged = {
            name.removeprefix(PACKAGED): archive.read(name) for name in names if name.startswith(PACKAGED)
        }
    assert packaged == expected
    assert "diagnostics.json" in packaged


def test_the_wheel_holds_the_schemas(wheel: Path, names: set[str]) -> None:
    schemas = {
        name for name in names if name.startswith("codex_orchestrator/schemas/") and name.endswith(".json")
    }
    assert schemas
    with zipfile.ZipFile(wheel) as archive:
        for name in schemas:
            assert "$schema" in json.loads(archive.read(name)), name


def test_the_wheel_holds_the_scripts_that_init_writes_byte_for_byte(wheel: Path) -> None:
    folder = "codex_orchestrator/templates/"
    expected = {name: (ROOT / name).read_bytes() for name in sources(ROOT / folder)}
    with zipfile.ZipFile(wheel) as archive:
        packaged = {name: archive.read(name) for name in archive.namelist() if name.startswith(folder)}
    assert packaged == expected
    assert {f"{folder}scripts/mcp-runner-start.sh", f"{folder}parts/delegate.sh"} <= set(packaged)


def test_the_wheel_holds_nothing_else(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {*PACKAGES, info}
    assert f"{info}/licenses/LICENSE" in names


def test_the_entry_points(wheel: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(in_wheel(wheel, "entry_points.txt"))
    assert {section: dict(parser[section]) for section in parser.sections()} == {
        "console_scripts": {"codex-orchestrator": "codex_orchestrator.__main__:run"},
        "pytest11": {"codex": "pytest_codex.plugin"},
    }


def test_what_it_asks_for_at_run_time(metadata: Message) -> None:
    required = [str(line) for line in metadata.get_all("Requires-Dist", [])]
    run_time = {line for line in required if "extra ==" not in line}
    assert {line.partition(">")[0] for line in run_time} == {
        "pytest", "pytest-xdist", "filelock", "pydantic", "rich", "markdown-it-py",
    }  # fmt: skip
    assert not any("<" in line or "==" in line.partition(";")[0] for line in required), "no upper bounds"
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_wheel_is_for_every_platform(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_sdist_is_complete_and_clean(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "conftest.py", "dev.py"}
    for folder in (*PACKAGES, "pipelines", "tests", "docs", "changelog.d"):
        expected |= {name for name in sources(ROOT / folder) if "/_build/" not in name}
    assert expected <= members
    assert not {
        name
        for name in members
        if name.partition("/")[0] in LEFT_BEHIND or "cache" in name.rpartition("/")[0]
    }


# ------------------------------------------------------------------ that it works


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a fresh environment that has the wheel, and this environment's libraries.

    A path file names the folder of libraries; the path files in that folder, among them the one of an
    editable install, are not read from there.
    """
    folder = tmp_path_factory.mktemp("environment")
    python = folder / "bin" / "python"
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder)
    purelib = run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder
    ).stdout.strip()
    libraries = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    Path(purelib, "libraries.pth").write_text("\n".join(dict.fromkeys(libraries)) + "\n", encoding="utf-8")
    installer = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    run([*installer, "--ignore-installed", str(wheel)], folder)
    return folder / "bin"


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run to the end in an environment as good as empty, and insist on success."""
    variables = {"PATH": os.defpath, "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def test_it_is_the_wheel_that_is_imported(installed: Path, tmp_path: Path) -> None:
    probe = (
        "import codex_orchestrator, pytest_codex; print(codex_orchestrator.__file__, pytest_codex.__file__)"
    )
    files = run([str(installed / "python"), "-c", probe], tmp_path).stdout.split()
    assert [Path(file).is_relative_to(installed.parent) for file in files] == [True, True]


def test_the_command_says_its_version(installed: Path, tmp_path: Path, metadata: Message) -> None:
    said = run([str(installed / "codex-orchestrator"), "version"], tmp_path).stdout
    assert str(metadata["Version"]) in said
    assert run([str(installed / "python"), "-m", "codex_orchestrator", "version"], tmp_path).stdout == said


def test_the_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    said = run([str(installed / "codex-orchestrator"), "--help"], tmp_path).stdout
    for command in ("start", "plan", "status", "logs", "runs", "schema", "validate", "guard", "version"):
        assert command in said


def test_pytest_knows_the_options(installed: Path, tmp_path: Path) -> None:
    assert "--codex-pipeline" in run([str(installed / "python"), "-m", "pytest", "--help"], tmp_path).stdout


def test_the_packaged_pipeline_is_found(installed: Path, tmp_path: Path) -> None:
    answer = json.loads(
        run(
            [str(installed / "codex-orchestrator"), "plan", "diagnostics", "--format", "json"], tmp_path
        ).stdout
    )
    assert answer["pipeline"]["id"] == "diagnostics"
    assert answer["pipeline"]["source"] == "default"


def test_a_repository_is_set_up_and_its_scripts_find_the_way(installed: Path, tmp_path: Path) -> None:
    run([str(installed / "codex-orchestrator"), "init", "--scripts"], tmp_path)
    if (bash := shutil.which("bash")) is None:
        pytest.skip("bash is not installed")
    (tmp_path / ".venv").symlink_to(installed.parent)
    said = run([bash, "scripts/mcp-runner-start.sh", "--task", "t"], tmp_path).stdout
    assert "Status: succeeded" in said


def test_a_pipeline_runs_and_its_manifest_validates(installed: Path, tmp_path: Path) -> None:
    stage = {"kind": "command", "id": "hello", "title": "Hello", "command": "echo hello"}
    config = {"pipelines": [{"id": "tiny", "title": "Tiny", "stages": [stage]}]}
    (tmp_path / "codex.orchestrator.json").write_text(json.dumps(config), encoding="utf-8")
    command = str(installed / "codex-orchestrator")
    answer = json.loads(run([command, "start", "tiny", "--task", "t", "--format", "json"], tmp_path).stdout)
    assert answer["status"] == "succeeded"
    run([command, "validate", answer["manifest"]], tmp_path)


def test_the_plugin_keeps_quiet_in_a_project_that_does_not_use_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n", encoding="utf-8")
    said = run(
        [str(installed / "python"), "-W", "error", "-m", "pytest", "-p", "no:cacheprovider"], tmp_path
    ).stdout
    assert "1 passed" in said
    assert "codex" not in said.replace("plugins: codex-orchestrator", "")
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"test_own.py"}
