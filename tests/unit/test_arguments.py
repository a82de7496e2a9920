"""What processes are given."""

from __future__ import annotations

import resource

import pytest

from codex_orchestrator.execution.limits import excess
from codex_orchestrator.execution.process import SpawnError, StageProcess, encoded, encoded_environment

MOST = 32 * resource.getpagesize() - 1


@pytest.mark.parametrize(
    ("text", "data"),
    [("", b""), ("grüße €", "grüße €".encode()), ("caf\udce9", b"caf\xe9")],
)
def test_texts_are_utf8_and_bytes_that_are_none_stay_as_they_are(text, data):
    assert encoded(text) == data
    assert encoded_environment({text: text}) == {data: data}


@pytest.mark.parametrize(
    ("command", "environ", "said"),
    [
        (f": {'x' * MOST}", {}, f"the command has {MOST + 2} bytes, and {MOST} are taken"),
        # Bytes count, not characters.
        (f": {'ä' * (MOST // 2)}", {}, f"the command has {MOST // 2 * 2 + 2} bytes, and {MOST} are taken"),
        (
            "true",
            {"SMALL": "1", "GROẞ": "x" * MOST},
            f"the variable GROẞ has {MOST + 7} bytes with its name, and {MOST} are taken",
        ),
        (
            "true",
            {"FIRST": "x" * 100_001, **{f"V{number:03}": "x" * 100_000 for number in range(100)}},
            "command and variables have 10100511 bytes together, 100007 of them in FIRST",
        ),
    ],
)
def test_what_is_too_long_is_named_in_a_line(tmp_path, command, environ, said):
    assert excess(encoded(command), encoded_environment(environ)) == said
    with pytest.raises(SpawnError) as raised:
        StageProcess(command, cwd=str(tmp_path), environ=environ)
    assert (raised.value.exit_code, str(raised.value)) == (126, f"Argument list too long: {said}")
