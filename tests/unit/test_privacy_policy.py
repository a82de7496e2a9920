"""Which variables hold secrets, in which forms these are looked for, and which patterns may be rules."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from codex_orchestrator.environment import discover
from codex_orchestrator.pipelines.model import CommandStage, PrivacyRule, PrivacySettings
from codex_orchestrator.pipelines.patterns import pattern_problem
from codex_orchestrator.run.privacy.guard import PrivacyGuard
from codex_orchestrator.run.privacy.policy import CustomRule, PrivacyPolicy, secret_values
from codex_orchestrator.run.stage import StageRequest
from tests.builders import pipeline_of

SECRET = [
    "API_TOKEN",
    "GITHUB_TOKEN",
    "npm_config__authToken",
    "MY_SECRET",
    "SECRET_KEY_BASE",
    "DB_PASSWORD",
    "PGPASSWORD",
    "MYSQL_PWD",
    "SSH_PASSPHRASE",
    "SERVICE_API_KEY",
    "APIKEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "PRIVATE_KEY",
    "DEPLOY_KEY",
    "AZURE_STORAGE_KEY",
    "MASTER_KEY",
    "REGISTRY_CREDENTIALS",
    "db_passwd",
    "SMTP_PASS",
    "GITHUB_PAT",
]
PLAIN = [
    "PATH",
    "HOME",
    "PWD",
    "OLDPWD",
    "LANG",
    "TOKENIZERS_PARALLELISM",
    "MAX_TOKENS",
    "SSH_AUTH_SOCK",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "PASSWORD_STORE_DIR",
    "SECRET_PATH",
    "CACHE_KEY",
    "PRIMARY_KEY",
    "KEYBOARD",
    "COMPASS",
    "BYPASS",
    "GPG_TTY",
    "CODEX_ORCHESTRATOR_TASK_ID",
]


@pytest.mark.parametrize("name", SECRET)
def test_names_that_say_secret(name):
    assert list(secret_values({name: "value-1"})) == ["value-1"]


@pytest.mark.parametrize("name", PLAIN)
def test_names_that_do_not(name):
    assert list(secret_values({name: "value-1"})) == []


@pytest.mark.parametrize(
    ("value", "counts"), [("12345", False), ("123456", True), ("  1234  ", False), ("", False)]
)
def test_short_values_are_left_alone(value, counts):
    assert bool(list(secret_values({"API_TOKEN": value}))) is counts


@pytest.mark.parametrize("pattern", ["SHOP_CONN*", "shop_connection", "*conn*", "SHOP?CONNECTION"])
def test_further_names(pattern):
    assert list(secret_values({"SHOP_CONNECTION": "db://host"}, [pattern])) == ["db://host"]


def test_the_guard_takes_secrets_from_the_environment_and_from_all_stages(tmp_path):
    environment = discover(
        tmp_path,
        {"CODEX_PRIVACY_GUARD_MODE": "on", "A_TOKEN": "from-outside", "SHOP": "by-name", "X": "plain-1"},
    )
    stages = [
        CommandStage(kind="command", id="a", title="A", command="true", env={"B_TOKEN": "from-stage"}),
        CommandStage(kind="command", id="b", title="B", command="true"),
    ]
    settings = PrivacySettings(rules=(PrivacyRule(name="n", pattern="x+y"),), variables=("shop",))
    guard = PrivacyGuard.of(environment, settings, [pipeline_of(*stages)])
    assert guard.policy == PrivacyPolicy(
        "enforce", (CustomRule("n", "x+y", "redact"),), ("from-outside", "by-name", "from-stage")
    )
    assert guard.scrub("plain-1 from-stage") == "plain-1 [REDACTED]"


def test_a_text_that_is_no_text_is_scrubbed_too():
    guard = PrivacyGuard(PrivacyPolicy("enforce"))
    assert guard.scrub("\udcff password=swordfish") == "\udcff password=[REDACTED]"


def test_a_request_comes_through_as_plain_values():
    request = StageRequest(
        index=1,
        stage_id="a",
        command="true",
        cwd="/",
        environ={"A_TOKEN": "secret-1", "B": "c"},
        timeout_seconds=None,
        stream_bytes=10,
        privacy=PrivacyPolicy("enforce", (CustomRule("n", "x", "block"),), ("secret-1", "secret-2")),
    )
    text = json.dumps(request.plain())
    assert StageRequest.of(json.loads(text)) == request
    assert text.count("secret-1") == text.count("secret-2") == 1


def test_tables_are_made_once_for_a_policy_in_either_mode():
    kubeconfig = "\n".join(f"token-{number}: {number:040x}" for number in range(800))
    policy = PrivacyPolicy("enforce", (), (kubeconfig,))
    guards = [PrivacyGuard(replace(policy, mode=mode)) for mode in ("shadow", "enforce", "shadow")]
    finders = {id(guard.stream()._finder) for guard in guards}
    assert len(finders) == 1
    assert (
        PrivacyGuard(PrivacyPolicy("enforce", (), ("another-1",))).stream()._finder
        is not guards[0].stream()._finder
    )


@pytest.mark.parametrize(
    "pattern",
    [
        r"sk-[A-Za-z0-9]{20,}",
        r"ghp_[0-9A-Za-z]{36}",
        r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
        r"(?i)(?<=bearer )[a-z0-9._-]{16,}",
        r"https?://[^:@/\s]+:[^@\s]+@",
        r"(?:foo|bar)-\d+",
        r"(?:Bearer )?[a-z]+\d",
        r"x(?:a+|b)y[a-z]+",
        r"\d{4}(?:-\d{4}){3}",
        r"[]a]+b",
        r"\x41\{[^}]+\}",
        r"(?P<name>[A-Z]{2,4})-\d+(?#comment)",
    ],
)
def test_patterns_that_may_be_rules(pattern):
    assert pattern_problem(pattern) is None


NESTED = "could take for ever: it repeats a group that holds a repeat, an option or a choice itself"
SAME = (
    "could take for ever: it has two repeats that can match the same, "
    "with nothing between them that ends the first"
)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "is no regular expression: missing ), unterminated subpattern at position 0"),
        ("x{99999999999}", "is no regular expression: the repetition number is too large"),
        ("x*", "matches the empty text"),
        (r"\b", "matches the empty text"),
        ("a|", "matches the empty text"),
        ("(?=a)", "matches the empty text"),
        ("pässword", "holds characters beyond ASCII, and output is bytes: write these as \\xNN"),
        (r"(\w+) \1", "refers back to a group, which the guard does not take"),
        (r"(?P<a>x)(?P=a)", "refers back to a group, which the guard does not take"),
        ("(a+)+b", NESTED),
        ("(a|a)*b", NESTED),
        ("(?:a?){30}a", NESTED),
        ("((ab)*c)+d", NESTED),
        (".*.*x", SAME),
        ("a+b*a+", SAME),
        ("a?a?a?aaa", SAME),
        (r"(?:x\w+)\w*y", SAME),
        (r"(?:\d+|x)\d+", SAME),
        ("a+b?a+", SAME),
    ],
)
def test_patterns_that_may_not(pattern, problem):
    assert pattern_problem(pattern) == problem


@pytest.mark.parametrize("pattern", [r"eyJ[\w-]+\.[\w-]+\.[\w-]+!", r"[a-z]+\d[a-z]+!", r"x(?:a+|b)y[a-z]+!"])
def test_what_is_taken_comes_to_an_end(pattern):
    assert pattern_problem(pattern) is None
    for filling in (b"a", b"x", b"eyJa.", b"a1"):
        assert re.search(pattern.encode(), filling * 4_096) is None
