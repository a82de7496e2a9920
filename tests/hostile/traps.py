"""The traps: what a stranger's repository may hold, by a name for each.

A trap is a function that lays it in a `World`. Links lead to what is as good a target as can be: the
counterpart in the user's home of whatever they stand for.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from .world import CANARY, TASK, World

Trap = Callable[[World], None]

RUN = "{run}"
# By place: what lies there, and whether it is a folder.
_FOLDERS = [
    ".runs",
    f".runs/{TASK}",
    *(f".runs/{TASK}/{name}" for name in ("cli", "mcp", "live", "trash", "metrics.pending")),
    ".runs/local-mcp",
    RUN,
    *(f"{RUN}/{name}" for name in ("commands", "errors", "children")),
    "out",
    f"out/{TASK}",
    *(f"out/{TASK}/{name}" for name in ("runs.pending", "control-plane", "control-plane/samples.pending")),
    "scripts",
    "tasks",
    "docs",
]
_FILES = [
    *(
        f"{RUN}/{name}"
        for name in (
            *(
                "manifest.json",
                "runner.ndjson",
                "approvals.ndjson",
                "run.lock",
                "plan.json",
                "run-summary.json",
            ),
            *("resume-token.json", ".heartbeat", "privacy-decisions.ndjson", "commands/01-a.ndjson"),
        )
    ),
    *(
        f".runs/{TASK}/{name}"
        for name in (
            *(
                "metrics.json",
                "metrics-summary.json",
                ".metrics.lock",
                "live/x.json",
                "metrics.pending/x.json",
            ),
            *(".gitignore", "trash/x", "cli/x"),
        )
    ),
    ".runs/.gitignore",
    ".runs/local-mcp/x/compat.json",
    *(
        f"out/{TASK}/{name}"
        for name in (
            *("state.json", "runs.ndjson", "runs-index.json", ".runs.lock", "runs.json"),
            *("control-plane/drift.json", "control-plane/samples.ndjson", "runs.pending/x.json"),
        )
    ),
    *(
        ".gitignore",
        "AGENTS.md",
        "docs/AGENTS.md",
        "codex.orchestrator.json",
        "tasks/index.json",
        "package.json",
    ),
    *("scripts/spec-guard.sh", "tasks/tasks-0001-x.md", "docs/TASKS.md", "pyproject.toml"),
]
# Where links of the other kinds are tried, and what is no file.
_KEY_PLACES = [
    f"{RUN}/manifest.json",
    f"{RUN}/runner.ndjson",
    f"{RUN}/run.lock",
    f"{RUN}/approvals.ndjson",
    f".runs/{TASK}/metrics.json",
    f".runs/{TASK}/live/x.json",
    f".runs/{TASK}/metrics.pending/x.json",
    f"out/{TASK}/state.json",
    "AGENTS.md",
    "codex.orchestrator.json",
]
_DEEP = "[" * 100_000


def _place(world: World, name: str, pipeline: str = "p") -> Path:
    path = world.repo / name.replace(RUN, f".runs/{TASK}/cli/{world.runs[pipeline]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _targets(world: World, name: str) -> list[tuple[Path, Path]]:
    """The place in the repository and its counterpart; of files in a run's folder, those of several runs."""
    pipelines = ("p", "waits", "fails") if RUN in name else ("p",)
    places = [_place(world, name, pipeline) for pipeline in pipelines]
    return [(place, world.home / "mirror" / place.relative_to(world.repo)) for place in places]


def _link(name: str, make: Callable[[World, Path, Path], str | Path], *, folder: bool = False) -> Trap:
    def lay(world: World) -> None:
        for place, target in _targets(world, name):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                if folder:
                    target.mkdir()
                    (target / "x.json").write_text(f'{{"{CANARY}": 1}}\n')
                else:
                    target.write_text(f'{{"{CANARY}": 1}}\n')
            _clear(place)
            place.symlink_to(make(world, place, target))

    return lay


def _relative(_world: World, place: Path, target: Path) -> str:
    return os.path.relpath(target, place.parent)


def _absolute(_world: World, _place: Path, target: Path) -> Path:
    return target


def _dangling(world: World, place: Path, _target: Path) -> str:
    return os.path.relpath(world.home / "not-there-yet", place.parent)


def _to_folder(world: World, place: Path, _target: Path) -> str:
    return os.path.relpath(world.home / "docs", place.parent)


def _zeros(_world: World, _place: Path, _target: Path) -> str:
    return "/dev/zero"


def _loop(_world: World, place: Path, _target: Path) -> str:
    return place.name


def _instead(name: str, make: Callable[[Path], object]) -> Trap:
    def lay(world: World) -> None:
        for place, _ in _targets(world, name):
            _clear(place)
            make(place)

    return lay


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def _socket(path: Path) -> None:
    # A path to a socket may not be long.
    here = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _written(name: str, text: str | bytes) -> Trap:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _instead(name, lambda path: path.write_bytes(data))


