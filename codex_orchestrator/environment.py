"""Where a run lives: root, runs and out folders, task id, and what a stage inherits.

Rules: docs/reference/configuration.md, "Environment".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from codex_orchestrator import named, sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.identifiers import check_id, id_problem, slug
from codex_orchestrator.text import printable

CONFIG_NAME = "codex.orchestrator.json"
PYPROJECT_NAME = "pyproject.toml"
TABLE = ("tool", "codex-orchestrator")
"""Where ``pyproject.toml`` holds what is otherwise in ``codex.orchestrator.json``."""
TASK_VARIABLE = "MCP_RUNNER_TASK_ID"
TASK_INDEX = "tasks/index.json"
PREFIX = "CODEX_ORCHESTRATOR_"
# What the settings of the privacy guard begin with.
PRIVACY_GUARD = "CODEX_PRIVACY_GUARD"

_STAGE_NAMES = (
    *("TASK_ID", "RUN_ID", "PIPELINE_ID", "STAGE_ID", "OWNER_PID", "MANIFEST_PATH"),
    *("RUN_DIR", "RUNS_DIR", "OUT_DIR", "ROOT", "LINEAGE"),
)
_ENFORCING = ("1", "true", "on", "yes", "enforce")
# A line of pyproject.toml that begins our table, or one below it; compiled where it is needed. It takes back
# nothing that it has matched, or a long line of blanks would be searched for ever.
_OURS = (
    rb"(?m)^(?:\xef\xbb\xbf)?+[ \t]*+\[{0,2}+[ \t]*+"
    rb"""["']?tool["']?[ \t]*+\.[ \t]*+["']?codex-orchestrator["']?[ \t]*+[].=]"""
)
SIGN_KEY = f"{PREFIX}SIGN_KEY"
SIGN_PASSPHRASE = f"{PREFIX}SIGN_PASSPHRASE"
# What is for this process alone, and no command that it starts for others inherits.
KEPT_FROM_STAGES = frozenset({SIGN_KEY, SIGN_PASSPHRASE})
# What pytest puts into its own process for itself; a stage inherits the user's environment.
_PYTEST_OWN = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")


@dataclass(frozen=True)
class Environment:
    """The surroundings of every command, discovered once.

    Attributes:
        root: The repo root, absolute.
        runs_dir: Where runs are kept, absolute.
        out_dir: Where state is kept, absolute.
        cwd: The folder that the command was called from, absolute.
        variables: The process's environment as it was at the start.
        root_named: Whether somebody has named the root, instead of having it looked for.
        config_name: The name of the repo's definition file, which need not exist.
    """

    root: Path
    runs_dir: Path
    out_dir: Path
    cwd: Path
    variables: Mapping[str, str]
    root_named: bool = False
    config_name: str = CONFIG_NAME

    @property
    def config_path(self) -> Path:
        """The repo's definition file, which need not exist."""
        return self.root / self.config_name

    @property
    def config_in_words(self) -> str:
        """Where people find the repo's definitions, or would put them."""
        return (
            self.config_name
            if self.config_name == CONFIG_NAME
            else f"[{'.'.join(TABLE)}] of {self.config_name}"
        )

    def relative(self, path: Path) -> str:
        """``path`` as artefacts name it: relative to the root, with ``/``."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def setting(self, name: str) -> str | None:
        """A variable's value; an empty one counts as unset."""
        return self.variables.get(name) or None

    def enforces(self, prefix: str) -> bool:
        """Whether ``<prefix>_MODE``, or ``<prefix>_ENFORCE`` where that is unset, asks to enforce."""
        return enforces(self.variables, prefix)


def enforces(variables: Mapping[str, str], prefix: str) -> bool:
    """Whether ``<prefix>_MODE``, or ``<prefix>_ENFORCE`` where that is unset or empty, asks to enforce."""
    value = variables.get(f"{prefix}_MODE") or variables.get(f"{prefix}_ENFORCE") or ""
    return value.strip().lower() in _ENFORCING


@dataclass(frozen=True)
class TaskChoice:
    """The task id of a command, and the notice that goes with a guess."""

    task_id: str
    notice: str | None = None


