"""``init``: set up a repository."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, environment_of, notify
from codex_orchestrator.environment import CONFIG_NAME, Environment, choose_task
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED
from codex_orchestrator.model.codec import to_json
from codex_orchestrator.repository.commands import ChosenCommand
from codex_orchestrator.repository.project import Project
from codex_orchestrator.scaffold.definition import definition
from codex_orchestrator.scaffold.placing import PlacedFile, StarterFile, ignore_runs, write_starter_file
from codex_orchestrator.scaffold.scripts import find_caller, script_files
from codex_orchestrator.scaffold.style import render as render_json
from codex_orchestrator.scaffold.style import style_of

_WIDTH = len("unchanged")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``init``."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be written")
    parser.add_argument("--force", action="store_true", help="replace files that are there already")
    parser.add_argument(
        "--scripts",
        action="store_true",
        help="write the scripts of the MCP runner too (they are also written where something calls them)",
    )
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the files; 1 where one could not be written."""
    environment = environment_of(arguments)
    project = Project(environment)
    called_by = find_caller(project.tree)
    # Elsewhere, definitions are in a file that is not ours to write.
    defined = environment.config_name != CONFIG_NAME
    starters = [] if defined else [_definition_file(environment, project)]
    if arguments.scripts or called_by is not None:
        starters += script_files()
    options = {"force": arguments.force, "dry_run": arguments.dry_run}
    placed = (
        [PlacedFile(CONFIG_NAME, "left", f"{environment.config_name} has the definitions")] if defined else []
    )
    placed += [write_starter_file(environment.root, file, **options) for file in starters]
    placed.append(ignore_runs(environment.root, dry_run=arguments.dry_run))
    notify(project.notices)
    failed = any(one.outcome == "failed" for one in placed)
    if arguments.format == "json":
        render.emit_json(
            {
                "root": str(environment.root),
                "kind": project.kind,
                "dry_run": arguments.dry_run,
                "stages": [{"id": step, **_stage(choice)} for step, choice in project.step_commands.items()],
                "files": [to_json(one) for one in placed],
            }
        )
    else:
        said = [f"{called_by} calls the scripts of the MCP runner."] if called_by else []
        after = [] if failed else [_next(dry_run=arguments.dry_run)]
        what = f"Repository: {environment.root} ({project.kind})"
        render.emit_lines([what, *_found(project.step_commands), *said, *map(_text, placed), *after])
    return EXIT_RUN_FAILED if failed else EXIT_OK


def _definition_file(environment: Environment, project: Project) -> StarterFile:
    """The definition file for this repository.

    Raises:
        UsageError: The task id of the environment, or the one that the root's name would give, is not valid.
    """
    document = definition(choose_task(environment).task_id, project.step_commands)
    return StarterFile(CONFIG_NAME, render_json(document, style_of(project.tree, CONFIG_NAME)))


def _stage(choice: ChosenCommand) -> dict[str, str | None]:
    """The JSON of a step; without a command where the repository does not name one."""
    command = choice.portable if choice.configured else None
    return {"command": command, "why": choice.why or None, "missing": choice.problem_and_remedy}


def _found(choices: Mapping[str, ChosenCommand]) -> Iterator[str]:
    for step, choice in choices.items():
        if choice.configured:
            yield f"{step:<{_WIDTH}}  {choice.portable} ({choice.why})"
            if choice.problem_and_remedy:
                yield f"{'':<{_WIDTH}}  not yet: {choice.problem_and_remedy}"
        else:
            yield f"{step:<{_WIDTH}}  left out: {choice.problem or choice.why}"


def _next(*, dry_run: bool) -> str:
    if dry_run:
        return "Nothing was written: this was a dry run."
    return "Next: codex-orchestrator doctor, then codex-orchestrator start"


def _text(one: PlacedFile) -> str:
    return f"{one.outcome:<{_WIDTH}}  {one.path}" + (f": {one.detail}" if one.detail else "")