def _many(*traps: Trap) -> Trap:
    def lay(world: World) -> None:
        for trap in traps:
            trap(world)

    return lay


def _marker(name: str, folder: str, target: str) -> Trap:
    """A marker of a run that never was, and a folder that leads to what it names."""

    def lay(world: World) -> None:
        place = world.task / folder
        _clear(place)
        place.symlink_to(os.path.relpath(world.home / target, place.parent))
        marker = world.task / "live" / name
        marker.parent.mkdir(exist_ok=True)
        marker.write_text("{}")

    return lay


def _trash(name: str, folder: str) -> Trap:
    def lay(world: World) -> None:
        (world.task / "trash" / name).mkdir(parents=True)
        (world.task / "trash" / name / "x").write_text("x")
        place = world.task / folder
        _clear(place)
        place.symlink_to(os.path.relpath(world.home, place.parent))

    return lay


def _appended(name: str, line: str) -> Trap:
    """The journal is a link, and a record waits to be merged into it."""
    target = ".bashrc"

    def lay(world: World) -> None:
        journal = _place(world, name)
        _clear(journal)
        journal.symlink_to(os.path.relpath(world.home / target, journal.parent))
        pending = journal.with_name(
            {"metrics.json": "metrics.pending", "runs.ndjson": "runs.pending"}.get(
                journal.name, "samples.pending"
            )
        )
        pending.mkdir(exist_ok=True)
        (pending / "2026-01-01T00-00-00-000Z-00000001.json").write_text(line)

    return lay


def _owned(owner: Callable[[World], int], **changes: object) -> Trap:
    """Runs that say they are alive, in the hands of a process that has nothing to do with them."""

    def lay(world: World) -> None:
        for pipeline in ("p", "waits", "fails"):
            run = world.run(pipeline)
            world.edit(run / "manifest.json", status="in_progress", completed_at=None)
            (run / "run.lock").write_text(world.owner(owner(world), **changes))
            marker = world.task / "live" / f"{run.name}.json"
            marker.write_text(world.owner(owner(world), **changes))

    return lay


def _claims(**changes: Callable[[World], object]) -> Trap:
    """Manifests that name what lies elsewhere."""

    def lay(world: World) -> None:
        for pipeline in ("p", "waits", "fails"):
            made = {key: value(world) for key, value in changes.items()}
            world.edit(world.run(pipeline) / "manifest.json", **made)

    return lay


def _entries(**changes: object) -> Trap:
    def lay(world: World) -> None:
        for pipeline in ("p", "waits", "fails", "nests"):
            path = world.run(pipeline) / "manifest.json"
            commands = [{**entry, **changes} for entry in json.loads(path.read_text())["commands"]]
            world.edit(path, commands=commands, status="in_progress")

    return lay


def _out(name: str) -> Callable[[World], str]:
    """A path that leads from the root of the repository to the user's home."""
    return lambda _world: f"../home/{name}"


def _child(world: World) -> None:
    for pipeline in ("p", "waits", "fails"):
        folder = world.run(pipeline) / "children"
        folder.mkdir(exist_ok=True)
        for name, path in (("up", "../home/mirror/.runs"), ("abs", str(world.home / "creds"))):
            record = {
                "run_id": f"../../{name}",
                "pipeline_id": "p",
                "status": "in_progress",
                "manifest": path,
            }
            (folder / f"{name}.json").write_text(json.dumps(record))


def _pointer(world: World) -> None:
    for path in (world.task / "mcp").glob("*/manifest.json"):
        world.edit(path, redirect_to="../home/mirror", manifest="../home/creds")


def _run_called(name: bytes) -> Trap:
    """A run by a name that is to be pasted, shown or followed."""

    def lay(world: World) -> None:
        called = os.fsdecode(name)
        shutil.copytree(world.run(), world.task / "cli" / called)
        (world.task / "live" / f"{called}.json").write_text("{}")

    return lay


def _task_called(name: bytes) -> Trap:
    def lay(world: World) -> None:
        shutil.copytree(world.task, world.repo / ".runs" / os.fsdecode(name))

    return lay


def _git_setting(*lines: str) -> Trap:
    """The repository's own configuration of git, which a clone does not bring but an archive does."""

    def lay(world: World) -> None:
        script = f"#!/bin/sh\n: > {world.home}/PWNED\ncat\n"
        tool = world.repo / ".git" / "tool.sh"
        tool.write_text(script)
        tool.chmod(0o755)
        (world.repo / ".gitattributes").write_text("* filter=x diff=x\n")
        with (world.repo / ".git" / "config").open("a") as config:
            config.write("".join(line.replace("TOOL", str(tool)) + "\n" for line in lines))
        (world.repo / "src").mkdir()
        (world.repo / "src" / "new.py").write_text("new\n")
        (world.repo / "AGENTS.md").write_text("changed\n")

    return lay


