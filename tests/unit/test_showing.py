"""What an attempt shows: its own files and no others, and its output, wherever that is cut."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.execution.reading import StreamCapture
from codex_orchestrator.execution.showing import Showing
from codex_orchestrator.rules.stage import Expected

TEST = "<testsuite><testcase/></testsuite>"
BEGAN = 1_700_000_000.0
NONE = 'no tests ran: there is no file "r.xml"'
NOT_WRITTEN = 'no tests ran: "r.xml" was not written by this attempt'


def after(root, act, *, before=lambda _root: None, **expected) -> str | None:
    """What is missing where ``act`` is the attempt."""
    before(root)
    showing = Showing(Expected(root=str(root), **expected), BEGAN)
    act(root)
    return showing.missing()


def report(name="r.xml", *, text=TEST, seconds=BEGAN + 1):
    """Write a report, at a time."""

    def write(root) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (seconds, seconds))

    return write


def both(*acts):
    return lambda root: [act(root) for act in acts]


def nothing(_root) -> None:
    pass


# What was there, what the attempt does, and what is missing then.
REPORTS = {
    "written": (nothing, report(), None),
    "at the time at which it began": (nothing, report(seconds=BEGAN), None),
    "on a coarse file system": (nothing, report(seconds=BEGAN - 1.9), None),
    "older than the attempt": (nothing, report(seconds=BEGAN - 2.1), NOT_WRITTEN),
    "there already": (report(), nothing, NOT_WRITTEN),
    "written again": (report(seconds=BEGAN - 100), report(), None),
    "with other content alone": (report(text="<testsuite/>"), report(), None),
    "another file of the same time and size": (
        report(),
        both(report("n.xml"), lambda root: (root / "n.xml").replace(root / "r.xml")),
        None,
    ),
    "removed": (report(), lambda root: (root / "r.xml").unlink(), NONE),
    "a link": (report("there.xml"), lambda root: (root / "r.xml").symlink_to("there.xml"), NONE),
    "a link to nowhere": (nothing, lambda root: (root / "r.xml").symlink_to("none"), NONE),
    "a pipe": (nothing, lambda root: os.mkfifo(root / "r.xml"), NONE),
    "a folder": (nothing, lambda root: (root / "r.xml").mkdir(), NONE),
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_report_counts_where_the_attempt_has_written_it(tmp_path, case):
    before, act, missing = REPORTS[case]
    assert after(tmp_path, act, before=before, junit="r.xml") == missing


def test_a_link_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "reports").symlink_to("../outside")
    write = report("../outside/r.xml")
    for expected in ({"junit": "reports/r.xml"}, {"files": ("reports/*",)}, {"files": ("**/r.xml",)}):
        (tmp_path / "outside" / "r.xml").unlink(missing_ok=True)
        assert after(tmp_path / "root", write, **expected) is not None


def test_the_root_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    assert after(tmp_path / "root", report(), junit="r.xml") is None


@pytest.mark.parametrize("folder", [".git", "runs", "deep/.git"])
def test_neither_evidence_nor_git_is_looked_into(tmp_path, folder):
    closed = (str(tmp_path / "runs"),)
    act = report(f"{folder}/r.xml")
    assert after(tmp_path, act, files=("**/r.xml",), closed=closed) == 'it has written no file "**/r.xml"'


def test_tests_of_all_reports_of_the_attempt_count_and_of_no_other(tmp_path):
    old, new = report("a/old.xml", seconds=1), both(report("a/b/one.xml"), report("a/two.xml"))
    assert after(tmp_path, new, before=old, junit="a/**/*.xml", tests=2) is None
    again = both(report("a/b/one.xml", seconds=BEGAN + 2), report("a/two.xml", seconds=BEGAN + 2))
    missing = 'only 2 tests of at least 3 ran, by "a/**/*.xml"'
    assert after(tmp_path, again, junit="a/**/*.xml", tests=3) == missing


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_what_cannot_be_read_shows_nothing(tmp_path):
    act = both(report(), lambda root: (root / "r.xml").chmod(0))
    assert (after(tmp_path, act, junit="r.xml") or "").startswith('"r.xml" cannot be read')


def test_a_file_of_nobody_s_letters_is_named_in_one_line(tmp_path):
    act = report("a/x\n\x1b[31m.xml", text="<html/>")
    missing = after(tmp_path, act, junit="a") or ""
    assert "is no JUnit file: its root is <html>" in missing
    assert not set("\n\x1b") & set(missing)


PIECES = st.lists(st.sampled_from([b"a", b"b", b"\n", b"\xc3", b"\xa9", b"\xff"]).map(bytes), max_size=12)


@given(PIECES, st.lists(st.integers(0, 12)), st.sampled_from(["a", "ab", "aab", "é", "b\na", "abab"]))
def test_a_text_is_found_wherever_output_is_cut(pieces, cuts, pattern):
    output = b"".join(pieces)
    places = sorted({0, len(output), *(min(cut, len(output)) for cut in cuts)})
    showing = Showing(Expected(root="/nowhere", pattern=pattern), BEGAN)
    captures = showing.watching({"stdout": StreamCapture(10), "stderr": StreamCapture(10)})
    for start, end in itertools.pairwise(places):
        list(captures["stdout"].take(output[start:end], 0.0))
        list(captures["stderr"].take(b"x", 0.0))
    assert (showing.missing() is None) == (pattern.encode() in output)
