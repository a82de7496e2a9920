"""Plugins that follow runs by the ``pytest_codex_*`` hooks, and change what is planned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support import hook_recorder
from tests.support.environment import needs_xdist
from tests.support.projects import named

RECORDER = Path(hook_recorder.__file__)
START = ("start", "--format", "json")
# By the name of a way to run pipelines, the words of it; the pipeline's id completes them.
WAYS = {
    "start": START,
    "start --jobs": (*START, "--jobs", "3"),
    "pytest": ("--codex-pipeline",),
    "pytest --codex-jobs": ("--codex-jobs=3", "--codex-pipeline"),
    "pytest -n": ("-n2", "--codex-pipeline"),
}
every_way = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=needs_xdist if "-n" in way else ()) for way in WAYS]
)
both_ways = pytest.mark.parametrize("way", ["start", "pytest"])


@pytest.fixture
def plug(project):
    """Give the project plugins: their modules' sources by name, all of them named by its definitions."""

    def give(*stages, others=None, plugins=("recorder",), capacities=None, **sources):
        (project.root / "recorder.py").write_text(RECORDER.read_text(encoding="utf-8"), encoding="utf-8")
        for name, source in sources.items():
            (project.root / f"{name}.py").write_text(source, encoding="utf-8")
        pipelines = {"work": stages, **(others or {})}
        defined = [{"id": name, "title": name, "stages": named(given)} for name, given in pipelines.items()]
        names = [*plugins, *(name for name in sources if name not in plugins)]
        project.write({"plugins": names, "resources": capacities or {}, "pipelines": defined})
        project.environment |= {"HOOKS": str(project.root / "hooks"), "PROJECT": str(project.root)}

    return give


@pytest.fixture
def go(project):
    """Run the pipeline ``work`` in a way."""

    def run(way="start", *words, **environment):
        command = project.cli if way.startswith("start") else project.pytest
        return command(*WAYS[way], "work", *words, environment=environment)

    return run


def calls(project) -> list[dict]:
    """What the recorder wrote down, in order."""
    path = project.root / "hooks"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def told(project) -> list[tuple[str, str]]:
    """The calls but for those of events: hook and node id."""
    return [(call["hook"], call["nodeid"]) for call in calls(project) if call["hook"] != "event"]


# ---------------------------------------------------------------- where plugins come from

HEARD = """\
from pathlib import Path

def pytest_codex_run_started(nodeid):
    with Path("heard").open("a") as file:
        file.write(f"{__name__} {nodeid}\\n")
"""


def heard(project) -> list[str]:
    """Which modules heard of a run, in order; whoever is loaded twice is in it twice."""
    path = project.root / "heard"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.removesuffix(" work") for line in lines]


