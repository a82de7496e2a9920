"""Other people's plugins see the same stages, whichever way these run: in a row, at once, or on workers."""

from __future__ import annotations

import json

import pytest

from tests.support.environment import needs_xdist
from tests.support.runs import statuses

SERIAL, JOBS, WORKERS = "", "--codex-jobs=2", "-n 2"
every_way = pytest.mark.parametrize(
    "way", [SERIAL, JOBS, pytest.param(WORKERS, marks=needs_xdist)], ids=["serial", "jobs", "workers"]
)
# With `needs`, so that all of them can run at once.
ALONE: dict = {"needs": []}


@pytest.fixture
def go(project):
    """Run the pipeline with a plugin, which may be empty."""

    def run(way, plugin="", *words, ini="", **variables):
        (project.root / "plug.py").write_text(plugin, encoding="utf-8")
        (project.root / "pytest.ini").write_text(f"[pytest]\n{ini}", encoding="utf-8")
        asked = ("-p", "plug", "--codex-pipeline=work", *way.split(), *words)
        return project.pytest(*asked, environment={"PYTHONPATH": ".", **variables})

    return run


def said(project, name="said") -> list[str]:
    path = project.root / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


# ---------------------------------------------------------------- hooks around stages

SPANS = """\
import os
import pytest

def say(what):
    with open("said", "a") as file:
        file.write(f"{what} {os.environ.get('PYTEST_XDIST_WORKER', 'controller')}\\n")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.span = []
    say(f"begin {item.nodeid}")
    try:
        return (yield)
    finally:
        say(f"end {item.nodeid} {' '.join(item.span)}")
        del item.span

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.span.append(f"{report.when}:{report.outcome}")
    return report

def pytest_runtest_setup(item):
    say(f"setup {item.nodeid}")

def pytest_runtest_logreport(report):
    if report.when == "call":
        say(f"report {report.nodeid}")
"""


@every_way
def test_wrappers_are_once_around_each_stage_in_the_process_that_owns_the_run(project, go, way):
    project.pipeline("true", {"command": "exit 1", **ALONE}, {"kind": "manual", "needs": []})
    assert go(way, SPANS).returncode == 1
    lines = said(project)
    assert {line.split()[-1] for line in lines} == {"controller"}
    assert sorted(line.rpartition(" ")[0] for line in lines) == [
        *(f"begin work::s{number}" for number in (1, 2, 3)),
        "end work::s1 setup:passed call:passed teardown:passed",
        "end work::s2 setup:passed call:failed teardown:passed",
        "end work::s3 setup:passed call:failed teardown:passed",
        *(f"report work::s{number}" for number in (1, 2, 3)),
        *(f"setup work::s{number}" for number in (1, 2, 3)),
    ]


@every_way
def test_setting_up_comes_before_the_command(project, go, way):
    project.pipeline("cat ready", {"command": "cat ready", **ALONE})
    plugin = "def pytest_runtest_setup(item):\n    open('ready', 'w').write('set up')\n"
    assert go(way, plugin).returncode == 0


# ---------------------------------------------------------------- what keeps a stage from running

MARKED = """\
import pytest
def pytest_collection_modifyitems(items):
    items[1].add_marker({mark})
"""
IN_SETUP = """\
import pytest
def pytest_runtest_setup(item):
    if item.name == "s2":
        {act}
"""


@every_way
@pytest.mark.parametrize(
    ("plugin", "status", "shown"),
    [
        (MARKED.format(mark="pytest.mark.skip(reason='not today')"), "pending", "SKIPPED [1] work::s2: not"),
        (MARKED.format(mark="pytest.mark.skipif(True, reason='not today')"), "pending", "SKIPPED [1]"),
        (MARKED.format(mark="pytest.mark.xfail(run=False, reason='not today')"), "pending", "1 xfailed"),
        (IN_SETUP.format(act="pytest.skip('not today')"), "pending", "SKIPPED [1] work::s2: not today"),
        (IN_SETUP.format(act="raise ValueError('no')"), "failed", "ERROR work::s2 - ValueError: no"),
    ],
    ids=["skip", "skipif", "xfail", "skip in setup", "error in setup"],
)
def test_a_stage_that_a_plugin_keeps_from_running_does_not_run(project, go, way, plugin, status, shown):
    project.pipeline("true", {"command": "touch ran", **ALONE}, {"command": "true", **ALONE})
    done = go(way, plugin, "-rsxE")
    assert done.returncode == 1, done.stdout
    assert shown in done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert not (project.root / "ran").exists()
    assert statuses(project) == {"s1": "succeeded", "s2": status, "s3": "succeeded"}


