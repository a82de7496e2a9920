"""The only place that reads time; everything else is handed a clock.

Timestamps in every artefact are UTC with three millisecond digits and ``Z``
(docs/reference/files.md, "Conventions").
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written, monotonic time for what is measured and waited for."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass; none where they are none or fewer."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds; a signal whose handler raises ends that."""
        time.sleep(max(0.0, seconds))


class FakeClock:
    """A clock for tests: it stands still until it is told to advance, or to sleep."""

    def __init__(self, now: float = 1_763_693_072.979) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        """Seconds since the epoch, as last set."""
        return self._now

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, at once."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock off by ``seconds``; measured time does not notice."""
        self._now += seconds


def timestamp(now: float) -> str:
    """Epoch seconds as ``2026-11-21T02:44:32.979Z``, milliseconds cut and not rounded up."""
    # By way of microseconds: the float nearest to .979 may lie a little below it.
    seconds, milliseconds = divmod(round(now * 1_000_000) // 1000, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{milliseconds:03d}Z"


def parse_timestamp(text: str) -> float | None:
    """Epoch seconds of a timestamp, or None where the text is not one."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=UTC).timestamp()


def utc_date(now: float) -> date:
    """The UTC calendar day of an epoch time."""
    return datetime.fromtimestamp(now, UTC).date()


class Stopwatch:
    """Measures from a moment on that another process may have written down."""

    def __init__(self, clock: Clock, *, since: str) -> None:
        """Begin to measure.

        Args:
            clock: Time.
            since: When what is measured began, as a timestamp. What lies before now is told by the wall
                clock, as there is no other between processes; nothing where that was set back meanwhile.
        """
        began = parse_timestamp(since)
        self._before = 0.0 if began is None else max(0.0, clock.now() - began)
        self._clock = clock
        self._begun = clock.monotonic()

    @property
    def seconds(self) -> float:
        """So far, to the millisecond; however the wall clock was set since this began to measure."""
        return round(self._before + self._clock.monotonic() - self._begun, 3)