def install(folder: Path, name: str, entry_points: str, **sources: str) -> None:
    """Make an installed distribution: its modules, and what installers leave of it."""
    (folder / f"{name}-1.0.dist-info").mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    (folder / f"{name}-1.0.dist-info" / "METADATA").write_text(metadata)
    (folder / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(entry_points)
    for module, source in sources.items():
        (folder / f"{module}.py").write_text(source)


@pytest.fixture
def site(project, tmp_path):
    """A folder whose distributions the project's commands find installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    project.environment["PYTHONPATH"] = str(folder)
    return folder


OURS = "[codex_orchestrator]\nears = ears_module\n"


@every_way
def test_an_installed_plugin_is_loaded_once(project, site, go, way):
    install(site, "ears", OURS, ears_module=HEARD)
    install(site, "no_ears", "[console_scripts]\nears = nothing:main\n")
    # Listed as well, or named by -p.
    for definitions, words in (
        ({}, ()),
        ({"plugins": ["ears_module"]}, ()),
        ({}, () if way.startswith("start") else ("-p", "ears_module")),
    ):
        project.write(
            {**definitions, "pipelines": [{"id": "work", "title": "Work", "stages": named(["true"])}]}
        )
        done = go(way, *words)
        assert done.returncode == 0, done.stderr
        assert heard(project) == ["ears_module"]


BESIDE = {
    "a module": ("ears", {"ears.py": HEARD}, "ears"),
    "a package": ("ears", {"ears/__init__.py": "from .inner import *", "ears/inner.py": HEARD}, "ears.inner"),
    "a module in a package": ("tools.ears", {"tools/__init__.py": "", "tools/ears.py": HEARD}, "tools.ears"),
    "a module in a folder": ("tools.ears", {"tools/ears.py": HEARD}, "tools.ears"),
}


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


@every_way
@pytest.mark.parametrize("case", BESIDE)
def test_a_plugin_beside_the_definition_file_is_found(project, go, way, case):
    name, files, told = BESIDE[case]
    lay(project.root, files)
    pipelines = [{"id": "work", "title": "Work", "stages": named(["true"])}]
    project.write({"plugins": [name], "pipelines": pipelines})
    done = go(way)
    assert done.returncode == 0, done.stderr
    assert heard(project) == [told]


def start_as_installed(project, below: str = "") -> subprocess.CompletedProcess[str]:
    """``start`` as the installed script is: without the current folder on Python's path."""
    return subprocess.run(
        [Path(sys.executable).with_name("codex-orchestrator"), "start", "work", "-q"],
        cwd=project.root / below,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_found_by_the_script_that_is_installed_and_from_a_folder_below(project):
    lay(project.root, {"ears.py": HEARD, "below/x": ""})
    project.write(
        {"plugins": ["ears"], "pipelines": [{"id": "work", "title": "W", "stages": named(["true"])}]}
    )
    assert start_as_installed(project).returncode == 0
    assert heard(project) == ["ears"]
    assert start_as_installed(project, "below").returncode == 0
    assert (project.root / "below" / "heard").read_text() == "ears work\n"


def test_what_is_installed_counts_more_than_what_lies_there(project, site, go):
    lay(site, {"ears.py": HEARD})
    lay(project.root, {"ears.py": "raise RuntimeError('the other one')"})
    project.write(
        {"plugins": ["ears"], "pipelines": [{"id": "work", "title": "W", "stages": named(["true"])}]}
    )
    done = start_as_installed(project)
    assert done.returncode == 0, done.stderr
    assert heard(project) == ["ears"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"other.py": ""}, "ModuleNotFoundError: No module named 'ears'"),
        ({"ears.py": "import other", "other.py": ""}, "ModuleNotFoundError: No module named 'other'"),
        ({"ears.py": "raise RuntimeError('not today')"}, "RuntimeError: not today"),
        ({"ears.py": "x = ("}, "SyntaxError: "),
    ],
)
def test_one_that_cannot_be_imported_from_there_is_refused(project, files, told):
    lay(project.root, files)
    project.write(
        {"plugins": ["ears"], "pipelines": [{"id": "work", "title": "W", "stages": named(["true"])}]}
    )
    done = start_as_installed(project)
    assert done.returncode == 2
    assert f'codex.orchestrator.json: plugins: "ears" cannot be imported: {told}' in done.stderr
    assert not (project.root / ".runs").exists()


def test_one_that_a_link_leads_out_to_is_not_run(project, tmp_path):
    (tmp_path / "outside.py").write_text(HEARD)
    (project.root / "ears.py").symlink_to(tmp_path / "outside.py")
    project.write(
        {"plugins": ["ears"], "pipelines": [{"id": "work", "title": "W", "stages": named(["true"])}]}
    )
    done = start_as_installed(project)
    assert done.returncode == 2
    assert "ears.py is a link that leads out of" in done.stderr


@both_ways
def test_a_plugin_of_pytests_that_is_listed_too_is_loaded_once(project, site, go, way):
    install(site, "ears", f"[pytest11]\nears = ears_module\n{OURS}", ears_module=HEARD)
    project.write(
        {"plugins": ["ears_module"], "pipelines": [{"id": "work", "title": "W", "stages": named(["true"])}]}
    )
    assert go(way).returncode == 0
    assert heard(project) == ["ears_module"]


@pytest.mark.parametrize("way", ["pytest", pytest.param("pytest -n", marks=needs_xdist)])
def test_a_plugin_that_is_named_hears(project, site, go, way):
    (site / "ears.py").write_text(HEARD)
    project.pipeline("true")
    assert go(way, "-p", "ears").returncode == 0
    assert heard(project) == ["ears"]


def test_an_installed_plugin_can_be_left_out_of_pytest(project, site, go):
    install(site, "ears", OURS, ears_module=HEARD)
    project.pipeline("true")
    assert go("pytest", "-p", "no:ears").returncode == 0
    words = ("-p", "pytest_codex.plugin", "--disable-plugin-autoload")
    assert go("pytest", *words).returncode == 0
    variable = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    assert go("pytest", "-p", "pytest_codex.plugin", **variable).returncode == 0
    assert heard(project) == []
    # These are for tests.
    assert go("start", **variable).returncode == 0
    assert heard(project) == ["ears_module"]


def test_an_entry_point_may_name_an_object(project, site, go):
    body = "class Ears:\n    def pytest_codex_run_started(self, nodeid):\n        raise ValueError(nodeid)\n"
    install(
        site, "ears", "[codex_orchestrator]\nears = ears_module:ears\n", ears_module=f"{body}ears = Ears()\n"
    )
    project.pipeline("true")
    assert warnings(go()) == [
        "codex-orchestrator: plugin ears: pytest_codex_run_started raised ValueError: work"
    ]


