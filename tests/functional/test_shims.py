"""The scripts that ``init`` writes for callers of the MCP runner, on real bash and Node."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.scaffold.placing import write_starter_file
from codex_orchestrator.scaffold.scripts import TEMPLATES, script_files
from tests.support.environment import clean_environment
from tests.support.processes import until

RUNNER, METRICS = "scripts/agents_mcp_runner.mjs", "scripts/mcp-runner-metrics.js"
START, POLL = "scripts/mcp-runner-start.sh", "scripts/mcp-runner-poll.sh"
SHIMS = (RUNNER, METRICS, START, POLL)
NODES = (RUNNER, METRICS)

# What the shims and their interpreters need of PATH, and no Python.
TOOLS = ("bash", "dirname", "node")

# Says how it was called, and ends with a code of its own.
FAKE = """\
#!/bin/sh
echo "{name}"
for word; do echo "word $word"; done
echo "task $MCP_RUNNER_TASK_ID"
echo "root $CODEX_ORCHESTRATOR_ROOT"
exit 42
"""


def interpreter(shim: str) -> str:
    return "node" if shim in NODES else "bash"


needs = {
    name: pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed") for name in TOOLS
}


def on_each(shims=SHIMS):
    return [pytest.param(shim, marks=needs[interpreter(shim)], id=Path(shim).name) for shim in shims]


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Repository:
    """A repository with the shims, and what is on PATH there."""

    def __init__(self, root: Path, bin_folder: Path) -> None:
        self.root = root
        self.bin = bin_folder
        self.environment = {**clean_environment(), "PATH": str(bin_folder), "MCP_RUNNER_TASK_ID": "task-1"}
        bin_folder.mkdir()
        for name in TOOLS:
            if found := shutil.which(name):
                (bin_folder / name).symlink_to(found)
        for file in script_files():
            assert write_starter_file(root, file, force=False).outcome == "written"

    def command(self, shim: str, *words: str) -> list[str]:
        return [str(self.bin / interpreter(shim)), str(self.root / shim), *words]

    def run(self, shim: str, *words: str, cwd=None, **variables) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(shim, *words),
            cwd=cwd or self.root,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def install(self) -> None:
        """Put this very codex-orchestrator on PATH, and what its stages need."""
        program(
            self.bin / "codex-orchestrator", f'#!/bin/sh\nexec {sys.executable} -m codex_orchestrator "$@"\n'
        )
        self.environment["PATH"] = os.pathsep.join([str(self.bin), os.defpath])


@pytest.fixture
def repository(project, tmp_path) -> Repository:
    return Repository(project.root, tmp_path / "bin")


def fake(path: Path) -> Path:
    """A codex-orchestrator that says where it is and how it was called."""
    return program(path, FAKE.format(name=path))


# ------------------------------------------------------------------ words, variables, exit codes


@pytest.mark.parametrize(
    ("shim", "words", "passed"),
    [
        (START, "", "start"),
        (START, "checks --target a --format json", "start checks --target a --format json"),
        (START, "--resume R --reason again", "resume --run R --reason again"),
        (START, "--resume", "resume --run"),
        (POLL, "", "status"),
        (POLL, "R", "status --run R"),
        (POLL, "R --watch --interval 5", "status --run R --watch --interval 5"),
        (POLL, "--run R", "status --run R"),
        (RUNNER, "", ""),
        (RUNNER, "start checks --format json", "start checks --format json"),
        (RUNNER, "poll R --watch", "status --run R --watch"),
        (RUNNER, "poll --watch", "status --watch"),
        (RUNNER, "status --run R", "status --run R"),
        (RUNNER, "resume --run-id R --resume-token abc", "resume --run R --token abc"),
        (RUNNER, "resume --run-id=R --resume-token=abc", "resume --run=R --token=abc"),
        (RUNNER, "resume R --reason --run-identical", "resume --run R --reason --run-identical"),
        (RUNNER, "logs -f --stage build", "logs -f --stage build"),
        (METRICS, "", "metrics"),
        (METRICS, "--task T --format json", "metrics --task T --format json"),
    ],
)  # fmt: skip
def test_words_variables_and_exit_code_are_passed_on(repository, shim, words, passed):
    if shutil.which(interpreter(shim)) is None:
        pytest.skip(f"{interpreter(shim)} is not installed")
    found = fake(repository.bin / "codex-orchestrator")
    done = repository.run(shim, *words.split())
    told = [f"word {word}" for word in passed.split()]
    assert done.stdout.splitlines() == [str(found), *told, "task task-1", f"root {repository.root}"]
    assert (done.returncode, done.stderr) == (42, "")


@pytest.mark.parametrize("shim", on_each())
def test_words_are_passed_on_as_they_are(repository, shim):
    fake(repository.bin / "codex-orchestrator")
    words = ["--reason", "a  b", "$HOME", "*", "", "'\"\\"]
    done = repository.run(shim, "start", *words) if shim == RUNNER else repository.run(shim, *words)
    told = [line.removeprefix("word ") for line in done.stdout.splitlines() if line.startswith("word ")]
    assert told[1:] == words


@pytest.mark.parametrize("shim", on_each())
def test_the_repository_is_the_one_of_the_script_unless_another_is_named(repository, tmp_path, shim):
    fake(repository.bin / "codex-orchestrator")
    assert f"root {repository.root}\n" in repository.run(shim, cwd=tmp_path).stdout
    named = repository.run(shim, CODEX_ORCHESTRATOR_ROOT=str(tmp_path)).stdout
    assert f"root {tmp_path}\n" in named
    assert f"root {repository.root}\n" in repository.run(shim, CODEX_ORCHESTRATOR_ROOT="").stdout


# ------------------------------------------------------------------ which codex-orchestrator


@pytest.mark.parametrize("shim", on_each())
def test_the_projects_own_comes_first(repository, tmp_path, shim):
    on_path = fake(repository.bin / "codex-orchestrator")
    own = fake(repository.root / ".venv" / "bin" / "codex-orchestrator")
    active = fake(tmp_path / "active" / "bin" / "codex-orchestrator")

    def called(**variables) -> str:
        return repository.run(shim, **variables).stdout.splitlines()[0]

    assert called(VIRTUAL_ENV=str(tmp_path / "active")) == str(active)
    assert called() == str(own)
    # An environment that has none does not hide the project's.
    assert called(VIRTUAL_ENV=str(tmp_path / "none")) == str(own)
    own.unlink()
    assert called() == str(on_path)


@pytest.mark.parametrize("shebang", ["#!/usr/bin/env node", "#!/usr/bin/node --no-warnings"])
@pytest.mark.parametrize("shim", on_each())
def test_the_command_of_the_node_package_is_passed_over(repository, tmp_path, shim, shebang):
    program(tmp_path / "npm" / "codex-orchestrator", f"{shebang}\nprocess.exit(1)\n")
    fake(repository.root / "node_modules" / ".bin" / "codex-orchestrator")
    # A folder's name is no interpreter.
    ours = fake(tmp_path / "node" / "bin" / "codex-orchestrator")
    ours.write_text(f"#!{tmp_path}/node/bin/sh\n" + ours.read_text().partition("\n")[2])
    (ours.parent / "sh").symlink_to("/bin/sh")
    (repository.bin / "codex-orchestrator").mkdir()
    folders = [
        repository.bin,
        repository.root / "node_modules" / ".bin",
        tmp_path / "npm",
        tmp_path / "none",
        ours.parent,
    ]
    done = repository.run(shim, PATH=os.pathsep.join(map(str, folders)))
    assert (done.stdout.splitlines()[:1], done.stderr) == ([str(ours)], "")


@pytest.mark.parametrize("shim", on_each())
def test_without_the_command_the_module_does(repository, shim):
    program(repository.bin / "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = repository.run(shim, *(["version"] if shim == RUNNER else ["--help"]))
    assert done.returncode == 0, done.stderr
    assert "codex-orchestrator" in done.stdout


@pytest.mark.parametrize("broken", [None, "#!/bin/sh\nexit 1\n"], ids=["no-python", "python-without"])
@pytest.mark.parametrize("shim", on_each())
def test_without_either_it_says_so_and_does_not_look_like_a_failed_run(repository, shim, broken):
    if broken is not None:
        program(repository.bin / "python3", broken)
    done = repository.run(shim)
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "error: codex-orchestrator was not found: install it, or put it on PATH.\n"


@needs["node"]
@pytest.mark.parametrize("shim", NODES)
def test_one_that_cannot_be_started_is_named(repository, shim):
    path = program(repository.bin / "codex-orchestrator", "#!/no/such/interpreter\n")
    done = repository.run(shim)
    assert done.returncode == 126
    assert done.stderr.startswith(f"error: {path} could not be started: ")


@needs["node"]
@pytest.mark.parametrize("kind", ["module", "commonjs"])
@pytest.mark.parametrize("shim", NODES)
def test_the_scripts_work_in_both_kinds_of_packages(repository, shim, kind):
    (repository.root / "package.json").write_text(json.dumps({"type": kind}))
    fake(repository.bin / "codex-orchestrator")
    done = repository.run(shim)
    assert (done.returncode, done.stderr) == (42, "")


# ------------------------------------------------------------------ real runs


@needs["bash"]
@needs["node"]
def test_a_run_is_started_polled_resumed_and_summed_up(project, repository):
    repository.install()
    stages = [
        {"id": "build", "command": "echo built for $MCP_RUNNER_TASK_ID"},
        {"id": "spec-guard", "command": "test -e fixed"},
    ]
    project.pipeline(*stages, name="checks")

    started = repository.run(START, "checks", "--approval-policy", "never", "--format", "json")
    answer = json.loads(started.stdout)
    assert (started.returncode, answer["status"]) == (1, "failed")
    assert project.manifest()["approval_policy"] == "never"
    run_id = answer["run_id"]

    polled = repository.run(POLL, run_id, "--format", "json")
    assert (polled.returncode, json.loads(polled.stdout)["status"]) == (0, "failed")
    polled = repository.run(RUNNER, "poll", run_id, "--watch")
    assert (polled.returncode, polled.stdout) == (0, "failed, finished: 2 of 2 stages\n")

    (project.root / "fixed").touch()
    token = json.loads((project.runs()[-1] / "resume-token.json").read_text())["token"]
    wrong = repository.run(RUNNER, "resume", "--run-id", run_id, "--resume-token", "0" * 64)
    assert wrong.returncode == 2
    resumed = repository.run(RUNNER, "resume", "--run-id", run_id, "--resume-token", token)
    assert resumed.returncode == 0, resumed.stderr
    again = repository.run(START, "--resume", run_id)
    assert again.returncode == 0, again.stderr
    assert f"Run resumed: {run_id}" in again.stdout

    metrics = json.loads(repository.run(METRICS, "--format", "json").stdout)
    assert {key: metrics[key] for key in ("task_id", "entries_total", "entries_succeeded")} == {
        "task_id": "task-1",
        "entries_total": 1,
        "entries_succeeded": 1,
    }
    assert repository.run(POLL, "no-such-run").returncode == 2
    assert repository.run(RUNNER).returncode == 2


@pytest.mark.parametrize("shim", on_each((RUNNER, START)))
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_signal_cancels_the_run(project, live, repository, shim, number):
    repository.install()
    project.pipeline(live.GATE)
    words = ["start", "work"] if shim == RUNNER else ["work"]
    process = subprocess.Popen(
        repository.command(shim, *words),
        cwd=project.root,
        env=repository.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until((project.root / "pid").exists, "the stage")
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    finally:
        process.kill()
        process.wait()
    assert project.manifest()["status_detail"] == f"cancelled:{number.name}"


# Makes the terminal on its input its own, as a login shell does.
TAKE_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

# Counts interrupts, and says how many there were when it is asked to end.
COUNTER = """\
#!{python}
import os, signal, sys
count = 0
def say(text):
    # At once: a signal may come while something is being printed.
    os.write(1, f"{{text}}\\n".encode())
