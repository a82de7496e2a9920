"""What a rule is: how secrets of one kind look, as data (docs/reference/privacy.md, "What is found").

Examples stand for secrets without being any: ``<w36>`` is 36 letters and digits, ``<l8>`` small letters and
digits, ``<u16>`` capital letters and digits, ``<h40>`` hexadecimal digits, ``<d10>`` digits, ``<b20>`` and
``<s44>`` base64, in the alphabet for addresses and in the standard one, ``<z50>`` base58. What stands between
« and » is the secret where it is not all of it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from codex_orchestrator.privacy.policy import Action

# How a rule is found: a long word begins with a literal, or follows one; it is a whole long word, of whatever
# letters; or the literal is looked for by itself.
Place = Literal["begins", "precedes", "whole", "anywhere"]
# What a value has to look like (`values.looks_secret`): the pattern is proof enough, or more is asked for.
Least = Literal["anything", "no-word", "mixed", "random"]


class Rule(NamedTuple):
    """Secrets of one kind.

    Attributes:
        name: What decisions call it.
        literals: What makes a place worth a look.
        pattern: What is there if it is one; a group ``value`` is the secret, else all is. Over bytes, and
            with a limit to all that it repeats.
        source: Who says that it looks so.
        finds: Examples, and what stands around them.
        leaves: What only looks like it.
        place: Where the literals are.
        action: What becomes of it.
        least: What the value has to look like.
        lengths: How long a whole long word is.
        needs: A rare byte that a text lacks mostly, and then it need not be searched for the literal.
        before: A pattern for what stands before a long word, and belongs to the secret.
    """

    name: str
    literals: tuple[str, ...]
    pattern: str
    source: str
    finds: tuple[str, ...]
    leaves: tuple[str, ...] = ()
    place: Place = "begins"
    action: Action = "redact"
    least: Least = "anything"
    lengths: tuple[int, ...] = ()
    before: str = ""
    needs: str = ""
