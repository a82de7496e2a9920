"""``doctor``: what it looks at, what it says of it, and that it leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.environment import discover
from codex_orchestrator.views import doctor as module
from codex_orchestrator.views.doctor import run_checks

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    *("python", "git", "node", "npm", "codex", "configuration", "base"),
    *("pipeline diagnostics", "pipeline docs-review", "pipeline implementation-gate"),
    *("runs-fsync", "runs-locks", "out-fsync", "out-locks", "disk"),
]
FOLDERS = NAMES[-5:-1]
# It knows its version, and of no repository.
GIT = 'case "$1" in --version) echo git 1.2.3;; *) echo "fatal: not a git repository" >&2; exit 128;; esac'
TOOLS = ("git", "node", "npm", "codex")


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """The only folder on PATH, with a program for each tool that says its version."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        put(folder, name, f"echo {name} 1.2.3")
    put(folder, "git", GIT)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def doctor(project, said, tools):
    """``doctor --format json``: exit code, and each check by its name; nothing may be left in the project."""

    def run(*words: str) -> tuple[int, dict[str, dict]]:
        before = sorted(project.root.rglob("*"))
        code, out, _ = said("doctor", *words, "--format", "json")
        assert sorted(project.root.rglob("*")) == before
        document = json.loads(out)
        assert document["fine"] is (code == 0)
        return code, {check["name"]: check for check in document["checks"]}

    return run


def refusal(number: int):
    def refuse(*_arguments, **_keywords):
        raise OSError(number, os.strerror(number))

    return refuse


def refuse_within(monkeypatch, folder: Path, name: str, number: int) -> None:
    """Have a system call refuse paths in a folder."""
    real = getattr(os, name)

    def call(path, *arguments, **keywords):
        within = keywords.get("dir_fd")
        # By the descriptor of a folder, as the writers do it, or by a path.
        above = Path(f"/dev/fd/{within}").readlink() if within is not None else Path()
        if (above / path).is_relative_to(folder):
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, name, call)


# ------------------------------------------------------------------ all is fine


def test_where_all_is_fine_it_says_so(project, said, tools):
    code, out, err = said("doctor")
    assert (code, err) == (0, "")
    rows = [re.split(r"  +", line, maxsplit=2) for line in out.splitlines()[:-1]]
    assert [row[1] for row in rows if row[0] in ("ok", "warning")] == NAMES
    assert ["ok", "git", "git 1.2.3"] in rows
    assert ["ok", "runs-locks", f"locks work in {project.root}/.runs"] in rows
    assert out.splitlines()[-1] == "All that is required is fine."