def interrupted(*_):
    global count
    count += 1
    say("interrupted")
def ended(*_):
    say(f"interrupts: {{count}}")
    sys.exit(7)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, ended)
say("up")
while True:
    signal.pause()
"""


@needs["node"]
def test_an_interrupt_of_the_terminal_reaches_the_run_once(repository):
    program(repository.bin / "codex-orchestrator", COUNTER.format(python=sys.executable))
    controller, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *repository.command(RUNNER, "start")],
        env=repository.environment,
        stdin=inside,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == b"up\n"
        os.write(controller, b"\x03")
        assert process.stdout.readline() == b"interrupted\n"
        # Node takes signals in turn: when it passes this one on, it is done with the one before.
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"interrupts: 1\n"
        assert process.wait(60) == 7
    finally:
        process.kill()
        process.communicate()
        os.close(controller)
        os.close(inside)


# ------------------------------------------------------------------ the templates themselves


def test_every_mark_of_a_template_is_filled_in(repository):
    for shim in SHIMS:
        text = (repository.root / shim).read_text()
        assert "@delegate" not in text
        assert "delegate() {" in text or "function delegate(" in text
        assert str(TEMPLATES.parents[1]) not in text


@pytest.mark.parametrize("shim", on_each())
def test_the_scripts_are_well_formed(repository, shim):
    check = "--check" if shim in NODES else "-n"
    command = [str(repository.bin / interpreter(shim)), check, str(repository.root / shim)]
    assert subprocess.run(command, capture_output=True, check=False).stderr == b""
