"""Patterns that are compiled when first used: most runs print nothing that many of them are asked about."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import AnyStr, Generic


class LatePattern(Generic[AnyStr]):
    """What `re.compile` makes, at the first question.

    Args:
        source: The pattern.
        flags: Those of `re.compile`.
    """

    def __init__(self, source: AnyStr, flags: int = 0) -> None:
        self._source: AnyStr = source
        self._flags = flags

    @cached_property
    def _compiled(self) -> re.Pattern[AnyStr]:
        return re.compile(self._source, self._flags)

    # The methods of the pattern itself, so that a question costs no more than without this class.

    @cached_property
    def search(self) -> Callable[[AnyStr], re.Match[AnyStr] | None]:
        """As of `re.Pattern`."""
        return self._compiled.search

    @cached_property
    def match(self) -> Callable[[AnyStr], re.Match[AnyStr] | None]:
        """As of `re.Pattern`."""
        return self._compiled.match

    @cached_property
    def fullmatch(self) -> Callable[[AnyStr], re.Match[AnyStr] | None]:
        """As of `re.Pattern`."""
        return self._compiled.fullmatch

    @cached_property
    def findall(self) -> Callable[[AnyStr], list[AnyStr]]:
        """As of `re.Pattern`."""
        return self._compiled.findall

    @cached_property
    def sub(self) -> Callable[[AnyStr, AnyStr], AnyStr]:
        """As of `re.Pattern`."""
        return self._compiled.sub
