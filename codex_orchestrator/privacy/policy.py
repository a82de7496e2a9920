"""What the guard looks for, as plain values: they travel to wherever a command runs.

Which names say secret, and in which forms a value is recognised: docs/reference/privacy.md, "What is found".
"""

# No postponed annotations: `codec` reads policies by the types that stand here.

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.privacy.late import LatePattern

Mode = Literal["shadow", "enforce"]
Action = Literal["redact", "block"]

SHADOW_REASON = "shadow-mode"
# Shorter values are none.
LEAST_CHARACTERS = 6

# What makes a key a secret one; public keys, primary keys and keys of caches are none.
KEY_KINDS = (
    "access|account|admin|api|app|application|auth|client|consumer|crypt|customer|deploy|deployment|encrypt|encryption"
    "|functions|gpg|hmac|host|jwt|license|licence|master|openai|anthropic|gemini|pgp|priv|private|secret|service|session"
    "|shared|sign|signing|ssh|ssl|storage|stripe|subscription|tls|webhook|write"
)
# The kinds that no word of another meaning ends in, so that nothing need stand between.
_TIGHT_KINDS = (
    "access|account|api|auth|deploy|encrypt|encryption|hmac|license|master|priv|private|secret|service|sign"
    "|signing|ssh|storage"
)

_PART = r"(?:^|_)"
_SAYS_SECRET = LatePattern(
    # Words that mean nothing else, with anything around them.
    r"SECRET|PASSWORD|PASSWD|PASSPHRASE|PASSCODE|CREDENTIAL|TOKEN(?![A-RT-Z]|S_)|BEARER"
    rf"|(?:{_TIGHT_KINDS.upper()})_?KEY|{_PART}(?:{KEY_KINDS.upper()})_KEY"
    # Shorter ones only where they are words by themselves.
    rf"|(?<=[A-Z_])PWD$|{_PART}(?:PASS|PAT|CREDS?|JWT|DSN|COOKIES?|AUTH|AUTHORIZATION|SK|PRIVKEY)(?:_?[0-9]+)?$"
    rf"|{_PART}(?:CERT|KEY|SSL|TLS)_PEM$|{_PART}(?:PEM|PFX|P12)(?:_B(?:ASE)?64)?$|{_PART}CERT_KEY$"
    rf"|{_PART}(?:SESSION|SESSION_ID|SESSIONID)$|{_PART}(?:AUTH_CONFIG|SERVICE_ACCOUNT(?:_JSON)?|KUBE_?CONFIG_(?:DATA|B(?:ASE)?64))$"
    rf"|WEBHOOK(?:_URL|_URI)?$|CONNECTION_?STRING$|CONN_?STR(?:ING)?$|SONAR_LOGIN$"
    rf"|{_PART}(?:DATABASE|DB|POSTGRES(?:QL)?|PG|MYSQL|MARIADB|MONGO(?:DB)?|REDIS|AMQP|RABBITMQ|CELERY_BROKER|BROKER|CACHE|SQLALCHEMY"
    rf"|ELASTICSEARCH|CLICKHOUSE|JDBC|SMTP|MAILER|LDAP|KAFKA|NATS)_(?:URL|URI)(?:_[A-Z0-9]+)?$"
)
# Where the shell is and was, and names that say where a secret lies, or what it is like; one of ours, too.
_SAYS_ELSE = LatePattern(
    r"^(?:OLD)?PWD$|_(?:PATH|DIR|DIRECTORY|SOCK|SOCKET|NAME|ID|TYPE|LENGTH|LEN|TTL|EXPIRY|EXPIRES(?:_IN|_AT)?|TIMEOUT|ENABLED|REQUIRED|POLICY"
    r"|PROVIDER|HELPER|BACKEND|STORE|ISSUER|ENDPOINT|HEADER|FIELD|PREFIX|ALGORITHM|ALG|METHOD|MODE|COUNT|LIMIT|VERSION|INFO)$"
    r"|^(?:SSH_AUTH_SOCK|XAUTHORITY|SESSION_MANAGER|DBUS_SESSION_BUS_ADDRESS|GDMSESSION|DESKTOP_SESSION|GNOME_KEYRING_CONTROL)$"
    r"|^CODEX_ORCHESTRATOR_SIGN_KEY$|^XDG_|(?:^|_)(?:MAX|MIN|NUM|TOTAL)_(?:[A-Z]+_)?TOKENS$"
)
_KEY_IDS = LatePattern(r"(?:ACCESS|API)_?KEY_?ID$")
_FILE = LatePattern(r"_?FILE(?:NAME)?$")
# What a file is named by; a literal in such a variable is a mistake that happens.
_LOOKS_LIKE_PATH = LatePattern(
    r"[~.]{0,2}[/\\]|[A-Za-z]:[\\/]|file:|[\w.-]+(?:/[\w. -]+)+$|[\w-]+\.[A-Za-z]\w{1,9}$"
)


def says_secret(name: str, value: str) -> bool:
    """Whether a variable is a secret by its name.

    Args:
        name: In whatever case.
        value: Counts only where the name speaks of a file: a path is none.
    """
    upper = name.upper().replace("-", "_")
    if _FILE.search(upper):
        upper = _FILE.sub("", upper)
        if _LOOKS_LIKE_PATH.match(value):
            return False
    if _KEY_IDS.search(upper):
        return True
    return _SAYS_SECRET.search(upper) is not None and _SAYS_ELSE.search(upper) is None


@dataclass(frozen=True)
class CustomRule:
    """A rule of the configuration: a regular expression and what becomes of what it matches."""

    name: str
    pattern: str
    action: Action


@dataclass(frozen=True)
class PrivacyPolicy:
    """What to find, and what to do about it.

    Attributes:
        mode: ``enforce`` replaces, ``shadow`` only counts.
        rules: Rules beyond the built-in ones.
        secrets: Values that are secrets, as they are in the environment.
    """

    mode: Mode = "shadow"
    rules: tuple[CustomRule, ...] = ()
    secrets: tuple[str, ...] = ()


def secret_values(variables: Mapping[str, str], names: Iterable[str] = ()) -> Iterator[str]:
    """The values of variables whose names say secret, long enough to be looked for.

    Args:
        variables: An environment.
        names: Further names, with ``*`` and ``?`` as in file names; case counts for neither.
    """
    patterns = [name.upper() for name in names]
    for name, value in variables.items():
        upper = name.upper()
        listed = any(fnmatchcase(upper, pattern) for pattern in patterns)
        if (listed or says_secret(name, value)) and len(value.strip()) >= LEAST_CHARACTERS:
            yield value