def test_the_first_of_two_installations_counts(project, site, tmp_path, go):
    install(site, "ears", OURS, ears_module=HEARD)
    install(tmp_path / "far", "ears", "[codex_orchestrator]\nears = nowhere\n")
    project.environment["PYTHONPATH"] = os.pathsep.join([str(site), str(tmp_path / "far")])
    project.pipeline("true")
    assert go().returncode == 0
    assert heard(project) == ["ears_module"]


UNUSABLE = {
    "missing": (None, "cannot be imported: ModuleNotFoundError: No module named 'ears_module'"),
    "broken": ("raise RuntimeError('not today')", "cannot be imported: RuntimeError: not today"),
    "skips": ("import pytest; pytest.skip('no', allow_module_level=True)", "cannot be imported: Skipped: no"),
    "wrong argument": ("def pytest_codex_event(evnt): pass", "cannot be used: PluginValidationError: "),
    "unknown hook": (
        "def pytest_codex_stage_finished(entry): pass",
        "implements pytest_codex_stage_finished, and there is no such hook",
    ),
}


@both_ways
@pytest.mark.parametrize("case", UNUSABLE)
def test_a_plugin_that_cannot_be_used_is_refused(project, site, go, way, case):
    source, said = UNUSABLE[case]
    sources = {} if source is None else {"ears_module": source}
    install(site, "ears", OURS, **sources)
    pipelines = [{"id": "work", "title": "Work", "stages": named(["touch ran"])}]
    for origin, definitions in (
        ('Installed plugin "ears" (ears 1.0)', {}),
        ('codex.orchestrator.json: plugins: "ears_module"', {"plugins": ["ears_module"]}),
    ):
        project.write({**definitions, "pipelines": pipelines})
        done = go(way)
        assert done.returncode == (2 if way == "start" else 4)
        assert f"{origin} {said}" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not (project.root / ".runs").exists()
        (site / "ears-1.0.dist-info" / "entry_points.txt").write_text("")


@both_ways
def test_a_plugin_may_implement_what_others_may_not_have(project, plug, go, way):
    optional = "import pytest\n\n@pytest.hookimpl(optionalhook=True)\ndef pytest_codex_later(entry): pass\n"
    plug("true", optional=optional)
    assert go(way).returncode == 0


def test_an_ordinary_test_run_takes_a_plugin_with_hooks(project, site):
    (site / "ears.py").write_text(HEARD)
    (project.root / "test_one.py").write_text("def test_one(): pass\n")
    assert project.pytest("-p", "ears").returncode == 0
    assert heard(project) == []


# ---------------------------------------------------------------- what is told, and when

FLAKY = "test -e tried && echo yes && exit; touch tried; echo no; exit 1"
STAGES = (
    "echo one; echo two >&2",
    {"id": "flaky", "command": FLAKY, "retries": 1, "needs": []},
    {"id": "sub", "kind": "subpipeline", "pipeline": "inner", "needs": []},
    {"id": "bad", "command": "echo bad; exit 3", "needs": []},
    {"id": "blocked", "command": "true", "needs": ["bad"]},
    {"id": "last", "command": "echo last", "needs": ["s1", "flaky", "sub"]},
)
INNER = ("echo in", "echo out")


@every_way
def test_every_call_comes_in_order_with_what_is_on_disk(project, plug, go, way):
    plug(*STAGES, others={"inner": INNER})
    done = go(way)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "plugin recorder" not in done.stderr
    seen = calls(project)
    assert {(call["main"], call["alone"], call["pid"]) for call in seen} == {(True, True, seen[0]["pid"])}
    by_run = defaultdict(list)
    for call in seen:
        by_run[call["run"]].append(call)
    assert sorted(by_run) == [folder.name for folder in project.runs()]
    for folder in project.runs():
        check_run(folder, by_run[folder.name])
    started = {call["nodeid"]: call["entry"] for call in seen if call["hook"] == "stage_started"}
    ended = {call["nodeid"]: call["entry"]["status"] for call in seen if call["hook"] == "stage_completed"}
    assert ended == {
        "work::s1": "succeeded",
        "work::flaky": "succeeded",
        "work::sub": "succeeded",
        "work::sub::s1": "succeeded",
        "work::sub::s2": "succeeded",
        "work::bad": "failed",
        "work::last": "succeeded",
    }
    assert set(started) == set(ended)
    assert {entry["status"] for entry in started.values()} == {"running"}