def test_json_has_every_check_with_the_same_keys(project, said, tools):
    code, out, err = said("doctor", "--format", "json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert list(document) == ["root", "fine", "checks"]
    assert (document["root"], document["fine"]) == (str(project.root), True)
    assert [check["name"] for check in document["checks"]] == NAMES
    for check in document["checks"]:
        assert list(check) == ["name", "required", "status", "detail", "hint"]
        assert check["status"] == "ok" or check["hint"], check


def test_folders_that_runs_have_made_are_tried_themselves(project, doctor, monkeypatch):
    project.pipeline("true")
    assert project.start("work").exit_code == 0
    assert doctor()[0] == 0
    refuse_within(monkeypatch, project.root / ".runs", "mkdir", errno.EROFS)
    code, checks = doctor()
    assert code == 1
    assert checks["runs-fsync"]["status"] == "failed"
    assert checks["out-fsync"]["status"] in ("ok", "warning")


def test_folders_elsewhere_are_tried_there(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("CODEX_ORCHESTRATOR_RUNS_DIR", str(tmp_path / "far" / "away"))
    code, checks = doctor()
    assert code == 0
    assert checks["runs-locks"]["detail"] == f"locks work in {tmp_path}/far/away"
    assert not (tmp_path / "far").exists()
    refuse_within(monkeypatch, tmp_path, "mkdir", errno.EACCES)
    assert doctor()[0] == 1


# ------------------------------------------------------------------ tools


def npm_repository(project):
    (project.root / "package.json").write_text("{}")


def node_guard(project):
    (project.root / "scripts").mkdir()
    (project.root / "scripts" / "spec-guard.mjs").write_text("")


def calls(command):
    def define(project):
        project.pipeline(command)

    define.__name__ = command.split()[0]
    return define


def reviews_by_codex(project):
    project.write({"review": {"command": "codex review --json"}})


def no_repository(project):
    (project.root / ".git").rmdir()
    project.write({})


def nothing(project):
    """A bare repository."""


@pytest.mark.parametrize(
    ("prepare", "required"),
    [
        (nothing, {"git"}),
        (no_repository, set()),
        (npm_repository, {"git", "node", "npm"}),
        (node_guard, {"git", "node"}),
        (reviews_by_codex, {"git", "codex"}),
        (calls("npx prettier --check ."), {"git", "node", "npm"}),
        (calls("cd web && node build.js"), {"git", "node"}),
        (calls("codex-orchestrator version; ./node x; cat a/npm; mynode; node.js"), {"git"}),
    ],
)
def test_a_missing_tool_is_a_warning_where_it_is_called_for(project, doctor, tools, prepare, required):
    prepare(project)
    code, checks = doctor()
    assert code == 0
    assert {name for name in TOOLS if checks[name]["required"]} == required
    for name in TOOLS:
        (tools / name).unlink()
    # A run would start all the same, and leave out or fail what cannot be done.
    code, checks = doctor()
    assert code == 0
    for name in TOOLS:
        assert checks[name]["status"] == ("warning" if name in required else "ok"), name
        assert checks[name]["detail"].startswith("not found on PATH")
        assert name not in required or name in checks[name]["hint"].lower()


def test_a_missing_tool_is_told_with_the_way_to_mend_it(project, said, tools):
    npm_repository(project)
    (tools / "npm").unlink()
    (tools / "codex").unlink()
    code, out, _ = said("doctor")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    place = lines.index("warning npm not found on PATH")
    assert lines[place + 1] == "Install Node.js, which brings npm along, or put it on PATH."
    assert "ok codex not found on PATH, and not needed here" in lines
    assert lines[-1].startswith("A run would start, and not all of it would do its work: npm, ")


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("echo broken >&2; exit 3", "git --version ended with exit code 3 and said: broken"),
        ("exit 1", "git --version ended with exit code 1 and said: nothing"),
    ],
)
def test_a_tool_that_does_not_work_is_not_fine(doctor, tools, script, detail):
    put(tools, "git", script)
    code, checks = doctor()
    assert code == 0
    assert (checks["git"]["status"], checks["git"]["detail"]) == ("warning", detail)


def test_a_tool_that_hangs_is_not_fine(project, doctor, tools, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.2)
    os.mkfifo(project.root / "gate")
    put(tools, "git", f"read line < {project.root}/gate")
    code, checks = doctor()
    assert code == 0
    assert (checks["git"]["status"], checks["git"]["detail"]) == ("warning", "git did not end within 0.2 s.")


def test_a_tool_that_cannot_be_started_is_not_fine(doctor, tools):
    (tools / "git").write_text("#!/no/such/interpreter\n")
    (tools / "node").write_bytes(b"\0")
    code, checks = doctor()
    assert code == 0
    assert checks["git"]["status"] == "warning"
    assert checks["node"]["status"] == "warning"
    assert checks["node"]["detail"].startswith("node could not be started: ")


