"""The rules of the house that import-linter cannot see, read from the syntax trees of both packages.

docs/explanation/architecture.md gives the reasons.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import codex_orchestrator
import pytest_codex

MAXIMUM_LINES = {ast.Module: 400, ast.ClassDef: 260, ast.FunctionDef: 65}
PACKAGES = tuple(Path(str(package.__file__)).parent for package in (codex_orchestrator, pytest_codex))


# ------------------------------------------------------------------ reading a module


class Module:
    """A syntax tree with its names resolved to what they were imported as."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.tree = ast.parse(source)
        self.imports: list[tuple[int, str]] = []
        self._names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports.append((node.lineno, alias.name))
                    self._names[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                self.imports.append((node.lineno, origin))
                for alias in node.names:
                    self.imports.append((node.lineno, f"{origin}.{alias.name}"))
                    self._names[alias.asname or alias.name] = f"{origin}.{alias.name}"

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = Path(self.name).parent.parts
        above = package[: len(package) - node.level + 1]
        return ".".join((*above, *([node.module] if node.module else [])))

    def dotted(self, node: ast.expr) -> str:
        """What an expression names, fully, as far as imports tell; empty for anything computed."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        return ""

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, self.dotted(node.func)


@cache
def sources() -> dict[str, str]:
    """Every module's text by its path below the folder that holds its package."""
    return {
        path.relative_to(package.parent).as_posix(): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
    }


@cache
def modules() -> tuple[Module, ...]:
    return tuple(Module(name, source) for name, source in sources().items())


# ------------------------------------------------------------------ what a rule looks for

Finding = tuple[int, str]
Look = Callable[[Module], Iterable[Finding]]

FILE_MAKERS = {
    "os.rename", "os.renames", "os.replace", "os.link", "os.symlink", "os.truncate", "os.mkfifo",
    "shutil.move", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree",
}  # fmt: skip
FILE_MAKING_METHODS = {"write_text", "write_bytes", "touch", "rename", "symlink_to", "hardlink_to"}
WRITING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}
PROCESS_MODULES = ("subprocess", "multiprocessing", "pty", "concurrent.futures.ProcessPoolExecutor")
PROCESS_STARTERS = (
    "os.system",
    "os.popen",
    "os.fork",
    "os.posix_spawn",
    "os.exec",
    "os.spawn",
    "asyncio.create_subprocess",
)
CLOCK_READERS = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
    "time.perf_counter_ns", "time.process_time", "time.clock_gettime", "time.clock_gettime_ns",
    "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "datetime.date.today",
}  # fmt: skip
# Ways to open, list, look at, make or remove what lies at a path, by which a link could be followed.
PATH_FUNCTIONS = {
    "open", "io.open", "io.open_code", "io.FileIO", "codecs.open", "os.open", "os.fdopen",
    "os.walk", "os.fwalk", "os.scandir", "os.listdir", "glob.glob", "glob.iglob",
    "os.stat", "os.lstat", "os.access", "os.readlink", "os.chmod", "os.chown", "os.utime",
    "os.path.exists", "os.path.lexists", "os.path.isfile", "os.path.isdir", "os.path.islink",
    "os.path.getsize", "os.path.getmtime", "os.path.samefile",
    "os.remove", "os.unlink", "os.rmdir", "os.removedirs", "os.mkdir", "os.makedirs", "shutil.rmtree",
}  # fmt: skip
PATH_METHODS = {
    "read_text", "read_bytes", "iterdir", "glob", "rglob", "walk", "exists", "is_file", "is_dir",
    "is_symlink", "is_fifo", "is_socket", "is_mount", "stat", "lstat", "samefile", "readlink", "owner",
    "chmod", "lchmod", "mkdir", "unlink", "rmdir",
}  # fmt: skip
OURS = ("codex_orchestrator.", "pytest_codex.", "ast.")
READERS = {f"codex_orchestrator.{name}" for name in ("places", "sources", "named")}
ENVIRONMENT_CHANGERS = {"update", "setdefault", "pop", "popitem", "clear"}