def check_run(folder: Path, seen: list[dict]) -> None:
    """What was told of one run, from its start to its end."""
    events = [call for call in seen if call["hook"] == "event"]
    assert "".join(call["line"] for call in events) == (folder / "runner.ndjson").read_text()
    # But for the last: by then the records are written, and the log is closed.
    assert all(call["is_last"] for call in events)
    assert [call["hook"] for call in seen[:2]] == ["run_started", "event"]
    assert [call["hook"] for call in seen[-2:]] == ["event", "run_completed"]
    assert [call["hook"].startswith("run") for call in seen].count(True) == 2
    final = json.loads((folder / "manifest.json").read_text())
    # Nothing was written after; only the file says when it was written.
    assert seen[-1]["on_disk"] == final
    assert seen[-1]["final"] == {**final, "heartbeat_at": None}
    assert final["metrics_recorded"] is True
    entries = {entry["id"]: entry for entry in final["commands"]}
    for nodeid in {call["nodeid"] for call in seen} - {seen[0]["nodeid"]}:
        check_stage([call for call in seen if call["nodeid"] == nodeid], entries[nodeid.rpartition("::")[2]])


def check_stage(seen: list[dict], entry: dict) -> None:
    """What was told of one stage."""
    hooks = [call["hook"] for call in seen]
    types = [json.loads(call["line"])["type"] for call in seen if call["hook"] == "event"]
    if entry["status"] == "pending":
        assert types == ["stage:skipped"]
        assert hooks == ["event"]
        return
    assert hooks[0] == "stage_started"
    assert hooks[-2:] == ["event", "stage_completed"]
    assert hooks.count("stage_started") == hooks.count("stage_completed") == 1
    assert types[-1] == "stage:completed"
    assert seen[-1]["entry"] == entry


def test_hooks_of_serial_stages_follow_each_other(project, plug, go):
    plug("true", {"id": "sub", "kind": "subpipeline", "pipeline": "inner"}, others={"inner": ["true"]})
    assert go().returncode == 0
    assert told(project) == [
        ("run_started", "work"),
        ("stage_started", "work::s1"),
        ("stage_completed", "work::s1"),
        ("stage_started", "work::sub"),
        ("run_started", "work::sub"),
        ("stage_started", "work::sub::s1"),
        ("stage_completed", "work::sub::s1"),
        ("run_completed", "work::sub"),
        ("stage_completed", "work::sub"),
        ("run_completed", "work"),
    ]


@needs_xdist
def test_output_is_told_while_the_stage_runs(project, plug, go):
    """The stage waits for what a hook makes of its first line."""
    opener = (
        "from pathlib import Path\n"
        "def pytest_codex_event(event):\n"
        "    if getattr(event, 'data', '').startswith('knock'):\n"
        "        Path('gate').write_text('through')\n"
    )
    for way in WAYS:
        gate = project.root / "gate"
        gate.unlink(missing_ok=True)
        os.mkfifo(gate)
        plug({"command": "echo knock; exec cat gate", "timeoutSeconds": 60}, opener=opener)
        assert go(way).returncode == 0, way


@pytest.mark.parametrize(
    "way", ["pytest", "pytest --codex-jobs", pytest.param("pytest -n", marks=needs_xdist)]
)
def test_several_pipelines_are_told_of_run_by_run(project, plug, go, way):
    add = MODIFY.format(body="return replace(pipeline, stages=[*stages, added('more')])")
    sub = {"id": "sub", "kind": "subpipeline", "pipeline": "inner"}
    plug("echo one", sub, others={"more": ["echo two", sub], "inner": ["echo in"]}, add=add)
    done = go(way, "--codex-pipeline=more")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = calls(project)
    assert {call["nodeid"] for call in seen if call["hook"] == "run_completed"} == {
        *("work", "work::sub"),
        *("more", "more::sub"),
    }
    assert len(project.runs()) == 4
    for folder in project.runs():
        check_run(folder, [call for call in seen if call["run"] == folder.name])
        manifest = json.loads((folder / "manifest.json").read_text())
        assert [entry["id"] for entry in manifest["commands"]].count("more") == 1


@both_ways
def test_a_resumed_run_tells_of_what_it_runs(project, plug, go, way):
    plug("true", "test -e fixed", others={})
    assert go(way).returncode == 1
    (project.root / "hooks").unlink()
    (project.root / "fixed").touch()
    again = ("resume", "--run", "latest") if way == "start" else ("--codex-resume=latest",)
    done = (project.cli if way == "start" else project.pytest)(*again)
    assert done.returncode == 0, done.stderr
    assert told(project) == [
        ("run_started", "work"),
        ("stage_started", "work::s2"),
        ("stage_completed", "work::s2"),
        ("run_completed", "work"),
    ]
    first = next(call for call in calls(project) if call["hook"] == "event")
    assert json.loads(first["line"])["type"] == "run:resumed"


