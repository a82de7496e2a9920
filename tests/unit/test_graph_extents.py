"""Counting what pipelines come to with their sub-pipelines."""

from __future__ import annotations

import pytest

from codex_orchestrator.definitions.graph import MOST_LEVELS, MOST_STAGES, Extent, extents, outermost


def doubled(levels: int) -> dict[str, tuple[str, ...]]:
    """A pipeline that runs the next one twice, and so on."""
    return {f"p{n}": (f"p{n + 1}",) * 2 if n < levels else () for n in range(levels + 1)}


def of(children) -> dict[str, Extent]:
    return extents({name: max(1, len(below)) for name, below in children.items()}, children)


@pytest.mark.parametrize(
    ("children", "extent"),
    [
        ({"p0": ()}, Extent(1, 1)),
        ({"p0": ("p1", "p2"), "p1": (), "p2": ("p1",)}, Extent(2 + 1 + (1 + 1), 3)),
        (doubled(3), Extent(2 + 4 + 8 + 8, 4)),
        (doubled(24), Extent(2**26 - 2 - 2**24, 25)),
        (doubled(20_000), Extent(10**18, 20_001)),
        ({f"p{n}": (f"p{n + 1}",) if n < 50_000 else () for n in range(50_001)}, Extent(50_001, 50_001)),
    ],
    ids=["alone", "shared", "doubled", "exponential", "beyond-numbers", "deep"],
)
def test_a_pipeline_counts_with_all_that_it_runs(children, extent):
    assert of(children)["p0"] == extent


def test_circles_are_left_out():
    found = of({"a": ("b",), "b": ("a",), "c": ("a",), "d": ()})
    assert found == {"d": Extent(1, 1)}


@pytest.mark.parametrize(
    ("extent", "problem"),
    [
        (Extent(MOST_STAGES, MOST_LEVELS), None),
        (Extent(10_001, 2), "comes to 10001 stages with those of its sub-pipelines, and 10000 is the most"),
        (
            Extent(10**18, 2),
            f"comes to more than {10**18} stages with those of its sub-pipelines, and 10000 is the most",
        ),
        (Extent(101, 101), "sub-pipelines are nested 101 deep, and 100 is the most"),
    ],
)
def test_what_is_too_much_says_how_much_it_is(extent, problem):
    assert extent.problem == problem


def test_of_pipelines_that_are_too_large_the_outermost_are_named():
    children = {**doubled(3), "q": ("p3",)}
    assert outermost(["p1", "p0", "p2"], children) == ["p0"]
    assert outermost(["q", "p1"], children) == ["q", "p1"]
