"""The resume token, given on the command line or kept off it."""

from __future__ import annotations

import argparse
import io
import json
import sys
from types import SimpleNamespace

import pytest

from codex_orchestrator.cli.resume import _token, add_arguments
from codex_orchestrator.errors import UsageError

TOKEN = "0123456789abcdef" * 4


def given(*words: str) -> str | None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return _token(parser.parse_args(["--run=latest", *words]))


def test_none_is_asked_for_unless_it_is_given():
    assert given() is None
    assert given("--token", TOKEN) == TOKEN


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"{TOKEN}\n",
        f"  {TOKEN}\r\n",
        json.dumps({"run_id": "r", "token": TOKEN, "created_at": "x"}, indent=2),
    ],
)
def test_a_file_holds_the_token_or_is_the_run_s_own(tmp_path, monkeypatch, text):
    path = tmp_path / "token"
    path.write_text(text)
    assert given("--token-file", str(path)) == TOKEN
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert given("--token-file=-") == TOKEN


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), (b"", "holds no token"), (b'{"token": 1}', "holds no token")],
)
def test_a_file_without_a_token_is_refused(tmp_path, content, message):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        given("--token-file", str(path))
