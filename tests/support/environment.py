"""The environment that tests and what they start see, without what steers us, pytest or a project's tools."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from codex_orchestrator.checks.base_candidates import CI_BASES

# A test run may itself be a stage of a run, or run in CI or under an agent.
_OURS = ("CODEX_", "MCP_RUNNER_", "PYTEST_")
_OTHERS = (
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "VIRTUAL_ENV", "BASE_SHA"),
    # With it, every process of a fresh clone would compile us anew: a third of all that tests take.
    "PYTHONDONTWRITEBYTECODE",
    # By these, nobody would be asked anything.
    *("AI_AGENT", "CLAUDECODE", "CURSOR_AGENT", "GEMINI_CLI", "CI", "GITHUB_ACTIONS"),
    # By these, CI systems name the branch that a change is for.
    *CI_BASES,
)

# Installed for these tests, and a third of the time that pytest takes to start.
WITHOUT_OTHERS = [
    word
    for name in ("hypothesispytest", "platformdirs", "randomly", "rerunfailures", "timeout")
    for word in ("-p", f"no:{name}")
]

# For tests that hand stages to workers; all others hold without it too.
needs_xdist = pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")


def clean_environment() -> dict[str, str]:
    """The process's environment without what steers us, pytest or the choice of a project's tools."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and name not in _OTHERS
    }
