"""``validate``: check files against the schemas."""

from __future__ import annotations

import argparse
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.artefacts import ARTEFACTS, Finding, check_file, check_folder
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, UsageError

from . import render
from .common import add_format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``validate``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, or a folder: all files in it")
    parser.add_argument(
        "--schema", choices=sorted(ARTEFACTS), help="what the files are (default: by their names)"
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check them; 1 where one is wrong."""
    artefact = ARTEFACTS[arguments.schema] if arguments.schema else None
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
        render.emit_json({"files": [_row(finding) for finding in findings]})
    else:
        for finding in findings:
            render.emit_lines(_lines(finding))
    return EXIT_RUN_FAILED if any(finding.problems for finding in findings) else EXIT_OK


def _row(finding: Finding) -> dict[str, object]:
    return {
        "path": finding.path,
        "schema": finding.schema,
        "valid": not finding.problems,
        "problems": list(finding.problems),
    }


def _lines(finding: Finding) -> list[str]:
    if not finding.problems:
        return [f"ok: {finding.path} ({finding.schema})"]
    return [f"{finding.path}: {problem}" for problem in finding.problems]
