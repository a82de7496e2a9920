"""The definition file that ``init`` writes, with the commands that the repository uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codex_orchestrator.repository.commands import ChosenCommand

_SET = "build-lint-test"


def definition(task_id: str, choices: Mapping[str, ChosenCommand]) -> dict[str, Any]:
    """A definition file as JSON.

    Args:
        task_id: The task.
        choices: The command of each step; those that the repository does not itself name are left out.
    """
    document: dict[str, Any] = {"taskId": task_id, "defaultPipeline": "diagnostics"}
    stages = [
        {"kind": "command", "id": step, "title": step.title(), "command": choice.portable}
        for step, choice in choices.items()
        if choice.configured
    ]
    if not choices:
        return document
    checks = [{"kind": "stage-set", "ref": _SET}] if stages else []
    return {
        **document,
        **({"stageSets": {_SET: stages}} if stages else {}),
        "pipelines": [
            {
                "id": "diagnostics",
                "title": "Diagnostics",
                "guardrailsRequired": True,
                "stages": [*checks, {"kind": "stage-set", "ref": "spec-guard"}],
            },
            _gate(stages),
        ],
    }


def _gate(stages: list[dict[str, str]]) -> dict[str, Any]:
    # The packaged set takes in the one above, and says what its stages need.
    if stages:
        parts = [{"kind": "stage-set", "ref": "implementation-gate"}]
    else:
        names = ("strict-spec-guard", "docs:check", "diff-budget", "review")
        parts = [{"kind": "stage-set", "ref": name} for name in names]
    return {
        "id": "implementation-gate",
        "title": "Implementation gate",
        "guardrailsRequired": True,
        "stages": parts,
    }
