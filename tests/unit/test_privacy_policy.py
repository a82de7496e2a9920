"""Which variables hold secrets, in which forms these are looked for, and which patterns may be rules."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from codex_orchestrator.environment import discover
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.definitions import CommandStage, PrivacyRule, PrivacySettings
from codex_orchestrator.model.patterns import compile_pattern, pattern_problem
from codex_orchestrator.privacy.finding import Finder
from codex_orchestrator.privacy.guard import PrivacyGuard
from codex_orchestrator.privacy.parts import parts_of
from codex_orchestrator.privacy.policy import CustomRule, PrivacyPolicy, secret_values
from codex_orchestrator.rules.stage import StageRequest
from tests.support.builders import pipeline_of

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
    "SLACK_WEBHOOK_URL",
    "DATABASE_URL",
    "REDIS_URL",
    "MONGO_URI",
    "CONNECTION_STRING",
    "AZURE_STORAGE_CONNECTION_STRING",
    "SENTRY_DSN",
    "OPENAI_KEY",
    "STRIPE_SK",
    "HMAC_KEY",
    "GPG_KEY",
    "SIGNKEY",
    "ENCRYPT_KEY",
    "CERT_PEM",
    "PRIV_KEY",
    "JWT",
    "AUTH",
    "AUTHORIZATION",
    "BEARER",
    "NPM_AUTH",
    "DOCKER_AUTH_CONFIG",
    "SERVICE_ACCOUNT_JSON",
    "CREDS",
    "COOKIE",
    "SESSION",
    "TOKENS",
    "SONAR_LOGIN",
    "PASSWORD_1",
    "API_KEY_PROD",
    "PASSWORD_FILE",
    "AWS_SESSION_TOKEN",
    "KUBECONFIG_B64",
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
    "PASSWORD_STORE_DIR",
    "SECRET_PATH",
    "CACHE_KEY",
    "PRIMARY_KEY",
    "KEYBOARD",
    "COMPASS",
    "BYPASS",
    "GPG_TTY",
    "CODEX_ORCHESTRATOR_TASK_ID",
    "XAUTHORITY",
    "SESSION_MANAGER",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_SESSION_ID",
    "XDG_SESSION_TYPE",
    "XDG_SESSION_CLASS",
    "DESKTOP_SESSION",
    "GDMSESSION",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "SSL_CERT_DIR",
    "KUBECONFIG",
    "GIT_AUTHOR_NAME",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "SHELL_SESSION_ID",
    "TERM_SESSION_ID",
    "HOMEBREW_REPOSITORY",
    "VSCODE_GIT_IPC_HANDLE",
    "COLORTERM",
    "KEYMAP",
    "LS_COLORS",
    "PUBLIC_KEY",
    "SESSIONNAME",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
]


@pytest.mark.parametrize("name", SECRET)
def test_names_that_say_secret(name):
    assert list(secret_values({name: "value-1"})) == ["value-1"]


@pytest.mark.parametrize("name", PLAIN)
def test_names_that_do_not(name):
    assert list(secret_values({name: "value-1"})) == []


@pytest.mark.parametrize("name", ["AWS_WEB_IDENTITY_TOKEN_FILE", "PASSWORD_FILE", "DB_PASSWORD_FILE"])
@pytest.mark.parametrize(
    "path", ["/run/secrets/db", "./secret", "~/.token", "C:\\keys\\a", "secrets/db", "token.txt"]
)
def test_a_path_of_a_file_is_no_secret(name, path):
    assert list(secret_values({name: path})) == []


def test_a_literal_where_a_path_belongs_is_one():
    assert list(secret_values({"PASSWORD_FILE": "hunter2-hunter2"})) == ["hunter2-hunter2"]


@pytest.mark.parametrize(
    ("value", "password"),
    [
        ("postgres://kim:hunter2x@db/shop", "hunter2x"),
        ("redis://:hunter2x@cache:6379/0", "hunter2x"),
        ("Server=db;User Id=sa;Password=hunter2x;Encrypt=true", "hunter2x"),
        ("AccountName=a;AccountKey=aHVudGVyMjM0NQ==;B=c", "aHVudGVyMjM0NQ=="),
    ],
)
def test_the_password_in_an_address_is_a_secret_by_itself(value, password):
    (secret,) = secret_values({"DATABASE_URL": value})
    assert {value, password} <= set(parts_of(secret))


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
        r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
        r"(?i)bearer (?P<value>[a-z0-9._-]{16,})",
        r"https?://[^:@/\s]+:[^@\s]+@",
        r"\d{4}(?:-\d{4}){3}",
        r"[]a]+b",
        r"\x41\{[^}]+\}",
        # What would take for ever elsewhere.
        "(a+)+b",
        "(?:a?){30}a",
        ".*.*x",
    ],
)
def test_patterns_that_may_be_rules(pattern):
    assert pattern_problem(pattern) is None
    assert list(compile_pattern(pattern).finditer(b"")) == []


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "is no regular expression of RE2: missing ): ("),
        ("x{99999}", "is no regular expression of RE2: invalid repetition size: {99999}"),
        (r"(\w+) \1", "is no regular expression of RE2: invalid escape sequence: \\1"),
        (r"(?P<a>x)(?P=a)", "is no regular expression of RE2: invalid perl operator: (?P"),
        ("(?<=a)b", "is no regular expression of RE2: invalid perl operator: (?<="),
        ("(?x)a b", "is no regular expression of RE2: invalid perl operator: (?x"),
        ("x*", "matches the empty text"),
        (r"\b", "matches the empty text"),
        ("a|", "matches the empty text"),
        ("pässword", "holds characters beyond ASCII, and output is bytes: write these as \\xNN"),
    ],
)
def test_patterns_that_may_not(capfd, pattern, problem):
    assert pattern_problem(pattern) == problem
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("pattern", ["(?:a+)+b#", "a*a*b#", "(?:a|aa)+#", "(?:(?:.)*?|.+)(?:[ab]|b)?#"])
def test_what_is_taken_comes_to_an_end(pattern):
    assert pattern_problem(pattern) is None
    finder = Finder(PrivacyPolicy("enforce", (CustomRule("n", pattern, "redact"),)))
    assert finder.find(b"a" * 100_000).hits == []


def test_a_group_is_what_is_replaced_of_a_match():
    guard = PrivacyGuard(PrivacyPolicy("enforce", (CustomRule("n", "badge (?P<value>[0-9]+)", "redact"),)))
    assert guard.scrub("a badge 1234 of x") == "a badge [REDACTED] of x"


@pytest.fixture
def without_re2(monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)


def test_without_the_engine_no_pattern_is_taken(without_re2):
    assert pattern_problem("x+") == (
        'needs google-re2, which is not installed. Install it with: pip install "codex-orchestrator[privacy]"'
    )


def test_without_the_engine_nothing_is_guarded_by_half_of_a_policy(without_re2):
    with pytest.raises(UsageError, match="google-re2") as raised:
        Finder(PrivacyPolicy("enforce", (CustomRule("n", "x+", "redact"),)))
    assert raised.value.hint == 'Install it with: pip install "codex-orchestrator[privacy]"'
    Finder(PrivacyPolicy("enforce"))