# ---------------------------------------------------------------- plugins made for tests

REPEATING = """\
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call")
    return report
"""


@every_way
def test_a_stage_runs_once_whoever_repeats_its_call(project, go, way):
    project.pipeline("echo x >> ran; exit 1", {"command": "echo y >> ran", **ALONE})
    assert go(way, REPEATING).returncode == 1
    assert sorted(said(project, "ran")) == ["x", "y"]
    assert statuses(project) == {"s1": "failed", "s2": "succeeded"}


@every_way
def test_no_timeout_for_tests_ends_a_stage(project, go, way):
    project.pytest_words = []
    project.pipeline("exec sleep 0.5", {"command": "exec sleep 0.5", **ALONE})
    limits = "timeout = 0.2\nsession_timeout = 0.2\n"
    limits += "faulthandler_timeout = 0.2\nfaulthandler_exit_on_timeout = true\n"
    done = go(way, "", ini=limits)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(project) == {"s1": "succeeded", "s2": "succeeded"}


STRICT = """\
strict = true
filterwarnings = error
testpaths = nowhere
key_of_the_conftest = 1
addopts = -W error --strict-markers -m "not slow" --runslow --env prod -ra tests
"""


@every_way
def test_what_only_a_conftest_knows_disturbs_nothing(project, go, way):
    project.pipeline("true", {"command": "true", **ALONE})
    done = go(way, ini=STRICT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert statuses(project) == {"s1": "succeeded", "s2": "succeeded"}


@every_way
def test_the_variables_of_tests_do_not_reach_workers(project, go, way):
    project.pipeline("echo $PYTEST_ADDOPTS $PYTEST_PLUGINS")
    (project.root / "others.py").write_text(SPANS)
    done = go(way, PYTEST_ADDOPTS="--unknown-here -v", PYTEST_PLUGINS="others")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.split()[-1] for line in said(project)} == {"controller"}
    # What the stage runs is steered by them as ever.
    assert project.manifest()["commands"][0]["summary"] == "--unknown-here -v others"


# As pytest-cov does it.
COVERAGE = """\
import pytest

class Coverage:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session):
        result = yield
        session.testsfailed += 1
        return result

def pytest_addoption(parser):
    parser.addoption("--cov", dest="cov_source", action="append", default=[])

@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    if early_config.known_args_namespace.cov_source:
        early_config.pluginmanager.register(Coverage())
"""


@every_way
def test_thresholds_of_tests_do_not_make_a_run_red(project, go, way):
    project.pipeline("true")
    ini = "max_warnings = 0\naddopts = --cov=src\n"
    plugin = f"import warnings\n{COVERAGE}\ndef pytest_runtest_teardown():\n    warnings.warn('one')\n"
    done = go(way, plugin, ini=ini)
    assert done.returncode == 0, done.stdout
    assert "1 warning" in done.stdout
    # What somebody asks for is heeded.
    assert go(way, plugin, "--cov=src", ini=ini).returncode == 1


def test_no_plugin_makes_a_failed_run_exit_0(project, go):
    project.pipeline("exit 1")
    plugin = (
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_sessionfinish(session):\n"
        "    session.exitstatus = pytest.ExitCode.OK\n"
    )
    assert go(SERIAL, plugin).returncode == 1


@needs_xdist
def test_plugins_that_bring_something_from_workers_do_without(project, go):
    project.pipeline("true")
    plugin = (
        "def pytest_testnodedown(node, error):\n"
        "    if hasattr(node, 'workeroutput'):\n"
        "        node.workeroutput['what my half in the worker has measured']\n"
    )
    done = go(WORKERS, plugin)
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- a stage that runs the repo's tests

TESTS = "def test_a():\n    assert 0\ndef test_b():\n    pass\n"