def writing_mode(call: ast.Call, position: int) -> bool:
    """Whether an ``open`` may write: a mode that is not a plain constant counts as one that does."""
    mode: ast.expr | None = call.args[position] if len(call.args) > position else None
    for keyword in call.keywords:
        mode = keyword.value if keyword.arg == "mode" else mode
    if mode is None:
        return False
    return not (isinstance(mode, ast.Constant) and set(str(mode.value)) <= set("rbt"))


def writes(module: Module) -> Iterator[Finding]:
    """Files opened for writing, made, copied or renamed."""
    for call, name in module.calls():
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in FILE_MAKERS or name.startswith("tempfile.") or method in FILE_MAKING_METHODS:
            yield call.lineno, name or f".{method}"
        elif name in {"open", "io.open", "codecs.open", "os.fdopen"}:
            if writing_mode(call, 1):
                yield call.lineno, "open for writing"
        elif name == "os.open":
            if WRITING_FLAGS & {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}:
                yield call.lineno, "os.open for writing"
        elif method == "open" and writing_mode(call, 0):
            yield call.lineno, ".open for writing"
        # str.replace takes two arguments, dataclasses and datetimes keywords: one alone is a path's.
        elif method == "replace" and len(call.args) == 1 and not call.keywords:
            yield call.lineno, "Path.replace"


def goes_by_paths(module: Module) -> Iterator[Finding]:
    """Whatever is done to what lies at a path. Functions of our own modules may have the same names."""
    entered = {
        id(item.context_expr)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items
    }
    for call, name in module.calls():
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        arguments = [*call.args, *call.keywords]
        if name in PATH_FUNCTIONS:
            yield call.lineno, name
        elif method in PATH_METHODS and not name.startswith(OURS):
            yield call.lineno, f".{method}"
        # What of ours is opened takes no arguments and is no context, unlike a path.
        elif method == "open" and not name.startswith(OURS) and (arguments or id(call) in entered):
            yield call.lineno, ".open"


def starts_processes(module: Module) -> Iterator[Finding]:
    """Modules and functions that make processes."""
    for line, name in module.imports:
        if name.startswith(PROCESS_MODULES):
            yield line, f"import {name}"
    for call, name in module.calls():
        if name.startswith(PROCESS_STARTERS):
            yield call.lineno, name


def reads_time(module: Module) -> Iterator[Finding]:
    """Clocks read, or handed on as functions."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name | ast.Attribute) and module.dotted(node) in CLOCK_READERS:
            yield node.lineno, module.dotted(node)
    for call, name in module.calls():
        if name in {"time.gmtime", "time.localtime", "time.ctime"} and not call.args:
            yield call.lineno, name


def prints(module: Module) -> Iterator[Finding]:
    """Words to standard output or error that nothing has made fit for people."""
    for call, name in module.calls():
        if name in {"print", "sys.stdout.write", "sys.stderr.write", "sys.stdout.writelines"}:
            yield call.lineno, name


def imports_of(package: str) -> Look:
    def look(module: Module) -> Iterator[Finding]:
        for line, name in module.imports:
            if name.partition(".")[0] == package:
                yield line, f"import {name}"

    return look


# What only xdist and execnet have: what it hands about, and what it is called with.
OF_XDIST = {
    "workerinput", "workeroutput", "workerinfo", "gateway", "newchannel", "remote_exec", "notify_inproc",
    "send_runtest_some", "shutting_down", "maxworkerrestart", "numprocesses",
}  # fmt: skip
HOOKS_OF_XDIST = {
    "pytest_configure_node", "pytest_testnodeready", "pytest_testnodedown", "pytest_handlecrashitem",
}  # fmt: skip
OPTIONS_OF_XDIST = {"tx", "dist", "numprocesses", "maxworkerrestart", "maxprocesses"}


def touches_xdist(module: Module) -> Iterator[Finding]:
    """pytest-xdist and execnet: imported, their hooks implemented, their names used, their options read."""
    for line, name in module.imports:
        if name.partition(".")[0] in {"xdist", "execnet"}:
            yield line, f"import {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in OF_XDIST:
            yield node.lineno, f".{node.attr}"
        elif isinstance(node, ast.FunctionDef) and (
            node.name in HOOKS_OF_XDIST or node.name.startswith("pytest_xdist_")
        ):
            yield node.lineno, node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            package = node.value.partition(".")[0].removeprefix("-p")
            if package in {"xdist", "execnet"} or node.value in OF_XDIST:
                yield node.lineno, repr(node.value)
    for call, name in module.calls():
        if name.rpartition(".")[2] in {"getoption", "getvalue", "getattr", "hasattr", "setattr", "option"}:
            words = {each.value for each in call.args if isinstance(each, ast.Constant)}
            for option in sorted(words & OPTIONS_OF_XDIST):
                yield call.lineno, f"the option {option}"


def saves_manifests(module: Module) -> Iterator[Finding]:
    """The writer of files called with a path that is a manifest's."""
    for call, name in module.calls():
        if name.startswith("codex_orchestrator.evidence.files.") and call.args:
            target = ast.unparse(call.args[0])
            if "manifest" in target.lower():
                yield call.lineno, f"{name.rpartition('.')[2]}({target}, …)"


