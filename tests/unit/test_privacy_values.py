"""Many values looked for at once are found where each by itself would be."""

from __future__ import annotations

import random

import pytest

from codex_orchestrator.run.privacy.values import Values

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+-_ "


def expected(values: list[bytes], text: bytes) -> set[tuple[int, bytes]]:
    return {(place, value) for value in values for place in range(len(text)) if text.startswith(value, place)}


@pytest.mark.parametrize("number", [0, 1, 2, 3, 8, 9, 60, 300])
@pytest.mark.parametrize("letters", [LETTERS, b"ab", b"abcd"], ids=len)
def test_every_place_of_every_value(number, letters):
    chance = random.Random(number)
    values = list({bytes(chance.choices(letters, k=chance.randint(6, 30))) for _ in range(number)})
    fill = [bytes(chance.choices(letters, k=chance.randint(0, 20))) for _ in range(100)]
    text = b"".join(part + (chance.choice(values) if values else b"") for part in fill)
    assert set(Values(values).places(text)) == expected(values, text)
    assert set(Values(values).places(b"")) == set()


def test_values_that_hold_others():
    values = [b"abcdefgh", b"bcdefg", b"cdefgh"]
    assert set(Values(values).places(b"xabcdefghx")) == expected(values, b"xabcdefghx")
    assert len(expected(values, b"xabcdefghx")) == 3


def test_bytes_that_no_text_holds():
    value = bytes(range(10))
    assert list(Values([value, b"\xff" * 6]).places(b"\0" + value)) == [(1, value)]