def discover(cwd: Path, variables: Mapping[str, str], root_option: str | None = None) -> Environment:
    """Find root, runs and out folders.

    Raises:
        UsageError: ``--root`` or ``CODEX_ORCHESTRATOR_ROOT`` names no folder, or one of the two folders is
            a link that leads out of the root without having been named; or the root may not be
            entered.
    """
    variables = {name: value for name, value in variables.items() if name not in _PYTEST_OWN}
    cwd = cwd.absolute()
    inherited = _applies(cwd, variables, root_option)
    named_root = _named_root(cwd, variables if inherited else {}, root_option)
    root, config_name = (named_root, definition_file(named_root)) if named_root else _found_root(cwd)
    if not named.is_executable(root):
        raise UsageError(
            f"The folder {printable(str(root))} may not be entered by this user.",
            hint="Change to another one, or name another with --root.",
        )
    # A runs folder that a stage inherited belongs to the root it was inherited with.
    folders = variables if inherited else {}
    return Environment(
        root=root,
        runs_dir=_folder(root, "RUNS_DIR", folders.get(f"{PREFIX}RUNS_DIR"), ".runs"),
        out_dir=_folder(root, "OUT_DIR", folders.get(f"{PREFIX}OUT_DIR"), "out"),
        cwd=cwd,
        variables=variables,
        root_named=named_root is not None,
        config_name=config_name or CONFIG_NAME,
    )


def definition_file(folder: Path) -> str | None:
    """The name of the file that holds a folder's definitions, or None (reference: configuration, "The file").

    Where both files do, it is the first; `load_definitions` refuses that.
    """
    if named.kind(folder / CONFIG_NAME):
        return CONFIG_NAME
    return PYPROJECT_NAME if has_table(folder) else None


def has_table(folder: Path) -> bool:
    """Whether a folder's ``pyproject.toml`` has a line that begins our table.

    It is not parsed: it may be another user's, and most of them have nothing to say to us. What cannot be
    read has nothing to say either.
    """
    path = folder / PYPROJECT_NAME
    if named.kind(path) != "file":
        return False
    try:
        content = sources.read(path, root=folder)
    except (OSError, Misplaced):
        return False
    return b"codex-orchestrator" in content and re.search(_OURS, content) is not None


def choose_task(
    environment: Environment, option: str | None = None, configured: str | None = None
) -> TaskChoice:
    """The task id: ``--task``, the variable, the config, else the root folder's name.

    Raises:
        UsageError: The id that counts is not valid.
    """
    if option is not None:
        return TaskChoice(check_id(option, name="task ID"))
    variable = environment.setting(TASK_VARIABLE)
    if variable is not None:
        return TaskChoice(check_id(variable, name=TASK_VARIABLE))
    if configured is not None:
        return TaskChoice(check_id(configured, name="task ID"))
    guess = check_id(slug(environment.root.name, fallback="task"), name="task ID")
    hint = f"Set {TASK_VARIABLE}, or taskId in {environment.config_in_words}."
    return TaskChoice(guess, f'No task id given; using "{guess}". {hint}')


def stage_names() -> frozenset[str]:
    """The names of the variables that `stage_variables` gives every stage."""
    return frozenset({TASK_VARIABLE, *(f"{PREFIX}{name}" for name in _STAGE_NAMES)})


def stage_variables(
    environment: Environment,
    *,
    task_id: str,
    run_id: str,
    pipeline_id: str,
    stage_id: str,
    run_dir: Path,
    owner_pid: int,
    own: Mapping[str, str],
) -> dict[str, str]:
    """The environment of a stage's process: the caller's, the run's names, then the stage's own.

    All of it as `as_utf8` has it, so that a definition file's texts are what processes get under any locale.
    """
    names = {
        "TASK_ID": task_id,
        "RUN_ID": run_id,
        "PIPELINE_ID": pipeline_id,
        "STAGE_ID": stage_id,
        "OWNER_PID": str(owner_pid),
        "MANIFEST_PATH": as_utf8(str(run_dir / "manifest.json")),
        "RUN_DIR": as_utf8(str(run_dir)),
        "RUNS_DIR": as_utf8(str(environment.runs_dir)),
        "OUT_DIR": as_utf8(str(environment.out_dir)),
        "ROOT": as_utf8(str(environment.root)),
        "LINEAGE": as_utf8(lineage_within(environment, run_dir)),
    }
    inherited = {as_utf8(name): as_utf8(value) for name, value in inheritable(environment.variables).items()}
    run = {f"{PREFIX}{name}": value for name, value in names.items()}
    return {**inherited, TASK_VARIABLE: task_id, **run, **own}