def test_no_path_at_all_is_no_crash(doctor, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, checks = doctor()
    assert code == 0
    assert checks["git"]["status"] == "warning"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_real_tools_say_their_versions(project):
    done = project.cli("doctor", "--format", "json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"git version \d.*", checks["git"]["detail"])
    assert re.match(r"3\.\d+", checks["python"]["detail"])


# ------------------------------------------------------------------ Python, configuration


def test_packages_that_are_missing_are_named(doctor, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name in ("filelock", "xdist") else object())
    code, checks = doctor()
    assert code == 1
    assert checks["python"]["status"] == "failed"
    assert checks["python"]["detail"].endswith(", without pytest-xdist, filelock")
    assert checks["python"]["hint"].endswith(" -m pip install pytest-xdist filelock")
    assert "runs-locks" not in checks
    assert checks["runs-fsync"]["status"] in ("ok", "warning")


def test_without_workers_runs_can_do(doctor, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "xdist" else object())
    code, checks = doctor()
    assert (code, checks["python"]["status"]) == (0, "warning")
    assert checks["python"]["detail"].endswith(", without pytest-xdist")
    assert checks["python"]["hint"].endswith(" -m pip install pytest-xdist")


def test_every_package_that_we_depend_on_is_looked_for():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert list(module._PACKAGES.values()) == [re.split(r"[<>=]", line)[0] for line in declared]


def test_a_configuration_that_cannot_be_used_is_told_with_its_line(project, said, tools):
    project.write('{\n  "pipelines": [],\n  "nonsense": 1\n}')
    code, out, err = said("doctor")
    assert (code, err) == (1, "")
    (line,) = (line for line in out.splitlines() if line.startswith("failed"))
    assert re.match(r"failed   configuration  codex\.orchestrator\.json:3: nonsense: ", line)
    assert f"Mend {project.root}/codex.orchestrator.json." in out
    assert out.splitlines()[-1] == "No run would start: configuration."


def test_a_configuration_is_told_with_its_pipelines(project, doctor):
    assert doctor()[1]["configuration"]["detail"].startswith("no codex.orchestrator.json here; pipelines: ")
    project.pipelines(one=["true"], two=["true"])
    assert doctor()[1]["configuration"]["detail"].startswith("codex.orchestrator.json; pipelines: one, two")


def test_a_plugin_that_is_not_there_keeps_every_run_from_starting(project, doctor):
    project.write({"plugins": ["json", "no_such_plugin.at_all"]})
    code, checks = doctor()
    assert code == 1
    assert checks["plugin json"]["status"] == "ok"
    assert checks["plugin no_such_plugin.at_all"]["status"] == "failed"
    assert project.cli("start", "docs-review").returncode == 2


# ------------------------------------------------------------------ pipelines


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("no-such-tool --all", "no-such-tool is not installed"),
        ("X=1 no-such-tool", "no-such-tool is not installed"),
        ("git --version && no-such-tool", "no-such-tool is not installed"),
        ("scripts/check.sh", "there is no scripts/check.sh"),
        ("npm run missing", "there is no package.json"),
        ({"command": "true", "skip": "not today"}, "not today"),
    ],
)
def test_what_a_stage_lacks_is_told_with_its_pipeline(project, doctor, stage, reason):
    project.pipeline(stage)
    code, checks = doctor()
    assert code == 0
    check = checks["pipeline work"]
    assert (check["status"], check["detail"]) == ("warning", f"1 of 1 stage cannot run here\ns1: {reason}")


@pytest.mark.parametrize(
    "command",
    [
        *("echo x", "cd a && no-such-tool", "$TOOL x", "for x in 1; do no-such-tool; done", "'unended"),
        *("git --version | cat-is-not-looked-for", "npm install", "codex"),
    ],
)
def test_what_cannot_be_told_before_is_not_told(project, doctor, tools, command):
    put(tools, "cat-is-not-looked-for", "exit 0")
    project.pipeline(command)
    assert doctor()[1]["pipeline work"]["status"] == "ok"


def test_what_scripts_lack_is_told_with_the_way_to_mend_it(project, said, tools):
    document = {"scripts": {"test": "vitest"}, "devDependencies": {"vitest": "3"}}
    (project.root / "package.json").write_text(json.dumps(document))
    project.pipelines(own=["npm run test", "npm run build"])
    code, out, _ = said("doctor")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    place = lines.index("warning pipeline own 2 of 2 stages cannot run here")
    assert code == 0
    assert lines[place + 1 : place + 4] == [
        "s1: node_modules is not there",
        's2: package.json has no script "build"',
        "npm install",
    ]