def reads_manifests(module: Module) -> Iterator[Finding]:
    """A reader of files called with a path that is a manifest's."""
    for call, name in module.calls():
        owner, _, reader = name.rpartition(".")
        if owner in READERS and reader in {"read", "lines", "open_stream"} and call.args:
            target = ast.unparse(call.args[0])
            if "manifest" in target.lower():
                yield call.lineno, f"{reader}({target}, …)"


def changes_environment(module: Module) -> Iterator[Finding]:
    """Anything put into, or taken out of, this process's own environment."""
    for node in ast.walk(module.tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            place = target.value if isinstance(target, ast.Subscript) else target
            if module.dotted(place) in {"os.environ", "os.environb"}:
                yield target.lineno, ast.unparse(target)
    for call, name in module.calls():
        owner, _, method = name.rpartition(".")
        if name in {"os.putenv", "os.unsetenv"} or (owner == "os.environ" and method in ENVIRONMENT_CHANGERS):
            yield call.lineno, name


@dataclass(frozen=True)
class Rule:
    """What only some files may do."""

    says: str
    look: Look
    allowed: tuple[str, ...] = ()


AT_WORKER = "codex_orchestrator/engine/cloud/at_worker.py"
RULES = (
    Rule(
        "only these write or rename files",
        writes,
        (
            "codex_orchestrator/evidence/files.py",
            "codex_orchestrator/evidence/lines.py",
            # Unpacks our code on a worker, where it has nothing of this package yet.
            AT_WORKER,
            # Writes what is no evidence: the work tree's copies on workers, and what stages bring back.
            "codex_orchestrator/workspace/disk.py",
        ),
    ),
    Rule(
        "only these open, list, look at, make or remove what lies at a path",
        goes_by_paths,
        (
            # These decide.
            "codex_orchestrator/places.py",
            "codex_orchestrator/sources.py",
            "codex_orchestrator/named.py",
            # These write and remove, in folders that `places` has opened.
            "codex_orchestrator/evidence/files.py",
            "codex_orchestrator/evidence/lines.py",
            "codex_orchestrator/workspace/disk.py",
            # These read what nobody puts there: the package's own files, those of other packages, and /proc.
            "codex_orchestrator/resources.py",
            "pytest_codex/run_plugins.py",
            "codex_orchestrator/evidence/owner.py",
            "codex_orchestrator/execution/leftovers.py",
            AT_WORKER,
        ),
    ),
    Rule(
        "only these files start processes",
        starts_processes,
        ("codex_orchestrator/execution/process.py", AT_WORKER),
    ),
    Rule(
        "only these files print: they see to it that words of others forge and hide nothing",
        prints,
        (
            *("codex_orchestrator/cli/render.py", "codex_orchestrator/cli/prompt.py"),
            # Where standard output is broken, and not a word of others is in it.
            "codex_orchestrator/cli/__init__.py",
            "pytest_codex/messages.py",
        ),
    ),
    Rule("only this file reads time", reads_time, ("codex_orchestrator/clock.py",)),
    Rule(
        "only these files import rich",
        imports_of("rich"),
        ("codex_orchestrator/cli/render.py", "pytest_codex/progress/live.py"),
    ),
    Rule(
        "only this file saves a manifest",
        saves_manifests,
        ("codex_orchestrator/evidence/coordinator.py",),
    ),
    Rule("only this file reads a manifest", reads_manifests, ("codex_orchestrator/evidence/manifests.py",)),
    Rule(
        "only this file has pydantic explain data",
        imports_of("pydantic"),
        ("codex_orchestrator/model/explain.py",),
    ),
    Rule(
        "only this file knows a library for signatures",
        lambda module: (*imports_of("securesystemslib")(module), *imports_of("cryptography")(module)),
        ("codex_orchestrator/evidence/keys.py",),
    ),
    Rule(
        "only these files touch pytest-xdist and execnet",
        touches_xdist,
        (
            "pytest_codex/distribution.py",
            "pytest_codex/scheduling.py",
            # Says which packages are installed.
            "codex_orchestrator/views/doctor.py",
        ),
    ),
    Rule("nobody imports pytest's private modules", imports_of("_pytest")),
    Rule(
        "nobody changes the orchestrator's own environment",
        changes_environment,
        # Takes pytest's own variables away for the length of a session, and puts them back.
        ("pytest_codex/session.py",),
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.says)
def test_every_file_keeps_to_its_trade(rule: Rule) -> None:
    offences = [
        f"{module.name}:{line}: {what}"
        for module in modules()
        if module.name not in rule.allowed
        for line, what in rule.look(module)
    ]
    assert not offences, f"{rule.says} ({', '.join(rule.allowed) or 'none'}):\n" + "\n".join(offences)


def outgrown(source: str) -> Iterator[str]:
    """Modules, classes and functions that are too long."""
    for node in ast.walk(ast.parse(source)):
        most = MAXIMUM_LINES.get(type(node))
        if most is None:
            continue
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", len(source.splitlines()))
        if last - first >= most:
            yield f"{getattr(node, 'name', 'the module')} has {last - first + 1} lines, over {most}"


def test_nothing_outgrows_one_purpose() -> None:
    long = [f"{name}: {what}" for name, source in sources().items() for what in outgrown(source)]
    assert not long, "\n".join(long)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n" * 400, []),
        ("x = 1\n" * 401, ["the module has 401 lines, over 400"]),
        ("class A:\n" + "    x = 1\n" * 260, ["A has 261 lines, over 260"]),
        ("class A:\n  def f(self):\n" + "    x = 1\n" * 65, ["f has 66 lines, over 65"]),
    ],
)
def test_what_is_too_long_is_seen(source: str, found: list[str]) -> None:
    assert list(outgrown(source)) == found