def test_reports_and_memory_of_the_tests_in_a_stage_stay_theirs(project, go):
    (project.root / "test_it.py").write_text(TESTS)
    project.pipeline(
        "env -u PYTEST_ADDOPTS python -m pytest -p no:randomly; exit 1", {"command": "exit 1", **ALONE}
    )
    assert go(SERIAL, ini="addopts = --junitxml=report.xml\n").returncode == 1
    assert 'name="test_a"' in (project.root / "report.xml").read_text()
    known = json.loads((project.root / ".pytest_cache/v/cache/lastfailed").read_text())
    assert known == {"test_it.py::test_a": True}
    # The session of stages has its own.
    done = go(SERIAL, "", "--lf", "--junitxml=stages.xml", ini="addopts = --junitxml=report.xml\n")
    assert "2 failed" in done.stdout
    assert 'name="s2"' in (project.root / "stages.xml").read_text()
    assert 'name="test_a"' in (project.root / "report.xml").read_text()


def test_reporters_are_told_what_failed_and_where(project, go):
    project.pipeline("exit 1")
    plugin = (
        "def pytest_runtest_makereport(item, call):\n"
        "    if call.excinfo:\n"
        "        with open('said', 'w') as file:\n"
        "            print(isinstance(call.excinfo.value, AssertionError), item.location, file=file)\n"
        "            print(item._parallel_custom_item, file=file)\n"
    )
    assert go(SERIAL, plugin).returncode == 1
    assert said(project) == ["True ('work', 0, 'stage s1')", "True"]


SUGARY = """\
import pytest

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    manager = config.pluginmanager
    pytests = manager.get_plugin("terminalreporter")
    manager.unregister(pytests)
    own = type("Sugary", (type(pytests),), {"__module__": "sugary"})
    manager.register(own(config), "terminalreporter")
"""


@pytest.mark.parametrize("plugin", ["", SUGARY], ids=["pytest's own", "another"])
def test_the_view_is_drawn_beside_pytests_own_reporter_only(project, terminal, plugin):
    project.pipeline("true")
    (project.root / "plug.py").write_text(plugin)
    words = (*project.pytest_words, "-p", "plug", "--codex-pipeline=work")
    shown = terminal(*words, module="pytest", PYTHONPATH=".", TERM="xterm")
    assert shown.finish() == 0
    assert ("\x1b[?25l" in shown.text) == (not plugin)
    assert ("[1/1] s1: started" in shown.text) == bool(plugin)


# ---------------------------------------------------------------- sessions that break

BREAKING = """\
def pytest_runtest_logreport(report):
    if report.when == "call" and report.nodeid == "work::s1":
        raise RuntimeError("boom")
"""


@every_way
def test_what_a_broken_session_leaves_is_true(project, go, way):
    first = "echo one" if way == SERIAL else "until test -e up; do sleep 0.02; done; echo one"
    project.pipeline(first, {"command": "touch up; exec sleep 60", **ALONE})
    done = go(way, BREAKING)
    assert done.returncode == 3, done.stdout
    assert "INTERNALERROR> RuntimeError: boom" in done.stdout + done.stderr
    manifest = project.manifest()
    first, second = manifest["commands"]
    assert (first["status"], first["exit_code"], first["summary"]) == ("succeeded", 0, "one")
    if way == SERIAL:
        assert second["status"] == "pending"
        return
    assert (second["status"], second["exit_code"]) == ("failed", 143)
    assert second["summary"] == "Ended with the session, by RuntimeError: boom"
    error = json.loads((project.root / second["error_file"]).read_text())
    assert (error["reason"], error["details"]["exit_code"]) == ("command-execution-error", 143)
    assert manifest["status_detail"] == "stage:s2:error"
    assert manifest["summary"].startswith("Execution error: Ended with the session, by RuntimeError: boom\n")


@pytest.mark.parametrize("way", [JOBS, pytest.param(WORKERS, marks=needs_xdist)])
def test_a_hook_that_fails_in_the_place_of_a_call_leaves_one_story(project, go, way):
    project.pipeline("echo one")
    plugin = "def pytest_runtest_call(item):\n    raise ValueError('broke')\n"
    assert go(way, plugin).returncode == 1
    manifest = project.manifest()
    assert manifest["status_detail"] == "stage:s1:error"
    assert manifest["commands"][0]["status"] == "failed"
    assert manifest["commands"][0]["summary"] == "call: ValueError: broke"
