"""Other people's pytest hooks around a stage: once for each, whichever way stages run.

Where they run one after the other, the hooks are around the command itself (docs/reference/pytest-options.md,
"Hooks around a stage").
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.support.environment import needs_xdist
from tests.support.runs import statuses

every_way = pytest.mark.parametrize(
    "way",
    [
        *("start", "start --jobs=2", "pytest", "pytest --codex-jobs=2"),
        pytest.param("pytest -n2", marks=needs_xdist),
    ],
)
in_a_row = pytest.mark.parametrize("way", ["start", "pytest"])


@pytest.fixture
def go(project):
    """Run the pipeline with a plugin."""

    def run(plugin, way):
        (project.root / "plug.py").write_text(plugin, encoding="utf-8")
        kind, *words = way.split()
        if kind == "pytest":
            # Before pytest's own plugins: its logging breaks where a wrapper around it skips.
            words = ("-p", "plug", "--codex-pipeline=work", *words)
            return project.pytest(*words, environment={"PYTHONPATH": "."})
        definitions = json.loads((project.root / "codex.orchestrator.json").read_text())
        project.write({**definitions, "plugins": ["plug"]})
        return project.cli("start", "work", *words)

    return run


def lines(project, name: str) -> list[str]:
    path = project.root / name
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


# ---------------------------------------------------------------- how often

# All hooks around an item, with what tells one call of them from another; each implemented in four ways.
COUNTING = """\
import os
import pytest

HOOKS = {
    "pytest_runtest_logstart": "nodeid",
    "pytest_runtest_protocol": "item",
    "pytest_runtest_setup": "item",
    "pytest_runtest_call": "item",
    "pytest_runtest_teardown": "item",
    "pytest_runtest_makereport": "item, call",
    "pytest_runtest_logreport": "report",
    "pytest_runtest_logfinish": "nodeid",
    "pytest_exception_interact": "node, call, report",
}
WAYS = {
    "plain": {},
    "first": {"tryfirst": True},
    "wrapper": {"wrapper": True},
    "hookwrapper": {"hookwrapper": True},
}

def say(hook, way, nodeid=None, item=None, node=None, call=None, report=None):
    when = (call or report).when if call or report else "-"
    what = nodeid or (item or node or report).nodeid
    with open("said", "a") as file:
        process = os.environ.get("PYTEST_XDIST_WORKER", "owner")
        file.write(f"{hook.removeprefix('pytest_')} {way} {what} {when} {process}\\n")

def implementation(hook, way, arguments):
    given = ", ".join(f"{name}={name}" for name in arguments.split(", "))
    body = {"wrapper": "return (yield)", "hookwrapper": "yield"}.get(way, "return None")
    space = {"say": say}
    exec(f"def {hook}({arguments}):\\n say('{hook}', '{way}', {given})\\n {body}", space)
    return pytest.hookimpl(**WAYS[way])(space[hook])

def pytest_configure(config):
    for way in WAYS:
        plugin = type(way, (), {})()
        for hook, arguments in HOOKS.items():
            # A plain one is asked whether it runs the item itself, and comes after whoever does.
            if hook != "pytest_runtest_protocol" or "wrapper" in way:
                setattr(plugin, hook, implementation(hook, way, arguments))
        config.pluginmanager.register(plugin, f"counting-{way}")
"""
FOUR, TWO = ("plain", "first", "wrapper", "hookwrapper"), ("wrapper", "hookwrapper")
PHASES = ("setup", "call", "teardown")


def told_of(nodeid: str, *, phases=PHASES, fails=False) -> Counter:
    """All calls for an item that goes through these phases."""
    once = ["runtest_logstart", *(f"runtest_{phase}" for phase in phases), "runtest_logfinish"]
    calls = [f"{hook} {way} {nodeid} -" for hook in once for way in FOUR]
    calls += [f"runtest_protocol {way} {nodeid} -" for way in TWO]
    calls += [
        f"runtest_{hook} {way} {nodeid} {phase}"
        for hook in ("makereport", "logreport")
        for way in FOUR
        for phase in phases
    ]
    if fails:
        calls += [f"exception_interact {way} {nodeid} call" for way in FOUR]
    return Counter(f"{call} owner" for call in calls)


@every_way
def test_each_hook_is_called_once_for_each_stage_in_the_process_that_owns_the_run(project, go, way):
    project.pipeline(
        "true",
        {"command": "exit 1", "needs": []},
        {"command": "true", "needs": ["s2"]},
        {"command": "exit 1", "needs": [], "retries": 1},
        {"kind": "manual", "needs": []},
        {"command": "exit 1", "needs": [], "allowFailure": True},
    )
    assert go(COUNTING, way).returncode == 1
    expected = (
        told_of("work::s1")
        + told_of("work::s2", fails=True)
        # Held up by the one before.
        + told_of("work::s3", phases=("setup", "teardown"))
        + told_of("work::s4", fails=True)
        + told_of("work::s5", fails=True)
        + told_of("work::s6")
    )
    found = Counter(lines(project, "said"))
    assert (found - expected, expected - found) == (Counter(), Counter())


# ---------------------------------------------------------------- around what

# Each wrapper leaves its name for the command to find while it is active, and looks for what that has made.
AROUND = """\
import os
import pytest

