"""``python -m tests.bench``: measures the cases, prints the table and saves the JSON."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cases import CASES, NODE, Case
from .figures import compare
from .measure import measure_case
from .processes import CommandFailedError, import_seconds, peak_floor
from .report import CaseResult, Machine, document, table
from .tools import (
    REPOSITORY,
    MakeUnavailableError,
    NodeEntry,
    NodeFolderError,
    NodeUnavailableError,
    OursMissingError,
    Tool,
    Tools,
    find_make,
    find_node,
    find_ours,
    find_pytest,
)
from .work import Make

_FEWEST_RUNS = 7


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    cases: tuple[Case, ...]
    runs: int
    node_dir: Path | None
    node_entry: NodeEntry
    with_node: bool
    output: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 whatever the ratios, 1 failed command, 2 no tool or bad use, 130 interrupted."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="codex-bench-") as name:
        try:
            return _run(options, Path(name).resolve())
        except (OursMissingError, NodeFolderError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130


def _run(options: Options, work: Path) -> int:
    home = work / "home"
    home.mkdir()
    tools, skipped = _find(options, home, work / "npm")
    _announce(tools, skipped, options.runs)
    machine = Machine(peak_floor(work), import_seconds(tools.ours.environment, work))
    measured = [_measure(case, tools, options.runs, work) for case in options.cases]
    results = [result for result in measured if result is not None]
    print(table(results))
    print(f"Peak memory of `true` by the same method: {machine.memory_floor / 2**20:.1f} MiB.")
    print(f"Time to import pytest, before the cases: {machine.import_seconds * 1000:.0f} ms.")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(results, tools.found(), options.runs, machine, skipped), indent=2) + "\n"
    options.output.write_text(text, encoding="utf-8")
    print(f"Saved: {options.output}")
    return 0 if len(results) == len(measured) else 1


def _find(options: Options, home: Path, npm: Path) -> tuple[Tools, dict[str, str]]:
    """The tools that the cases need, and why peers of theirs are skipped, by name."""
    ours = find_ours(home)
    node: Tool | None = None
    make: Tool | None = None
    skipped: dict[str, str] = {}
    if not options.with_node:
        skipped["node"] = "left out by --no-node"
    elif any(case.peer == NODE for case in options.cases):
        try:
            node = find_node(home, npm, options.node_dir, options.node_entry)
        except NodeUnavailableError as reason:
            skipped["node"] = str(reason)
    if any(isinstance(case.peer_work, Make) for case in options.cases):
        try:
            make = find_make(home)
        except MakeUnavailableError as reason:
            skipped["make"] = str(reason)
    return Tools(ours, find_pytest(ours, home), node, make), skipped


def _measure(case: Case, tools: Tools, runs: int, work: Path) -> CaseResult | None:
    """None where a command failed: that is reported, and the other cases are still worth their figures."""
    print(f"{case.key}: {case.title} ...", file=sys.stderr, flush=True)
    try:
        mine, *peers = measure_case(case, tools, runs, work)
    except CommandFailedError as error:
        print(f"error: case {case.key} is left out, a measured command failed: {error}", file=sys.stderr)
        return None
    return CaseResult(case, compare(mine, peers[0] if peers else None, case.targets))


def _announce(tools: Tools, skipped: Mapping[str, str], runs: int) -> None:
    for tool in tools.found():
        print(f"{tool.name}: {tool.origin}", file=sys.stderr)
    for name, reason in skipped.items():
        print(f"notice: {name} is skipped, so there is nothing beside ours: {reason}", file=sys.stderr)
    if runs < _FEWEST_RUNS:
        print(
            f"notice: runs per tool: {runs}; the targets are meant for {_FEWEST_RUNS} or more",
            file=sys.stderr,
        )


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Benchmarks against the Node CLI and other peers."
    )
    parser.add_argument(
        "--cases", type=_cases, default=CASES, metavar="KEYS", help="such as a,c (default: all)"
    )
    parser.add_argument(
        "--runs", type=_positive, default=_FEWEST_RUNS, metavar="N", help="per tool (default: 7)"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--node-dir", type=Path, metavar="DIR", help="folder whose node_modules holds the Node CLI"
    )
    source.add_argument("--no-node", action="store_true", help="measure only this project")
    parser.add_argument(
        "--node-entry", choices=("bin", "dist"), default="bin", help="program to start (default: bin)"
    )
    parser.add_argument("--output", type=Path, default=REPOSITORY / "out" / "bench.json", metavar="FILE")
    given = parser.parse_args(arguments)
    return Options(given.cases, given.runs, given.node_dir, given.node_entry, not given.no_node, given.output)


def _cases(text: str) -> tuple[Case, ...]:
    keys = text.split(",")
    known = {case.key for case in CASES}
    if unknown := [key for key in keys if key not in known]:
        raise argparse.ArgumentTypeError(f"unknown case {unknown[0]!r}, known: {', '.join(sorted(known))}")
    return tuple(case for case in CASES if case.key in keys)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
