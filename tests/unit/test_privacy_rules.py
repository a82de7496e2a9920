"""The table of rules: each finds its examples and leaves what only looks like them."""

from __future__ import annotations

import re

import pytest

from codex_orchestrator.privacy.finding import LONG_WORDS, Finder, reason_of
from codex_orchestrator.privacy.places import PLACES
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.privacy.rules import Rule
from tests.support.secret_shapes import filled

FINDER = Finder(PrivacyPolicy("enforce"))
RULES = (*LONG_WORDS, *PLACES)
FINDS = [(rule, example) for rule in RULES for example in rule.finds]
LEAVES = [(rule, example) for rule in RULES for example in rule.leaves]


def name_of(value: object) -> str | None:
    return value.name if isinstance(value, Rule) else None


def test_each_rule_says_where_it_is_from_and_has_examples():
    assert [rule.name for rule in RULES if not rule.source or not rule.finds] == []
    assert [rule.name for rule in RULES if not rule.literals and not rule.lengths] == []
    assert [rule.name for rule in RULES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)] == []


@pytest.mark.parametrize(("rule", "example"), FINDS, ids=name_of)
@pytest.mark.parametrize("around", ["{}", "a {} b\n", '"{}"', "x\\n{}", "({})", "{},\n"])
def test_a_rule_finds_its_examples(rule, example, around):
    marked = filled(around.format(example if "«" in example else f"«{example}»"), example)
    before, secret, _ = re.split("[«»]", marked)
    text = marked.replace("«", "").replace("»", "").encode()
    hits = [(hit.start, hit.end) for hit in FINDER.find(text).hits]
    assert [span for span in hits if span[0] <= len(before) and span[1] >= len(before) + len(secret)] != [], (
        text
    )
    assert "rule of this project" not in reason_of(rule.name)


@pytest.mark.parametrize(("rule", "example"), LEAVES, ids=name_of)
def test_a_rule_leaves_what_only_looks_like_it(rule, example):
    text = filled(example, example).encode()
    assert FINDER.find(text + b"\n").hits == []
