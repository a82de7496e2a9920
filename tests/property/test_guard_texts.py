"""The guards' readers of text: any text is taken, and what they find lies in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.checks import restructured
from codex_orchestrator.checks.checklists import checked_boxes
from codex_orchestrator.checks.markdown import code_of
from codex_orchestrator.checks.page_code import lines_of
from codex_orchestrator.checks.paths import Reach, is_misspelled, similar_path
from codex_orchestrator.checks.programs import CommandWords
from codex_orchestrator.checks.references import names_in
from codex_orchestrator.checks.shellwords import calls
from codex_orchestrator.checks.tracked_changes import parse_diff
from codex_orchestrator.checks.worktree_files import count_lines

COMMANDS = {
    "": CommandWords({"--version": False}),
    "start": CommandWords({"--task": True, "-f": False}, takes_pipeline=True),
    "guard": CommandWords({}, choices=("spec",)),
}
PIECES = st.sampled_from(
    [
        *("`", "``", "```", "~~~", "\n", "\n\n", "    ", "\t", "> ", "- ", "- [x] ", "  - [X] "),
        *("1. ", "# ", "<!--", "-->", "sh", "console", "$ ", "\\", "\\\n", "'", '"', "<<END", "END"),
        *("<x>", " > ", "2>&1", "&&", "|", ";", "(", ")", "npm run ", "npm ", "run", "make ", "cd "),
        *("codex-orchestrator ", "start ", "guard ", "--task", "--", "-f", "=", "[", "]"),
        *("python -m codex_orchestrator ", "pytest --codex-pipeline", "src/a.py", "../", "/"),
        *("manifest.json", ".runs/", "build", "T", "NN", "…", "...", "\r", "\u2028", "\x0c", "\0"),
        *("\udcff", "é", " ", "::", ".. ", ".. code:: sh", ":file:`", "``", "====", "{ref}", " in the "),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))


@given(TEXTS)
def test_any_text_is_a_document(text):
    lines = len(code_of(text).prose)
    assert len(restructured.code_of(text).prose) == lines
    for page in ("page.md", "page.rst"):
        for one in names_in(page, text, COMMANDS).references:
            assert 1 <= one.line <= lines
            assert one.name
            assert one.kind != "path" or one.name in text
    for box in checked_boxes(text):
        assert 1 <= box.line <= lines
        assert all(cited.endswith("/manifest.json") and cited in text for cited in box.cited)


@given(TEXTS)
def test_the_prose_has_as_many_lines_as_the_text_and_nothing_else(text):
    prose = code_of(text).prose
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert len(prose) == len(lines)
    if "<!--" not in text:
        assert all(kept in ("", line) for kept, line in zip(prose, lines, strict=True))


@given(TEXTS)
def test_the_prose_of_a_restructured_text_lies_in_it(text):
    code = restructured.code_of(text)
    lines = [line.expandtabs().rstrip() for line in lines_of(text)]
    assert all(kept in line for kept, line in zip(code.prose, lines, strict=True))
    for block in code.blocks:
        assert 1 <= block.line <= block.line + len(block.lines) - 1 <= len(lines)
        assert block.lines[0]
        assert block.lines[-1]
        assert all(shown in lines[block.line - 1 + place] for place, shown in enumerate(block.lines))


@given(
    st.lists(st.sampled_from(["src", "srcs", "a.py", "b.py", "a.js", "deep"]), min_size=1, max_size=4).map(
        "/".join
    )
)
def test_what_is_meant_is_there(path):
    lookalikes = ("src/a.py", "src/deep", "deep/src/b.py", "a.js")
    for reach in Reach:
        assert similar_path(path, lookalikes, reach) in (*lookalikes, None)


@given(st.text(), st.text())
def test_a_slip_is_one_in_both_ways_and_never_none(one, other):
    assert is_misspelled(one, other) == is_misspelled(other, one)
    assert not is_misspelled(one, one)


@given(st.text(alphabet="ab \n-", max_size=60))
def test_text_without_marks_has_no_spans(text):
    assert code_of(text).spans == ()


@given(st.lists(TEXTS, max_size=4))
def test_any_lines_are_commands(lines):
    for call in calls([line.replace("\n", " ") for line in lines], 7):
        assert 7 <= call.line < 7 + len(lines)


@given(
    st.lists(st.sampled_from([b"a", b"\n", b"a\n", b"\r\n", b"long line without end"]), max_size=30),
    st.integers(1, 7),
)
def test_lines_are_counted_the_same_in_pieces_of_any_size(parts, size):
    content = b"".join(parts)
    pieces = [content[place : place + size] for place in range(0, len(content), size)]
    assert count_lines(pieces) == len(content.split(b"\n")) - (content.endswith(b"\n") or not content)


@given(st.binary(max_size=20), st.integers(0, 9_000))
def test_a_zero_byte_at_the_beginning_makes_a_file_binary(tail, place):
    content = b"a" * place + b"\0" + tail.replace(b"\0", b"b")
    assert (count_lines([content[:4_000], content[4_000:]]) is None) == (place < 8_000)


@given(
    st.dictionaries(
        st.binary(min_size=1).filter(lambda name: b"\0" not in name), st.none() | st.integers(0), max_size=5
    )
)
def test_counts_of_names_of_any_bytes_are_read(counts):
    blobs = b"1" * 40, b"0" * 40
    raw = (b":100644 100644 %s %s M\0%s\0" % (*blobs, name) for name in counts)
    numbers = (
        b"%s\t%s\t%s\0" % (*[b"-" if n is None else b"%d" % n] * 2, name) for name, n in counts.items()
    )
    found = parse_diff(b"".join((*raw, *numbers)))
    assert {name: (one.added, one.deleted) for name, one in found.items()} == {
        name: (n, n) for name, n in counts.items()
    }
