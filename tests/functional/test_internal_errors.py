"""What nobody expected: no error is lost or becomes success, and what is said of it can be pasted."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator import cli
from codex_orchestrator.cli import status

INTERNAL = 70


@pytest.fixture
def plug(project):
    """Give the project a plugin of its own, and a pipeline of one stage."""

    def give(plugin: str, command="true", **keys) -> None:
        (project.root / "plug.py").write_text(plugin, encoding="utf-8")
        stage = {"kind": "command", "id": "s1", "title": "S1", "command": command}
        pipeline = {"id": "work", "title": "Work", "stages": [stage]}
        project.write({"plugins": ["plug"], "pipelines": [pipeline], **keys})
        project.environment["PYTHONPATH"] = "."

    return give


# By hook, how the run has ended; None where none was opened.
RAISING = {
    "pytest_configure": None,
    "pytest_collection_finish": None,
    "pytest_runtest_logreport": "failed",
    "pytest_sessionfinish": "succeeded",
    "pytest_unconfigure": "succeeded",
}


@pytest.mark.parametrize(("hook", "status"), RAISING.items())
def test_an_error_in_any_hook_has_its_own_code_one_answer_and_a_report(project, plug, hook, status):
    plug(f"def {hook}():\n    raise RuntimeError('boom')\n")
    done = project.cli("start", "--format", "json")
    assert done.returncode == INTERNAL
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["message"]) == ("internal", "Internal error: RuntimeError: boom")
    head, _, rest = done.stderr.partition(
        "--- internal error ---\ncommand: codex-orchestrator start --format json\n"
    )
    report, _, told = rest.partition("\n--- end ---\n\n")
    assert "Traceback" not in head
    assert report.startswith("codex-orchestrator ")
    assert "\nPython " in report
    assert "pytest " in report.splitlines()[0]
    assert "plug.py" in report
    assert report.endswith("\nRuntimeError: boom")
    assert told.startswith("error: Internal error: RuntimeError: boom\n")
    if status is None:
        assert not project.runs()
        return
    manifest = project.manifest()
    assert manifest["status"] == status
    assert f"Run {manifest['run_id']}: {status}, {manifest['artifact_root']}." in error["hint"]


def test_a_report_shows_no_secrets(project, plug):
    plug("def pytest_sessionfinish():\n    raise RuntimeError('password=hunter2hunter2')\n")
    project.environment["CODEX_PRIVACY_GUARD_MODE"] = "enforce"
    done = project.cli("start", "--format", "json")
    assert done.returncode == INTERNAL
    assert "hunter2hunter2" not in done.stdout + done.stderr


def test_a_refusal_by_a_plugin_refuses_whichever_way(project, plug):
    plug(
        "import pytest\n"
        "@pytest.hookimpl(wrapper=True)\n"
        "def pytest_collection():\n"
        "    yield\n"
        "    raise pytest.UsageError('policy: not allowed')\n",
        command="touch ran",
    )
    done = project.cli("start", "--format", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == {
        "code": "usage",
        "message": "No run was opened: policy: not allowed.",
        "hint": None,
    }
    (project.root / "pytest.ini").write_text("[pytest]\nstrict = true\nkey_of_the_conftest = 1\n")
    done = project.pytest("--codex-pipeline=work")
    assert done.returncode == 4
    assert "policy: not allowed" in done.stderr
    assert not project.runs()
    assert not (project.root / "ran").exists()


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("session.testsfailed += 1", 1),
        ("raise KeyboardInterrupt", 130),
        ("__import__('pytest').exit('enough', returncode=9)", 9),
    ],
)
def test_what_else_a_session_ends_with_is_not_lost(project, plug, what, code):
    wrapper = "__import__('pytest').hookimpl(wrapper=True)"
    plug(f"@{wrapper}\ndef pytest_runtestloop(session):\n    result = yield\n    {what}\n    return result\n")
    done = project.cli("start", "--format", "json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["status"] == "succeeded"


def test_what_plugins_have_begun_ends_as_in_every_process(project, plug):
    plug(
        "import atexit, pathlib, threading, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(1)\n"
        "def leave(name):\n"
        "    time.sleep(0.2)\n"
        "    pathlib.Path(name).touch()\n"
        "def pytest_codex_run_completed():\n"
        "    pool.submit(leave, 'pool')\n"
        "    threading.Thread(target=leave, args=['thread']).start()\n"
        "    atexit.register(leave, 'atexit')\n"
    )
    assert project.cli("start").returncode == 0
    assert {"pool", "thread", "atexit"} <= {path.name for path in project.root.iterdir()}


def test_a_root_is_taken_as_it_is_spelled(project, tmp_path):
    root = tmp_path / "a$HOME"
    (root / ".git").mkdir(parents=True)
    project.root = root
    project.pipeline("pwd")
    done = project.start("work")
    assert (done.exit_code, done.entry("s1")["summary"]) == (0, str(root))


# ---------------------------------------------------------------- errors of our own


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), FileNotFoundError(2, "gone", "/x"), RecursionError()]
)
def test_an_error_of_our_own_is_told_like_any_other(monkeypatch, capsys, error):
    def run(_arguments):
        raise error

    monkeypatch.setattr(status, "run", run)
    assert cli.main(["status", "--format=json"]) == INTERNAL
    out, err = capsys.readouterr()
    told = json.loads(out)["error"]
    assert told["code"] == "internal"
    assert type(error).__name__ in told["message"]
    assert "--- internal error ---" in err


def test_a_report_names_the_command_without_its_token(monkeypatch, capsys):
    monkeypatch.setattr(status, "run", lambda _arguments: 1 // 0)
    words = ["resume", "--run", "latest", "--token", "open-sesame", "--token=open-sesame", "--actor=me"]
    monkeypatch.setattr("sys.argv", ["codex-orchestrator", *words])
    assert cli.main(["status"]) == INTERNAL
    err = capsys.readouterr().err
    assert (
        "command: codex-orchestrator resume --run latest --token REDACTED --token=REDACTED --actor=me\n"
        in err
    )


def test_an_error_of_our_own_under_text_prints_nothing_else(monkeypatch, capsys):
    monkeypatch.setattr(status, "run", lambda _arguments: 1 // 0)
    assert cli.main(["status"]) == INTERNAL
    assert capsys.readouterr().out == ""
