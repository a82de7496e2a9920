"""The privacy guard over a stream, as tests feed it."""

from __future__ import annotations

from codex_orchestrator.privacy.finding import Finder
from codex_orchestrator.privacy.policy import PrivacyPolicy
from codex_orchestrator.privacy.stream import StreamGuard


def guard_of(*, mode="enforce", rules=(), secrets=()) -> StreamGuard:
    return StreamGuard(Finder(PrivacyPolicy(mode, tuple(rules), tuple(secrets))), mode)


def whole(guard: StreamGuard, data: bytes, size: int) -> bytes:
    """What comes of data that is read in pieces of a size, without a pause."""
    pieces = [guard.feed(data[place : place + size], 0.0) for place in range(0, len(data), size)]
    return b"".join([*pieces, guard.flush()])
