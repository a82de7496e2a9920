"""How long what stages print at once takes to be seen in ``runner.ndjson``.

``python -m tests.bench.visibility``: three stages print 100 000 numbered lines each, as fast as they are
read or at a pace, and somebody follows the log meanwhile. Each line says when it was printed; it is seen
when a read of the log brings its end. Printed are the percentiles, for each way and pace. A measurement
and no test: whoever follows needs processor time too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.at_once import command, environment, words
from tests.support.projects import Project

LINES = 100_000
STAGES = ("a", "b", "c")
WAYS = ("--jobs 3", "-n 3")
PACES = (0, 10_000)
TARGET_SECONDS = 0.25
_POLL_SECONDS = 0.002

# A write for each line: what is printed is then on its way. Paced, it catches up a millisecond at a time.
_PRINT = """\
import os, sys, time
lines, pace, start = int(sys.argv[1]), int(sys.argv[2]), time.monotonic()
for number in range(lines):
    while pace and number > (time.monotonic() - start) * pace:
        time.sleep(0.001)
    os.write(1, f"{time.time_ns()} {number}\\n".encode())
"""


def follow(log: Path, process: subprocess.Popen) -> Iterator[tuple[int, bytes]]:
    """What is new in a log, and when it was seen, until its writer has ended."""
    while not log.exists():
        time.sleep(_POLL_SECONDS)
    with log.open("rb", buffering=0) as opened:
        while True:
            ended = process.poll() is not None
            if data := opened.read(2**20):
                yield time.time_ns(), data
            elif ended:
                return
            else:
                time.sleep(_POLL_SECONDS)


def delays(seen: list[tuple[int, bytes]]) -> list[float]:
    """For each printed line, in no order, the seconds from its printing until it was seen.

    Raises:
        AssertionError: Lines are missing, or not in their order.
    """
    found: list[float] = []
    rest = b""
    unfinished: dict[int, str] = {}
    numbers: dict[int, list[int]] = {}
    for moment, data in seen:
        *whole, rest = (rest + data).split(b"\n")
        for event in map(json.loads, whole):
            if event["type"] != "exec:chunk":
                continue
            *lines, unfinished[event["index"]] = (unfinished.get(event["index"], "") + event["data"]).split(
                "\n"
            )
            for printed, number in (line.split() for line in lines):
                found.append((moment - int(printed)) / 1e9)
                numbers.setdefault(event["index"], []).append(int(number))
    assert all(got == list(range(LINES)) for got in numbers.values()), "lines are missing"
    assert len(numbers) == len(STAGES), "stages are missing"
    return found


def measured(way: str, pace: int) -> list[float]:
    """The delays of one session."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        (root / ".git").mkdir(parents=True)
        project = Project(root)
        (root / "print.py").write_text(_PRINT)
        line = f"exec {sys.executable} -S print.py {LINES} {pace}"
        project.pipeline(*(command(name, line) for name in STAGES))
        with subprocess.Popen(
            words(way),
            cwd=root,
            env=environment(project),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        ) as process:
            while not project.runs():
                time.sleep(_POLL_SECONDS)
            seen = list(follow(project.runs()[0] / "runner.ndjson", process))
        return delays(seen)


def report(way: str, pace: int, found: list[float]) -> str:
    """One line for people."""
    found = sorted(found)
    at = {
        name: found[int(len(found) * share)]
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }
    verdict = "met" if at["p99"] <= TARGET_SECONDS else "missed"
    figures = "  ".join(f"{name} {seconds * 1000:7.1f} ms" for name, seconds in at.items())
    speed = f"{pace} lines/s each" if pace else "full speed"
    return f"{way:10} {speed:20} {figures}  max {found[-1] * 1000:7.1f} ms  (p99 ≤ 250 ms: {verdict})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.visibility", description=__doc__)
    parser.add_argument("--ways", nargs="+", default=WAYS, help="how to run the stages, as flags")
    parser.add_argument(
        "--paces", nargs="+", type=int, default=PACES, help="lines per second, 0 without limit"
    )
    options = parser.parse_args()
    for way in options.ways:
        for pace in options.paces:
            print(report(way, pace, measured(way, pace)), flush=True)


if __name__ == "__main__":
    main()
