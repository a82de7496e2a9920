"""Values of secrets in output (docs/reference/privacy.md, "Values of variables")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain

from .forms import DIGITS, Form, Run, Span, forms_of
from .parts import parts_of
from .search import Search, Within
from .spellings import encoded

# Words are shorter, so that base64 and hexadecimal of this length need not be looked for in most of a text.
_LONG = 24
# By so much of the end of its first line, a value of several lines is known again.
_END_OF_LINE = 8


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
        """Where a value of several lines begins that goes on after the end of the text, or its length."""
        begin = len(text)
        lines, longest, ends = self._several_lines
        line_end = text.rfind(b"\n")
        while line_end >= len(text) - longest and line_end >= 0:
            for size in ends:
                for first, whole in lines.get(text[max(0, line_end - size) : line_end], ()):
                    start = line_end - len(first)
                    if start >= 0 and whole.startswith(text[start:]):
                        begin = min(begin, start)
            line_end = text.rfind(b"\n", 0, line_end)
        return begin

    @cached_property
    def _parts(self) -> list[str]:
        return list(dict.fromkeys(part for secret in self._secrets for part in parts_of(secret)))

    @cached_property
    def _searches(self) -> tuple[Search | Within, ...]:
        forms = [form for part in self._parts for form in forms_of(part)]
        long = [form for form in forms if form.is_digits and form.length >= _LONG]
        others = [form for form in forms if not (form.is_digits and form.length >= _LONG)]
        return Search(_runs(others)), Within(_runs(long), DIGITS, _LONG)

    @cached_property
    def _several_lines(self) -> tuple[dict[bytes, list[tuple[bytes, bytes]]], int, set[int]]:
        """Lines and wholes by how the first line ends; the longest whole; how long such ends are."""
        lines: dict[bytes, list[tuple[bytes, bytes]]] = {}
        longest = 0
        for part in self._parts:
            if "\n" in part:
                whole = encoded(part)
                first = whole[: whole.index(b"\n")]
                lines.setdefault(first[-_END_OF_LINE:], []).append((first, whole))
                longest = max(longest, len(whole))
        return lines, longest, {len(end) for end in lines}


def _runs(forms: list[Form]) -> list[Run]:
    return [run for form in forms for run in form.runs()]
