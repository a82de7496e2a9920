"""The page of the guards names all that they go by."""

from __future__ import annotations

from pathlib import Path

import pytest

from codex_orchestrator.checks import counting
from codex_orchestrator.checks.base_candidates import CI_BASES

PAGE = (Path(__file__).parents[2] / "docs/reference/guards.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "names",
    [
        counting.BUILD_FOLDERS,
        counting.LOCK_FILES,
        counting.ATTRIBUTES,
        CI_BASES,
        # As patterns.
        [f"*{ending}" for ending in (*counting.GENERATED_ENDINGS, counting.BUILD_ENDING)],
    ],
    ids=["build folders", "lock files", "attributes", "variables of CI", "endings"],
)
def test_every_name_is_on_the_page(names):
    assert names
    assert not [name for name in names if f"`{name}`" not in PAGE]
