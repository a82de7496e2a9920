"""The hash of what agents of a repository are told."""

from __future__ import annotations

from hashlib import sha256

import pytest

from codex_orchestrator.engine.instructions import SOURCES, read_instructions

BOM = "\ufeff"


@pytest.fixture
def repo(tmp_path):
    """A repository; call it with texts by file name."""

    def write(**files: str | bytes):
        names = {"top": "AGENTS.md", "docs": "docs/AGENTS.md", "agent": ".agent/AGENTS.md"}
        for name, text in files.items():
            path = tmp_path / names[name]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def stamped(body: str, *, of: str | None = None, end: str = "\n") -> str:
    return f"<!-- codex:instruction-stamp {digest(body if of is None else of)} -->{end}{body}"


def test_all_three_in_their_order_joined_by_one_blank_line(repo):
    found = read_instructions(repo(agent="three", docs="\n two \n\n", top="one\n"))
    assert found.sources == SOURCES == ("AGENTS.md", "docs/AGENTS.md", ".agent/AGENTS.md")
    assert found.digest == digest("one\n\ntwo\n\nthree")
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("files", "sources", "text"),
    [
        ({}, (), None),
        ({"top": ""}, (), None),
        ({"top": " \n\t\r\n", "docs": BOM + "\n"}, (), None),
        ({"docs": "d"}, ("docs/AGENTS.md",), "d"),
        ({"top": "\n", "agent": "a\n"}, (".agent/AGENTS.md",), "a"),
        ({"top": "a\r\nb\r\n"}, ("AGENTS.md",), "a\r\nb"),
        ({"top": BOM + "a\n"}, ("AGENTS.md",), "a"),
        ({"top": stamped("")}, (), None),
        ({"top": stamped("\n \n")}, (), None),
        ({"top": stamped("body\n")}, ("AGENTS.md",), "body"),
        ({"top": BOM + stamped("body\n")}, ("AGENTS.md",), "body"),
        ({"top": stamped("body\r\n", end="\r\n")}, ("AGENTS.md",), "body"),
        ({"top": stamped("body", end="")}, ("AGENTS.md",), "body"),
        # Only the first line is a stamp.
        ({"top": "a\n" + stamped("b")}, ("AGENTS.md",), "a\n" + stamped("b")),
        (
            {"top": "<!-- codex:instruction-stamp 12 -->\na"},
            ("AGENTS.md",),
            "<!-- codex:instruction-stamp 12 -->\na",
        ),
    ],
)
def test_blank_files_stamps_and_byte_order_marks_are_no_text(repo, files, sources, text):
    found = read_instructions(repo(**files))
    assert found.sources == sources
    assert found.digest == (None if text is None else digest(text))
    assert found.warnings == ()


def test_an_upper_case_stamp_is_right_too(repo):
    text = f"<!-- codex:instruction-stamp {digest('body').upper()} -->\nbody"
    assert read_instructions(repo(top=text)).warnings == ()


def test_a_wrong_stamp_is_a_warning_and_the_text_counts(repo):
    found = read_instructions(repo(top=stamped("body", of="other"), docs=stamped("fine")))
    assert found.digest == digest("body\n\nfine")
    assert found.warnings == ("Instructions AGENTS.md: the stamp does not match the text.",)


def test_bytes_that_are_no_text_do_not_stop_a_run(repo):
    found = read_instructions(repo(top=b"a\xffb\n"))
    assert found.digest == digest("a\N{REPLACEMENT CHARACTER}b")


def test_what_cannot_be_read_is_a_warning(repo):
    root = repo(docs="fine")
    (root / "AGENTS.md").mkdir()
    found = read_instructions(root)
    assert found.sources == ("docs/AGENTS.md",)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("Instructions AGENTS.md could not be read: ")


def test_a_file_where_a_folder_would_be_is_no_source(repo):
    root = repo(top="one")
    (root / "docs").write_text("a file")
    found = read_instructions(root)
    assert (found.sources, found.warnings) == (("AGENTS.md",), ())
