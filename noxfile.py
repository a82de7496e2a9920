"""The built wheel under every Python that is installed here, bare, and among other people's plugins.

``nox`` runs all sessions, ``nox -s tests-3.12`` one of them. The tests are copied away from the packages,
so that only the installed wheel can be imported.
"""

import re
import shutil
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
# No upper bound: whatever this folder of names finds is tried.
PYTHONS = [version for minor in range(11, 30) if shutil.which(f"python{(version := f'3.{minor}')}")]
TEST_TOOLS = ("hypothesis", "jsonschema", "pytest-randomly", "pytest-rerunfailures", "pytest-timeout")
# Without pytest-asyncio: where it is not configured it warns in every session, ordinary ones too, and the
# tests run sessions that take warnings for errors.
OTHER_PLUGINS = (
    "anyio",
    "pytest-benchmark",
    "pytest-cov",
    "pytest-mock",
    "pytest-repeat",
    "pytest-sugar",
)

# nox points TMPDIR into its own folder, which lies in this very project: tests would find it.
OUTSIDE = {"TMPDIR": tempfile.gettempdir()}

nox.options.error_on_missing_interpreters = False


def built_wheel(session: nox.Session) -> Path:
    """Build the wheel into the session's own folder."""
    folder = Path(session.create_tmp()) / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT), silent=True)
    return next(folder.glob("*.whl"))


def checkout_without_packages(session: nox.Session) -> Path:
    """A copy of the checkout in which the tests find their files but not the sources."""
    target = Path(session.create_tmp()) / "checkout"
    shutil.rmtree(target, ignore_errors=True)
    left_out = shutil.ignore_patterns(
        ".*", "__pycache__", "out", "dist", "build", "_build", "codex_orchestrator", "pytest_codex"
    )
    shutil.copytree(ROOT, target, ignore=left_out)
    return target


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests against the installed wheel, but for those of packaging, which build it themselves."""
    session.install(str(built_wheel(session)), *TEST_TOOLS)
    session.chdir(checkout_without_packages(session))
    session.run("python", "-m", "pytest", "--ignore=tests/packaging", *session.posargs, env=OUTSIDE)


@nox.session(python=PYTHONS[:1])
def plugins(session: nox.Session) -> None:
    """The functional tests in an environment full of other plugins, all of them loaded by themselves."""
    session.install(str(built_wheel(session)), *TEST_TOOLS, *OTHER_PLUGINS)
    session.chdir(checkout_without_packages(session))
    # Their own deprecations are not ours to fail on.
    words = ("-m", "pytest", "-W", "default", "tests/functional", *session.posargs)
    session.run("python", *words, env=OUTSIDE)


@nox.session(python=PYTHONS)
def bare(session: nox.Session) -> None:
    """The wheel with nothing but what it asks for: a pipeline runs, and its manifest validates."""
    session.install(str(built_wheel(session)))
    # Not in nox's own folder: pytest would find this project's settings above it.
    folder = Path(tempfile.mkdtemp(prefix="bare-"))
    pipeline = '{"pipelines": [{"id": "p", "title": "P", "stages": [%s]}]}'
    stage = '{"kind": "command", "id": "hello", "title": "Hello", "command": "echo hello"}'
    (folder / "codex.orchestrator.json").write_text(pipeline % stage, encoding="utf-8")
    session.chdir(folder)
    session.run("codex-orchestrator", "version")
    session.run("codex-orchestrator", "--help", silent=True)
    started = session.run("codex-orchestrator", "start", "p", "--task=bare", "--format=json", silent=True)
    manifest = re.search(r'"manifest": "([^"]+)"', started or "")
    if manifest is None:
        session.error(f"no manifest named in: {started}")
    session.run("codex-orchestrator", "validate", manifest[1])
    session.run("python", "-m", "pytest", "--codex-pipeline=p", "--codex-task=bare")