def test_a_stage_for_a_cluster_needs_one_to_be_named(project, doctor):
    project.pipelines(here=["true"], there=[{"command": "true", "executionMode": "cloud"}])
    code, checks = doctor()
    assert code == 0
    assert checks["pipeline here"]["status"] == "ok"
    assert checks["pipeline there"]["status"] == "warning"
    assert checks["pipeline there"]["detail"] == "for a cluster: s1\nNo cluster is named."


def test_little_room_on_the_disk_is_a_warning(doctor, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=50 * 1024 * 1024))
    code, checks = doctor()
    assert (code, checks["disk"]["status"]) == (0, "warning")
    assert checks["disk"]["detail"].startswith("50 MiB free")


# ------------------------------------------------------------------ folders


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_folders_that_cannot_be_written_are_not_fine(project, doctor, monkeypatch, number):
    refuse_within(monkeypatch, project.root, "mkdir", number)
    code, checks = doctor()
    assert code == 1
    for name, variable in (("runs", "RUNS_DIR"), ("out", "OUT_DIR")):
        for what in ("fsync", "locks"):
            check = checks[f"{name}-{what}"]
            assert check["status"] == "failed"
            assert check["detail"].startswith(f"Cannot make the folder {project.root}/.probe-")
            assert check["detail"].endswith(f": {os.strerror(number)}.")
            assert f"CODEX_ORCHESTRATOR_{variable}" in check["hint"]


def test_a_file_in_place_of_a_folder_is_not_fine(project, doctor):
    (project.root / ".runs").write_text("a file\n")
    (project.root / "out").symlink_to("nowhere")
    code, checks = doctor()
    assert code == 1
    assert {name for name, check in checks.items() if check["status"] == "failed"} == set(FOLDERS)


def test_a_disk_that_does_not_sync_is_not_fine(doctor, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusal(errno.EIO))
    code, checks = doctor()
    assert code == 1
    assert checks["runs-fsync"]["status"] == "failed"
    assert "Input/output error" in checks["runs-fsync"]["detail"]
    assert checks["runs-locks"]["status"] == "ok"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_a_warning(project, doctor, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", refusal(number))
    code, checks = doctor()
    assert code == 0
    assert checks["runs-locks"]["status"] == "warning"
    assert checks["runs-locks"]["required"] is True
    assert checks["runs-locks"]["detail"] == (
        f"the file system of {project.root}/.runs has no locks: files stand for them"
    )
    assert "CODEX_ORCHESTRATOR_RUNS_DIR" in checks["runs-locks"]["hint"]


def test_locks_that_keep_nobody_out_are_not_fine(project, doctor, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    code, checks = doctor()
    assert code == 1
    assert checks["runs-locks"]["status"] == "failed"
    assert checks["runs-locks"]["detail"] == f"locks in {project.root}/.runs keep nobody out"


def test_locks_that_break_are_not_fine(doctor, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusal(errno.EIO))
    code, checks = doctor()
    assert code == 1
    assert checks["out-locks"]["status"] == "failed"
    assert "Cannot lock" in checks["out-locks"]["detail"]


@pytest.mark.parametrize(("seconds", "status"), [(0.999, "ok"), (1.001, "warning")])
def test_a_slow_disk_is_a_warning(project, tools, seconds, status):
    class Slow(FakeClock):
        def monotonic(self) -> float:
            self.advance(seconds)
            return super().monotonic()

    checks = {check.name: check for check in run_checks(discover(project.root, os.environ), Slow())}
    assert checks["runs-fsync"].status == status
    assert f"in {seconds * 1000:.0f} ms in " in checks["runs-fsync"].detail
    assert (checks["runs-fsync"].hint is None) is (status == "ok")
