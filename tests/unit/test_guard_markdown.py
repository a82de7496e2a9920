"""Code in Markdown, and shell commands in that code."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.markdown import code_of
from codex_orchestrator.checks.page_code import CodeBlock, CodeSpan
from codex_orchestrator.checks.shellwords import Call, calls


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("no code", []),
        ("a `b` c `d e`", [(1, "b"), (1, "d e")]),
        ("`` a ` b `` and `c`", [(1, "a ` b"), (1, "c")]),
        ("`a\nb`", [(1, "a b")]),
        ("`a\n\nb`", []),
        ("one\n\ntwo `b`\n`c`", [(3, "b"), (4, "c")]),
        ("a \\`b` c", []),
        ("`a`` b`", [(1, "a`` b")]),
        ("``` `a` ```", [(1, "`a`")]),
        ("` `", []),
        ("- a `stray\n- b `c`", [(2, "c")]),
        # A comment that begins a line takes the rest of its last line with it.
        ("<!-- `a` -->`b`<!--\n`c` -->\n`d`", [(2, "c"), (3, "d")]),
        ("x <!-- `a` -->`b`<!--\n`c` -->\n`d`", [(1, "b"), (3, "d")]),
        ("<!-- never closed `a`", []),
        ("x <!-- never closed `a`", [(1, "a")]),
        # Code comes before comments, and what stands between two of its spans is prose.
        ("`<!-- a -->`, `b`, `<!-- c -->`", [(1, "<!-- a -->"), (1, "b"), (1, "<!-- c -->")]),
        ("Between `<!-- a -->` b.md `<!-- c -->`", [(1, "<!-- a -->"), (1, "<!-- c -->")]),
        ("`a\nb` `c`\n`d`", [(1, "a b"), (2, "c"), (3, "d")]),
        ("> - `a`\n>   `b`\n> `c`", [(1, "a"), (2, "b"), (3, "c")]),
        ("\r\n`a`\r`b`", [(2, "a"), (3, "b")]),
        ("| `a` | `b` |", [(1, "a"), (1, "b")]),
        ("```\n`a`\n```\n`b`", [(4, "b")]),
    ],
)
def test_spans(text, spans):
    assert code_of(text).spans == tuple(CodeSpan(line, code) for line, code in spans)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```sh\na\nb\n```", [CodeBlock(2, "sh", ("a", "b"))]),
        ("~~~~ Bash x=1\na\n~~~\n~~~~", [CodeBlock(2, "bash", ("a", "~~~"))]),
        ("```{.sh .numbered}\na\n```", [CodeBlock(2, "sh", ("a",))]),
        ("```\nopen", [CodeBlock(2, "", ("open",))]),
        ("```\n", [CodeBlock(2, "", ("",))]),
        ("- item:\n  ```sh\n  a\n  ```", [CodeBlock(3, "sh", ("a",))]),
        ("- ```sh\n  a\n  ```", [CodeBlock(2, "sh", ("a",))]),
        ("> ```sh\n> a\n> > b\n> ```\n> c", [CodeBlock(2, "sh", ("a", "> b"))]),
        ("```console\n$ a \\\n> b\n```", [CodeBlock(2, "console", ("$ a \\", "> b"))]),
        ("Save as `a.txt`:\n\n```text\na\n```", [CodeBlock(4, "text", ("a",), "a.txt")]),
        ("`a.txt` is:\n\n```text\na\n```", [CodeBlock(4, "text", ("a",))]),
        ("text\n\n    make a\n    make b\n\nmore", [CodeBlock(3, "", ("make a", "make b"))]),
        ("\tmake a", [CodeBlock(1, "", ("make a",))]),
        ("- item\n\n      make a\n", [CodeBlock(3, "", ("make a",))]),
        ("- item\n\n    still the item\n", []),
        ("text\n    is a paragraph still", []),
        ("```a `b` c", []),
    ],
)
def test_blocks(text, blocks):
    assert code_of(text).blocks == tuple(blocks)


def test_prose_keeps_the_numbers_of_lines():
    text = "one\n```\ntwo\n```\nthree <!-- a\nb --> four\n\n    five\nsix"
    assert code_of(text).prose == ("one", "", "", "", "three ", " four", "", "", "six")


HOSTILE = (
    "[",
    "<!--",
    "`",
    "``a",
    "> ",
    "- ",
    "<a ",
    "<?",
    "*a ",
    "\\",
    "    ",
    "```\n",
    "![[](",
    "<!-- -->",
    "- - ",
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_page_of_one_mark_is_read_in_time(piece):
    """What takes time by the square of the page's length takes minutes here."""
    text = piece * (2**19 // len(piece))
    assert len(code_of(text).prose) == text.count("\n") + 1


def words(text: str) -> list[tuple[str, ...]]:
    return [(call.program, *call.words) for call in calls(text.split("\n"), 1)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("# a comment", []),
        ("make a b # c", [("make", "a", "b")]),
        (
            "make a && make b; make c | tee d || (make e) &",
            [("make", w) for w in "abc"] + [("tee", "d"), ("make", "e")],
        ),
        ("A=1 B='x y' env C=2 make a", [("make", "a")]),
        ("npx -y codex-orchestrator start x", [("codex-orchestrator", "start", "x")]),
        ("uv run --quiet pytest -q", [("pytest", "-q")]),
        ("uv pip install x", [("uv", "pip", "install", "x")]),
        ('.venv/bin/pytest -k \'a b\' "c \\" d"', [("pytest", "-k", "a b", 'c \\" d')]),
        ("make a \\\n  b", [("make", "a", "b")]),
        ("make a 2>&1 >log", [("make", "a")]),
        ("make a &>log", [("make", "a")]),
        ("make a <input", [("make", "a")]),
        ("start <pipeline> [--flag <a|b>]", [("start", "<pipeline>", "[--flag", "<a|b>]")]),
        ("cat <<END\nmake a\nEND\nmake b", [("cat",), ("make", "b")]),
        ("cat <<-'END' > x\nmake a", [("cat",)]),
        ("$ make a\nmake: nothing to do\n$ make b \\\n> c\nd", [("make", "a"), ("make", "b", "c")]),
        ("it's closed' 'make a", [("its closed", "'make", "a")]),
        ("\\", [("\\",)]),
    ],
)
def test_commands(text, found):
    assert words(text) == found


def test_what_commands_write_read_and_answer():
    lines = ["$ cat > a.json <<END", "> {}", "> END", "$ start x", "  error: no", "$ start y", "fine"]
    assert list(calls(lines, 5)) == [
        Call(5, "cat", (), ("a.json",), ("> {}",)),
        Call(8, "start", ("x",), fails=True),
        Call(10, "start", ("y",)),
    ]
