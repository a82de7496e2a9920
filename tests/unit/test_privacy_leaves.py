"""What only looks like a secret stays: programs, lock files, documentation, placeholders, hashes."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from codex_orchestrator.privacy.finding import Finder
from codex_orchestrator.privacy.policy import PrivacyPolicy

FINDER = Finder(PrivacyPolicy("enforce"))

PYTHON = """\
token = self.get_token(request)
password: Optional[str] = None
def login(self, user: str, password: str = "", *, token: Token | None = None) -> None:
if token == "lambda":
    return Session(user=user, password=password, token=token)
self.password = password
secret = os.environ["APP_SECRET"]
SECRET_KEY = config.get("secret_key")
api_key = settings.API_KEY
auth = HTTPBasicAuth(username, password)
private_key: Ed25519PrivateKey | Ed448PrivateKey
raise ValueError("password: must have at least 8 characters")
TOKEN_TYPES = {"bearer": 1, "access_token": 2}
headers = {"Authorization": f"Bearer {token}"}
password_hash = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 100000)
token = tokens[index + 1]
parser.add_argument("--password", help="your password")
url = f"https://{user}:{password}@{host}/"
"""
JAVASCRIPT = """\
const token = randomBytes(32).toString("hex");
let secret = await vault.read(path);
token: undefined,
password: string;
const { password, token } = req.body;
credentials: "same-origin",
withCredentials: defaultToConfig2,
apiKey: process.env.API_KEY,
if (token !== expectedToken) throw new Error("token: mismatch");
var h=e.password||"",v=r("transitional"),y=v&&T.has(v,"encode")
axios.CancelToken = CancelToken$1;
<input type="password" placeholder="Password" name="password">
headers: { Authorization: `Bearer ${token}` },
"""
GO_AND_C = """\
tokens = 2*maxCompilerConcurrency + minTokens*cfg.BuildP
masterSecret    *tls13.MasterSecret
token := r.Header.Get("X-Auth-Token")
req.Header.Set("Authorization", "Basic "+basicAuth(username, password))
"encryptionKey": "encryptionKey1024",
const char *password = NULL;
static int token_length = 0x40;
struct key private_key = { 0 };
KEY_SIZE=4096 token_count: 128000
"""
OTHER = """\
DB_PASSWORD=${DB_PASSWORD}
DB_PASSWORD=changeme
API_KEY=<your-api-key>
api_key: your-api-key-here
TOKEN=$(cat token.txt)
password: ********
token: xxxxxxxxxxxxxxxx
secret: {{ vault.secret }}
password=%s
curl -H "Authorization: Bearer $TOKEN" https://example.test
docker run -u 1000:1000 image
postgres://user:password@localhost/db
integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+Sg==
github.com/x/y v1.2.3 h1:h1UOjlMmNbVkuvk7oLxn7XpFg4OZHDqQ8pQ6WkJvQxY=
the passphrase: enter it when you are asked for it
Password: at least 8 characters with 1 digit
| token | string | the token of the user |
"""


@pytest.mark.parametrize(
    "line", [line for text in (PYTHON, JAVASCRIPT, GO_AND_C, OTHER) for line in text.splitlines()]
)
def test_a_line_without_a_secret_stays(line):
    assert FINDER.find(line.encode() + b"\n").hits == []


def test_ids_and_hashes_stay():
    digests = (getattr(hashlib, name) for name in ("md5", "sha1", "sha256", "sha512"))
    lines = [f"commit {digest(str(n).encode()).hexdigest()}" for digest in digests for n in range(200)]
    lines += [f"id {uuid.uuid5(uuid.NAMESPACE_URL, str(n))}" for n in range(200)]
    assert FINDER.find("\n".join(lines).encode()).hits == []


FLOODS = [
    *(
        b"token=",
        b'password: "',
        b"-----BEGIN PRIVATE KEY-----",
        b"-----END PRIVATE KEY-----\n",
        b"api_key= ",
    ),
    *(
        b"password='x\\'",
        b'password: "\\"\\"',
        b"password x1x1x1 ",
        b"<token>",
        b"token=a1" + b"b" * 60 + b"! ",
        b"token" + b"1" * 60 + b"__x ",
        b"token" + b"plaintext" * 30 + b"x ",
        b"token" + b"_testing-a" * 30 + b"x ",
        b"pas:",
        b"$",
        b"IDENTIFIED BY '",
        b"://@",
        b"a://b:",
        b"$2a$10$a",
    ),
    *(
        b"ookie: a=b; ",
        b'"value": "aaaaaa", "name": "token" ',
        b"token:\n  ",
        b"passphrase: aaa bbb ccc ddd ",
    ),
    *(b"eyJ" + b"a" * 5_000 + b" ", b"a" * 64 + b"\n", b"LS0tLS1CRUdJTi" * 5 + b" ", b"code=" + b"a" * 20),
    *(b"PuTTY-User-Key-File-2: ", b"Maaaaaaaaaaaaaaaaaaaaaa."),
]


@pytest.mark.parametrize("unit", FLOODS)
def test_no_part_of_a_text_is_looked_at_again_and_again(unit):
    """What would be quadratic in this much would not come to an end in the time that a test has."""
    for end in (b"", b"\n"):
        assert FINDER.find(unit * (400_000 // len(unit)) + end).held >= 0
