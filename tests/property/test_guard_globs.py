"""Patterns for paths mean what git means by them."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.globs import parse_globs
from tests.support.repositories import git_variables

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[^a]", "[!b]"])
SPELLED = st.lists(PIECES, min_size=1, max_size=3).map("".join)
PARTS = st.just("**") | SPELLED.filter(lambda part: part not in (".", "..") and "**" not in part)
ENDS = st.sampled_from(["", "/"])
PATTERNS = st.tuples(ENDS, st.lists(PARTS, min_size=1, max_size=4).map("/".join), ENDS).map("".join)


@pytest.fixture(scope="module")
def ignoring(tmp_path_factory):
    """Which of some paths git ignores by a pattern."""
    root = tmp_path_factory.mktemp("patterns")
    environ = git_variables(root)
    subprocess.run(["git", "init", "--quiet", root], env=environ, check=True)

    def ask(pattern: str, paths: list[str]) -> list[str]:
        (root / ".git/info/exclude").write_text(f"{pattern}\n")
        done = subprocess.run(
            ["git", "check-ignore", "--no-index", "-z", "--stdin"],
            input="\0".join(paths).encode(),
            cwd=root,
            env=environ,
            capture_output=True,
            check=False,
        )
        return [path for path in done.stdout.decode().split("\0") if path]

    return ask


@given(PATTERNS, st.lists(PATHS, min_size=1, max_size=8))
def test_a_pattern_matches_what_git_would_ignore_by_it(ignoring, pattern, paths):
    (glob,) = parse_globs("guards.leftOut", [pattern])
    assert [path for path in paths if glob.matches(path)] == ignoring(pattern, paths)
