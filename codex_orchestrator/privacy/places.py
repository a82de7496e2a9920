"""Secrets that tell by where they stand: in headers, addresses, and lines of certain files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from codex_orchestrator.privacy.rules import Rule
from codex_orchestrator.privacy.tokens import Area, Compiled, Match

_QUOTE = r"\\{0,4}[\"'`]?"

PLACES = (
    Rule(
        "url-password",
        ("://",),
        r"://[^\s/?#\"'<>@:\\]{0,256}:(?P<value>[^\s/\"'<>@\\]{3,512})@(?![\"'\s])",
        "RFC 3986, 3.2.1: user information",
        (
            "postgres://kim:«hunter2x»@db.example/shop",
            "https://kim:«s3cr-et!»@example.test",
            "redis://:«w0rdpass9»@cache:6379",
        ),
        (
            "https://example.test:8080/a@b",
            "https://kim:${PASSWORD}@example.test",
            "https://user:password@example.test",
        ),
        "anywhere",
        least="no-word",
        needs="@",
    ),
    Rule(
        "url-password",
        ("://",),
        r"://(?P<value>[^\s/?#\"'<>@:\\]{16,512}):?@(?![\"'\s])",
        "RFC 3986, 3.2.1: user information that is one token",
        ("https://«<h32>»@o17.ingest.example.test/42",),
        ("https://a-name-of-somebody@example.test",),
        "anywhere",
        least="random",
        needs="@",
    ),
    Rule(
        "header",
        ("uthorization",),
        rf"uthorization{_QUOTE}\]?[ \t]{{0,8}}(?:=>|[:=,])[ \t]{{0,8}}\[?[bfru]?{_QUOTE}"
        r"(?:(?:[A-Za-z][A-Za-z0-9-]{2,23})(?: |%20|\+))?"
        r"(?:[a-z]{1,12}=)?\"?(?P<value>[^\s\"'\\,;<>{}$()]{6,16384})",
        "RFC 9110, 11.6.2: Authorization, Proxy-Authorization",
        (
            "Authorization: Bearer «<w40>»",
            "Proxy-Authorization: Basic «a2ltOmh1bnRlcjI=»",
            "'Authorization': 'token «<h40>»'",
        ),
        (
            "Authorization: Bearer <token>",
            "Authorization required",
            "Access-Control-Allow-Headers: Authorization, Content-Type",
            "Authorization: Bearer",
        ),
        "anywhere",
        least="mixed",
    ),
    Rule(
        "option",
        (" -u",),
        r" -u(?:[ =]|(?=\"))[\"']?[^\s:\"'/]{1,64}:(?P<value>[^\s\"']{6,256})",
        "curl: --user",
        ("curl -u kim:«hunter2x9» https://example.test",),
        ("docker run -u 1000:1000 image", "chown -u root:wheel file"),
        "anywhere",
        least="mixed",
    ),
    Rule(
        "query",
        ("sig=",),
        r"sig=(?P<value>(?:[A-Za-z0-9_.~+/-]|%[0-9A-Fa-f]{2}){40,128}={0,2})",
        "Azure: shared access signatures",
        ("https://example.test/a?sv=2024&sig=«<w20>%2B<w20>%3D»",),
        ("sig=1",),
        "anywhere",
        least="random",
        needs="%",
    ),
    Rule(
        "password-hash",
        ("$",),
        r"\$(?:2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"
        r"|[156]\$(?:rounds=[0-9]{1,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{22,86}|y\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
        r"|argon2(?:id|i|d)\$v=[0-9]{1,4}\$m=[0-9]{1,8},t=[0-9]{1,4},p=[0-9]{1,4}\$[A-Za-z0-9+/]{8,64}\$[A-Za-z0-9+/]{16,128})",
        "crypt(5), htpasswd, PHC strings",
        ("kim:«$apr1$<w8>$<w22>»", "kim:«$2y$10$<w53>»", "root:«$6$<w16>$<w86>»:19000:0"),
        ("$1 $2 $3", "$6$"),
        "anywhere",
    ),
    Rule(
        "password-file",
        (":5432:",),
        r":5432:[^:\s]{1,64}:[^:\s]{1,64}:(?P<value>[^\s:]{3,256})",
        "PostgreSQL: .pgpass",
        ("db.example:5432:shop:kim:«hunter2»",),
        ("0.0.0.0:5432: in use", "db:5432:5432"),
        "anywhere",
    ),
    Rule(
        "password-file",
        ("DENTIFIED BY ",),
        r"DENTIFIED BY (?:PASSWORD )?[\"'](?P<value>[^\"'\n]{4,256})[\"']",
        "SQL: CREATE USER, ALTER USER",
        ("CREATE USER kim IDENTIFIED BY '«swordfish»';",),
        ("IDENTIFIED BY 'x'",),
        "anywhere",
        least="no-word",
    ),
)
_LONG = r"(?P<value>[A-Za-z0-9_.~+/:%-]{16,8192}={0,2})"

# Values that are long words, by what stands before them.
BEFORE_LONG_WORDS = (
    Rule(
        "cookie",
        ("=",),
        _LONG,
        "RFC 6265: Cookie, Set-Cookie",
        ("Set-Cookie: sessionid=«<l32>»; Path=/", "Cookie: theme=dark; sid=«<w24>»"),
        ("cookies: they-are-eaten-here-by-everybody", "Set-Cookie: theme=dark; Path=/"),
        "precedes",
        least="random",
        before=r"ookies?[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
        r"(?:[^=;\s\"']{1,40}=[^;\s\"']{0,60};[ ]?){0,4}[^=;\s\"']{1,40}=",
    ),
    Rule(
        "query",
        (
            "code=",
            "sig=",
            "key=",
            "ignature=",
            "hmac=",
            "jwt=",
            "ticket=",
            "session=",
            "sid=",
            "Security-Token=",
        ),
        _LONG,
        "OAuth 2, signatures of AWS and Google, keys of APIs in addresses",
        ("/cb?code=«<w24>»&x=1", "GET /v1?key=«<w32>»", "?a=b&X-Amz-Signature=«<h64>»&c=d"),
        ("/search?code=java-in-a-nutshell-and-more", "?page=2&sort=name"),
        "precedes",
        least="random",
        before=r"[?&;#](?:amp;)?(?:X-(?:Amz|Goog)-)?[A-Za-z_-]{3,15}=",
    ),
    Rule(
        "header",
        ("earer ", "_auth=", 'auth": "', 'auth":"', 'auth\\":\\"', "_auth = "),
        _LONG,
        "RFC 6750: Bearer; Docker: config.json; npm: .npmrc",
        ('"auth": "«a2ltOmh1bnRlcjJodW50ZXIy»"', "_auth=«a2ltOmh1bnRlcjJodW50ZXIy»", "Bearer «<w40>»"),
        ('"auth": "required_by_policy_of_the_company"',),
        "precedes",
        least="random",
        before=r".",
    ),
)


# After so many literals in vain, patterns look for the next place by themselves.
_MANY_MISSES = 200


class Places:
    """Rules for what stands at certain places, each found by its literal."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_literal: dict[tuple[bytes, bytes], list[Compiled]] = {}
        for rule in rules:
            compiled = Compiled(rule)
            for literal in rule.literals:
                self._by_literal.setdefault((rule.needs.encode(), literal.encode()), []).append(compiled)

    def find(self, text: bytes, areas: Iterable[Area]) -> Iterator[Match]:
        """Secrets at such places in these areas of a text."""
        for first, last in areas:
            for (needs, literal), rules in self._by_literal.items():
                # One byte is searched for at the speed of memory.
                if (not needs or text.find(needs, first, last) >= 0) and text.find(literal, first, last) >= 0:
                    yield from _matches(text, first, last, literal, rules)


def _matches(
    text: bytes, first: int, last: int, literal: bytes, rules: Sequence[Compiled]
) -> Iterator[Match]:
    place = text.find(literal, first, last)
    misses = 0
    while place >= 0:
        end = place + 1
        matched = False
        for each in rules:
            match = each.pattern.match(text, place)
            span = each.taken(match)
            matched = matched or match is not None
            if span is not None:
                yield (*span, each.rule)
                end = span[1]
                break
        misses += not matched
        if misses > _MANY_MISSES and not matched:
            end = min(_next(each, text, end) for each in rules)
        place = text.find(literal, end, last)


def _next(rule: Compiled, text: bytes, place: int) -> int:
    """Where a rule matches next, or the end of the text."""
    match = rule.pattern.search(text, place)
    return match.start() if match is not None else len(text)
