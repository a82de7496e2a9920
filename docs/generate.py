"""Writes the generated parts of the reference pages: ``python docs/generate.py``.

A page marks such a part with two comments, ``<!-- generated: WHAT -->`` and ``<!-- end -->``; all else in
it is written by hand. Flags, keys, types, defaults and exit codes come from the code, what keys mean from
``reference/meanings.toml``. ``--check`` writes nothing and names the pages that are out of date.
"""

import argparse
import importlib
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from codex_orchestrator import cli, errors
from codex_orchestrator.evidence.artefacts import ARTEFACTS
from codex_orchestrator.privacy.parts import COMMON_WORDS
from codex_orchestrator.schemas import schema_text

REFERENCE = Path(__file__).parent / "reference"
PART = re.compile(r"(<!-- generated: ([^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
OTHER_TWINS = {"--codex-pipeline": "the argument", "--codex-resume": "`resume --run`"}
PLAIN = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def main(arguments: list[str]) -> int:
    """Bring the pages up to date, or (``--check``) say which are not."""
    stale = {path: text for path, text in pages() if path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        print(f"out of date: {path}" if arguments == ["--check"] else f"written: {path}")
        if arguments != ["--check"]:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and arguments == ["--check"] else 0


def pages() -> Iterator[tuple[Path, str]]:
    """Every reference page with its text as it should be."""
    for path in sorted(REFERENCE.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        yield path, PART.sub(lambda part: f"{part[1]}\n{rendered(part[2])}\n\n{part[3]}", text)


def parts() -> list[str]:
    """What the pages have generated, as written in their marks."""
    return [
        part[2] for path in sorted(REFERENCE.glob("*.md")) for part in PART.finditer(path.read_text("utf-8"))
    ]


def rendered(what: str) -> str:
    """The text of one part."""
    kind, *words = what.split()
    return RENDERERS[kind](*words)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    header = tuple(header)
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


# ------------------------------------------------------------------ shapes


def meanings() -> dict[str, dict[str, str]]:
    """By shape, what its keys mean."""
    return _read_meanings(REFERENCE / "meanings.toml")


@cache
def _read_meanings(path: Path) -> dict[str, dict[str, str]]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def meaning(shape: str, key: str) -> str:
    """What a key of a shape means: its own words, else those that several shapes share."""
    known = meanings()
    text = known.get(shape, {}).get(key) or known["shared"].get(key)
    if text is None:
        raise SystemExit(f"meanings.toml: [{shape}] does not say what {key} means")
    return text


def definition(schema: str, name: str | None = None) -> dict[str, Any]:
    """An artefact's schema, or the one of that name in it."""
    document: dict[str, Any] = json.loads(schema_text(schema))
    return document if name is None else document["$defs"][name]


def fields(schema: str, name: str | None = None) -> str:
    """The fields of an artefact, in their order."""
    shape = definition(schema, name)
    required = shape.get("required", ())
    rows = []
    for key, value in shape["properties"].items():
        words = type_words(value)
        if key not in required and "const" not in value and schema != "plan":
            words = words.removesuffix(" or null") + ", left out when not known"
        rows.append((f"`{key}`", words, meaning(name or schema, key)))
    return table(("Field", "Type", "Meaning"), rows)


def keys(name: str | None = None) -> str:
    """The keys of the definition file, or of an object in it, with their defaults."""
    shape = definition("config", name)
    rows = []
    for key, value in shape["properties"].items():
        default = "required" if key in shape.get("required", ()) else default_words(value.get("default"))
        words = type_words(value).removesuffix(" or null")
        rows.append((f"`{key}`", words, default, meaning(name or "config", key)))
    return table(("Key", "Type", "Default", "Meaning"), rows)


def default_words(value: object) -> str:
    """A default as one would write it; nothing for what is simply not there."""
    return "" if value in (None, []) or isinstance(value, dict) else f"`{json.dumps(value)}`"


def type_words(value: dict[str, Any]) -> str:
    """A JSON Schema's type in words."""
    if "anyOf" in value:
        return " or ".join("null" if one.get("type") == "null" else type_words(one) for one in value["anyOf"])
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        *most, last = (f"`{word}`" for word in value["enum"])
        return f"{', '.join(most)} or {last}"
    kind = value.get("type")
    if kind == "array":
        return f"list of {_plural(value['items'])}"
    if kind == "object" or "$ref" in value:
        inside = value.get("additionalProperties")
        return f"object of {_plural(inside)}" if isinstance(inside, dict) else "object"
    return PLAIN[kind] + _limits(value) if kind else "any value"


def _plural(value: dict[str, Any]) -> str:
    if "oneOf" in value or "$ref" in value:
        return "objects"
    words = type_words(value)
    return {"text": "texts", "any value": "values"}.get(words, words.replace("whole number", "whole numbers"))


def _limits(value: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    if "minimum" in value and value["minimum"] == value.get("maximum"):
        return f" {value['minimum']}"
    limits = [f"{sign} {value[name]}" for name, sign in signs.items() if name in value]
    return f" {', '.join(limits)}" if limits else ""


# ------------------------------------------------------------------ events


def events() -> list[dict[str, Any]]:
    """The shapes of the events, without those that are parts of one."""
    return [one for one in definition("event")["$defs"].values() if "type" in one["properties"]]


def event_types() -> str:
    """Every type of event, what it says, and its keys in order."""
    by_type = {one["properties"]["type"]["const"]: one for one in events()}
    told = meanings()["event-types"]
    if set(told) != set(by_type):
        raise SystemExit(f"meanings.toml: [event-types] differs in {sorted(set(told) ^ set(by_type))}")
    rows = []
    for kind, text in told.items():
        names = [name for name in by_type[kind]["properties"] if name != "type"]
        rows.append((f"`{kind}`", text, ", ".join(f"`{name}`" for name in names)))
    return table(("`type`", "Says", "Further keys"), rows)


def event_keys() -> str:
    """Every key of an event."""
    types: dict[str, dict[str, None]] = {}
    for one in events():
        for name, value in one["properties"].items():
            if name != "type":
                types.setdefault(name, {})[type_words(value)] = None
    rows = [(f"`{name}`", "; ".join(words), meaning("event", name)) for name, words in sorted(types.items())]
    return table(("Key", "Type", "Meaning"), rows)


# ------------------------------------------------------------------ command line


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    actions = cli.build_parser()._actions  # noqa: SLF001 - argparse has no public list of them
    return next(dict(action.choices) for action in actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001


def command_actions(name: str) -> list[argparse.Action]:
    """A command's arguments and flags, ``--help`` aside."""
    actions = command_parsers()[name]._actions  # noqa: SLF001 - as above
    return [action for action in actions if action.dest != "help"]


def commands() -> str:
    """All commands."""
    return table(
        ("Command", "What it does"),
        ((f"[`{name}`](#{name})", f"{text}") for name, text in cli.COMMANDS.items()),
    )


def command(name: str) -> str:
    """A command's usage and flags."""
    actions = command_actions(name)
    words = [_positional(action) for action in actions if not action.option_strings]
    usage = " ".join(["codex-orchestrator", name, *words, "[OPTION …]"])
    rows = [(_flag(action), action.help or "") for action in actions]
    return f"```text\n{usage}\n```\n\n" + table(("Argument", "Meaning"), rows)


def _name(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def _positional(action: argparse.Action) -> str:
    forms = {"?": f"[{_name(action)}]", "+": f"{_name(action)} …"}
    return forms.get(str(action.nargs), _name(action))


def _flag(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_name(action)}`"
    value = "" if action.nargs == 0 else f" {'|'.join(action.choices) if action.choices else _name(action)}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def exit_codes() -> str:
    """The codes as ``--help`` prints them."""
    lines = (line.split(maxsplit=1) for line in cli.EXIT_CODES.splitlines()[1:])
    return table(("Code", "Meaning"), ((f"`{code}`", text) for code, text in lines))


def error_codes() -> str:
    """The ``code`` of a refused command's JSON answer, with its exit code."""
    found = [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.OrchestratorError)
    ]
    rows = (
        (f"`{one.code}`", f"`{one.exit_code}`", _first_sentence(one)) for one in found if one.code != "error"
    )
    return table(("`code`", "Exit code", "Meaning"), rows)


def python_errors() -> str:
    """The errors as Python sees them."""
    found = [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.OrchestratorError)
    ]
    rows = ((f"`{one.__name__}`", f"`{one.__base__.__name__}`", f"`{one.code}`") for one in found)
    return table(("Class", "Base", "`code`"), rows)


def _first_sentence(one: type) -> str:
    return (one.__doc__ or "").split("\n")[0]


def schemas() -> str:
    """The artefacts that have a schema."""
    return table(
        ("Schema", "What it describes"), ((f"`{one.name}`", one.title) for one in ARTEFACTS.values())
    )


# ------------------------------------------------------------------ pytest


class Options:
    """Stands in for pytest's parser, and keeps what it is told."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def getgroup(self, *_words: str) -> "Options":
        return self

    def addoption(self, name: str, **keywords: Any) -> None:
        self.found[name] = keywords


def pytest_options() -> dict[str, dict[str, Any]]:
    """The plugin's options by name."""
    options = Options()
    importlib.import_module("pytest_codex.plugin").pytest_addoption(options)
    return options.found


def options() -> str:
    """The plugin's options, each with its twin."""
    flags = {flag for action in command_actions("start") for flag in action.option_strings}
    rows = []
    for name, keywords in pytest_options().items():
        twin = name.replace("--codex-", "--")
        value = f"={keywords['metavar']}" if "metavar" in keywords else ""
        rows.append(
            (
                f"`{name}{value}`",
                f"`{twin}`" if twin in flags else OTHER_TWINS[name],
                keywords["help"],
            )
        )
    return table(("Option", "In `start`", "Meaning"), rows)


# ------------------------------------------------------------------ hooks


def hook_specs() -> dict[str, Callable[..., object]]:
    """The hooks for plugins by name, in the order in which they are called."""
    found = vars(importlib.import_module("pytest_codex.newhooks"))
    return {name: value for name, value in found.items() if name.startswith("pytest_codex_")}


def hooks() -> str:
    """The hooks: a section each, made of its docstring."""
    return "\n\n".join(_hook(name, spec) for name, spec in hook_specs().items())


def _hook(name: str, spec: Callable[..., object]) -> str:
    text = (inspect.getdoc(spec) or "").replace("``", "`")
    told, *sections = re.split(r"\n*^(Args|Returns):\n", text, flags=re.MULTILINE)
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    signature = inspect.signature(spec)
    arguments = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", found["Args"], re.MULTILINE)
    if [argument for argument, _ in arguments] != list(signature.parameters):
        raise SystemExit(f"newhooks.py: {name} does not say what each of its arguments is")
    rows = [
        (f"`{argument}`", f"`{signature.parameters[argument].annotation}`", _one_line(meaning))
        for argument, meaning in arguments
    ]
    answer = [f"Returns: {_one_line(found['Returns'])}"] if "Returns" in found else []
    return "\n\n".join((f"### {name}", told, table(("Argument", "Type", "Meaning"), rows), *answer))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def everyday_words() -> str:
    """Values that the privacy guard does not look for."""
    return ", ".join(f"`{word}`" for word in sorted(COMMON_WORDS)) + "."


RENDERERS: dict[str, Callable[..., str]] = {
    "command": command,
    "commands": commands,
    "error-codes": error_codes,
    "event-keys": event_keys,
    "event-types": event_types,
    "everyday-words": everyday_words,
    "exit-codes": exit_codes,
    "fields": fields,
    "hooks": hooks,
    "keys": keys,
    "pytest-options": options,
    "python-errors": python_errors,
    "schemas": schemas,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
