"""The command line: flags to a command's function, errors to exit codes.

Each command is a module of its own with ``add_arguments(parser)`` and ``run(arguments) -> int``,
imported only when it is the one that was asked for (docs/reference/command-line.md).
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import NoReturn

from codex_orchestrator import __version__
from codex_orchestrator.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RUN_FAILED,
    OrchestratorError,
    UsageError,
)
from codex_orchestrator.evidence.standard_streams import patient_stream

COMMANDS = {
    "init": "set up a repository",
    "doctor": "check what runs need on this machine",
    "start": "run a pipeline",
    "resume": "take a run up again",
    "cancel": "end a live run",
    "approve": "approve a manual stage",
    "reject": "reject a manual stage",
    "plan": "show what a pipeline would run",
    "status": "show a run",
    "logs": "print what stages printed",
    "runs": "list runs",
    "review": "hand a run over to a reviewer",
    "gate": "say whether pipelines have passed on the code in front of us",
    "cite": "print claims for a pull request, with tokens that can be checked",
    "check": "say what became of the evidence that a text cites",
    "verify": "check that evidence is what was sealed",
    "sign": "sign the seal of a run",
    "export": "write a run in a format of other tools",
    "bundle": "put a run into one file, to be sent to somebody",
    "tree": "print the id of the work tree that runs are tied to",
    "metrics": "sum up a task's runs",
    "gc": "remove runs that are not needed any more",
    "guard": "run a built-in guard",
    "task": "begin a task, or keep the files of tasks in step",
    "schema": "print the JSON Schema of an artefact",
    "validate": "check files against the schemas",
    "version": "print the version",
}
EXIT_CODES = """exit codes:
  0            succeeded
  1            the run failed, or a check found something
  2            usage or configuration error, or unknown run
  3            waiting for an approval
  70           an internal error, of a plugin or of this program
  75           the run or a lock is held by a live process
  129/130/143  cancelled by SIGHUP/SIGINT/SIGTERM"""


class Parser(argparse.ArgumentParser):
    """argparse with our errors: one message, exit 2, and no guessing of abbreviated flags."""

    def __init__(self, **keywords: object) -> None:
        keywords.setdefault("allow_abbrev", False)
        keywords.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        keywords.setdefault("epilog", EXIT_CODES)
        super().__init__(**keywords)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Refuse the request."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", hint=f"See: {self.prog} --help")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only ``command`` gets its flags, all of them where it is None."""
    parser = Parser(prog="codex-orchestrator", description="Runs pipelines and leaves evidence on disk.")
    parser.add_argument("--version", action="version", version=f"codex-orchestrator {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, summary in COMMANDS.items():
        child = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if command in (None, name):
            module = import_module(f"{__name__}.{name}")
            module.add_arguments(child)
            child.set_defaults(handler=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the answer is the exit code."""
    _prepare_output()
    code = EXIT_OK
    try:
        try:
            code = _answer(list(sys.argv[1:] if argv is None else argv))
        finally:
            # Also after --help, which argparse ends the process with.
            sys.stdout.flush()
    except OSError as error:
        # What is still buffered has nowhere to go.
        sys.stdout = None
        # An answer that was not given must not be taken for one.
        with suppress(OSError):
            sys.stderr.write(f"error: Cannot write to standard output: {error.strerror}.\n")
        return code or EXIT_RUN_FAILED
    return code


def _answer(words: list[str]) -> int:
    command = next((word for word in words if word in COMMANDS), "")
    try:
        arguments = build_parser(command).parse_args(words)
        code: int = arguments.handler(arguments)
    except OrchestratorError as error:
        return _refuse(error, words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # Nobody takes the answer.
        from codex_orchestrator.cli.internal_error import internal_error

        return _refuse(internal_error(error), words)
    return code


def _refuse(error: OrchestratorError, words: Sequence[str]) -> int:
    from codex_orchestrator.cli.render import refuse

    with suppress(BrokenPipeError):
        refuse(error, as_json=_wants_json(words))
    return error.exit_code


def _prepare_output() -> None:
    """Have standard output and error take any text in any locale, whoever reads it, or nobody."""
    sys.stdout = patient_stream(sys.stdout or io.StringIO())
    sys.stderr = patient_stream(sys.stderr or io.StringIO())


def _wants_json(words: Sequence[str]) -> bool:
    return "--format=json" in words or ("--format", "json") in pairwise(words)
