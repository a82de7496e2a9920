"""Refuses definition files of other users, which a look upwards from a folder may find.

A definition file is found by looking upwards, and names commands (docs/reference/configuration.md,
"Whose file").
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from codex_orchestrator import named, places
from codex_orchestrator.environment import PREFIX, Environment
from codex_orchestrator.errors import ConfigurationError
from codex_orchestrator.text import printable

_ROOT_USER = 0


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
