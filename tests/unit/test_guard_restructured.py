"""Code in reStructuredText."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.page_code import CodeBlock, CodeSpan, Heading
from codex_orchestrator.checks.restructured import code_of


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("no code, `a role without name` and `a link <https://example.org>`_", []),
        ("a ``b`` c ``d e``", [(1, "b"), (1, "d e")]),
        ("(``a``), ``b``. ``c``'s", [(1, "a"), (1, "b"), (1, "c")]),
        ("``a\nb`` ``c``", [(1, "a b"), (2, "c")]),
        ("``a\n\nb``", []),
        ("one\n\n  two ``b``\n  ``c``", [(3, "b"), (4, "c")]),
        ("x``a`` \\``b``", []),
        ("`` a``", []),
        ("``a ` b``", [(1, "a ` b")]),
        (":file:`src/a.py` :doc:`../b/c` :code:`d`", [(1, "src/a.py"), (1, "d")]),
        ("| ``a`` | ``b`` |", [(1, "a"), (1, "b")]),
        (".. note:: ``a``\n\n   ``b``", [(1, "a"), (3, "b")]),
        (".. a comment ``a``\n   ``b``\n\n   ``c``\n\n``d``", [(6, "d")]),
        ("..\n\n``a``", [(3, "a")]),
        ("..\n  ``a``\n\n``b``", [(4, "b")]),
        (".. _target: ``a``", [(1, "a")]),
        (".. [1] ``a``", [(1, "a")]),
        ("See::\n\n   ``a``\n\n``b``", [(5, "b")]),
        ("\r\n``a``\r``b``", [(2, "a"), (3, "b")]),
    ],
)
def test_spans(text, spans):
    assert code_of(text).spans == tuple(CodeSpan(line, code) for line, code in spans)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("Do::\n\n   a\n   b\n\nmore", [CodeBlock(3, "", ("a", "b"))]),
        ("::\n\n  a\n\n    b\n\n\n", [CodeBlock(3, "", ("a", "", "  b"))]),
        ("Not an end ::\n   a", []),
        ("Do::\n\nnothing is indented", []),
        ("- item::\n\n    a\n\n  still the item\n", [CodeBlock(3, "", ("a",))]),
        ("1. item::\n\n     a\n\n   still the item\n", [CodeBlock(3, "", ("a",))]),
        (".. code-block:: Console\n\n   $ a", [CodeBlock(3, "console", ("$ a",))]),
        (".. code:: sh\n   :name: x\n\n   a", [CodeBlock(4, "sh", ("a",))]),
        (".. code-block::\n\n   a", [CodeBlock(3, "", ("a",))]),
        (".. sourcecode:: sh", []),
        (".. doctest::\n\n   >>> a", [CodeBlock(3, "doctest", (">>> a",))]),
        (".. tab:: x\n\n   .. code-block:: sh\n\n      a\n\n   text", [CodeBlock(5, "sh", ("a",))]),
        ("Save ``a.txt``:\n\n.. code-block:: text\n\n   a", [CodeBlock(5, "text", ("a",), "a.txt")]),
        ("Save ``a.txt``::\n\n   a", [CodeBlock(3, "", ("a",), "a.txt")]),
        (".. image:: x.png", []),
        ("Do::\n\n\ta\n\t\tb", [CodeBlock(3, "", ("a", "        b"))]),
    ],
)
def test_blocks(text, blocks):
    assert code_of(text).blocks == tuple(blocks)


def test_headings():
    text = "=====\nTitle\n=====\n\nPart\n----\n\ntext\n-\n\nSmaller\n~~~~~~~\n\nPart two\n--------\n"
    assert code_of(text).headings == (
        Heading(2, 1, "Title"),
        Heading(5, 2, "Part"),
        Heading(11, 3, "Smaller"),
        Heading(14, 2, "Part two"),
    )


def test_prose_keeps_the_numbers_of_lines():
    text = "one\n\n.. code:: sh\n\n   two\n\nthree::\n\n   four\n\n.. five\n   six\n\nseven"
    assert code_of(text).prose == ("one", *[""] * 5, "three:", *[""] * 6, "seven")


@pytest.mark.parametrize(
    "piece",
    [
        "``",
        "``a",
        "`",
        ":file:`",
        ".. ",
        "..\n",
        "::\n",
        "::\n\n",
        "- ",
        "a::\n\n b\n",
        "  ",
        "=",
        "==\n",
        "|",
        "\t",
    ],
)
def test_a_page_of_one_mark_is_read_in_time(piece):
    """What takes time by the square of the page's length takes minutes here."""
    text = piece * (2**19 // len(piece))
    assert len(code_of(text).prose) == text.count("\n") + 1
