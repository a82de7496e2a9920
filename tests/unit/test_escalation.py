"""When whoever does not end is killed."""

from __future__ import annotations

import pytest

from codex_orchestrator.execution.signals import Escalation


def looks(escalation: Escalation, *, until: float, patient_until: float = 0.0) -> list[float]:
    """When SIGKILL was due, looking every half second."""
    return [
        half / 2
        for half in range(round(until * 2))
        if escalation.kills(half / 2, needs_longer=half / 2 < patient_until)
    ]


@pytest.mark.parametrize(
    ("patient_until", "killed_at"),
    [(0.0, 11.0), (11.0, 11.0), (11.5, 12.0), (12.5, 13.0), (100.0, 13.0)],
)
def test_the_grace_is_given_again_while_somebody_needs_it_but_not_for_ever(patient_until, killed_at):
    escalation = Escalation(1.0, extensions=2)
    assert looks(escalation, until=20) == []
    escalation.begin(10.0)
    assert looks(escalation, until=20, patient_until=patient_until) == [killed_at]
    assert escalation.due is None


def test_whoever_is_asked_again_gets_the_grace_anew():
    escalation = Escalation(1.0, extensions=0)
    escalation.begin(1.0)
    escalation.begin(5.0)
    assert looks(escalation, until=20) == [6.0]
