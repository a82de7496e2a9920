"""Values of secrets in output (docs/reference/privacy.md, "Values of variables")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain

from codex_orchestrator.privacy.forms import (
    DIGITS,
    Ending,
    Form,
    Run,
    Span,
    digit_forms,
    least_digits,
    written_forms,
)
from codex_orchestrator.privacy.parts import parts_of
from codex_orchestrator.privacy.search import Search, Within
from codex_orchestrator.privacy.views import LINES_BYTES

# Words are shorter: base64 and hexadecimal that are longer need not be looked for in most of a text.
_LONG = 24
# By so many characters at the end of its first line, a value of several lines is known again.
_END_OF_LINE = 16


class Values:
    """Values to look for; what that needs is made when it is first needed, as most commands print little."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def places(self, text: bytes) -> Iterator[Span]:
        """Where values are, in whichever form."""
        reached: dict[int, int] = {}
        for place, run in chain.from_iterable(search.places(text) for search in self._searches):
            # What is within a place that is known already adds nothing, and could come very often.
            if reached.get(id(run), 0) >= place + len(run.text):
                continue
            found = run.form.around(text, place, run)
            if found is not None:
                reached[id(run)] = found[1]
                yield found

    def begun(self, text: bytes) -> int:
        """Where a value of several lines may begin that goes on after the end of the text, or its length.

        Only what its first line ends with is held against the text, as the rest may be spelled in many ways.
        """
        begin = len(text)
        by_last, most = self._first_lines
        line_end = text.rfind(b"\n")
        lines = 1
        while lines <= most and line_end > 0 and len(text) - line_end < LINES_BYTES:
            end = line_end - 1 if text[line_end - 1 : line_end] == b"\r" else line_end
            known = by_last.get(text[end - 1], ()) if end else ()
            if any(lines <= count and ending.is_at(text, end) for ending, count in known):
                begin = text.rfind(b"\n", 0, line_end) + 1
            line_end = text.rfind(b"\n", 0, line_end)
            lines += 1
        return begin

    @cached_property
    def _parts(self) -> list[str]:
        return list(dict.fromkeys(part for secret in self._secrets for part in parts_of(secret)))

    @cached_property
    def _searches(self) -> tuple[Search | Within, ...]:
        long = [part for part in self._parts if least_digits(part) >= _LONG]
        short = [part for part in self._parts if least_digits(part) < _LONG]
        least = min(map(least_digits, long), default=_LONG)
        return (
            Search([*_runs(written_forms(self._parts)), *_runs(digit_forms(short))]),
            Within(lambda: _runs(digit_forms(long)), DIGITS, least),
        )

    @cached_property
    def _first_lines(self) -> tuple[dict[int, list[tuple[Ending, int]]], int]:
        """By the last byte, what first lines end with and how many line ends they have; the most of these."""
        by_last: dict[int, list[tuple[Ending, int]]] = {}
        most = 0
        for part in self._parts:
            count = part.count("\n")
            if count:
                ending = Ending(part[: part.index("\n")][-_END_OF_LINE:])
                for last in ending.last:
                    by_last.setdefault(last, []).append((ending, count))
                most = max(most, count)
        return by_last, most


def _runs(forms: Iterable[Form]) -> list[Run]:
    return [run for form in forms for run in form.runs()]