def test_a_run_that_waits_has_not_completed(project, plug, go):
    plug({"id": "ok", "kind": "manual"}, "true")
    assert go().returncode == 3
    assert told(project) == [("run_started", "work")]
    (project.root / "hooks").unlink()
    assert project.cli("approve", "--run", "latest", "--stage", "ok").returncode == 0
    assert calls(project) == []
    assert project.resume().exit_code == 0
    assert told(project) == [
        ("run_started", "work"),
        ("stage_completed", "work::ok"),
        ("stage_started", "work::s2"),
        ("stage_completed", "work::s2"),
        ("run_completed", "work"),
    ]


@needs_xdist
def test_a_stage_whose_worker_dies_is_told_of_as_one_that_is_tried_again(project, plug, go, live):
    plug({"command": "test -e tried && exit; touch tried; kill -9 $PPID; cat gate", "retries": 1}, "echo on")
    done = go("pytest -n")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = project.runs()
    check_run(folder, calls(project))
    assert [hook for hook, nodeid in told(project) if nodeid == "work::s1"] == [
        "stage_started",
        "stage_completed",
    ]


MAX_CHUNKS = "CODEX_ORCHESTRATOR_EXEC_EVENT_MAX_CHUNKS"


@pytest.mark.parametrize(
    ("way", "asked", "kept"),
    [
        *(("start", asked, 0) for asked in (None, "", "0")),
        ("start", "9999999", None),
        *((way, "3", 3) for way in WAYS if "-n" not in way),
        pytest.param("pytest -n", "3", 3, marks=needs_xdist),
    ],
)
def test_a_completed_stage_comes_with_its_last_chunks(project, plug, go, way, asked, kept):
    plug("head -c 400000 /dev/zero | tr '\\0' x", "true")
    assert go(way, **({} if asked is None else {MAX_CHUNKS: asked})).returncode == 0
    seen = calls(project)
    lines = [call["line"] for call in seen if call["hook"] == "event" and "exec:chunk" in call["line"]]
    assert len(lines) > 3
    first, second = (call["chunks"] for call in seen if call["hook"] == "stage_completed")
    assert first == (lines if kept is None else lines[len(lines) - kept :])
    assert second == []


@both_ways
def test_what_is_no_number_of_chunks_is_refused(project, plug, go, way):
    plug("touch ran")
    done = go(way, **{MAX_CHUNKS: "many"})
    assert done.returncode == (2 if way == "start" else 4)
    assert f'{MAX_CHUNKS}: "many" is not a number of chunks.' in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project.root / ".runs").exists()


# ---------------------------------------------------------------- hooks that raise

RAISING = "def pytest_codex_{hook}():\n    {what}\n"
# In the order in which they are called first.
HOOKS = ("modify_pipeline", "run_started", "event", "stage_started", "stage_completed", "run_completed")


def warnings(done) -> list[str]:
    """What was said of plugins."""
    return [line for line in done.stderr.splitlines() if line.startswith("codex-orchestrator: plugin")]


@every_way
def test_a_hook_that_raises_is_one_warning_and_no_lost_run(project, plug, go, way):
    raising = "\n".join(RAISING.format(hook=hook, what='raise ValueError("not\\ntoday")') for hook in HOOKS)
    plug("echo one", "echo two", "exit 1", {"command": "true", "needs": []}, raising=raising)
    done = go(way)
    assert done.returncode == 1
    assert warnings(done) == [
        f"codex-orchestrator: plugin raising: pytest_codex_{hook} raised ValueError: not today"
        for hook in HOOKS
    ]
    (folder,) = project.runs()
    check_run(folder, calls(project))
    assert [entry["status"] for entry in project.manifest()["commands"]] == [
        *("succeeded", "succeeded", "failed"),
        "succeeded",
    ]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import pytest; pytest.fail('no')", "Failed: no"),
        ("import pytest; pytest.skip('no')", "Skipped: no"),
        ("raise SystemExit(7)", "SystemExit: 7"),
    ],
    ids=["error", "fail", "skip", "exit"],
)
def test_whatever_a_hook_raises_by_mistake_is_a_warning_for_each_plugin(project, plug, go, what, said):
    raising = "\n".join(RAISING.format(hook=hook, what=what) for hook in HOOKS)
    plug("true", "true", first=raising, second=raising)
    done = go()
    assert done.returncode == 0
    assert warnings(done) == [
        f"codex-orchestrator: plugin {plugin}: pytest_codex_{hook} raised {said}"
        for hook in HOOKS
        for plugin in ("second", "first")
    ]
    (folder,) = project.runs()
    check_run(folder, calls(project))


