"""Tokens in texts: found wherever they stand, and taken for nothing else when they were changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.rules.tokens import Token, citations

ROOT = "0123456789abcdef"
RUN = "2026-11-21T02-44-32-979Z-6f1e3102"
TOKENS = (
    Token("shop", RUN, None, ROOT),
    Token("shop", RUN, "build", ROOT),
    Token("my task", RUN, "lint & test", ROOT),
    Token("0924-ünï", RUN, "→ 1/2 #3 @4", ROOT),
)
# Where a token stands: `@` is its place.
PLACES = (
    "@",
    "Tests pass: @",
    "Tests pass (@).",
    "Tests pass @, see there.",
    "Tests pass @. And more.",
    "`@`",
    "**@**",
    "_@_",
    '"@"',
    "'@'",
    "<@>",
    "[@](https://example.org)",
    "> quoted: @",
    "| cell | @ |",
    "- [x] done: @",
    "```\n@\n```",
    "<!-- @ -->",
    "a\n\nb @\nc",
    "@!",
    "@?",
    "@;",
    "\t@\t",
    "see:@",
    "@\u2026",
    "@ \u2013 dash",
)


def found(text: str) -> list:
    return [each.token for each in citations(text)]


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.text)
@pytest.mark.parametrize("place", [place for place in PLACES if "_@_" not in place and "\u2026" not in place])
def test_a_token_is_found_wherever_it_stands(token, place):
    (one,) = citations(place.replace("@", token.text, 1))
    assert one.token == token
    assert one.text == token.text


BROKEN = {
    "cut by one": lambda text: text[:-1],
    "cut by half": lambda text: text[: len(text) // 2],
    "cut to the root's sign": lambda text: text.partition("@")[0],
    "cut with dots": lambda text: text[:-4] + "...",
    "cut with an ellipsis": lambda text: text[:-4] + "\u2026",
    "goes on": lambda text: text + "0",
    "goes on in letters": lambda text: text + "x",
    "goes on beyond ASCII": lambda text: text + "\u0430",
    "upper case": str.upper,
    "upper case root": lambda text: text[:-16] + text[-16:].upper(),
    "upper case scheme": lambda text: "CODEX" + text[5:],
    "a letter from elsewhere": lambda text: text[:-16] + "\u0430" + text[-15:],
    "a zero-width space": lambda text: text[:-8] + "\u200b" + text[-8:],
    "a space": lambda text: text[:-8] + " " + text[-8:],
    "a line break": lambda text: text[:-8] + "\n" + text[-8:],
    "no digit": lambda text: text[:-1] + "g",
    "two roots": lambda text: text + "@" + ROOT,
    "a path upwards": lambda text: text.replace("codex:", "codex:..%2F"),
    "a needless escape": lambda text: text.replace(RUN, "%32" + RUN[1:]),
    "another task in front": lambda text: text.replace("codex:", "codex:other/"),
    "no task": lambda text: "codex:/" + text.partition("/")[2],
    "no run": lambda text: text.replace(RUN, ""),
    "run latest": lambda text: text.replace(RUN, "latest"),
}


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.text)
@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("place", ["@", "Tests pass (`@`)."])
def test_one_that_was_changed_is_none(token, change, place):
    tokens = found(place.replace("@", change(token.text), 1))
    assert token not in tokens
    assert all(each is None for each in tokens)


@pytest.mark.parametrize(
    "text",
    ["", "codex: a tool", "codex:word", "the codex:", "codex://host/path@x", "xcodex:a/b"],
)  # fmt: skip
def test_words_are_no_tokens(text):
    assert found(text) == []


@pytest.mark.parametrize("text", ["codex:a/b", "codex:@", "codex:a/b#c", "Codex:a/b@" + ROOT])
def test_what_looks_like_one_is_told_of(text):
    assert found(text) == [None]


def test_each_is_named_with_its_line():
    first, second = TOKENS[:2]
    lines = [each.line for each in citations(f"{first.text} {second.text}\n\n{first.text}\n")]
    assert lines == [1, 1, 3]


IDS = st.text(min_size=1, max_size=20).filter(lambda text: id_problem(text) is None)
STAGES = st.none() | st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


@given(IDS, IDS, STAGES)
def test_whatever_ids_are_they_come_back(task, run, stage):
    token = Token(task, run, stage, ROOT)
    assert found(f"({token.text}).") == [token]


@given(st.text())
def test_any_text_can_be_looked_through(text):
    assert all(each.token is None or each.token.text == each.text for each in citations(f"codex:a/{text}"))
