"""How a repository with a ``package.json`` runs its scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.repository.commands import BuildStep, Candidate, Requirement
from codex_orchestrator.repository.tree import PACKAGE_JSON, Tree

Manager = Literal["npm", "pnpm", "yarn", "bun"]

_LOCKS: Mapping[str, Manager] = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
}
_MANAGERS: tuple[Manager, ...] = ("npm", "pnpm", "yarn", "bun")
_REMEDIES: Mapping[Manager, str] = {
    "npm": "install Node.js, which brings npm along",
    "pnpm": "corepack enable, or npm install -g pnpm",
    "yarn": "corepack enable, or npm install -g yarn",
    "bun": "install bun: npm install -g bun",
}
_PLUG_AND_PLAY = (".pnp.cjs", ".pnp.js", ".pnp.loader.mjs")
# What `npm init` puts where the test script belongs.
_NO_TESTS = "no test specified"
# Of a script that begins with such a word, its packages may be needed or not.
_RUN_BY_ITSELF = frozenset(
    {"node", "echo", "true", "exit", "cd", "rm", "mkdir", "cp", "test", "[", ":", "sh", "bash"}
)
_MODERN_YARN = 2
_MOST_MEMBERS = 2_000


@dataclass(frozen=True)
class NodeProject:
    """A ``package.json`` and what lies beside it.

    Attributes:
        manager: The package manager.
        said_by: What says that it is this one.
        major: Its major version, where that is said.
        scripts: The scripts of the root.
        members: The scripts of each workspace package that has some, by its folder.
        packages: What its scripts need of packages; None where that is there, or none is declared.
    """

    manager: Manager
    said_by: str
    major: int | None
    scripts: Mapping[str, str]
    members: Mapping[str, Mapping[str, str]]
    packages: Requirement | None


def read_node_project(tree: Tree) -> NodeProject | None:
    """The npm, pnpm, yarn or bun project at the root; None without a ``package.json``."""
    if tree.first(PACKAGE_JSON) is None:
        return None
    manager, said_by, major = _manager(tree)
    members = {folder: _scripts(tree.json(f"{folder}/{PACKAGE_JSON}")) for folder in _members(tree)}
    return NodeProject(
        manager=manager,
        said_by=said_by,
        major=major,
        scripts=_scripts(tree.package),
        members={folder: scripts for folder, scripts in members.items() if scripts},
        packages=_packages(tree, manager),
    )


def node_candidates(project: NodeProject, step: BuildStep) -> Iterator[Candidate]:
    """The script of that name, of the root or else of its workspaces."""
    if step in project.scripts:
        yield script_candidate(project, step)
        return
    having = [folder for folder, scripts in project.members.items() if step in scripts]
    command = _in_workspaces(project, step) if having else None
    if command is not None:
        why = f'{_counted(len(having))} the script "{step}"'
        yield Candidate(command, why, _needs(project, project.members[having[0]][step]))


def script_candidate(project: NodeProject, name: str) -> Candidate:
    """The command that runs a script of the root package."""
    why = f'{PACKAGE_JSON} has the script "{name}"'
    return Candidate(f"{project.manager} run {name}", why, _needs(project, project.scripts[name]))


def _needs(project: NodeProject, script: str) -> tuple[Requirement, ...]:
    program = Requirement("program", project.manager, _REMEDIES[project.manager])
    first = re.match(r"[\w.@/-]+(?=\s|$)", script.strip())
    if project.packages is None or first is None or first[0] in _RUN_BY_ITSELF:
        return (program,)
    # Where the script's program is on PATH, it can do without.
    packages = Requirement("node-packages", first[0], project.packages.remedy)
    return (program, packages)


def _manager(tree: Tree) -> tuple[Manager, str, int | None]:
    """Which package manager, what says so, and its major version."""
    named = tree.package.get("packageManager")
    match = re.match(r"(npm|pnpm|yarn|bun)@\^?~?v?(\d{1,4})", named) if isinstance(named, str) else None
    if match:
        return _as_manager(match[1]), "packageManager", int(match[2])
    engine = tree.package.get("devEngines")
    wanted = engine.get("packageManager") if isinstance(engine, dict) else None
    name = wanted.get("name") if isinstance(wanted, dict) else None
    if name in _MANAGERS:
        return _as_manager(name), "devEngines", None
    lock = tree.first(*_LOCKS)
    if lock is None:
        return "npm", PACKAGE_JSON, None
    manager = _LOCKS[lock]
    # Only yarn 2 and newer have this file.
    modern = manager == "yarn" and tree.first(".yarnrc.yml") is not None
    return manager, lock, _MODERN_YARN if modern else None


def _as_manager(name: str) -> Manager:
    return next(manager for manager in _MANAGERS if manager == name)


def _packages(tree: Tree, manager: Manager) -> Requirement | None:
    declared = any(tree.package.get(key) for key in ("dependencies", "devDependencies"))
    if not declared or tree.kind("node_modules") == "folder" or tree.first(*_PLUG_AND_PLAY):
        return None
    locked = tree.first("package-lock.json", "npm-shrinkwrap.json")
    remedy = f"{manager} {'ci' if manager == 'npm' and locked else 'install'}"
    return Requirement("node-packages", "", remedy)


def _scripts(package: Mapping[str, Any]) -> dict[str, str]:
    """The scripts that do something."""
    scripts = package.get("scripts")
    if not isinstance(scripts, dict):
        return {}
    return {
        name: text
        for name, text in scripts.items()
        if isinstance(text, str) and text and _NO_TESTS not in text
    }


def _members(tree: Tree) -> Iterator[str]:
    """The folders of the workspace packages, in order."""
    patterns = [pattern.strip("/").removeprefix("./") for pattern in _patterns(tree)]
    left_out = {
        folder for pattern in patterns if pattern.startswith("!") for folder in _fitting(tree, pattern[1:])
    }
    seen: set[str] = set()
    for pattern in patterns:
        for folder in () if pattern.startswith("!") else _fitting(tree, pattern):
            if folder not in seen | left_out and tree.first(f"{folder}/{PACKAGE_JSON}"):
                seen.add(folder)
                yield folder


def _patterns(tree: Tree) -> Iterable[str]:
    declared = tree.package.get("workspaces")
    if isinstance(declared, dict):
        declared = declared.get("packages")
    if isinstance(declared, list):
        return [pattern for pattern in declared if isinstance(pattern, str)]
    text = tree.text("pnpm-workspace.yaml") or ""
    block = re.search(
        r"^packages:[^\n]*\n((?:[ \t]*-[^\n]*\n|[ \t]*#[^\n]*\n|[ \t]*\n)*)", text + "\n", re.MULTILINE
    )
    return (
        re.findall(r"^[ \t]*-[ \t]*['\"]?([^'\"#\n]+?)['\"]?[ \t]*(?:#.*)?$", block[1], re.MULTILINE)
        if block
        else ()
    )


def _fitting(tree: Tree, pattern: str) -> Iterator[str]:
    """The folders that a pattern of workspaces means: ``packages/*``, ``apps/web``, ``tools/**``."""
    found = [""]
    for part in pattern.split("/"):
        if part in ("node_modules", "..", ""):
            return
        inner = "*" if part == "**" else part
        fitting = (
            folder
            for above in found
            for folder in tree.folders(above)
            if fnmatchcase(folder.rpartition("/")[2], inner) and not folder.endswith("node_modules")
        )
        found = list(islice(fitting, _MOST_MEMBERS))
    yield from found


def _in_workspaces(project: NodeProject, script: str) -> str | None:
    """The command that runs a script in each workspace package that has it; None where there is no such."""
    if project.manager == "npm":
        return f"npm run {script} --workspaces --if-present"
    if project.manager == "pnpm":
        return f"pnpm --recursive --if-present run {script}"
    if project.manager == "bun":
        return f"bun run --filter '*' {script}"
    if (project.major or 1) >= _MODERN_YARN:
        return f"yarn workspaces foreach --all run {script}"
    # Yarn 1 ends with an error where one of them lacks it.
    everywhere = all(script in scripts for scripts in project.members.values())
    return f"yarn workspaces run {script}" if everywhere else None


def _counted(number: int) -> str:
    return "1 workspace package has" if number == 1 else f"{number} workspace packages have"