# ------------------------------------------------------------------ the rules do see

SEEN: tuple[tuple[Look, str], ...] = (
    (writes, "open('x', 'w')"),
    (writes, "open('x', mode='a+')"),
    (writes, "open('x', mode)"),
    (writes, "path.open('xb')"),
    (writes, "path.write_text('')"),
    (writes, "path.touch()"),
    (writes, "path.replace(other)"),
    (writes, "import os as o\no.replace('a', 'b')"),
    (writes, "from os import rename as r\nr('a', 'b')"),
    (writes, "import os\nos.open('x', os.O_RDONLY | os.O_CREAT)"),
    (writes, "from tempfile import mkstemp\nmkstemp()"),
    (writes, "import shutil\nshutil.copyfile('a', 'b')"),
    (goes_by_paths, "open('x')"),
    (goes_by_paths, "path.open('rb')"),
    (goes_by_paths, "with path.open() as file: pass"),
    (goes_by_paths, "path.read_bytes()"),
    (goes_by_paths, "layout.manifest.exists()"),
    (goes_by_paths, "(root / 'x').is_dir()"),
    (goes_by_paths, "[p for p in folder.glob('*')]"),
    (goes_by_paths, "path.mkdir(parents=True)"),
    (goes_by_paths, "import os\nos.listdir('x')"),
    (goes_by_paths, "from os import scandir as s\ns('x')"),
    (goes_by_paths, "from os.path import lexists\nlexists('x')"),
    (goes_by_paths, "import os\nos.path.isfile('x')"),
    (goes_by_paths, "def f():\n    import shutil\n    shutil.rmtree('x')"),
    (starts_processes, "import subprocess"),
    (starts_processes, "def f():\n    from subprocess import run"),
    (starts_processes, "from concurrent.futures import ProcessPoolExecutor"),
    (starts_processes, "import os\nos.execvp('a', [])"),
    (starts_processes, "import asyncio\nasyncio.create_subprocess_shell('a')"),
    (reads_time, "import time\ntime.time()"),
    (reads_time, "import time as t\nclock = t.monotonic"),
    (reads_time, "from time import perf_counter\nperf_counter()"),
    (reads_time, "from datetime import datetime, UTC\ndatetime.now(UTC)"),
    (reads_time, "import datetime\ndatetime.date.today()"),
    (reads_time, "import time\ntime.gmtime()"),
    (prints, "print('a')"),
    (prints, "import sys as s\ns.stderr.write('a')"),
    (imports_of("rich"), "from rich.table import Table"),
    (touches_xdist, "import xdist"),
    (touches_xdist, "def f():\n    from execnet import XSpec"),
    (touches_xdist, "from importlib import import_module\nimport_module('xdist.plugin')"),
    (touches_xdist, "ARGUMENTS = ('-pxdist.plugin',)"),
    (touches_xdist, "class A:\n    def pytest_xdist_setupnodes(self): pass"),
    (touches_xdist, "def pytest_testnodedown(node): pass"),
    (touches_xdist, "given = config.workerinput"),
    (touches_xdist, "given = getattr(config, 'workerinput', {})"),
    (touches_xdist, "node.gateway.exit()"),
    (touches_xdist, "config.getoption('tx', None)"),
    (touches_xdist, "if option.maxworkerrestart is None: pass"),
    (imports_of("_pytest"), "def f():\n    import _pytest.config"),
    (saves_manifests, "from . import files\nfiles.replace(layout.manifest, b'')"),
    (saves_manifests, "from .files import replace\nreplace(manifest_path, b'')"),
    (
        saves_manifests,
        "from codex_orchestrator.evidence.files import append\nappend(a / 'manifest.json', b'')",
    ),
    (reads_manifests, "from codex_orchestrator import places\nplaces.read(layout.manifest, below=runs)"),
    (reads_manifests, "from codex_orchestrator.named import read\nread(folder / 'manifest.json')"),
    (changes_environment, "import os\nos.environ['A'] = '1'"),
    (changes_environment, "import os\ndel os.environ['A']"),
    (changes_environment, "import os\nos.environ |= {}"),
    (changes_environment, "from os import environ\nenviron.update(A='1')"),
    (changes_environment, "import os\nos.putenv('A', '1')"),
)

