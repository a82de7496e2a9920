"""The ways to run the pipeline ``work``: module and words for Python's ``-m``."""

from __future__ import annotations

import pytest

from .environment import WITHOUT_OTHERS, needs_xdist

WAYS = {
    "start": ("codex_orchestrator", "start", "work"),
    "start --jobs": ("codex_orchestrator", "start", "work", "--jobs=2"),
    "pytest": ("pytest", *WITHOUT_OTHERS, "--codex-pipeline=work"),
    "pytest --codex-jobs": ("pytest", *WITHOUT_OTHERS, "--codex-pipeline=work", "--codex-jobs=2"),
    "pytest -n": ("pytest", *WITHOUT_OTHERS, "--codex-pipeline=work", "-n2"),
}
every_way = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=needs_xdist if way == "pytest -n" else ()) for way in WAYS]
)
