"""Which key signs a run: read before anything runs, so that a wrong one is refused then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_orchestrator.environment import SIGN_KEY, SIGN_PASSPHRASE, Environment

if TYPE_CHECKING:
    from codex_orchestrator.engine.preparation import Prepared
    from codex_orchestrator.evidence.keys import SigningKey


def with_signing_key(prepared: Prepared, ask: Callable[[str], str | None]) -> Prepared:
    """The same with the key that the user has asked to sign with, where they have.

    Args:
        prepared: What will run.
        ask: Asks a person for the passphrase of a key; answers None where nobody knows it.

    Raises:
        UsageError: The key cannot be read or used, or what signs is not installed.
    """
    if prepared.options.signing_key is not None:
        return prepared
    key = signing_key(prepared.environment, prepared.invocation.sign, ask)
    return prepared if key is None else replace(prepared, options=replace(prepared.options, signing_key=key))


def signing_key(
    environment: Environment, option: str | None, ask: Callable[[str], str | None]
) -> SigningKey | None:
    """The key that a flag names, else the variable; None where neither does.

    Args:
        environment: Where things are.
        option: The flag's value: a path from the current folder. That of the variable is from the root.
        ask: As above.

    Raises:
        UsageError: It cannot be read or used, or what signs is not installed.
    """
    variable = environment.setting(SIGN_KEY)
    if option is None and variable is None:
        return None
    from codex_orchestrator.evidence.keys import load_signing_key

    base, name = (environment.cwd, option) if option is not None else (environment.root, variable or "")
    return load_signing_key(base / name, name, lambda: environment.setting(SIGN_PASSPHRASE) or ask(name))
