"""All that is run on this project, each a session; what follows ``--`` goes to its tool.

The first ones work in the environment that ``dev.py`` has made, and are called by it, as in ``python3 dev.py
check``. The others have environments of their own: the built wheel under every Python that is installed here,
bare, among other people's plugins, beside each of sixty of them, with every pytest that is supported, and
without pytest-xdist.

``nox -s tests-3.12`` runs one of them. The sessions
``versions`` and ``without_xdist`` run the functional tests where it names none:
``nox -s "versions-3.11(9.0)" -- tests/functional/test_plugin.py``. The tests are copied away from the
packages, so that only the installed wheel can be imported.
"""

import re
import shutil
import tempfile
import tomllib
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

# The releases of pytest that are supported, with the pytest-xdist that goes with them.
PYTEST_RELEASES = ("9.0", "9.1", "9.2")
XDIST_RELEASE = "3.8"
FUNCTIONAL = ("tests/functional",)

# nox points TMPDIR into its own folder, which lies in this very project: tests would find it.
OUTSIDE = {"TMPDIR": tempfile.gettempdir()}

nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["check"]


# What must pass before a commit, quick ones first.
CHECKS = ("lint", "types", "imports", "docs", "test")
# What a newcomer's first minute has room for: runs from one end to the other, and what they rest on.
FAST = (
    "tests/functional/test_start.py",
    "tests/contract/test_api.py",
    *(
        f"tests/unit/test_{name}.py"
        for name in ("graph", "recorder", "records", "summary", "verdict", "identifiers")
    ),
)
here = nox.session(venv_backend="none")


# ------------------------------------------------------------------ in the environment of dev.py


@here
def check(session: nox.Session) -> None:
    """Everything that must pass before a commit; the first that fails ends it."""
    for name in CHECKS:
        session.log(name)
        globals()[name].func(session)


@here
def diagnostics(session: nox.Session) -> None:
    """The product on its own repository: build, lint, types, a fast selection of the tests, spec guard."""
    session.run("codex-orchestrator", "start", "diagnostics", *session.posargs)


@here
def gate(session: nox.Session) -> None:
    """The implementation gate on this repository, its tests the fast selection too."""
    session.run("codex-orchestrator", "start", "implementation-gate", *session.posargs)


@here
def lint(session: nox.Session) -> None:
    """Style and likely mistakes."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@here
def types(session: nox.Session) -> None:
    """Types, strictly."""
    session.run("mypy")


@here
def imports(session: nox.Session) -> None:
    """Who may import whom."""
    session.run("lint-imports")


@here
def docs(session: nox.Session) -> None:
    """The pages as HTML; a warning is an error."""
    options = ("--quiet", "-W", "--keep-going", "-b", "html")
    session.run("python", "-m", "sphinx", *options, "docs", "docs/_build/html")


@here
def test(session: nox.Session) -> None:
    """The tests, on all cores: none needs another one's leavings."""
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", *_words(session), env=OUTSIDE)


@here
def fast(session: nox.Session) -> None:
    """A fast selection of the tests; `test` runs all."""
    session.log(f"a selection of the tests: {', '.join(FAST)}")
    session.run("python", "-m", "pytest", "-q", "-n", "auto", *FAST, *_words(session), env=OUTSIDE)


@here
def coverage(session: nox.Session) -> None:
    """The tests under coverage, with all that they start; below the floor in pyproject.toml it fails.

    Some tests alone, as in ``coverage -- tests/unit``, are held to none.
    """
    measure = ("python", "-m", "coverage")
    session.run(*measure, "erase")
    # From outside of pytest, so that the plugin's own import is seen.
    tests = ("pytest", "-n", "auto", "--dist", "worksteal", *_words(session))
    session.run(*measure, "run", "-m", *tests, env=OUTSIDE)
    session.run(*measure, "combine", "--quiet")
    session.run(*measure, "report", *(["--fail-under=0"] if session.posargs else []))


@here
def build(session: nox.Session) -> None:
    """Wheel and sdist, with the environment's hatchling."""
    session.run("python", "-m", "build", "--no-isolation", *_words(session))


@here
def faults(session: nox.Session) -> None:
    """Kills, refusing and full disks, crowds, hostile repositories: every point and trap that is known."""
    words = ("-m", "pytest", "tests/crash", "tests/hostile", *_words(session))
    session.run("python", *words, env={"FAULTS": "all", **OUTSIDE})


@here
def bench(session: nox.Session) -> None:
    """Whole processes timed side by side with their peers."""
    session.run("python", "-m", "tests.bench", *session.posargs)


@here
def schemas(session: nox.Session) -> None:
    """The JSON Schemas, written anew from the shapes."""
    session.run("python", "-m", "codex_orchestrator.schemas", *session.posargs)


