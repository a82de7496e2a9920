"""``guard``: the built-in guards."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.diff_budget import DiffBudgetRequest, check_diff_budget
from codex_orchestrator.checks.docs import DocsGuardRequest, check_docs
from codex_orchestrator.checks.evidence import check_evidence
from codex_orchestrator.checks.programs import CommandWords
from codex_orchestrator.checks.reference_checker import KnownNames
from codex_orchestrator.checks.report import Report, render_text
from codex_orchestrator.checks.spec import SpecGuardRequest, check_specs
from codex_orchestrator.cli import build_parser, render
from codex_orchestrator.cli.common import add_format, add_root, environment_of
from codex_orchestrator.clock import SystemClock, utc_date
from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import UsageError

GUARDS = {
    "spec": "changed code needs a changed spec",
    "docs": "what documentation names must exist",
    "diff-budget": "a change is small enough to be reviewed",
    "evidence": "checked boxes cite runs that succeeded",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``guard``."""
    told = "; ".join(f"{name}: {text}" for name, text in GUARDS.items())
    parser.add_argument("guard", choices=tuple(GUARDS), metavar="GUARD", help=told)
    parser.add_argument("--dry-run", action="store_true", help="print findings, but exit 0")
    parser.add_argument(
        "--base",
        metavar="REF",
        help="spec, diff-budget: compare with REF (default: BASE_SHA, guards.base, else by CI and branches)",
    )
    parser.add_argument("--override", metavar="REASON", help="diff-budget: why the change may be larger")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check; 1 where there are findings, unless it is a dry run."""
    for flag, value, guards in (
        ("--base", arguments.base, ("spec", "diff-budget")),
        ("--override", arguments.override, ("diff-budget",)),
    ):
        if value is not None and arguments.guard not in guards:
            raise UsageError(f"guard {arguments.guard} takes no {flag}.", hint=f"For: {', '.join(guards)}.")
    report = _CHECKS[arguments.guard](environment_of(arguments), arguments)
    if arguments.format == "json":
        render.emit_json(report.to_json())
    else:
        render.emit(render_text(report, dry_run=arguments.dry_run))
    return report.exit_code(dry_run=arguments.dry_run)


def _check_specs(environment: Environment, arguments: argparse.Namespace) -> Report:
    settings = load_definitions(environment).configuration.guards
    change = ChangeRequest.of(environment, settings, arguments.base)
    return check_specs(SpecGuardRequest(change, utc_date(SystemClock().now())))


def _check_docs(environment: Environment, _arguments: argparse.Namespace) -> Report:
    definitions = load_definitions(environment)
    return check_docs(
        DocsGuardRequest(
            known=KnownNames(environment, definitions.pipelines, command_words()),
            settings=definitions.configuration.guards.docs,
        )
    )


def command_words() -> dict[str, CommandWords]:
    """The flags and arguments of each of our commands, for the docs guard; the program's under ``""``."""
    parser = build_parser()
    found = {"": _words(parser)}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list what it was told
        if isinstance(action.choices, dict):  # the commands, by name
            found.update({name: _words(child) for name, child in action.choices.items()})
    return found


def _words(parser: argparse.ArgumentParser) -> CommandWords:
    actions = parser._actions  # noqa: SLF001 - as above
    arguments = [one for one in actions if not one.option_strings]
    choices = arguments[0].choices if arguments else None
    return CommandWords(
        flags={flag: one.nargs != 0 for one in actions for flag in one.option_strings},
        takes_pipeline=any(one.dest == "pipeline" for one in arguments),
        choices=() if choices is None or isinstance(choices, dict) else tuple(choices),
    )


def _check_diff_budget(environment: Environment, arguments: argparse.Namespace) -> Report:
    settings = load_definitions(environment).configuration.guards
    return check_diff_budget(
        DiffBudgetRequest(
            change=ChangeRequest.of(environment, settings, arguments.base),
            override=arguments.override,
            max_files=settings.diff.files,
            max_lines=settings.diff.lines,
            max_bytes=settings.diff.bytes,
        )
    )


def _check_evidence(environment: Environment, _arguments: argparse.Namespace) -> Report:
    return check_evidence(environment)


_CHECKS: dict[str, Callable[[Environment, argparse.Namespace], Report]] = {
    "spec": _check_specs,
    "docs": _check_docs,
    "diff-budget": _check_diff_budget,
    "evidence": _check_evidence,
}
