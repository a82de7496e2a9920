"""``validate``: check files against the schemas."""

from __future__ import annotations

import argparse
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, current_folder
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, UsageError
from codex_orchestrator.evidence.artefacts import ARTEFACTS, Finding, check_file, check_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``validate``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, or a folder: all files in it")
    parser.add_argument(
        "--schema", choices=sorted(ARTEFACTS), help="what the files are (default: by their names)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only what is wrong, and the counts")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the files; 1 where one is invalid."""
    artefact = ARTEFACTS[arguments.schema] if arguments.schema else None
    current_folder()
    findings: list[Finding] = []
    for path in map(Path, arguments.files):
        is_folder = named.kind(path) == "folder"
        try:
            if is_folder:
                findings.extend(check_folder(path, artefact))
            else:
                findings.append(check_file(path, artefact))
        except OSError as error:
            where = error.filename if is_folder else path
            raise UsageError(f"Cannot read {where}: {error.strerror or error}.") from error
    if arguments.format == "json":
        render.emit_json({"files": [_row(finding) for finding in findings], "counts": _counts(findings)})
    else:
        for finding in findings:
            if finding.problems or not arguments.quiet:
                render.emit_lines(_lines(finding))
        render.emit_lines([_in_words(_counts(findings))])
    return EXIT_RUN_FAILED if any(finding.problems for finding in findings) else EXIT_OK


def _row(finding: Finding) -> dict[str, object]:
    return {
        "path": finding.path,
        "schema": finding.schema,
        "valid": not finding.problems if finding.checked else None,
        "problems": list(finding.problems),
    }


def _counts(findings: list[Finding]) -> dict[str, int]:
    wrong = sum(bool(finding.problems) for finding in findings)
    unchecked = sum(not finding.checked for finding in findings)
    valid = len(findings) - wrong - unchecked
    return {"files": len(findings), "valid": valid, "invalid": wrong, "not_checked": unchecked}


def _in_words(counts: dict[str, int]) -> str:
    files, *parts = counts.items()
    told = [f"{number} {name.replace('_', ' ')}" for name, number in parts if number]
    total = f"{files[1]} file{'' if files[1] == 1 else 's'}"
    return f"{total}: {', '.join(told)}" if told else total


def _lines(finding: Finding) -> list[str]:
    if not finding.checked:
        return [f"not checked: {finding.path} (of the Node CLI)"]
    if not finding.problems:
        return [f"ok: {finding.path} ({finding.schema})"]
    return [f"{finding.path}: {problem}" for problem in finding.problems]
