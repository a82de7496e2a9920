"""Which key signs a run, read before anything runs, so that a wrong one is refused then; and the signing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from codex_orchestrator.environment import SIGN_KEY, SIGN_PASSPHRASE, Environment
from codex_orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from codex_orchestrator.clock import Clock
    from codex_orchestrator.evidence.keys import SigningKey
    from codex_orchestrator.rules.layout import RunLayout


def signing_key(
    environment: Environment, option: str | None, ask: Callable[[str], str | None]
) -> SigningKey | None:
    """The key that a flag names, else the variable; None where neither does.

    Args:
        environment: Where things are.
        option: The flag's value: a path from the current folder. That of the variable is from the root.
        ask: Asks a person for the passphrase of a key; answers None where nobody knows it.

    Raises:
        UsageError: It cannot be read or used, or what signs is not installed.
    """
    variable = environment.setting(SIGN_KEY)
    if option is None and variable is None:
        return None
    from codex_orchestrator.evidence.keys import load_signing_key

    base, name = (environment.cwd, option) if option is not None else (environment.root, variable or "")
    return load_signing_key(base / name, name, lambda: environment.setting(SIGN_PASSPHRASE) or ask(name))


def sign_or_tell(layout: RunLayout, key: SigningKey, clock: Clock, notify: Callable[[str], None]) -> None:
    """Sign a run that has ended and was let go; one that cannot be signed stays as it is.

    Args:
        layout: The run.
        key: The key.
        clock: Time.
        notify: Told why it is not signed.
    """
    from codex_orchestrator.evidence.approvals import kept_from_others
    from codex_orchestrator.evidence.signing import sign_run

    try:
        with kept_from_others(layout, clock):
            sign_run(layout, key)
    except OrchestratorError as error:
        notify(f"Run {layout.run_id} is not signed: {error.in_a_line}")