LEAVING = {
    "KeyboardInterrupt": ("raise KeyboardInterrupt", 2),
    "pytest.exit": ("import pytest; pytest.exit('enough', returncode=9)", 9),
}
# By hook, what has been run by the time that it is first called.
BEFORE = {
    "run_started": ["pending", "pending"],
    "stage_started": ["failed", "pending"],
    "event": ["pending", "pending"],
    "stage_completed": ["succeeded", "pending"],
    "run_completed": ["succeeded", "succeeded"],
}


@pytest.mark.parametrize(
    ("way", "how"),
    [
        *((way, "KeyboardInterrupt") for way in WAYS if "-n" not in way),
        pytest.param("pytest -n", "KeyboardInterrupt", marks=needs_xdist),
        *((way, "pytest.exit") for way in ("start", "pytest")),
    ],
)
def test_a_hook_that_ends_the_session_leaves_a_finished_run(project, plug, go, way, how):
    what, code = LEAVING[how]
    for hook, statuses in BEFORE.items():
        (project.root / "hooks").unlink(missing_ok=True)
        plug("touch ran-1", "touch ran-2", leaving=RAISING.format(hook=hook, what=what))
        done = go(way)
        manifest = project.manifest()
        assert [entry["status"] for entry in manifest["commands"]] == statuses, hook
        succeeded = hook == "run_completed"
        assert manifest["status"] == ("succeeded" if succeeded else "failed")
        if way.startswith("start") and how == "KeyboardInterrupt":
            expected = 130 if succeeded else 1
        else:
            expected = code
        assert done.returncode == expected, hook
        assert (project.root / "ran-1").exists() == (statuses[0] == "succeeded"), hook
        check_run(project.runs()[-1], calls(project))
        assert "Traceback" not in done.stdout + done.stderr
        for path in project.root.glob("ran-*"):
            path.unlink()


@both_ways
@pytest.mark.parametrize("how", LEAVING)
def test_a_hook_that_ends_the_session_before_it_began_leaves_nothing(project, plug, go, way, how):
    plug("touch ran", leaving=RAISING.format(hook="modify_pipeline", what=LEAVING[how][0]))
    done = go(way)
    if way == "start":
        assert done.returncode == (130 if how == "KeyboardInterrupt" else 1)
        told = "error: A plugin ended the session before it began: enough\n"
        assert done.stderr == ("" if how == "KeyboardInterrupt" else told)
    else:
        assert done.returncode == LEAVING[how][1]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project.root / ".runs").exists()


@every_way
def test_a_hook_that_leaves_while_a_command_runs_ends_it(project, plug, go, live, way):
    leaving = (
        "def pytest_codex_event(event):\n"
        "    if event.type == 'exec:chunk':\n"
        "        raise KeyboardInterrupt\n"
    )
    plug("echo $$ > pid; echo up; exec cat gate", "true", leaving=leaving)
    assert go(way).returncode == (1 if way.startswith("start") else 2)
    assert [entry["status"] for entry in project.manifest()["commands"]] == ["failed", "pending"]
    pid = int((project.root / "pid").read_text())
    live.until(lambda: not live.is_alive(pid), "the end of the command")


@both_ways
def test_a_hook_of_a_sub_pipelines_run_that_leaves_closes_both(project, plug, go, way):
    leaving = (
        "def pytest_codex_run_started(nodeid):\n    if '::' in nodeid:\n        raise KeyboardInterrupt\n"
    )
    plug({"kind": "subpipeline", "pipeline": "inner"}, "true", others={"inner": ["true"]}, leaving=leaving)
    assert go(way).returncode == (1 if way == "start" else 2)
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in project.runs()]
    assert [manifest["status"] for manifest in manifests] == ["failed", "failed"]
    assert [entry["status"] for entry in manifests[1]["commands"]] == ["pending"]


HANGING = """\
import signal
from pathlib import Path

def pytest_codex_event(event):
    if event.type == "exec:chunk":
        Path("hangs").touch()
        while True:
            signal.pause()
            Path("heard").touch()
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_second_signal_ends_a_hook_that_hangs(project, plug, live, jobs):
    plug("echo up", "true", hanging=HANGING)
    run = live.start("work", "--jobs", jobs)
    for sign in ("hangs", "heard"):
        live.until((project.root / sign).exists, f"the hook, which {sign}")
        run.signal(signal.SIGINT)
    code, _, err = run.finish()
    assert code == 130, err
    assert run.manifest["status"] == "cancelled"


# ---------------------------------------------------------------- plans that plugins change

MODIFY = """\
from dataclasses import replace
from codex_orchestrator.model.definitions import CommandStage, Pipeline, SubpipelineStage

