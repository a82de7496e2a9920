"""What a command with exit code 0 lacks of what its stage expects, in words; pure."""

from __future__ import annotations

from collections.abc import Iterator

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.rules.stage import Expected


@dataclass(frozen=True)
class FoundTests:
    """What the JUnit files of an attempt say.

    Attributes:
        files: How many files the pattern names.
        written: How many of them the attempt has written; what follows is of these.
        ran: How many tests have run, whatever came of them.
        skipped: How many have not.
        problem: Why one of the files cannot be read, with its path; or None.
    """

    files: int = 0
    written: int = 0
    ran: int = 0
    skipped: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Shown:
    """What an attempt has shown.

    Attributes:
        tests: In JUnit files; None where none are expected.
        has_pattern: Whether the expected text was in its output.
        unwritten: The patterns that name no file that it has written.
    """

    tests: FoundTests | None = None
    has_pattern: bool = False
    unwritten: tuple[str, ...] = ()


def missing(expected: Expected, shown: Shown) -> str | None:
    """What is missing, as one sentence without its stop; None where nothing is."""
    return "; ".join(_missing(expected, shown)) or None


def _missing(expected: Expected, shown: Shown) -> Iterator[str]:
    if expected.junit is not None and shown.tests is not None:
        yield from _missing_tests(expected.junit, expected.tests, shown.tests)
    if expected.pattern is not None and not shown.has_pattern:
        yield f'its output does not have "{expected.pattern}"'
    if shown.unwritten:
        yield f"it has written no file {' and none '.join(map(_quoted, shown.unwritten))}"


def _missing_tests(junit: str, wanted: int, found: FoundTests) -> Iterator[str]:
    skipped = f" ({found.skipped} skipped)" if found.skipped else ""
    if found.problem is not None:
        yield found.problem
    elif not found.files:
        yield f"no tests ran: there is no file {_quoted(junit)}"
    elif not found.written:
        yield f"no tests ran: {_quoted(junit)} was not written by this attempt"
    elif not found.ran:
        yield f"no tests ran: {_quoted(junit)} has none{skipped}"
    elif found.ran < wanted:
        ran = "1 test" if found.ran == 1 else f"{found.ran} tests"
        yield f"only {ran} of at least {wanted} ran, by {_quoted(junit)}{skipped}"


def _quoted(text: str) -> str:
    return f'"{text}"'
