"""JUnit files counted, whoever has written them."""

from __future__ import annotations

import io

import pytest

from codex_orchestrator.execution import junit
from codex_orchestrator.execution.junit import NotJUnit, count_tests

CASE = '<testcase name="a"/>'
PYTEST = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5">
<testcase classname="t" name="a" time="0.001" /><testcase name="b"><failure>x</failure></testcase>
<testcase classname="t" name="c"><error message="no">x</error></testcase>
<testcase classname="t" name="d"><skipped type="pytest.skip" message="later">x</skipped></testcase>
<testcase classname="t" name="e"><skipped type="pytest.xfail" message="" /></testcase>
</testsuite></testsuites>"""
GOOGLETEST = """<?xml version="1.0"?><testsuites tests="3" disabled="1"><testsuite name="S">
<testcase name="A" status="run" result="completed"/><testcase name="B" status="notrun" result="suppressed"/>
<testcase name="C" status="run" result="skipped"><skipped message=""/></testcase></testsuite></testsuites>"""

COUNTED = {
    "none": ("<testsuites/>", (0, 0)),
    "what it says of itself is not believed": ('<testsuite tests="100"></testsuite>', (0, 0)),
    "pytest's": (PYTEST, (3, 2)),
    "Googletest's": (GOOGLETEST, (1, 2)),
    "suites in suites": (
        f"<testsuites><testsuite>{CASE}<testsuite>{CASE}</testsuite></testsuite></testsuites>",
        (2, 0),
    ),
    "with a namespace": ('<j:testsuite xmlns:j="x"><j:testcase/></j:testsuite>', (1, 0)),
    "tests in tests": (f"<testsuite><testcase>{CASE}{CASE}</testcase></testsuite>", (1, 0)),
    "in words": (
        f"<testsuite><system-out><![CDATA[{CASE}]]></system-out><!-- {CASE} --></testsuite>",
        (0, 0),
    ),
    "skipped elsewhere": (
        f"<testsuite><skipped/>{CASE}<properties><skipped/></properties></testsuite>",
        (1, 0),
    ),
    "skipped deeper": ("<testsuite><testcase><p><skipped/></p></testcase></testsuite>", (1, 0)),
    "entities that XML has": ("<testsuite><testcase name='&lt;&#65;'/></testsuite>", (1, 0)),
}
LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>'
OUTSIDE = '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;<testcase/></testsuite>'
REFUSED = {
    "empty": ("", "it is no XML: no element found"),
    "no XML": ("12 passed", "it is no XML"),
    "cut": (f"<testsuite>{CASE}", "it is no XML: no element found"),
    "two in one": ("<testsuite/><testsuite/>", "it is no XML: junk after document element"),
    "another document": (f"<html>{CASE}</html>", "its root is <html>"),
    "an entity of entities": (LAUGHS, "it has a document type"),
    "a file of somebody": (OUTSIDE, "it has a document type"),
    "a document type alone": (f"<!DOCTYPE testsuite><testsuite>{CASE}</testsuite>", "it has a document type"),
    "an entity of nobody": ("<testsuite>&x;</testsuite>", "it is no XML: undefined entity"),
    "deep": ("<testsuite>" + "<a>" * 200, "it is more than 100 elements deep"),
    "an encoding of nobody": ('<?xml version="1.0" encoding="x-nobody"?><testsuite/>', "it is no XML"),
    "a codec that is no encoding": ('<?xml version="1.0" encoding="zip"?><testsuite/>', "it is no XML"),
}


@pytest.mark.parametrize("case", COUNTED)
def test_tests_that_ran_are_counted(case):
    text, expected = COUNTED[case]
    assert count_tests(io.BytesIO(text.encode())) == expected


def test_any_encoding_that_xml_has_will_do():
    text = '<?xml version="1.0" encoding="utf-16"?><testsuite><testcase name="é"/></testsuite>'
    assert count_tests(io.BytesIO(text.encode("utf-16"))) == (1, 0)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_such_file_is_refused(case):
    text, problem = REFUSED[case]
    with pytest.raises(NotJUnit) as refused:
        count_tests(io.BytesIO(text.encode()))
    assert str(refused.value).startswith(problem)


def test_no_file_is_read_without_end(monkeypatch):
    monkeypatch.setattr(junit, "MOST_BYTES", 1000)

    class Endless(io.RawIOBase):
        """A file that somebody goes on writing."""

        def __init__(self) -> None:
            self.read_bytes = 0

        def read(self, _size: int = -1) -> bytes:
            self.read_bytes += 400
            return b"<testsuite>" + b" " * 389 if self.read_bytes == 400 else b" " * 400

    endless = Endless()
    with pytest.raises(NotJUnit, match="it is larger than 1000 bytes"):
        count_tests(endless)
    assert endless.read_bytes == 1200
