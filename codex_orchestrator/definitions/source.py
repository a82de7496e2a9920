"""Reads and parses the definition file, and reports problems by file and line.

It is ``codex.orchestrator.json``, or a table of ``pyproject.toml`` (docs/reference/configuration.md, "The
file").
"""

from __future__ import annotations

import json
import math
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import TYPE_CHECKING, Any, NoReturn

from codex_orchestrator import named, places, sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import CONFIG_NAME, PREFIX, PYPROJECT_NAME, TABLE, Environment, has_table
from codex_orchestrator.errors import ConfigurationError, Misplaced, Path, Problem
from codex_orchestrator.model.codec import TooDeep, is_deep, loads
from codex_orchestrator.text import printable

if TYPE_CHECKING:
    from codex_orchestrator.definitions.positions import Positions, TomlPositions

_SHOWN_PROBLEMS = 20
# How the parser says where it has given up. Only from Python 3.14 on does it say so otherwise as well.
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_ROOT_USER = 0


@dataclass(frozen=True)
class DefinitionFile:
    """A definition file.

    Attributes:
        name: Its name, for messages.
        text: All of its text.
        data: What it says, in the values of JSON.
        repeats_keys: Whether one of its objects has a key twice.
    """

    name: str
    text: str
    data: Any
    repeats_keys: bool = False

    def refuse(self, problems: list[Problem]) -> None:
        """Raise an error that names all problems with file, line and path, if there are any.

        Raises:
            ConfigurationError: There are.
        """
        if not problems:
            return
        positions = self.positions()
        in_order = sorted(problems, key=lambda problem: positions.line(problem.path))
        lines = [
            printable(
                f"{self.name}:{positions.line(problem.path)}: {self._where(problem)}: {problem.message}."
            )
            for problem in in_order[:_SHOWN_PROBLEMS]
        ]
        if len(problems) > _SHOWN_PROBLEMS:
            lines.append(f"… and {len(problems) - _SHOWN_PROBLEMS} more.")
        raise ConfigurationError("\n".join(lines))

    def positions(self) -> Positions | TomlPositions:
        """The lines of all paths in the text; only error messages need them."""
        if self.name == PYPROJECT_NAME:
            from codex_orchestrator.definitions.positions import TomlPositions

            return TomlPositions(self.text, within=TABLE)
        from codex_orchestrator.definitions.positions import Positions

        return Positions(self.text)

    def _where(self, problem: Problem) -> str:
        if self.name == PYPROJECT_NAME and not problem.path:
            return f"[{'.'.join(TABLE)}]"
        return problem.where()


def read_definition_file(environment: Environment) -> DefinitionFile | None:
    """The repo's definitions, or None where it has none.

    Raises:
        ConfigurationError: They cannot be read or parsed, or stand in two files.
    """
    name = environment.config_name
    _refuse_two(environment)
    try:
        content = sources.read(environment.config_path, root=environment.root)
    except FileNotFoundError:
        return None
    except Misplaced as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.strerror or error}.") from error
    text = _decoded(name, content)
    return _parsed_table(text) if name == PYPROJECT_NAME else _parsed(text)


def pyproject_table(text: str) -> Any:
    """Our table of a ``pyproject.toml``; None where it has none.

    Raises:
        ValueError: It is no TOML (`tomllib.TOMLDecodeError`), has a number that is too long, or is nested too
            deeply.
    """
    import tomllib

    try:
        value: Any = tomllib.loads(text)
    except RecursionError as error:
        raise TooDeep from error
    for key in TABLE:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _refuse_two(environment: Environment) -> None:
    if named.is_there(environment.root / CONFIG_NAME) and has_table(environment.root):
        raise ConfigurationError(
            f"Both {CONFIG_NAME} and [{'.'.join(TABLE)}] of {PYPROJECT_NAME} are here.",
            hint="Keep one of them.",
        )


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # Editors of Windows begin files with a mark.
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{name}:{line}: not valid UTF-8: {error.reason}.") from error


