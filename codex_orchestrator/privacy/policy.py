"""What the guard looks for, as plain values: they travel to wherever a command runs.

Which names say secret, and in which forms a value is recognised: docs/reference/privacy.md, "What is found".
"""

# No postponed annotations: `codec` reads policies by the types that stand here.

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.privacy.names import says_secret
from codex_orchestrator.privacy.rules import LEAST_CHARACTERS

Mode = Literal["shadow", "enforce"]
Action = Literal["redact", "block"]

SHADOW_REASON = "shadow-mode"


@dataclass(frozen=True)
class CustomRule:
    """A rule of the configuration: a regular expression and what becomes of what it matches."""

    name: str
    pattern: str
    action: Action


@dataclass(frozen=True)
class PrivacyPolicy:
    """What to find, and what to do about it.

    Attributes:
        mode: ``enforce`` replaces, ``shadow`` only counts.
        rules: Rules beyond the built-in ones.
        secrets: Values that are secrets, as they are in the environment.
    """

    mode: Mode = "shadow"
    rules: tuple[CustomRule, ...] = ()
    secrets: tuple[str, ...] = ()


def secret_values(variables: Mapping[str, str], names: Iterable[str] = ()) -> Iterator[str]:
    """The values of variables whose names say secret, long enough to be looked for.

    Args:
        variables: An environment.
        names: Further names, with ``*`` and ``?`` as in file names; case counts for neither.
    """
    patterns = [name.upper() for name in names]
    for name, value in variables.items():
        upper = name.upper()
        listed = any(fnmatchcase(upper, pattern) for pattern in patterns)
        if (listed or says_secret(name, value)) and len(value.strip()) >= LEAST_CHARACTERS:
            yield value