@here
def changelog(session: nox.Session) -> None:
    """The next release's notes: shown, or written where towncrier's own arguments say so."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    session.run("towncrier", "build", "--version", project["version"], *(session.posargs or ["--draft"]))


def _words(session: nox.Session) -> list[str]:
    """What was given to this session, and not to `check` as a whole."""
    return [] if session.name == "check" else list(session.posargs)


# ------------------------------------------------------------------ in environments of their own


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


def project_with_one_stage(session: nox.Session) -> None:
    """Go on in a new project with a pipeline ``p``."""
    # Not in nox's own folder: pytest would find this project's settings above it.
    folder = Path(tempfile.mkdtemp(prefix="nox-"))
    pipeline = '{"pipelines": [{"id": "p", "title": "P", "stages": [%s]}]}'
    stage = '{"kind": "command", "id": "hello", "title": "Hello", "command": "echo hello"}'
    (folder / "codex.orchestrator.json").write_text(pipeline % stage, encoding="utf-8")
    session.chdir(folder)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests against the installed wheel, but for those of packaging, which build it themselves."""
    session.install(str(built_wheel(session)), *TEST_TOOLS)
    session.chdir(checkout_without_packages(session))
    session.run("python", "-m", "pytest", "--ignore=tests/packaging", *session.posargs, env=OUTSIDE)


@nox.session(python=PYTHONS[:1])
def plugins(session: nox.Session) -> None:
    """Small pipelines beside each of some sixty plugins, in three modes: a table, after half an hour."""
    script = ROOT / "tests" / "among" / "try_plugins.py"
    names = session.run("python", str(script), "--names", silent=True) or ""
    session.install(str(built_wheel(session)), *names.split())
    session.run("python", str(script), *session.posargs, env=OUTSIDE)


@nox.session(python=PYTHONS[:1])
def among(session: nox.Session) -> None:
    """The functional tests in an environment full of other plugins, all of them loaded by themselves."""
    session.install(str(built_wheel(session)), *TEST_TOOLS, *OTHER_PLUGINS)
    session.chdir(checkout_without_packages(session))
    # Their own deprecations are not ours to fail on.
    words = ("-m", "pytest", "-W", "default", "tests/functional", *session.posargs)
    session.run("python", *words, env=OUTSIDE)


@nox.session(python=PYTHONS[:1])
@nox.parametrize("release", PYTEST_RELEASES, ids=PYTEST_RELEASES)
def versions(session: nox.Session, release: str) -> None:
    """The functional tests with one release of pytest, over workers of the pytest-xdist that goes with it."""
    wanted = (f"pytest=={release}.*", f"pytest-xdist=={XDIST_RELEASE}.*")
    session.install(str(built_wheel(session)), *TEST_TOOLS, *wanted)
    session.chdir(checkout_without_packages(session))
    words = ("-m", "pytest", "-n", "auto", "--dist", "worksteal", *(session.posargs or FUNCTIONAL))
    session.run("python", *words, env=OUTSIDE)


@nox.session(python=PYTHONS[:1])
def without_xdist(session: nox.Session) -> None:
    """The functional tests where somebody removed pytest-xdist: no ``-n``, and all else works."""
    session.install(str(built_wheel(session)), *TEST_TOOLS)
    session.run("python", "-m", "pip", "uninstall", "--yes", "pytest-xdist", "execnet", silent=True)
    project_with_one_stage(session)
    session.run("codex-orchestrator", "start", "p", "--task=one", "--jobs=2")
    session.run("python", "-m", "pytest", "--codex-pipeline=p", "--codex-task=two", "--codex-jobs=2")
    # A usage error, and pytest's own: it knows no such option.
    session.run("python", "-m", "pytest", "--codex-pipeline=p", "-n2", success_codes=[4])
    session.chdir(checkout_without_packages(session))
    session.run("python", "-m", "pytest", *(session.posargs or FUNCTIONAL), env=OUTSIDE)


@nox.session(python=PYTHONS)
def bare(session: nox.Session) -> None:
    """The wheel with nothing but what it asks for: a pipeline runs, and its manifest validates."""
    session.install(str(built_wheel(session)))
    project_with_one_stage(session)
    session.run("codex-orchestrator", "version")
    session.run("codex-orchestrator", "--help", silent=True)
    started = session.run("codex-orchestrator", "start", "p", "--task=bare", "--format=json", silent=True)
    manifest = re.search(r'"manifest": "([^"]+)"', started or "")
    if manifest is None:
        session.error(f"no manifest named in: {started}")
    session.run("codex-orchestrator", "validate", manifest[1])
    session.run("python", "-m", "pytest", "--codex-pipeline=p", "--codex-task=bare")
