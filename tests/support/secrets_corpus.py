"""Secrets as commands print them, none of them real, and lines that only look as if they held any.

In a case, what stands between « and » is a secret: it must be gone, and all else must stay.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

REDACTED = b"[REDACTED]"
OPEN, CLOSE = "«".encode(), "»".encode()

# Values of environment variables whose names say secret.
PLAIN = "kelp-Harbour/71 & salt"
SHORT = "zq7!Kx"
UNICODE = "Grüße-aus-Überlingen"
SYMBOLS = 'pa"ss\\wo?rd~42'
LINES = "first line of it\nab\nthird line of it"
LONG = "L0ng-" + "0123456789abcdef" * 8
ENVIRONMENT = {
    "HARBOUR_TOKEN": PLAIN,
    "DB_PASSWORD": SHORT,
    "MY_SECRET": UNICODE,
    "SERVICE_API_KEY": SYMBOLS,
    "DEPLOY_CREDENTIALS": LINES,
    "LONG_ACCESS_KEY": LONG,
}
KEY_ID = "AKIA" + "QWERTZ2345UIOPAS"
TEMPORARY_KEY_ID = "ASIA" + "7EXAMPLE7EXAMPLE"


@dataclass(frozen=True)
class Case:
    """Output with secrets in it.

    Attributes:
        name: What it is a case of.
        text: The output.
        expected: What may be left of it.
        secrets: What must be nowhere.
    """

    name: str
    text: bytes
    expected: bytes
    secrets: tuple[bytes, ...]


def _key(kind: str, body: str, line_end: str = "\n") -> str:
    lines = [f"-----BEGIN {kind}-----", *body.split("\n"), f"-----END {kind}-----"]
    return f"«{line_end.join(lines)}»"


BODY = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" + f"{number:02}" + "x" * 30 for number in range(24))
_SHORT_BODY = "MIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8AgEA"


def _base64(value: str) -> str:
    return b64encode(value.encode()).decode()


_WRITTEN: dict[str, str] = {
    # After a word that says so.
    "password with an equals sign": "password=«hunter2-hunter2» and on",
    "password with a colon": "password: «hunter2-hunter2»",
    "password at the end of a line": "password=«swordfish»\nnext line",
    "password of six characters": "password=«abc123» .",
    "password in capitals": "PASSWORD=«SWORDFISH99» rest",
    "password in an upper-case first": "Password: «Swordfish99»",
    "password in a variable": "export DB_PASSWORD=«swordfish99»",
    "password in a long option": "mysql --password=«swordfish99» --host db",
    "password with special characters": "password=«p$s^w*r%d!1» end",
    "password in double quotation marks": 'password="«sword fish 99»" end',
    "password in single quotation marks": "password='«sword fish 99»' end",
    "password in backquotes": "password=`«swordfish99»` end",
    "password with spaces around": "password = «swordfish99» # comment",
    "password with tabs around": "password\t=\t«swordfish99»",
    "password in a JSON object": '{"user":"kim","password":"«swordfish99»","port":5432}',
    "password in JSON within JSON": '{"body":"{\\"password\\":\\"«swordfish99»\\",\\"port\\":1}"}',
    "password as a JSON number": '{"password":«12345678»,"port":5432}',
    "password in a Python dict": "{'user': 'kim', 'password': '«swordfish99»'}",
    "password by subscript": 'settings["password"] = "«swordfish99»"',
    "password in a Ruby hash": ":password => '«swordfish99»'",
    "password in Go": 'password := "«swordfish99»"',
    "password in brackets": "(user=kim password=«swordfish99»)",
    "password of other letters": "password=«пароль-日本»",
    "password with an escaped quotation mark": 'password="«sword\\"fish99»" end',
    "secret with an equals sign": "secret=«abcdef0123»",
    "secret with a colon": "client secret: «abcdef0123»",
    "secret with a prefix": "CLIENT_SECRET=«abcdef0123» next",
    "secret in YAML": "  clientSecret:      «abcdef0123»\n  other: 1",
    "secret key": "secret_key = «abcdef0123»",
    "secret access key": "AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzz»",
    "secret access key in a file": "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG+bPxRfiCYzzz»",
    "api key with an underscore": "api_key=«0a1b2c3d4e»",
    "api key with a hyphen": "X-Api-Key: «0a1b2c3d4e»",
    "api key with a space": "API key: «0a1b2c3d4e»",
    "api key in one word": "apikey=«0a1b2c3d4e»",
    "api key in camel case": 'apiKey: "«0a1b2c3d4e»",',
    "token with an equals sign": "token=«tok_9f8e7d» x",
    "token with a colon": "token: «tok_9f8e7d»",
    "token in a variable": "GITHUB_TOKEN=«ghx_1234567890»",
    "token of npm": "//registry.example/:_authToken=«npm_abcdefghij»",
    "token in a header": 'curl -H "X-Auth-Token: «tok_9f8e7d»" https://example.test',
    "token in an address": "GET https://example.test/?token=«tok_9f8e7d»",
    "token in JSON over lines": '{\n  "access_token": "«eyJhbGciOi.J9eyJzdWIi.SflKxwRJSM»"\n}',
    "two on a line": "user=kim token=«tok_9f8e7d» password=«swordfish99» done",
    # Key ids.
    "key id": f"key «{KEY_ID}» used",
    "key id alone": f"«{KEY_ID}»",
    "key id after an equals sign": f"aws_access_key_id=«{KEY_ID}»",
    "key id in quotation marks": f'"«{KEY_ID}»",',
    "temporary key id": f"id: «{TEMPORARY_KEY_ID}»\n",
    # Private keys.
    "private key": _key("PRIVATE KEY", BODY) + "\nafter",
    "RSA private key": "before\n" + _key("RSA PRIVATE KEY", BODY) + "\nafter",
    "EC private key": _key("EC PRIVATE KEY", _SHORT_BODY) + "\n",
    "OpenSSH private key": _key("OPENSSH PRIVATE KEY", BODY),
    "encrypted private key": _key("ENCRYPTED PRIVATE KEY", _SHORT_BODY),
    "RSA private key with headers": _key(
        "RSA PRIVATE KEY", f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0F1E\n\n{_SHORT_BODY}"
    ),
    "PGP private key": _key("PGP PRIVATE KEY BLOCK", f"Version: 1\n\n{BODY}\n=abcd"),
    "private key with next to nothing in it": _key("PRIVATE KEY", "abc") + " after",
    "private key on one line": f'{{"key": "{_key("PRIVATE KEY", _SHORT_BODY, chr(92) + "n")}"}}',
    "private key with carriage returns": _key("PRIVATE KEY", BODY.replace("\n", "\r\n"), "\r\n"),
    "private key with a name before each line": "web | "
    + _key("PRIVATE KEY", BODY.replace("\n", "\nweb | "), "\nweb | "),
    "two private keys": _key("EC PRIVATE KEY", _SHORT_BODY) + "\nand\n" + _key("EC PRIVATE KEY", _SHORT_BODY),
    # Values of variables.
    "value as it is": f"connecting with «{PLAIN}» now",
    "value twice": f"«{PLAIN}» and «{PLAIN}»!",
    "short value": f"x{OPEN.decode()}{SHORT}{CLOSE.decode()}y",
    "value of other letters": f"as «{UNICODE}».",
    "value with quotation marks": f"echo «{SYMBOLS}»",
    "value in JSON": f'{{"v": "«{json.dumps(SYMBOLS)[1:-1]}»"}}',
    "value in an address": f"https://kim:«{quote(PLAIN, safe='')}»@example.test/",
    "value in a path": f"https://example.test/«{quote(PLAIN)}»",
    "value in a form": f"a=1&v=«{quote_plus(PLAIN)}»&b=2",
    "value in an address, in lower case": f"v=«{quote(PLAIN, safe='').replace('%2F', '%2f')}»&b=2",
    "value of other letters in an address": f"v=«{quote(UNICODE)}»",
    "value in base64": f"Basic «{_base64(PLAIN)}»",
    "value in base64 without padding": f"Basic «{_base64(PLAIN).rstrip('=')}» end",
    "value in base64 with a line end": f"«{_base64(PLAIN + chr(10))}»",
    "value in base64 for addresses": f"v=«{urlsafe_b64encode(SYMBOLS.encode()).decode()}»",
    "short value in base64": f"v «{_base64(SHORT)}»",
    "long value": f"v «{LONG}» w",
    "long value in base64": f"v «{_base64(LONG)}» w",
    "value of several lines": f"v:\n«{LINES}»\nend",
    "a line of a value of several lines": "v:\n«third line of it»\nend",
}

_COLOUR, _PLAIN = b"\x1b[31;1m", b"\x1b[0m"


def _case(name: str, marked: bytes) -> Case:
    parts = marked.replace(CLOSE, OPEN).split(OPEN)
    expected = b"".join(REDACTED if place % 2 else part for place, part in enumerate(parts))
    return Case(name, b"".join(parts), expected, tuple(parts[1::2]))


def _coloured(name: str, text: bytes, expected: bytes, secret: str) -> Case:
    return Case(name, text, expected, (secret.encode(),))


_COLOURED = [
    _coloured(
        "coloured word",
        _COLOUR + b"password" + _PLAIN + b"=swordfish99 x",
        _COLOUR + b"password" + _PLAIN + b"=[REDACTED] x",
        "swordfish99",
    ),
    _coloured(
        "colours within a password",
        b"password=sword" + _COLOUR + b"fish99" + _PLAIN + b" x",
        b"password=[REDACTED]" + _COLOUR + _PLAIN + b" x",
        "swordfish99",
    ),
    _coloured(
        "colours within a word",
        b"pass" + _COLOUR + b"word" + _PLAIN + b": swordfish99 x",
        b"pass" + _COLOUR + b"word" + _PLAIN + b": [REDACTED] x",
        "swordfish99",
    ),
    _coloured(
        "colours within a key id",
        b"id " + KEY_ID[:9].encode() + _COLOUR + KEY_ID[9:].encode() + _PLAIN + b" x",
        b"id [REDACTED]" + _COLOUR + _PLAIN + b" x",
        KEY_ID,
    ),
    _coloured(
        "colours within a value",
        PLAIN[:8].encode() + _COLOUR + PLAIN[8:12].encode() + _PLAIN + PLAIN[12:].encode() + b" x",
        b"[REDACTED]" + _COLOUR + _PLAIN + b" x",
        PLAIN,
    ),
    _coloured(
        "cursor moves within a value",
        PLAIN[:8].encode() + b"\x1b[K" + PLAIN[8:].encode() + b" x",
        b"[REDACTED] x",
        PLAIN,
    ),
    _coloured(
        "a link within a value",
        PLAIN[:8].encode() + b"\x1b]8;;https://example.test\x07" + PLAIN[8:].encode() + b" x",
        b"[REDACTED] x",
        PLAIN,
    ),
    _coloured(
        "each letter in a colour",
        b"token="
        + b"".join(b"\x1b[3%dm%c" % (place % 8, letter) for place, letter in enumerate(b"tok_9f8e7d"))
        + b" x",
        b"token=\x1b[30m[REDACTED]" + b"".join(b"\x1b[3%dm" % (place % 8) for place in range(1, 10)) + b" x",
        "tok_9f8e7d",
    ),
]

CASES = [*(_case(name, marked.encode()) for name, marked in _WRITTEN.items()), *_COLOURED]

HARMLESS = """\
token
Token
tokens: 1234567
max_tokens=128000
"max_tokens": 128000,
tokenizer: loaded 50257 entries
tokenizer=WordPiece
total tokens = 123456
Unexpected token } in JSON at position 42
SyntaxError: Unexpected token '<'
token: null
{"token":null,"expires":0}
{"token": "", "user": "kim"}
"token": true
token = x
token: abc
the token was refused
Invalid token.
password
password:
Password:
Enter password:
Password for kim:
password: no
password = ""
password reset link sent to kim
The password must have at least twelve characters.
passwords: 3 found
passwordless login enabled
password_hash_rounds=120000
Secret
secret:
The Secret Garden, chapter 3: the robin
secretary: Kim Hartmann
secrets: 4 files scanned
secret santa 2026
no secrets found in 1204 files
api
api keys are in the vault
API keys: see the vault
api_key_rotation=enabled
api: https://example.test/v1/users
keyboard: german layout
key: value-value-value
primary key: identifier
public_key=ssh-ed25519
monkey: business
hotkey=Control+C
KEY=VALUEVALUE
-----BEGIN CERTIFICATE-----
-----END CERTIFICATE-----
-----BEGIN PUBLIC KEY-----
-----END PUBLIC KEY-----
-----BEGIN PGP SIGNATURE-----
-----BEGIN CERTIFICATE REQUEST-----
----- begin of the report -----
grep -rn "-----BEGIN PRIVATE KEY-----" src
if line == "-----BEGIN RSA PRIVATE KEY-----":
-----------------------------------------
AKIA
AKIA is the prefix of such ids
AKIA1234
ASIA PACIFIC REGION
ASIA-PACIFIC: 12 sites
MAKIAVELLI
akiaqwertz2345uiopas
SLOVAKIA 2026
commit 5f2c1f7f0f5d1b6ad9a6f0a3a5b1f6a8c3d2e1f0
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
2026-11-21T10:00:00.000Z INFO server: listening on port 8080
2026-11-21 10:00:00,123 DEBUG parser: 17 tokens read, 3 keywords
[12:34:56] Starting 'build'...
npm WARN deprecated request@2.88.2: request has been deprecated
added 1204 packages, and audited 1205 packages in 12s
found 0 vulnerabilities
webpack 5.90.0 compiled successfully in 4123 ms
asset main.js 1.2 MiB [emitted] (name: main)
src/index.ts(12,5): error TS2322: Type 'string' is not assignable to type 'number'.
src/app.c:42:17: warning: unused variable 'result' [-Wunused-variable]
gcc -O2 -Wall -Werror -c -o build/main.o src/main.c
ld: cannot find -lssl
make[1]: Entering directory '/srv/build'
make: *** [Makefile:12: all] Error 2
cmake -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON ..
-- Found OpenSSL: /usr/lib/libcrypto.so (found version "3.0.11")
[ 45%] Building CXX object src/CMakeFiles/core.dir/main.cpp.o
tests/test_tokens.py::test_reads_tokens PASSED [ 12%]
tests/test_password.py::test_resets_password[kim] PASSED [ 13%]
tests/test_secret.py::test_hides_secrets FAILED [ 14%]
E       AssertionError: assert 3 == 4
E       KeyError: 'token'
============================= 14 passed in 0.31s ==============================
coverage: 97% of statements
ok  	example.test/pkg/token	0.012s
--- FAIL: TestPassword (0.00s)
    token_test.go:17: got 3, want 4
