"""Which pages are read, and to whom they speak."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.audience import is_for_contributors, is_page, lines_for_contributors
from codex_orchestrator.checks.page_code import Heading

PAGES = (
    *("README", "readme.md", "Readme.Markdown", "README.rst", "README.txt", "AGENTS.md", "CLAUDE.md"),
    *("CONTRIBUTING.rst", "docs/a.md", "doc/en/a.rst", "tasks/a.md", ".agent/b.markdown", "docs/a\n.md"),
)
OTHERS = (
    *("CHANGELOG.md", "README.html", "src/README.md", "docs/a.txt", "docs/a.py", "docs", "web/docs/a.md"),
    *(
        "docs/changelog.md",
        "docs/history/1.rst",
        "doc/whatsnew/2.rst",
        "docs/2026-news.md",
        "docs/relnotes/1.rst",
    ),
    *("docs/release-notes.md", "docs/changelog-4.0.rst", "docs/deprecated.rst", "docs/TASKS-archive-2025.md"),
)


@pytest.mark.parametrize("path", PAGES)
def test_pages(path):
    assert is_page(path)


@pytest.mark.parametrize("path", OTHERS)
def test_no_pages_or_pages_of_the_past(path):
    assert not is_page(path)


@pytest.mark.parametrize(
    ("path", "for_contributors"),
    [
        ("README.md", False),
        ("AGENTS.md", True),
        ("CONTRIBUTING.rst", True),
        ("tasks/a.md", True),
        (".agent/a.md", True),
        ("docs/guide.md", False),
        ("docs/contributing.md", True),
        ("docs/development/a.md", True),
        ("docs/dev_process.md", True),
        ("docs/explanation/architecture.md", True),
        ("docs/user-contributed/a.md", False),
        ("docs/device.md", False),
    ],
)
def test_pages_for_those_who_work_here(path, for_contributors):
    assert is_for_contributors(path) is for_contributors


@pytest.mark.parametrize(
    ("title", "for_contributors"),
    [
        ("Development", True),
        ("Local development", True),
        ("Developer guide", True),
        ("Contributing", True),
        ("How to contribute", True),
        ("Running the tests", True),
        ("Run Tests", True),
        ("Project structure", True),
        ("Setting up a development environment", True),
        ("Development server", False),
        ("Developer Interface", False),
        ("A user-contributed tutorial", False),
        ("System Architecture", False),
        ("Testing", False),
        ("Running your tests", False),
    ],
)
def test_titles_of_parts_for_those_who_work_here(title, for_contributors):
    assert bool(lines_for_contributors([Heading(1, 1, title)], 3)) is for_contributors


def test_a_part_ends_at_the_next_title_of_its_level():
    headings = [Heading(1, 1, "X"), Heading(3, 2, "Contributing"), Heading(5, 3, "Y"), Heading(8, 2, "Z")]
    assert lines_for_contributors(headings, 9) == {3, 4, 5, 6, 7}
    assert lines_for_contributors(headings[:3], 6) == {3, 4, 5, 6}