UNSEEN: tuple[tuple[Look, str], ...] = (
    (writes, "open('x')"),
    (writes, "open('x', 'rb')"),
    (writes, "path.open('rb')"),
    (writes, "'abc'.replace('a', 'b')"),
    (writes, "moment.replace(tzinfo=UTC)"),
    (writes, "from dataclasses import replace\nreplace(value, a=1)"),
    (writes, "import os\nos.open('x', os.O_RDONLY | os.O_CLOEXEC)"),
    (writes, "path.mkdir()"),
    (goes_by_paths, "self._gate.open()"),
    (goes_by_paths, "from . import files\nfiles.remove(path, below=runs)"),
    (goes_by_paths, "from codex_orchestrator import resources\nresources.read_text(path)"),
    (goes_by_paths, "from .owner import exists\nexists(7)"),
    (goes_by_paths, "import os\nos.path.normpath('x')\nos.kill(1, 2)"),
    (starts_processes, "import os\nos.killpg(1, 2)"),
    (reads_time, "import time\ntime.sleep(0)\ntime.gmtime(0)"),
    (reads_time, "clock.now()\nclock.monotonic()"),
    (reads_time, "from datetime import datetime\ndatetime.fromtimestamp(0)"),
    (prints, "out.write('a')\nprinter.print()"),
    (touches_xdist, '"""Where xdist starts workers."""\n# xdist\nINPUT = "the channel of xdist"'),
    (touches_xdist, "folders = ('dist', 'build')\nconfig.getoption('verbose')"),
    (touches_xdist, "def pytest_runtestloop(session): pass"),
    (imports_of("rich"), "import richer"),
    (saves_manifests, "from . import files\nfiles.replace(layout.plan, b'')"),
    (reads_manifests, "from codex_orchestrator import places\nplaces.read(layout.plan, below=runs)"),
    (changes_environment, "import os\nenviron = dict(os.environ)\nenviron['A'] = '1'"),
)