def _module(name: str) -> Trap:
    """A module that stands in the way of the product's own, in the folder that it works in."""

    def lay(world: World) -> None:
        text = f"open({str(world.home / 'PWNED')!r}, 'w')\nprint('spec-guard: ok')\n"
        (world.repo / name).write_text(text)

    return lay


def _bare_repository(world: World) -> None:
    """A folder of the clone that git takes for a repository with a configuration of its own."""
    sub = world.repo / "bare"
    for name in ("objects", "refs"):
        (sub / name).mkdir(parents=True)
    tool = sub / "tool.sh"
    tool.write_text(f"#!/bin/sh\n: > {world.home}/PWNED\n")
    tool.chmod(0o755)
    (sub / "HEAD").write_text("ref: refs/heads/main\n")
    (sub / "config").write_text(f'[core]\nworktree = ..\nbare = false\nfsmonitor = "{tool}"\n')
    shutil.copy(world.repo / "codex.orchestrator.json", sub)
    shutil.rmtree(world.repo / ".git")
    for path in sub.iterdir():
        path.rename(world.repo / path.name)


def _definitions(**changes: object) -> Trap:
    def lay(world: World) -> None:
        world.edit(world.repo / "codex.orchestrator.json", **changes)

    return lay


def _stage_that_harms(world: World) -> None:
    command = (
        "cat ../home/creds > stolen; cat stolen; : > ../home/new; chmod 700 ../home/.profile; "
        f"rm ../home/docs/thesis.txt; kill {world.victim}; exit 3"
    )
    stage = {"kind": "command", "id": "a", "title": "A", "command": command}
    _definitions(pipelines=[{"id": "p", "title": "P", "stages": [stage]}])(world)


_SHELL_LINE = ": > ../home/PWNED; touch PWNED\n"
_HALF = '{"run_id": "\\ud800", "status": "\\ud800"}\n'

# What shows that the suite sees what it looks for, and nothing else.
CONTROLS = ("nothing", "a stage that harms")