def _parsed(text: str) -> DefinitionFile:
    repeats = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        result = dict(items)
        repeats = repeats or len(result) != len(items)
        return result

    try:
        data = loads(text, object_pairs_hook=pairs, keep_halves=True)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{CONFIG_NAME}:{error.lineno}: not valid JSON at column {error.colno}: {error.msg}."
        ) from error
    except TooDeep as error:
        raise ConfigurationError(f"{CONFIG_NAME}: {error}.") from error
    except ValueError as error:
        raise ConfigurationError(f"{CONFIG_NAME}: not valid JSON: a number has too many digits.") from error
    written = DefinitionFile(CONFIG_NAME, text, data, repeats)
    try:
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        written.refuse(list(_not_of_json(data, ())))
    return written


def _parsed_table(text: str) -> DefinitionFile | None:
    import tomllib

    try:
        table = pyproject_table(text)
    except tomllib.TOMLDecodeError as error:
        _refuse_toml(text, str(error))
    except TooDeep as error:
        raise ConfigurationError(f"{PYPROJECT_NAME}: {error}.") from error
    except ValueError as error:
        raise ConfigurationError(
            f"{PYPROJECT_NAME}: not valid TOML: a number has too many digits."
        ) from error
    if table is None:
        return None
    if is_deep(table):
        raise ConfigurationError(f"{PYPROJECT_NAME}: {TooDeep()}.")
    written = DefinitionFile(PYPROJECT_NAME, text, table)
    written.refuse(list(_not_of_json(table, ())))
    return written


def _refuse_toml(text: str, said: str) -> NoReturn:
    place = _PLACE.search(said)
    what = _PLACE.sub("", said)
    if place is not None and place["line"]:
        line, where = int(place["line"]), f" at column {place['column']}"
    else:
        line, where = max(1, len(text.rstrip("\n").split("\n"))), " at the end"
    raise ConfigurationError(f"{PYPROJECT_NAME}:{line}: not valid TOML{where}: {printable(what)}.")


def _not_of_json(data: Any, path: Path) -> Iterator[Problem]:
    """Values that the parsers accept but JSON cannot hold: NaN, infinities, lone surrogates, dates."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _not_of_json(key, path)
            yield from _not_of_json(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _not_of_json(value, (*path, index))
    elif isinstance(data, float) and not math.isfinite(data):
        yield Problem(path, f"{data} is no number of JSON")
    elif isinstance(data, str) and data.encode("utf-8", "ignore").decode() != data:
        yield Problem(path, "a string holds half of a surrogate pair, which is not valid Unicode")
    elif isinstance(data, date | time):
        yield Problem(path, "a date or time is no value here; where a text is meant, put it in quotes")


def refuse_foreign(environment: Environment) -> None:
    """Refuse a definition file of another user, unless its folder was named.

    Raises:
        ConfigurationError: It is another user's.
    """
    path = environment.config_path
    if environment.root_named:
        return
    # A link's owner counts as well as that of what it leads to.
    for found in (places.status(path, below=environment.root), places.status_of_chosen(path)):
        if found is None:
            return  # There is none, or none that can be read: whoever reads it says so.
        owner = found.st_uid
        if owner not in _trusted(environment.variables):
            where = printable(str(path))
            raise ConfigurationError(
                f"{where} belongs to {_name_of(owner)}: what another user has defined is not taken unasked.",
                hint=f"To take it all the same, name its folder by --root or {PREFIX}ROOT.",
            )


def notice_above(environment: Environment) -> str | None:
    """The notice that the definition file lies outside of the current git repository; else None."""
    if environment.root_named or not named.is_there(environment.config_path):
        return None
    here = environment.cwd
    repository = next((folder for folder in (here, *here.parents) if named.is_there(folder / ".git")), None)
    if (
        repository is None
        or not repository.is_relative_to(environment.root)
        or repository == environment.root
    ):
        return None
    path, inside = printable(str(environment.config_path)), printable(str(repository))
    return f"Using {path}, which lies above the git repository {inside}."


def _trusted(variables: Mapping[str, str]) -> frozenset[int]:
    """The users whose definition files are accepted: this one, root, and the one behind sudo."""
    me = os.geteuid()
    sudo = variables.get("SUDO_UID", "")
    asking = {int(sudo)} if me == _ROOT_USER and sudo.isascii() and sudo.isdigit() else set()
    return frozenset({me, _ROOT_USER, *asking})


def _name_of(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
