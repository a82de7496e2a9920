"""Where secrets are in output: bytes in, places out (docs/reference/privacy.md, "What is found")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.patterns import VALUE_GROUP, compile_pattern
from codex_orchestrator.privacy import keys as private_keys
from codex_orchestrator.privacy.areas import PAYS_BYTES, Areas
from codex_orchestrator.privacy.keys import BLOCK_END, PUTTY_END, Block, Keys
from codex_orchestrator.privacy.places import BEFORE_LONG_WORDS, PLACES, Places
from codex_orchestrator.privacy.platforms import PLATFORMS
from codex_orchestrator.privacy.policy import Action, PrivacyPolicy
from codex_orchestrator.privacy.services import SERVICES
from codex_orchestrator.privacy.tokens import Tokens
from codex_orchestrator.privacy.views import wrapped_from
from codex_orchestrator.privacy.words import find_clues, find_pending

if TYPE_CHECKING:  # Each takes a while to be ready, and most output needs neither.
    from codex_orchestrator.privacy.values import Values
    from codex_orchestrator.privacy.words import Clue

BLOCK_BYTES = private_keys.BLOCK_BYTES
# The longest line that is looked at as a whole, and so the most that is ever held back of one.
LINE_BYTES = 4_096

_WORD_END = re.compile(rb"\s")
_LINE_END = re.compile(rb"[\r\n]")
_KEY_ENDS = (BLOCK_END, PUTTY_END)

# All rules but those that need more than a pattern.
LONG_WORDS = (*PLATFORMS, *SERVICES, *BEFORE_LONG_WORDS)

_REASONS = {
    **{rule.name: rule.name.replace("-", " ").replace("aws", "AWS") for rule in (*LONG_WORDS, *PLACES)},
    "private-key": "private key",
    "sensitive-token": "value after a word that says secret",
    "environment-value": "value of a secret environment variable",
}


def reason_of(rule: str) -> str:
    """Why a rule takes what it matches, in words."""
    return _REASONS.get(rule, "rule of this project")


class Hit(NamedTuple):
    """Where a secret is, and by which rule.

    One that touches the end of what is known goes on until ``until`` matches.
    """

    start: int
    end: int
    rule: str
    action: Action
    until: re.Pattern[bytes] | None = None

    @property
    def is_key(self) -> bool:
        """Whether it is a private key of which the end, which belongs to it, is still to come."""
        return self.until in _KEY_ENDS


@dataclass(frozen=True)
class Found:
    """What is in a piece of output.

    Attributes:
        hits: Secrets, in the order of their places, none overlapping another.
        held: From where on the piece may hold the beginning of one of several lines, at most its length.
    """

    hits: list[Hit]
    held: int


class Finder:
    """The rules of a policy, ready to be used.

    Raises:
        UsageError: The policy has rules of the configuration, and what they run on is not installed.
    """

    def __init__(self, policy: PrivacyPolicy, pays_bytes: int = PAYS_BYTES) -> None:
        self._areas = Areas(LONG_WORDS, PLACES, pays_bytes)
        self._values = _values_of(policy.secrets)
        self._tokens = Tokens(LONG_WORDS)
        self._places = Places(PLACES)
        self._rules = [(rule.name, compile_pattern(rule.pattern), rule.action) for rule in policy.rules]

    def find(self, text: bytes) -> Found:
        """The secrets in ``text``, which holds no escape sequences."""
        keys = Keys(text)
        hits = list(self._built_in(text, keys))
        held = min(keys.held, find_pending(text))
        if self._values is not None:
            hits += self.values(text)
            held = min(held, self._values.begun(text), wrapped_from(text))
        if self._rules:
            hits += self._custom(text)
        return Found(merged(hits) if hits else hits, held)

    def _built_in(self, text: bytes, keys: Keys) -> Iterator[Hit]:
        areas = self._areas.of(text)
        clues = find_clues(text, areas)
        blocks: list[Block] = []
        if clues.marks:
            blocks += keys.putty(clues.marks)
            blocks += keys.blocks(clues.marks)
        for start, end in clues.floods:
            # What follows the last word belongs to it.
            after = _LINE_END.search(text, end)
            last = after.start() if after else len(text)
            yield Hit(start, last, "sensitive-token", "redact", _until(text, last))
        if clues.words:
            yield from _said(text, clues.words)

        def look_at(start: int, end: int) -> None:
            block = keys.encoded(start, end) or keys.of_jwk(start, end)
            if block is not None:
                blocks.append(block)

        for start, end, rule in self._tokens.find(text, areas, look_at):
            yield Hit(start, end, rule.name, rule.action, _until(text, end))
        for start, end, rule in self._places.find(text, areas):
            yield Hit(start, end, rule.name, rule.action, _until(text, end))
        keys.hold_body()
        for block in blocks:
            yield Hit(block.start, block.end, "private-key", "block", block.until)

    @property
    def looks_for_values(self) -> bool:
        """Whether there are values to look for."""
        return self._values is not None

    def values(self, text: bytes) -> Iterator[Hit]:
        """The values of secrets in ``text``."""
        for start, end in self._values.places(text) if self._values is not None else ():
            yield Hit(start, end, "environment-value", "redact")

    def _custom(self, text: bytes) -> Iterator[Hit]:
        for start, line in _lines(text):
            for name, pattern, action in self._rules:
                group = pattern.groupindex.get(VALUE_GROUP, 0)
                for match in pattern.finditer(line):
                    first, last = match.span(group)
                    if last > first:
                        yield Hit(start + first, start + last, name, action, _until(text, start + last))


def _values_of(secrets: tuple[str, ...]) -> Values | None:
    if not secrets:
        return None
    from codex_orchestrator.privacy.values import Values

    return Values(secrets)


def _said(text: bytes, words: list[Clue]) -> Iterator[Hit]:
    """What follows words that say secret."""
    from codex_orchestrator.privacy.reading import Reader

    for value in Reader(text).values(words):
        yield Hit(value.start, value.end, "sensitive-token", "redact", _until(text, value.reaches))


def begun_key(text: bytes, held: int) -> Iterator[Hit]:
    """The first bytes of a private key at the end of a text, too few to tell that they are that."""
    for start, end in Keys(text).begun(find_clues(text, [(0, len(text))]).marks, held):
        yield Hit(start, end, "private-key", "block")


def _until(text: bytes, end: int) -> re.Pattern[bytes] | None:
    """A word that touches the end of the text may go on."""
    return _WORD_END if end == len(text) else None


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines and where they begin; long ones in pieces, each of which holds half of the one before."""
    start = 0
    for line in text.split(b"\n"):
        for piece in range(0, max(1, len(line) - LINE_BYTES // 2), LINE_BYTES // 2):
            yield start + piece, line[piece : piece + LINE_BYTES]
        start += len(line) + 1


def merged(hits: list[Hit]) -> list[Hit]:
    """The same places, none overlapping another: a block counts for more than what is in it."""
    result: list[Hit] = []
    for hit in sorted(hits, key=lambda each: (each.start, -each.end)):
        last = result[-1] if result else None
        if last is None or hit.start >= last.end:
            result.append(hit)
            continue
        named = hit if hit.action == "block" and last.action != "block" else last
        longer = hit if hit.end > last.end else last
        result[-1] = Hit(last.start, longer.end, named.rule, named.action, longer.until)
    return result