@pytest.mark.parametrize(("look", "source"), SEEN, ids=range(len(SEEN)))
def test_a_rule_sees_what_it_forbids(look: Look, source: str) -> None:
    assert list(look(Module("codex_orchestrator/evidence/sample.py", source)))


@pytest.mark.parametrize(("look", "source"), UNSEEN, ids=range(len(UNSEEN)))
def test_a_rule_leaves_the_rest_alone(look: Look, source: str) -> None:
    assert not list(look(Module("codex_orchestrator/evidence/sample.py", source)))


# ------------------------------------------------------------------ start-up

# Runs a command in a fresh interpreter, and says afterwards what it has imported, and which modules of ours.
PROBE = """
import sys
from codex_orchestrator.cli import main
answer_file = sys.argv.pop(1)
try:
    code = main()
except SystemExit as end:
    code = end.code
import json, pathlib
ours = ("codex_orchestrator", "pytest_codex")
answer = {
    "code": code or 0,
    "imported": sorted({name.partition(".")[0] for name in sys.modules}),
    "ours": sorted(name for name in sys.modules if name.partition(".")[0] in ours),
}
pathlib.Path(answer_file).write_text(json.dumps(answer))
"""
HEAVY = {"pytest", "_pytest", "xdist", "execnet", "pydantic", "rich"}
PIPELINE = {
    "id": "tiny",
    "title": "Tiny",
    "stages": [{"kind": "command", "id": "a", "title": "A", "command": "true"}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one finished run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "codex.orchestrator.json").write_text(json.dumps({"taskId": "t", "pipelines": [PIPELINE]}))
    started = run_command(folder, sys.executable, "-m", "codex_orchestrator", "start", "tiny")
    assert started.returncode == 0, started.stderr
    return folder


def run_command(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    own = ("CODEX_", "MCP_RUNNER_", "PYTEST_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        command,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["start", "--help"], set()),
        (["version"], set()),
        (["init", "--format", "json"], set()),
        (["doctor"], set()),
        (["metrics"], set()),
        (["status", "--run", "latest"], set()),
        (["status", "--run", "latest", "--format", "json"], set()),
        (["plan", "tiny"], {"pydantic"}),
        (["plan", "tiny", "--format", "json"], {"pydantic"}),
    ],
    ids=" ".join,
)
def test_a_command_imports_no_more_than_it_needs(
    project: Path, tmp_path: Path, arguments: list[str], allowed: set[str]
) -> None:
    answer = tmp_path / "answer.json"
    done = run_command(project, sys.executable, "-c", PROBE, str(answer), *arguments)
    result = json.loads(answer.read_text())
    assert result["code"] == 0, done.stderr
    assert HEAVY & set(result["imported"]) <= allowed


# How many modules of ours a command may load, by folder; the sum counts. Each is read and run on each call: a
# number is lowered by whoever makes one needless, and raised with a reason in the commit.
BUDGETS: tuple[tuple[tuple[str, ...], dict[str, int]], ...] = (
    (
        ("--help",),
        {
            "codex_orchestrator": 3,
            "codex_orchestrator.cli": 1,
            "codex_orchestrator.evidence": 2,
        },
    ),
    (
        ("status",),
        {
            "codex_orchestrator": 10,
            "codex_orchestrator.cli": 4,
            "codex_orchestrator.evidence": 4,
            "codex_orchestrator.model": 7,
            "codex_orchestrator.rules": 2,
            "codex_orchestrator.tasks": 2,
            "codex_orchestrator.views": 3,
        },
    ),
    (
        ("plan", "tiny"),
        {
            "codex_orchestrator": 11,
            "codex_orchestrator.cli": 4,
            "codex_orchestrator.definitions": 7,
            "codex_orchestrator.engine": 3,
            "codex_orchestrator.evidence": 2,
            "codex_orchestrator.model": 3,
            "codex_orchestrator.privacy": 4,
            "codex_orchestrator.repository": 2,
            "codex_orchestrator.rules": 3,
            "codex_orchestrator.tasks": 2,
            "codex_orchestrator.views": 2,
        },
    ),
    (
        ("start", "tiny"),
        {
            "codex_orchestrator": 11,
            "codex_orchestrator.cli": 5,
            "codex_orchestrator.definitions": 7,
            "codex_orchestrator.engine": 11,
            "codex_orchestrator.evidence": 19,
            "codex_orchestrator.execution": 11,
            "codex_orchestrator.model": 13,
            "codex_orchestrator.privacy": 4,
            "codex_orchestrator.rules": 11,
            "codex_orchestrator.tasks": 2,
            "pytest_codex": 12,
            "pytest_codex.progress": 7,
        },
    ),
)


def folder_of(module: str) -> str:
    """The folder of a module, by its name below the package; a package belongs to itself."""
    package, _, rest = module.partition(".")
    known = {path.name for each in PACKAGES for path in each.iterdir() if (path / "__init__.py").is_file()}
    first = rest.partition(".")[0]
    return f"{package}.{first}" if first in known else package


def over_budget(loaded: list[str], budget: dict[str, int]) -> str:
    """What to say where more is loaded than may be: by folder, what is there; empty where all is well."""
    if len(loaded) <= sum(budget.values()):
        return ""
    found: dict[str, list[str]] = {}
    for module in loaded:
        found.setdefault(folder_of(module), []).append(module)
    more = [
        f"{folder}: {len(modules)}, and {budget.get(folder, 0)} may be: {', '.join(modules)}"
        for folder, modules in found.items()
        if len(modules) > budget.get(folder, 0)
    ]
    return "\n".join([f"{len(loaded)} modules of ours, and {sum(budget.values())} may be:", *more])


@pytest.mark.parametrize(("arguments", "budget"), BUDGETS, ids=" ".join)
def test_a_command_loads_no_more_of_ours_than_it_did(
    project: Path, tmp_path: Path, arguments: tuple[str, ...], budget: dict[str, int]
) -> None:
    answer = tmp_path / "answer.json"
    # Nothing else: secrets, and what tells of GitHub, have more loaded.
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(answer), *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    result = json.loads(answer.read_text())
    assert result["code"] == 0, done.stderr
    told = over_budget(result["ours"], budget)
    assert not told, told


def test_what_comes_in_addition_is_named() -> None:
    loaded = ["codex_orchestrator", "codex_orchestrator.cli", "codex_orchestrator.cli.plan", "pytest_codex"]
    assert (
        over_budget(loaded, {"codex_orchestrator": 1, "codex_orchestrator.cli": 2, "pytest_codex": 1}) == ""
    )
    assert over_budget(loaded, {"codex_orchestrator": 1, "codex_orchestrator.cli": 1, "pytest_codex": 1}) == (
        "4 modules of ours, and 3 may be:\n"
        "codex_orchestrator.cli: 2, and 1 may be: codex_orchestrator.cli, codex_orchestrator.cli.plan"
    )
