"""Workers and releases of pytest-xdist that stages cannot run on are refused before anything is written."""

from __future__ import annotations

import pytest

from codex_orchestrator.engine import MESSAGES
from tests.support.environment import needs_xdist

pytestmark = needs_xdist

OF_LATER = "import codex_orchestrator.engine.messages as messages\nmessages.MESSAGES += 1\n"
OF_ANOTHER = "import pytest_codex.scheduling as scheduling\nscheduling.__version__ = '9.9'\n"


@pytest.fixture
def refused(project):
    """Run the pipeline with a plugin on two workers, which is refused; the answer is what is said."""

    def run(plugin: str) -> str:
        project.pipeline("touch ran")
        (project.root / "plug.py").write_text(plugin, encoding="utf-8")
        words = ("-p", "plug", "-n2", "--codex-pipeline=work")
        done = project.pytest(*words, environment={"PYTHONPATH": "."})
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == pytest.ExitCode.USAGE_ERROR, said
        assert "Traceback" not in said
        assert "INTERNALERROR" not in said
        assert not (project.root / "ran").exists()
        assert not (project.root / ".runs").exists()
        return said

    return run


@pytest.mark.parametrize(
    ("plugin", "there", "here"),
    [
        (OF_LATER, f"version {MESSAGES} of the messages", f" and {MESSAGES + 1}. "),
        (OF_ANOTHER, "has codex-orchestrator 0.", " 9.9 and"),
    ],
    ids=["messages", "product"],
)
def test_a_worker_of_another_version(refused, plugin, there, here):
    said = refused(plugin)
    assert "Worker gw0 has codex-orchestrator " in said
    assert there in said
    assert here in said
    assert "Install the same version of codex-orchestrator on both sides." in said


WITHOUT = {
    "a method of workers": (
        "from xdist.workermanage import WorkerController as C\ndel C.send_runtest_some",
        "xdist.workermanage.WorkerController.send_runtest_some.",
    ),
    "what its loop calls": (
        "from xdist.dsession import DSession as D\ndel D.worker_runtest_protocol_complete",
        "xdist.dsession.DSession.worker_runtest_protocol_complete.",
    ),
    "a way to speak": (
        "from execnet.gateway_base import Channel\ndel Channel.setcallback",
        "execnet.gateway_base.Channel.setcallback.",
    ),
    "a hook": (
        "import xdist.newhooks as h\ndel h.pytest_configure_node",
        "hook pytest_configure_node(node).",
    ),
    "an argument of a hook": (
        "import xdist.newhooks as h\ndef given(worker): ...\nh.pytest_xdist_newgateway = given",
        "hook pytest_xdist_newgateway(gateway).",
    ),
    "what is asked of schedulers": (
        "from xdist.scheduler.protocol import Scheduling\nScheduling.rebalance = print",
        "schedulers without rebalance.",
    ),
    "several": (
        "from xdist.workermanage import WorkerController as C\ndel C.send_runtest_some, C.shutting_down",
        "WorkerController.send_runtest_some, xdist.workermanage.WorkerController.shutting_down.",
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_a_release_of_xdist_without_what_we_rely_on(refused, case):
    plugin, named = WITHOUT[case]
    said = refused(plugin)
    assert "pytest-xdist 3." in said
    assert f"lacks what stages on workers need: {named}" in said or f"{named} Install" in said
    assert "or run stages at once in this process (--codex-jobs)." in said


def test_what_a_worker_lacks_is_seen_when_there_is_one(refused):
    # An attribute of each worker, that no class has.
    plugin = (
        "from xdist import workermanage\n"
        "class Controller(workermanage.WorkerController):\n"
        "    def setup(self):\n"
        "        self.options = self.__dict__.pop('workerinput')\n"
        "        super().setup()\n"
        "workermanage.WorkerController = Controller\n"
    )
    assert "lacks what stages on workers need: Controller.workerinput." in refused(plugin)


def test_all_hooks_of_xdist_that_are_implemented_are_required():
    import xdist.newhooks

    from pytest_codex.distribution import HOOKS
    from pytest_codex.scheduling import StageScheduling

    known = {name for name in vars(xdist.newhooks) if name.startswith("pytest_")}
    assert HOOKS.keys() == known & vars(StageScheduling).keys()