def inheritable(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment as commands of others may have it: without what keys lie in and are opened with."""
    return {name: value for name, value in variables.items() if name not in KEPT_FROM_STAGES}


def notice_of_git_hook(environment: Environment) -> str | None:
    """That stages would work on the repository of the git hook that this was called from."""
    told = [name for name in ("GIT_DIR", "GIT_INDEX_FILE") if environment.setting(name)]
    if not told:
        return None
    verb, they = ("is", "it") if len(told) == 1 else ("are", "them")
    return (
        f"{' and '.join(told)} {verb} set, as in a git hook, and stages inherit {they}: what they do with "
        "git is done to that repository. To prevent that, unset $(git rev-parse --local-env-vars) first."
    )


def as_utf8(text: str) -> str:
    """What the system has given, decoded by the locale, as the text that its bytes are in UTF-8.

    Bytes that are no text are lone surrogates. In a locale whose texts are UTF-8, nothing changes.
    """
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def run_around(environment: Environment) -> str | None:
    """The id of the run that this process was started from within, or None."""
    run_id = environment.setting(f"{PREFIX}RUN_ID")
    return run_id if run_id is not None and id_problem(run_id) is None else None


def lineage_around(environment: Environment) -> list[tuple[Path, Path]]:
    """The runs that this process was started from within, outermost first: of each its root and its folder.

    What is no such list is none: a stage may set the variable too.
    """
    if run_around(environment) is None:
        return []
    try:
        entries = json.loads(environment.setting(f"{PREFIX}LINEAGE") or "[]")
        found = [(Path(root), Path(folder)) for root, folder in entries]
    except (ValueError, TypeError, RecursionError):
        found = []
    root, folder = (environment.setting(f"{PREFIX}{name}") for name in ("ROOT", "RUN_DIR"))
    own = (Path(root), Path(folder)) if root and folder else None
    return found if own is None or own in found else [*found, own]


def lineage_within(environment: Environment, run_dir: Path) -> str:
    """The same for a stage of a run in ``run_dir``, as its variable holds it."""
    lineage = [*lineage_around(environment), (environment.root, run_dir)]
    return json.dumps([[str(root), str(folder)] for root, folder in lineage])


def _applies(cwd: Path, variables: Mapping[str, str], option: str | None) -> bool:
    """Whether our variables count here: always, but from within a stage only in that stage's own project."""
    root = variables.get(f"{PREFIX}ROOT")
    if not variables.get(f"{PREFIX}RUN_ID") or not root:
        return True
    here, home = (cwd / (option or "")).resolve(), Path(root).resolve()
    if option:
        return here == home
    if not here.is_relative_to(home):
        return False
    inside = here.relative_to(home).parts
    between = (home.joinpath(*inside[:depth]) for depth in range(1, len(inside) + 1))
    return not any(definition_file(folder) for folder in between)


def _named_root(cwd: Path, variables: Mapping[str, str], option: str | None) -> Path | None:
    for name, value in (("--root", option), (f"{PREFIX}ROOT", variables.get(f"{PREFIX}ROOT"))):
        if value:
            root = Path(os.path.normpath(cwd / value))
            if named.kind(root) != "folder":
                raise UsageError(f'{name} "{value}" is not a folder.')
            return root
    return None


def _found_root(cwd: Path) -> tuple[Path, str | None]:
    """The root by what is in it, and the name of its definition file."""
    upwards = (cwd, *cwd.parents)
    for folder in upwards:
        name = definition_file(folder)
        if name is not None:
            return folder, name
    return next((folder for folder in upwards if named.kind(folder / ".git")), cwd), None


def _folder(root: Path, variable: str, value: str | None, default: str) -> Path:
    if value:
        return Path(os.path.normpath(root / value))
    try:
        sources.within(root / default, root)
    except Misplaced as error:
        raise UsageError(
            error.message, hint=f"Remove it, or name the folder that is meant in {PREFIX}{variable}."
        ) from error
    return root / default