running 12 tests
test secret::tests::hides ... ok
token::parse::reads_numbers
test result: ok. 12 passed; 0 failed; 0 ignored
warning: unused import: `std::fmt`
error[E0308]: mismatched types
Compiling token v0.3.1
Downloading crates ...
Collecting requests==2.31.0
Successfully installed requests-2.31.0 urllib3-2.1.0
ruff check .
All checks passed!
mypy: Success: no issues found in 214 source files
git push origin main
To github.example:kim/token-tools.git
 * [new branch]      secret-scanning -> secret-scanning
HEAD is now at 1a2b3c4 Rename tokens
docker build -t registry.example/token-service:1.4 .
Step 4/12 : COPY . /srv
latest: digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef size: 1234
Warning: Permanently added 'host.example' (ED25519) to the list of known hosts.
https://example.test/reset?user=kim
https://example.test/a/b?page=12&sort=name
user=kim host=db port=5432 dbname=shop
postgres://db.example:5432/shop
Content-Type: application/json; charset=utf-8
Content-Length: 1234
Set-Cookie: theme=dark; Path=/
Authorization required
{"level":"info","msg":"started","port":8080}
{"id": 17, "name": "kim", "tags": ["a", "b"]}
<input type="password" name="field">
<label for="token">Label</label>
SELECT id, name FROM users WHERE secret IS NULL;
CREATE TABLE token (id INTEGER PRIMARY KEY);
ALTER TABLE users ADD COLUMN password TEXT;
if (token && secret) { return key; }
for token in tokens:
def read_token(line):
const secret = () => null;
let key = map.key();
token != null
token >= 4
password ? "yes" : "no"
secret -> None
"""

_NUMBERED = (
    "line {0} of the report: nothing to see",
    "2026-11-21T10:00:{0:02}.000Z INFO worker-{0}: job {0} done in {0} ms",
    "  {0}: src/module_{0}.py  100%",
    "[{0:3}%] Linking target unit_{0}",
)
HARMLESS_LINES = [
    *(line.encode() for line in HARMLESS.splitlines()),
    *(pattern.format(number).encode() for number in range(20) for pattern in _NUMBERED),
    b"\x1b[32mtoken\x1b[0m and \x1b[1msecret\x1b[0m",
    b"progress 10%\rprogress 20%\rprogress 30%",
    b"\x1b[2K\x1b[1Gdone",
    b"\xff\xfe no text at all \x80\x81",
    "Grüße, 日本語, 🙂".encode(),
    b"",
]
