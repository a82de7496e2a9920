"""Values of secrets: in which forms they are found, and what of them is one."""

from __future__ import annotations

import itertools
import json
import random
import re
from base64 import b64encode

import pytest

from codex_orchestrator.privacy.parts import is_random, parts_of
from codex_orchestrator.privacy.values import Values
from tests.support.encodings import ENCODINGS, revealed
from tests.support.privacy import guard_of, whole

VALUES = {
    "a token": "tok9f8eAd7c6cXq2zW81mKp",
    "symbols": "pa\"s's\\wo?rd/~42&<x>+ y!",
    "symbols alone": "\"'/&\\<>+ %$!~",
    "few letters": "zq7!Kx/&9",
    "other letters": "Grüße-aus-Überlingen",
    "no Latin letters": "пароль & 日本語",
    "beyond the first plane": "kelp🙂harbour-71",
    "spaces and quotation marks": 'it\'s a "quoted" one',
    "percent": "50%25 off/100%",
    "an address": "https://kim:s3cr3t-pass@db.example/x?y=1&z=2",
    "several lines": 'first line\n\tand "more"\nthird line of it',
    "a long one": "".join(
        random.Random(7).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789+/", k=400)
    ),
    "a long one with all": "".join(random.Random(8).choices("abcABC012+/&\"'\\ ü\n", k=700)).strip(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_in_each_encoding(name, encoding):
    value = VALUES[name]
    encoded = ENCODINGS[encoding](value)
    passed = whole(guard_of(secrets=[value]), b"before\nx " + encoded + b" y\nafter\n", 65_536)
    assert revealed(value, ENCODINGS[encoding], passed) == []
    assert passed.startswith(b"before\nx ")
    assert passed.endswith(b" y\nafter\n")
    assert b"[REDACTED]" in passed


@pytest.mark.parametrize("number", [1, 5, 40, 300])
def test_many_are_found_as_one_is(number):
    chance = random.Random(number)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+-_ &'"
    values = ["".join(chance.choices(letters, k=chance.randint(8, 60))) for _ in range(number)]
    values = [value.strip(" -_/+&'") + "Zq9x" for value in values]
    encodings = list(ENCODINGS.values())
    for start in range(0, number, 20):
        asked = values[start : start + 20]
        text = b"\n".join(chance.choice(encodings)(value) for value in asked) + b"\n"
        passed = whole(guard_of(secrets=values), text, 65_536)
        for value in asked:
            assert value.encode() not in passed
            assert b64encode(value.encode())[:-4] not in passed
        assert passed.count(b"[REDACTED]") >= len(asked)


@pytest.mark.parametrize(
    "inserted",
    [
        "\r",
        "\t",
        "\0",
        "x\b",
        "\u200b",
        "\u2060",
        "\ufeff",
        "\u00ad",
        "\u009b31m",
        "\x1b[31m",
        "\x1b]0;x\x07",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("value", ["kelp-Harbour/71-and-salt", "tok9f8eAd7c6cXq2zW81mKp"])
def test_what_nobody_sees_hides_nothing(inserted, value):
    for place in (1, 5, 12, len(value) - 1):
        text = f"x {value[:place]}{inserted}{value[place:]} y\n".encode()
        for cut in range(len(text)):
            guard = guard_of(secrets=[value])
            passed = guard.feed(text[:cut], 0.0) + guard.feed(text[cut:], 0.0) + guard.flush()
            assert re.sub(rb"\x1b\[31m", b"", passed) == b"x [REDACTED] y\n"


def test_bold_by_printing_twice():
    value = "kelp-Harbour/71"
    text = "".join(f"{each}\b{each}" for each in value).encode()
    assert whole(guard_of(secrets=[value]), b"x " + text + b" y\n", 100) == b"x k\b[REDACTED] y\n"


def test_a_byte_of_a_letter_is_no_sequence():
    text = "ě ś 盛 tab\there\r\n".encode() * 3
    assert whole(guard_of(secrets=["kelp-Harbour/71"]), text, 5) == text


KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: {certificate}
    server: https://kubernetes.default.svc.cluster.local:6443
  name: production-cluster
contexts:
- context:
    cluster: production-cluster
    user: admin-of-production
  name: admin@production-cluster
current-context: admin@production-cluster
preferences: {{}}
users:
- name: admin-of-production
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
    token: {token}
    password: hunter2-hunter2
"""
CERTIFICATE = (
    "-----BEGIN CERTIFICATE-----\n"
    + "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG\n" * 8
    + "-----END CERTIFICATE-----\n"
)
KEY_PEM = (
    "-----BEGIN EC PRIVATE KEY-----\n"
    + "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04f\n" * 3
    + "-----END EC PRIVATE KEY-----\n"
)
TOKEN = "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJrdWJlcm5l.XqK9f3mZ0w_4J7cU"
KUBE = KUBECONFIG.format(
    certificate=b64encode(CERTIFICATE.encode()).decode(),
    key=b64encode(KEY_PEM.encode()).decode(),
    token=TOKEN,
)


@pytest.mark.parametrize(
    "line",
    [
        *(line.strip("- ") for line in KUBE.splitlines() if not any(
            word in line for word in ("client-key-data", "token:", "password:", "certificate"))),
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        CERTIFICATE,
    ],
)  # fmt: skip
def test_ordinary_lines_of_a_kubeconfig_stay(line):
    guard = guard_of(secrets=[KUBE + CERTIFICATE])
    assert whole(guard, line.encode() + b"\n", 65_536) == line.encode() + b"\n"


def test_what_is_secret_in_a_kubeconfig_goes():
    key = b64encode(KEY_PEM.encode())
    text = b"\n".join([b"using " + TOKEN.encode(), b"key " + key, b"with hunter2-hunter2", KUBE.encode()])
    passed = whole(guard_of(secrets=[KUBE]), text, 65_536)
    assert re.sub(rb"(\[REDACTED\])+", b"*", passed).startswith(b"using *\nkey *\nwith *\n*")
    assert [secret for secret in (TOKEN.encode()[-20:], key[-20:]) if secret in passed] == []


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("postgres", "postgres://db/postgres as postgres"),
        ("Password", "password Password"),
        ("changeme", "changeme"),
        ("localhost", "localhost:8080"),
        ("********", "******** of stars"),
        ("12345", "12345 lines"),
        (CERTIFICATE, CERTIFICATE),
        ("-----BEGIN PRIVATE KEY-----", "a -----BEGIN PRIVATE KEY----- in it"),
        ("postgres://app:postgres@db.example/app", "db.example, app, postgres"),
    ],
)
def test_everyday_words_are_no_secrets(secret, text):
    assert whole(guard_of(secrets=[secret]), text.encode(), 65_536) == text.encode()


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        ("postgres://app:s3cr3t-pass@db/app", "as s3cr3t-pass on db", "as [REDACTED] on db"),
        ("mongodb+srv://app:p%40ss%2Fword@db", "p@ss/word p%40ss%2Fword", "[REDACTED] [REDACTED]"),
        ("Server=db;User Id=app;Password=s3cr3t-pass;", "s3cr3t-pass by app", "[REDACTED] by app"),
        ('{"auths": {"r.example": {"auth": "a2ltOnMzY3IzdC1wYXNz"}}}', "a2ltOnMzY3IzdC1wYXNz", "[REDACTED]"),
        (
            json.dumps({"type": "service_account", "private_key": KEY_PEM}),
            KEY_PEM.splitlines()[1],
            "[REDACTED]",
        ),
        ("first line of it\nab\nthird line of it", "third line of it, ab", "[REDACTED], ab"),
    ],
)
def test_what_is_secret_within_a_value(secret, text, expected):
    assert whole(guard_of(secrets=[secret]), text.encode(), 65_536) == expected.encode()


@pytest.mark.parametrize(
    ("word", "random"),
    [
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzz", True),
        ("0f1e2d3c4b5a69788796a5b4c3d2e1f0", True),
        ("eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJrdWJlcm5l", True),
        ("production-cluster-of-europe", False),
        ("client.authentication.k8s.io/v1beta1", False),
        ("https://10.0.12.14:6443/abcdefgh12345", False),
        ("2026-11-21T02:44:32.979Z", False),
        ("12345678901234567890", False),
        ("registry.example.com/group/project-name:1.2.3", False),
        ("/usr/local/share/ca-certificates/x.pem", False),
        ("short1", False),
    ],
)
def test_what_was_made_by_chance(word, random):
    assert is_random(word) is random


def test_a_secret_of_megabytes_is_looked_for_up_to_a_bound():
    chance = random.Random(3)
    secret = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=3_000_000))
    guard = guard_of(secrets=[secret])
    assert b"[REDACTED]" in whole(guard, secret[:5_000].encode(), 4_096)
    assert sum(1 for _ in parts_of(secret)) < 1_200


def test_pieces_of_a_long_value_are_one_place():
    value = VALUES["a long one"]
    assert whole(guard_of(secrets=[value]), f"x {value} y\n".encode(), 65_536) == b"x [REDACTED] y\n"
    encoded = b64encode(b"kim:" + value.encode()).rstrip(b"=")
    assert whole(guard_of(secrets=[value]), encoded, 65_536).count(b"[REDACTED]") == 1


def test_places_of_values_that_hold_others():
    values = Values(["abcdefgh1", "bcdefgh1234", "zz-bcdefg"])
    assert sorted(values.places(b"x abcdefgh1234 y")) == [(2, 11), (3, 14)]
    assert list(values.places(b"")) == []


def test_a_value_again_and_again():
    for value in ("kelp-Harbour/71", "abababababababab", "z1" * 20):
        text = value.encode() * 500
        assert whole(guard_of(secrets=[value]), text + b"\n", 65_536).replace(b"[REDACTED]", b"") == b"\n"


def test_lines_of_base64_wait_for_the_next_one():
    value = VALUES["a token"] * 3
    lines = ENCODINGS["base64 of 64 columns"](value).split(b"\n")
    for cut in itertools.accumulate(len(line) + 1 for line in lines[:-1]):
        text = b"\n".join(lines)
        guard = guard_of(secrets=[value])
        passed = guard.feed(text[:cut], 0.0) + guard.feed(text[cut:] + b"\n", 0.01)
        assert revealed(value, ENCODINGS["base64 of 64 columns"], passed) == []