def around(hook, way):
    name = f"around/{hook}-{way}"
    def enter(item):
        os.makedirs("around", exist_ok=True)
        open(name, "w").close()
    def leave(item):
        os.remove(name)
        with open("after", "a") as file:
            file.write(f"{hook}-{way} {os.path.exists(item.name)}\\n")
    if way == "wrapper":
        def implementation(item):
            enter(item)
            try:
                return (yield)
            finally:
                leave(item)
    else:
        def implementation(item):
            enter(item)
            yield
            leave(item)
    return pytest.hookimpl(**{way: True})(implementation)

def pytest_configure(config):
    for way in ("wrapper", "hookwrapper"):
        plugin = type(way, (), {})()
        for hook in ("protocol", "setup", "call", "teardown"):
            setattr(plugin, f"pytest_runtest_{hook}", around(hook, way))
        config.pluginmanager.register(plugin, way)
"""


@in_a_row
def test_in_a_row_wrappers_are_around_the_command_itself(project, go, way):
    project.pipeline("ls around; touch s1")
    assert go(AROUND, way).returncode == 0
    assert project.manifest()["commands"][0]["summary"].split() == [
        *("call-hookwrapper", "call-wrapper"),
        *("protocol-hookwrapper", "protocol-wrapper"),
    ]
    assert sorted(lines(project, "after")) == [
        *("call-hookwrapper True", "call-wrapper True"),
        *("protocol-hookwrapper True", "protocol-wrapper True"),
        *("setup-hookwrapper False", "setup-wrapper False"),
        *("teardown-hookwrapper True", "teardown-wrapper True"),
    ]


ACTING = """\
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_{hook}(item):
    {before}
    result = yield
    {after}
    return result
"""
SKIP, FAIL = "pytest.skip('not today')", "raise ValueError('no')"
# Where it acts, what it does there, and what becomes of the stage.
BEFORE_THE_COMMAND = [
    ("setup", SKIP, "", "pending"),
    ("setup", FAIL, "", "failed"),
    ("setup", "", SKIP, "pending"),
    ("setup", "", FAIL, "failed"),
    ("call", SKIP, "", "pending"),
    ("call", FAIL, "", "failed"),
]


def acting(hook: str, before: str, after: str) -> str:
    return ACTING.format(hook=hook, before=before, after=after)


@pytest.mark.parametrize(("hook", "before", "after", "status"), BEFORE_THE_COMMAND)
@in_a_row
def test_in_a_row_wrappers_come_before_the_command(project, go, way, hook, before, after, status):
    project.pipeline("touch ran")
    done = go(acting(hook, before, after), way)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert not (project.root / "ran").exists()
    assert statuses(project) == {"s1": status}


@pytest.mark.parametrize(("before", "after"), [(SKIP, ""), ("", SKIP)])
@every_way
def test_a_skip_never_makes_a_run_green_that_has_not_run_its_stage(project, go, way, before, after):
    project.pipeline("exit 1")
    done = go(acting("call", before, after), way)
    assert done.returncode == 1, done.stdout + done.stderr
    assert statuses(project)["s1"] != "succeeded"


@pytest.mark.parametrize("hook", PHASES)
@every_way
def test_an_error_in_a_wrapper_is_never_a_success(project, go, way, hook):
    project.pipeline("touch ran")
    done = go(acting(hook, "", FAIL), way)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ValueError: no" in done.stdout + done.stderr
    assert statuses(project) == {"s1": "failed"}
    assert project.manifest()["status"] == "failed"
    assert project.manifest()["commands"][0]["summary"] == f"{hook}: ValueError: no"
