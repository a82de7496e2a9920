"""A graph of stages whose end is known beforehand, if they start in a sensible order.

```text
                ┌─ lint   0.4 ──────────────────────┐
                ├─ types  0.5 ──────────────────────┤
prepare  0.2 ───┼─ docs   0.6 ──────────────────────┼─── package  0.3
                ├─ audit  0.7 ──────────────────────┤
                └─ build  0.5 ─── integration  0.7 ─┘
```

The critical path is ``prepare``, ``build``, ``integration``, ``package``: 0.2 + 0.5 + 0.7 + 0.3 = 1.70 s.
Four at once reach it, but only if ``build`` is among the first four of the five that wait for ``prepare``.
It is declared last of them, so whoever goes by declared order needs 2.10 s, for ``build`` then waits until
``lint`` has ended. That it should go first shows from the graph alone, without any durations: two more
stages follow upon it, and one upon each of the others. What waits for room meanwhile, ``audit``, then ends
0.1 s before it would hold up ``package``.
"""

from .work import Stage

# Name, seconds asleep, and what it waits for.
_DECLARED: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("prepare", 0.2, ()),
    ("lint", 0.4, ("prepare",)),
    ("types", 0.5, ("prepare",)),
    ("docs", 0.6, ("prepare",)),
    ("audit", 0.7, ("prepare",)),
    ("build", 0.5, ("prepare",)),
    ("integration", 0.7, ("build",)),
    ("package", 0.3, ("lint", "types", "docs", "audit", "integration")),
)

GRAPH: tuple[Stage, ...] = tuple(Stage(name, f"sleep {seconds}", needs) for name, seconds, needs in _DECLARED)


def _critical_path() -> float:
    """Seconds from the start to the end of the last stage, where each starts as soon as it can."""
    ends: dict[str, float] = {}
    for name, seconds, needs in _DECLARED:
        ends[name] = seconds + max((ends[need] for need in needs), default=0.0)
    return max(ends.values())


CRITICAL_PATH_SECONDS = _critical_path()
