"""Time as it is written and as it is measured."""

from __future__ import annotations

import re

import pytest

from codex_orchestrator.clock import FakeClock, Stopwatch, SystemClock, parse_timestamp, timestamp, utc_date


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1795229072.979, "2026-11-21T02:44:32.979Z"),
        (1795229072.9799, "2026-11-21T02:44:32.979Z"),
        (1795229072.9999, "2026-11-21T02:44:32.999Z"),
        (1795229072.001, "2026-11-21T02:44:32.001Z"),
        (1795229072.0, "2026-11-21T02:44:32.000Z"),
        # The nearest floats to these lie below them.
        (2150000000.003, "2038-02-17T06:13:20.003Z"),
        (1080000000.057, "2004-03-23T00:00:00.057Z"),
    ],
)
def test_a_timestamp_has_three_digits_and_is_cut(now, text):
    assert timestamp(now) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:01.500Z", 1.5),
        ("1970-01-01T00:00:01.500Z\n", 1.5),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:00:02", 2.0),
        ("", None),
        ("soon", None),
        ("1970-13-01T00:00:00Z", None),
        ("\ud800", None),
    ],
)
def test_reading_a_timestamp_back(text, moment):
    assert parse_timestamp(text) == moment


def test_the_machines_clock_is_utc_and_goes_on():
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp(clock.now()))


def test_the_fake_clock_stands_still_advances_and_jumps():
    clock = FakeClock(1_000.0)
    assert (clock.now(), clock.monotonic()) == (1_000.0, 0.0)
    clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (1_002.5, 2.5)
    clock.jump(-500)
    assert (clock.now(), clock.monotonic()) == (502.5, 2.5)
    assert timestamp(FakeClock().now()).endswith(".979Z")


@pytest.mark.parametrize("set_by", [-10_800, 10_800])
def test_what_is_measured_knows_nothing_of_a_clock_that_is_set(set_by):
    clock = FakeClock()
    watch = Stopwatch(clock, since=timestamp(clock.now() - 10))
    clock.sleep(2.5)
    clock.jump(set_by)
    clock.sleep(-1)
    assert watch.seconds == 12.5
    ahead = Stopwatch(clock, since=timestamp(clock.now() + 60))
    clock.sleep(1)
    assert ahead.seconds == 1.0


def test_a_day_is_utcs():
    assert utc_date(86_399.9).isoformat() == "1970-01-01"
    assert utc_date(86_400.0).isoformat() == "1970-01-02"
