"""The limit on open files: raised as far as a session needs it, and no further."""

from __future__ import annotations

import resource

import pytest

from codex_orchestrator.execution import limits as room

FOR_EVER = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch):
    """Set the limits of a process that may be told not to raise them."""

    def become(soft: int, hard: int, *, refuses: type[Exception] | None = None) -> list[tuple[int, int]]:
        now = [(soft, hard)]

        def change(_which: int, wanted: tuple[int, int]) -> None:
            if refuses is not None:
                raise refuses
            now.append(wanted)

        monkeypatch.setattr(resource, "getrlimit", lambda _which: now[-1])
        monkeypatch.setattr(resource, "setrlimit", change)
        return now

    return become


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed"),
    [
        (256, 4_096, 544, 544),
        (256, 400, 544, 400),
        (1_024, 4_096, 544, 1_024),
        (256, FOR_EVER, 544, 544),
        (FOR_EVER, FOR_EVER, 544, 2**31 - 1),
    ],
)
def test_the_limit_is_raised_as_far_as_wanted_and_allowed(limits, soft, hard, wanted, allowed):
    now = limits(soft, hard)
    assert room.make_room(wanted) == allowed
    assert now[-1][1] == hard
    assert len(now) == 1 + (soft != FOR_EVER and soft < allowed)


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_does_not_raise_it_is_believed(limits, error):
    limits(256, FOR_EVER, refuses=error)
    assert room.make_room(544) == 256


def test_there_is_always_room_for_one_command_and_never_for_more_than_the_files_suffice_for(limits):
    limits(16, 16)
    assert room.most_commands() == 1
    limits(16, 1_024)
    most = room.most_commands()
    assert room.needed(commands=most) <= 1_024 < room.needed(commands=most + 1)