TRAPS: dict[str, Trap] = {
    "nothing": lambda _world: None,
    "a stage that harms": _stage_that_harms,
    **{f"link: {name}": _link(name, _relative, folder=True) for name in _FOLDERS},
    **{f"link: {name}": _link(name, _relative) for name in _FILES},
    **{f"absolute link: {name}": _link(name, _absolute) for name in _KEY_PLACES},
    **{f"dangling link: {name}": _link(name, _dangling) for name in _KEY_PLACES},
    **{f"link to a folder: {name}": _link(name, _to_folder) for name in _KEY_PLACES},
    **{f"link to a device: {name}": _link(name, _zeros) for name in _KEY_PLACES},
    **{f"link in a loop: {name}": _link(name, _loop) for name in _KEY_PLACES},
    **{f"folder: {name}": _instead(name, Path.mkdir) for name in _KEY_PLACES},
    **{f"pipe: {name}": _instead(name, os.mkfifo) for name in _KEY_PLACES},
    **{f"socket: {name}": _instead(name, _socket) for name in _KEY_PLACES},
    **{f"10 GB: {name}": _instead(name, _huge) for name in _KEY_PLACES},
    **{
        f"deep: {name}": _written(name, _DEEP)
        for name in [*_KEY_PLACES, f"{RUN}/plan.json", "tasks/index.json"]
    },
    **{f"garbage: {name}": _written(name, os.urandom(4_000)) for name in _KEY_PLACES},
    **{f"half a character: {name}": _written(name, _HALF) for name in _KEY_PLACES},
    **{f"null: {name}": _written(name, "null\n") for name in _KEY_PLACES},
    **{f"long number: {name}": _written(name, '{"pid": ' + "9" * 10_000 + "}\n") for name in _KEY_PLACES},
    "pipe: pyproject.toml": _instead("pyproject.toml", os.mkfifo),
    "link to a device: pyproject.toml": _link("pyproject.toml", _zeros),
    "deep: pyproject.toml": _written("pyproject.toml", f"[tool.codex-orchestrator]\nx = {_DEEP}"),
    "garbage: pyproject.toml": _written("pyproject.toml", b"[tool.codex-orchestrator]\n" + os.urandom(4_000)),
    "marker of the folder above": _marker("...json", "cli", "docs"),
    "marker of the folder itself": _marker("..json", "cli", "docs"),
    "marker of a folder of the home": _marker("docs.json", "cli", "."),
    "marker, by mcp": _marker("docs.json", "mcp", "."),
    "marker of the root": _marker("home.json", "cli", ".."),
    "trash of a folder of the home": _trash("docs", "mcp"),
    "trash, by cli": _trash("docs", "cli"),
    "record for a link: metrics": _appended(f".runs/{TASK}/metrics.json", _SHELL_LINE),
    "record for a link: history": _appended(f"out/{TASK}/runs.ndjson", _SHELL_LINE),
    "record for a link: samples": _appended(f"out/{TASK}/control-plane/samples.ndjson", _SHELL_LINE),
    "record that is a line of a shell": _written(f".runs/{TASK}/metrics.pending/x.json", _SHELL_LINE),
    "record that leads out": _written(
        f".runs/{TASK}/metrics.pending/..json", '{"run_id": "../../../home"}\n'
    ),
    "lock of another process": _owned(lambda world: world.victim),
    "lock of another process, elsewhere": _owned(lambda world: world.victim, host=None, boot_id=None),
    "lock of another process, without its start": _owned(lambda world: world.victim, start_token=None),
    "lock of all processes": _owned(lambda _world: -1, start_token=None),
    "lock of the own group": _owned(lambda _world: 0, start_token=None),
    "lock of a group": _owned(lambda world: -world.victim, start_token=None),
    "lock of the first process": _owned(lambda _world: 1),
    "lock of no process": _owned(lambda _world: 99_999_999_999_999_999_999, start_token=None),
    "lock of a word": _owned(lambda world: world.victim, pid="1; kill"),
    "manifest: parent elsewhere": _claims(parent_run_id=lambda _w: "../../../../home/mirror"),
    "manifest: log elsewhere": _claims(
        log_path=_out("creds"), artifact_root=_out("mirror"), run_summary_path=_out("creds")
    ),
    "manifest: log elsewhere, absolute": _claims(log_path=lambda w: str(w.home / "creds")),
    "manifest: pointer elsewhere": _claims(compat_path=_out("docs")),
    "manifest: instructions elsewhere": _claims(instructions_sources=lambda _w: ["../home/creds"]),
    "manifest: children elsewhere": _claims(
        child_runs=lambda w: [
            {"run_id": name, "pipeline_id": "p", "status": "in_progress", "manifest": path}
            for name, path in (
                ("../../home", "../home/mirror"),
                ("x", str(w.home / "creds")),
                ("..", "../home/creds"),
            )
        ]
    ),
    "manifest: another run's": _claims(run_id=lambda _w: "../../../../home", task_id=lambda _w: "../../home"),
    "manifest: wrong types": _claims(
        commands=lambda _w: 7, approvals=lambda _w: {}, child_runs=lambda _w: "x"
    ),
    "entries: run elsewhere": _entries(
        sub_run_id="../../../../home/mirror", kind="subpipeline", status="failed"
    ),
    "entries: files elsewhere": _entries(
        log_path="../home/creds", error_file="../home/creds", status="failed"
    ),
    "entries: no ids": _entries(id="../../home/\x1b[2J", index=-1),
    "children that lead out": _child,
    "pointers that lead out": _pointer,
    "newer run": _run_called(b"zzz"),
    "run called as a command": _run_called(b"zzz$(touch PWNED)`touch PWNED`"),
    "run called as controls": _run_called(b"zzz\x1b[2J\r\n::error::x"),
    "run called as no text": _run_called(b"zzz\xff\xfe"),
    "run called as an option": _run_called(b"-zzz"),
    "task called as a command": _task_called(b"$(touch PWNED)"),
    "task called as no text": _task_called(b"\xff\xfe\n"),
    "git: monitor": _git_setting("[core]", "fsmonitor = TOOL"),
    "git: filter": _git_setting('[filter "x"]', "clean = TOOL", "smudge = TOOL", "process = TOOL"),
    "git: diff": _git_setting('[diff "x"]', "textconv = TOOL", "command = TOOL", "[diff]", "external = TOOL"),
    "git: hooks, pager, editor": _git_setting("[core]", "hooksPath = TOOL", "pager = TOOL", "editor = TOOL"),
    "git: worktree": _git_setting("[core]", "worktree = ../../home"),
    "git: a bare repository": _bare_repository,
    "module: codex_orchestrator.py": _module("codex_orchestrator.py"),
    "module: argparse.py": _module("argparse.py"),
    "module: json.py": _module("json.py"),
    "module: sitecustomize.py": _module("sitecustomize.py"),
    "module: conftest.py": _module("conftest.py"),
    "definitions: projects of tasks": _definitions(tasks={"*": "../home"}),
    "definitions: guarded paths": _definitions(
        guards={"spec": {"paths": ["../home"]}, "docs": {"ignore": ["*"]}}
    ),
    "definitions: a task elsewhere": _definitions(taskId="../../home"),
    "everything at once": _many(_child, _pointer, _run_called(b"zzz"), _entries(log_path="../home/creds")),
}