def added(id, command="true", **keys):
    return CommandStage(kind="command", id=id, title=id, command=command, **keys)

def pytest_codex_modify_pipeline(config, pipeline):
    stages = pipeline.stages
    {body}
"""
# What the plugin does, by what becomes of the stages s1 and s2 of `work`, and of `only` of `inner`.
CHANGES = {
    "add": ("return replace(pipeline, stages=[*stages, added('more')])", ["s1", "s2", "sub", "more"]),
    "remove": ("return replace(pipeline, stages=[s for s in stages if s.id != 's1'])", ["s2", "sub"]),
    "reorder": ("return replace(pipeline, stages=tuple(reversed(stages)))", ["sub", "s2", "s1"]),
    "leave": ("return None", ["s1", "s2", "sub"]),
}


@both_ways
def test_plugins_change_what_runs(project, plug, go, way):
    sub = {"id": "sub", "kind": "subpipeline", "pipeline": "inner"}
    for body, expected in CHANGES.values():
        plug("true", "true", sub, others={"inner": ["true", "true"]}, modify=MODIFY.format(body=body))
        done = go(way)
        assert done.returncode == 0, done.stderr
        outer, inner = (json.loads((run / "manifest.json").read_text()) for run in project.runs()[-2:])
        assert [entry["id"] for entry in outer["commands"]] == expected
        assert [entry["id"] for entry in inner["commands"]] == [name for name in expected if name != "sub"]
        assert {entry["status"] for entry in (*outer["commands"], *inner["commands"])} == {"succeeded"}


@every_way
def test_plugins_change_commands_one_after_the_other(project, plug, go, way):
    wrap = (
        "return replace(pipeline, stages=[replace(s, command=f'WORD $({s.command})')"
        " if s.kind == 'command' else s for s in stages])"
    )
    sources = {word: MODIFY.format(body=wrap.replace("WORD", f"echo {word}")) for word in ("first", "second")}
    inner = {"id": "sub", "kind": "subpipeline", "pipeline": "inner"}
    plug("echo s1", inner, others={"inner": ["echo in"]}, **sources)
    assert go(way).returncode == 0
    outputs = [
        json.loads(call["line"])["data"] for call in calls(project) if "exec:chunk" in call.get("line", "")
    ]
    # As everywhere in pytest, who was registered last comes first.
    assert outputs == ["first second s1\n", "first second in\n"]
    plan = json.loads((project.runs()[0] / "plan.json").read_text())
    assert plan["pipeline"]["stages"][0]["command"] == "echo first $(echo second $(echo s1))"


def test_a_pipeline_that_a_plugin_brings_in_is_changed_too(project, plug, go):
    body = (
        "print(pipeline.id)\n"
        "    if pipeline.id == 'work':\n"
        "        new = SubpipelineStage(kind='subpipeline', id='sub', title='Sub', pipeline='other')\n"
        "        return replace(pipeline, stages=[s for s in stages if s.id == 's1'] + [new])\n"
        "    return replace(pipeline, stages=[*stages, added('more')])"
    )
    gone = {"kind": "subpipeline", "pipeline": "gone"}
    plug("true", gone, others={"other": ["true"], "gone": ["false"]}, modify=MODIFY.format(body=body))
    done = go()
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line in ("work", "other", "gone")] == [
        "work",
        "other",
    ]
    commands = [json.loads((run / "manifest.json").read_text())["commands"] for run in project.runs()]
    assert [[entry["id"] for entry in each] for each in commands] == [["s1", "sub"], ["s1", "more"]]


@both_ways
def test_a_resumed_run_is_held_to_the_changed_plan(project, plug, go, way):
    body = "return replace(pipeline, stages=[*stages, added('more', 'test -e fixed')])"
    plug("true", modify=MODIFY.format(body=body))
    assert go(way).returncode == 1
    again = ("resume", "--run", "latest") if way == "start" else ("--codex-resume=latest",)
    resume = project.cli if way == "start" else project.pytest
    (project.root / "fixed").touch()
    plug("true")
    refused = resume(*again)
    assert refused.returncode == (2 if way == "start" else 4)
    assert 'pipeline "work" has changed since: ' in refused.stdout + refused.stderr
    assert project.manifest()["status"] == "failed"
    plug("true", modify=MODIFY.format(body=body))
    done = resume(*again)
    assert done.returncode == 0, done.stderr
    assert len(project.runs()) == 1
    assert [entry["status"] for entry in project.manifest()["commands"]] == ["succeeded", "succeeded"]


def test_a_resumed_run_may_go_on_without_the_plugin(project, plug, go):
    plug("test -e fixed", modify=MODIFY.format(body="return replace(pipeline, stages=[*stages, added('x')])"))
    assert go().returncode == 1
    (project.root / "fixed").touch()
    plug("test -e fixed")
    run = project.resume("--accept-changes")
    assert run.exit_code == 0, run.stderr
    assert [entry["id"] for entry in run.manifest["commands"]] == ["s1"]


@both_ways
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7", "7"),
        ("return list(stages)", "[CommandStage(...)]"),
        ("return replace(pipeline, stages=None)", "Pipeline(...)"),
        ("return replace(pipeline, stages=[stages])", "Pipeline(...)"),
        ("return replace(pipeline, title=object())", "Pipeline(...)"),
        ("return replace(pipeline, stages=[replace(stages[0], retries='2')])", "Pipeline(...)"),
    ],
)
def test_an_answer_that_is_no_pipeline_is_a_warning(project, plug, go, way, body, said):
    plug("true", modify=MODIFY.format(body=body))
    done = go(way)
    assert done.returncode == 0
    (warning,) = warnings(done)
    start = (
        "codex-orchestrator: plugin modify: pytest_codex_modify_pipeline answered no well-formed Pipeline: "
    )
    assert warning.startswith(start)
    assert warning.removeprefix(start).startswith(said.partition("(")[0])
    assert [entry["id"] for entry in project.manifest()["commands"]] == ["s1"]


INVALID = {
    "unknown need": ("return replace(pipeline, stages=[added('x', needs=('nobody',))])", '"nobody"'),
    "duplicate id": ("return replace(pipeline, stages=[*stages, *stages])", 'duplicate stage id "s1"'),
    "cycle": (
        "return replace(pipeline, stages=[added('a', needs=('b',)), added('b', needs=('a',))])",
        "stages wait for each other: a → b → a",
    ),
    "another's id": (
        "return replace(pipeline, id='inner')",
        'work.id: belongs to another pipeline than "work": "inner"',
    ),
    "new id": (
        "return replace(pipeline, id='fresh')",
        'work.id: belongs to another pipeline than "work": "fresh"',
    ),
    "demand over capacity": (
        "return replace(pipeline, stages=[added('x', resources={'port': 3})])",
        'work.stages[0].resources.port: needs 3 of "port", and there is 2 of it',
    ),
    "no stages": ("return replace(pipeline, stages=())", "a pipeline needs at least one stage"),
    "unknown pipeline": (
        (
            "x = SubpipelineStage(kind='subpipeline', id='x', title='X', pipeline='nowhere')"
            "; return replace(pipeline, stages=[x])"
        ),
        '"nowhere"',
    ),
    "needs the cloud": (
        "return replace(pipeline, stages=[added('x', execution_mode='cloud')])",
        "No cluster is named.",
    ),
}


@both_ways
@pytest.mark.parametrize("case", INVALID)
def test_what_is_no_valid_definition_is_refused(project, plug, go, way, case):
    body, said = INVALID[case]
    others = {"inner": ["touch ran"]}
    plug("touch ran", others=others, capacities={"port": 2}, modify=MODIFY.format(body=body))
    done = go(way)
    assert done.returncode == (2 if way == "start" else 4), done.stderr
    assert done.stderr.count(said) == 1
    assert case == "needs the cloud" or "Plugins have made pipelines that are not valid: " in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (project.root / ".runs").exists()
    assert calls(project) == []


@both_ways
def test_a_target_that_a_plugin_has_taken_away_is_refused(project, plug, go, way):
    body = "return replace(pipeline, stages=stages[1:])"
    plug("true", "true", modify=MODIFY.format(body=body))
    flag = "--only" if way == "start" else "--codex-only=s1"
    done = go(way, *((flag, "s1") if way == "start" else (flag,)))
    assert done.returncode == (2 if way == "start" else 4)
    assert 'Unknown stage "s1" in pipeline "work".' in done.stderr
    assert not (project.root / ".runs").exists()


def test_plan_shows_what_is_defined(project, plug):
    plug("true", modify=MODIFY.format(body="return replace(pipeline, stages=[*stages, added('more')])"))
    answer = json.loads(project.cli("plan", "work", "--format", "json").stdout)
    assert [stage["id"] for stage in answer["stages"]] == ["s1"]
