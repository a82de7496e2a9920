"""Signals to processes that may be gone."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from codex_orchestrator.execution.process import signal_if


@pytest.fixture
def sleeper():
    """A process that does nothing, and what it ended with."""
    process = subprocess.Popen(["sleep", "100"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("descriptors", [True, False], ids=["held on to", "by its id"])
def test_only_the_process_that_is_meant_gets_a_signal(sleeper, monkeypatch, descriptors):
    if not descriptors:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert not signal_if(sleeper.pid, signal.SIGTERM, lambda: False)
    assert sleeper.poll() is None
    assert signal_if(sleeper.pid, signal.SIGTERM, lambda: True)
    assert sleeper.wait(timeout=60) == -signal.SIGTERM
    assert not signal_if(sleeper.pid, signal.SIGTERM, lambda: True)
