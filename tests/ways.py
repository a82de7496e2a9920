"""The ways to run the pipeline ``work``: module and words for Python's ``-m``."""

from __future__ import annotations

import pytest

from tests.conftest import needs_xdist

WAYS = {
    "start": ("codex_orchestrator", "start", "work"),
    "start --jobs": ("codex_orchestrator", "start", "work", "--jobs=2"),
    "pytest": ("pytest", "--codex-pipeline=work"),
    "pytest --codex-jobs": ("pytest", "--codex-pipeline=work", "--codex-jobs=2"),
    "pytest -n": ("pytest", "--codex-pipeline=work", "-n2"),
}
every_way = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=needs_xdist if way == "pytest -n" else ()) for way in WAYS]
)
