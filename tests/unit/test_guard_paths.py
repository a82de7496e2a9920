"""What is meant by a path that leads nowhere, as a table."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.paths import Reach, is_misspelled, similar_path


@pytest.mark.parametrize(
    ("written", "meant", "alike"),
    [
        ("modul", "module", True),
        ("moddule", "module", True),
        ("nodule", "module", True),
        ("mdoule", "module", True),
        ("Module", "module", True),
        ("README", "readme", True),
        ("mudola", "module", False),
        ("module", "module", False),
        ("modules-x", "module", False),
        ("part1", "part2", False),
        ("part1", "part12", False),
        ("_private", "private", False),
        ("a/_private", "a/private", False),
        (".hidden", "hidden", False),
        ("snake_case", "snakecase", True),
        ("js", "ts", False),
        ("", "a", False),
    ],
)
def test_a_slip_of_the_hand(written, meant, alike):
    assert is_misspelled(written, meant) is alike
    assert is_misspelled(meant, written) is alike


@pytest.mark.parametrize(
    ("path", "lookalikes", "reach", "meant"),
    [
        ("src/engin.py", ["src/engine.py", "src/other.py"], Reach.NONE, "src/engine.py"),
        ("scr/engine.py", ["src/engine.py"], Reach.NONE, "src/engine.py"),
        ("deep/engin.py", ["src/deep/engine.py"], Reach.NONE, "src/deep/engine.py"),
        ("src/module.js", ["src/module.ts"], Reach.NONE, "src/module.ts"),
        ("src/module.html", ["src/module.md"], Reach.NONE, None),
        ("src/other.js", ["src/module.ts"], Reach.ALL, None),
        ("old/engine.py", ["src/engine.py"], Reach.NONE, None),
        ("old/engine.py", ["src/engine.py"], Reach.ONE, "src/engine.py"),
        ("module/x.py", ["src/module/x.py"], Reach.ONE, "src/module/x.py"),
        ("old/engine.py", ["src/a/b/engine.py"], Reach.ONE, None),
        ("old/engine.py", ["src/a/b/engine.py"], Reach.ALL, "src/a/b/engine.py"),
        ("old/engine.py", ["src/engine.py", "lib/engine.py"], Reach.ALL, None),
        ("a/old/engine.py", ["a/b/engine.py", "c/d/engine.py"], Reach.ONE, "a/b/engine.py"),
        ("a/old/engine.py", ["a/b/engine.py", "a/c/engine.py"], Reach.ALL, None),
        ("old/README.md", ["src/README.md"], Reach.ALL, None),
        ("old/a/__init__.py", ["src/a/__init__.py", "lib/x/y/__init__.py"], Reach.ALL, "src/a/__init__.py"),
        ("old/a/__init__.py", ["src/a/__init__.py"], Reach.ONE, None),
        ("old/unit", ["tests/unit"], Reach.ALL, "tests/unit"),
        ("old/unit", ["tests/unit"], Reach.ONE, None),
        ("owner/name", ["src/name"], Reach.ALL, None),
        ("owner/name", ["vendor/name"], Reach.ALL, None),
        ("owner/name", ["name"], Reach.ALL, None),
        ("old/name/", ["src/name"], Reach.ALL, "src/name"),
        ("x", [], Reach.ALL, None),
    ],
)
def test_what_is_meant(path, lookalikes, reach, meant):
    assert similar_path(path, lookalikes, reach) == meant
