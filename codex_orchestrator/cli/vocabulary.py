"""The words of this command line: what the docs guard holds documents to."""

from __future__ import annotations

import argparse

from codex_orchestrator.checks.programs import CommandWords
from codex_orchestrator.cli import build_parser


def command_words() -> dict[str, CommandWords]:
    """Every command with its flags and arguments; the program itself under the empty name."""
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
