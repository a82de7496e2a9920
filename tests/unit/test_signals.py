"""Signals for as long as a run lasts."""

from __future__ import annotations

import os
import select
import signal
from contextlib import closing

import pytest

from codex_orchestrator.execution.signals import Cancellation, caught


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_wakes_whoever_waits_and_is_heard(number):
    before = signal.getsignal(number)
    with closing(Cancellation()) as cancellation:
        with caught(cancellation.request, waker=cancellation.waker):
            signal.raise_signal(number)
            assert (cancellation.number, cancellation.by) == (number, number.name)
            # Once from the handler, and once from Python itself: the handler may come late.
            assert len(_bytes_in(cancellation)) == 2
        # Nothing is written any more to what is about to be closed.
        assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(number) is before


def test_only_the_named_signals_are_heard():
    heard = []
    before = signal.getsignal(signal.SIGTERM)
    with caught(heard.append, signal.SIGUSR1):
        signal.raise_signal(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGTERM) is before
    assert heard == [signal.SIGUSR1]


def test_a_branch_hears_what_its_stem_hears_and_more():
    with closing(Cancellation()) as stem:
        one, other = stem.branch(), stem.branch()
        one.request(signal.SIGTERM, "-x")
        assert [each.by for each in (stem, one, other)] == ["", "-x", ""]
        stem.request(signal.SIGINT)
        assert [(each.by, each.requests) for each in (stem, one, other)] == [
            ("SIGINT", 1),
            ("-x", 2),
            ("SIGINT", 1),
        ]
        late = stem.branch()
        assert (late.by, late.number) == ("SIGINT", signal.SIGINT)
        for branch in (one, other, late):
            assert select.select([branch], [], [], 0)[0]
            stem.prune(branch)
        stem.request(signal.SIGINT)
        assert stem.requests == 2


def _bytes_in(cancellation: Cancellation) -> bytes:
    return os.read(cancellation.fileno(), 16)
