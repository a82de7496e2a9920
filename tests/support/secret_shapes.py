"""Secrets as they stand in real files and outputs, by kind: each shape as somebody would meet it.

What stands between « and » is the secret. It is made up anew from its form, so that this file holds none.
Forms are those of ``codex_orchestrator/privacy/rules.py``; also ``<k20>``, 20 lines of base64 as in
keys, and ``<p>``, a password that a person chose.
"""

from __future__ import annotations

import random
import re
import string
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

_LETTERS = string.ascii_letters + string.digits
_ALPHABETS = {
    "w": _LETTERS,
    "l": string.ascii_lowercase + string.digits,
    "u": string.ascii_uppercase + string.digits,
    "h": string.digits + "abcdef",
    "d": string.digits,
    "b": _LETTERS + "-_",
    "s": _LETTERS + "+/",
    "z": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
}
_PASSWORDS = ("hunter2-Kelp", "s3cr3t-Harb0ur", "Tr0ub4dor&3", "mY$up3rPw!9", "winter2031", "kelp71!salt")
_FORM = re.compile(r"<([wluhdbsz])(\d+)>|<k(\d+)>|<(p)>")


@dataclass(frozen=True)
class Shape:
    """One place for a secret.

    Attributes:
        kind: Of which group it is.
        name: What it is.
        text: The output.
        secrets: What must not be in what is left of it.
    """

    kind: str
    name: str
    text: bytes
    secrets: tuple[bytes, ...]


def filled(template: str, seed: str) -> str:
    """A template with forms replaced by what has them, the same for the same seed."""
    source = random.Random(seed)

    def made(match: re.Match[str]) -> str:
        if match[4]:
            return source.choice(_PASSWORDS)
        if match[3]:
            lines = ("".join(source.choices(_ALPHABETS["s"], k=64)) for _ in range(int(match[3])))
            return "MIIE" + "\n".join(lines)[4:]
        length = int(match[2])
        # A token without a digit or a letter is possible and hardly ever there.
        while True:
            token = "".join(source.choices(_ALPHABETS[match[1]], k=length))
            plain = match[1] == "d" or length < 8
            if plain or (
                re.search(r"\d", token)
                and re.search("[A-Za-z]", token)
                and token[0] not in "-_"
                and token[-1] not in "-_+/"
            ):
                return token

    return _FORM.sub(made, template)


def marked(template: str, seed: str) -> tuple[bytes, tuple[bytes, ...]]:
    """The text of a template, and what its marks hold."""
    parts = re.split("[«»]", filled(template, seed))
    return "".join(parts).encode(), tuple(part.encode() for part in parts[1::2])


VENDOR = """\
remote: «ghp_<w36>»
Using token «gho_<w36>» for github.com
user-to-server «ghu_<w36>» expires in 8h
x-access-token «ghs_<w36>»
refresh: «ghr_<w76>»
export PAT=«github_pat_<w22>_<w59>»
$ glab auth status: «glpat-<b20>»
deploy token «gldt-<b20>»
runner registered with «glrt-<b20>»
CI job: «glcbt-<w2>_<b20>»
trigger «glptt-<h40>»
posting with «xoxb-<d12>-<d13>-<w24>»
user «xoxp-<d12>-<d12>-<d13>-<h32>»
socket mode «xapp-1-A<u10>-<d13>-<h64>»
config «xoxe.xoxp-1-<w160>»
curl -d @msg https://hooks.slack.com/services/T<u8>/B<u8>/«<w24>»
curl https://discord.com/api/webhooks/<d18>/«<b68>»
stripe listen: «sk_live_<w24>»
stripe test: «sk_test_<w99>»
restricted «rk_live_<w24>»
signing with «whsec_<w32>»
npm notice logged in «npm_<w36>»
twine upload -p «pypi-AgEIcHlwaS5vcmc<b120>»
model call failed for «sk-<w48>»
openai: «sk-proj-<b74>T3BlbkFJ<b74>»
claude: «sk-ant-api03-<b93>AA»
hub login «hf_<w34>»
got «eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ<b60>.<b43>» back
id «eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJ<b180>.<b342>»
mail via «SG.<b22>.<b43>»
twilio «SK<h32>» created
maps key «AIza<b35>»
gcloud: «ya29.<b160>»
client «GOCSPX-<b28>»
refresh «1//0<b60>»
az ad app: «<w3>8Q~<w34>»
doctl «dop_v1_<h64>»
vault login «hvs.<b90>»
batch «hvb.<b150>»
app «shpat_<h32>»
docker login -p «dckr_pat_<b27>»
# created: 2031-04-01\\n«AGE-SECRET-KEY-1<u58>»
databricks «dapi<h32>»
bot «M<w23>.<b6>.<b38>» is online
telegram «<d10>:AA<b33>»
mailgun «key-<h32>»
mailchimp «<h32>-us14»
square «sq0atp-<b22>»
paypal «access_token$production$<l16>$<h32>»
jira «ATATT3x<b180>=<u8>»
linear «lin_api_<w40>»
notion «ntn_<d11><w35>»
figma «figd_<b40>»
newman «PMAK-<h24>-<h34>»
grafana «glsa_<w32>_<h8>»
sentry-cli «sntrys_eyJ<b100>_<b43>»
doppler «dp.pt.<w43>»
"""

HEADER = """\
> Authorization: Bearer «<w40>»
> authorization: bearer «<l32>»
Authorization: Basic «<s24>==»
Authorization: token «<h40>»
headers={'Authorization': 'Bearer «<b64>»'}
-H "Authorization: ApiKey «<w32>»"
Proxy-Authorization: Basic «<s28>=»
> X-Api-Key: «<w32>»
x-api-key: «<h32>»
< X-Auth-Token: «<b40>»
> Private-Token: «<b20>»
X-Vault-Token: s.«<w24>»
Ocp-Apim-Subscription-Key: «<h32>»
> Cookie: lang=de; sessionid=«<l32>»
< Set-Cookie: SESSION=«<b48>»; Path=/; HttpOnly
$ curl -u kim:«<p>» https://api.example.test/v1
$ curl -sS -u "kim:«<w20>»" https://api.example.test
git clone https://kim:«<w20>»@git.example.test/kim/shop.git
git push https://oauth2:«<b26>»@git.example.test/shop
DATABASE_URL=postgres://shop:«<w16>»@db.internal:5432/shop
postgresql+psycopg2://shop:«hunter2-Kelp»@db/shop
mysql://root:«<w12>»@127.0.0.1:3306/app
mongodb+srv://app:«<w18>»@cluster0.mongo.example/test?retryWrites=true
redis://:«<w32>»@cache:6379/0
amqp://guest:«<w14>»@rabbit:5672/
ftp://deploy:«s3cr3t-Harb0ur»@files.example.test/
https://«<h32>»@o17.ingest.sentry.example/42
Server=db;Database=shop;User Id=sa;Password=«<p>»;Encrypt=true
Data Source=db;Uid=sa;Pwd=«<w14>»;
jdbc:postgresql://db/shop?user=kim&password=«<w16>»&ssl=true
DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=«<s86>==»;EndpointSuffix=core.example
Endpoint=sb://x.example/;SharedAccessKeyName=Root;SharedAccessKey=«<s43>=»
https://shop.blob.example/c/f?sv=2024-01-01&se=2031&sp=r&sig=«<w20>%2B<w20>%3D»
https://b.s3.example/x?X-Amz-Expires=60&X-Amz-Signature=«<h64>»&X-Amz-SignedHeaders=host
&X-Amz-Security-Token=«<w120>»
GET /maps/api?key=«<w32>»&q=1
GET /callback?code=«<b40>»&state=1
https://app.example.test/#access_token=«<b60>»&token_type=bearer
GET /v2/x?api_key=«<w24>»
user=kim&password%3D«<w12>»%26x%3D1
POST grant_type=client_credentials&client_id=shop&client_secret=«<w40>»
"""

FILES = """\
machine api.example.test login kim password «<p>»
machine git.example.test\\n  login kim\\n  password «<w20>»
//registry.example.test/:_authToken=«<w36>»
_auth=«<s32>=»
//npm.example.test/:_password=«<s28>»
{"auths": {"https://index.docker.example/v1/": {"auth": "«<s32>=»"}}}
    client-key-data: «LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo<s400>»
    token: «<b90>»
db.internal:5432:shop:kim:«<p>»
kim:«$apr1$<w8>$<w22>»
kim:«$2y$10$<w53>»
root:«$6$<w16>$<w86>»:19700:0:99999:7:::
<password>«<w16>»</password>
  <server><id>x</id><username>kim</username><password>«Tr0ub4dor&3»</password></server>
<add key="ApiKey" value="«<w32>»" />
<property name="hibernate.connection.password" value="«<w14>»"/>
password: >-\\n  «<w24>»\\nuser: kim
api_token: |\\n    «<w40>»\\n
db_password:\\n  «<w18>»
- name: DB_PASSWORD\\n  value: «<w20>»
- name: API_TOKEN\\n  value: "«<w32>»"
{"name": "DB_PASSWORD", "value": "«<w20>»"}
{"name":"SECRET_KEY","value":"«<w50>»"}
{"value": "«<w24>»", "name": "DB_PASSWORD"}
{\\n  "name": "API_KEY",\\n  "value": "«<w32>»"\\n}
"Environment": [{"Name": "API_TOKEN", "Value": "«<w30>»"}]
ENV API_TOKEN «<w32>»
ENV DB_PASSWORD=«<w16>»
ARG NPM_TOKEN=«<w36>»
SECRET_TOKEN ?= «<w32>»
API_KEY := «<w32>»
| DB_PASSWORD | «<w16>» |
| api_token | «<w32>» | prod |
 password  | «<w14>»
DB_PASSWORD,«<w16>»
secret_key_base: «<h128>»
  secret_key_base: "«<h64>»"
define('DB_PASSWORD', '«<w16>»');
define( "AUTH_KEY", "«<w40>»" );
'password' => '«<p>»',
CREATE USER kim WITH PASSWORD '«<w12>»';
ALTER ROLE kim ENCRYPTED PASSWORD '«<p>»';
CREATE USER 'kim'@'%' IDENTIFIED BY '«<w12>»';
spring.datasource.password=«<w14>»
  password = "«<w16>»"
secret_key = "«<w40>»"
aws_secret_access_key = «<s40>»
"aws_secret_access_key": "«<s40>»",
AKIA<u16>,«<s40>»
variable "x" { default = "a" }\\nadmin_password = "«<w16>»"
$env:API_TOKEN = "«<w32>»"
set API_TOKEN=«<w32>»
setx DB_PASSWORD «<w16>»
os.environ["API_KEY"] = "«<w32>»"
client.login(password="«<p>»")
redis-cli CONFIG SET requirepass=«<w20>»
wpa_passphrase=«<w16>»
private static final String API_KEY = "«<w32>»";
"connectionString": "Server=x;Password=«<w14>»;"
"""

WORDS = """\
password=«<p>»
password: «<w12>»
Password = «<w12>»
passwd=«<p>»
passwd: "«<w12>»"
pass: «<w12>»
db_pass=«<w12>»
DB_PASS='«<p>»'
pwd=«<w12>»
"pwd": "«<w12>»"
PGPWD=«<w10>»
passphrase: «<w16>»
passphrase = "«kelp harbour 71 salt»"
passphrase: «correct horse battery staple»
credential=«<w20>»
credentials: "«<w24>»"
private_key=«<w40>»
privateKey: "«<w43>»"
signing_key=«<h64>»
signingKey: «<w32>»
encryption_key: «<h32>»
auth_key=«<w32>»
auth_token: «<w32>»
authToken="«<w32>»"
api key: «<w32>»
api-key=«<w32>»
APIKEY=«<w32>»
apiKeys: "«<w32>»"
apiKey = '«<w32>»'
access_key: «<w20>»
access token «is» <- none; access_token=«<w32>»
accessToken: "«<w40>»",
refresh_token=«<b40>»
id_token: «<b60>»
token: «<h40>»
bot_token = "«<w35>»"
token_value: «<w32>»
tokenValue="«<w32>»"
TOKEN_1=«<w24>»
PASSWORD_1=«<p>»
PASSWORD2=«<w12>»
DB_PASSWORD_PROD=«<w16>»
API_KEY_PROD=«<w32>»
API_KEY_STAGING: «<w32>»
SECRET_KEY_BASE=«<h64>»
SECRET_KEY: «<w50>»
secret=«<w20>»
secret: "«<w20>»"
client_secret=«<w40>»
clientSecret: '«<w40>»'
CLIENT_SECRET_VALUE=«<w40>»
shared_secret: «<s43>=»
consumer_secret=«<w40>»
webhook_secret: «<w32>»
jwt_secret="«<w32>»"
app_secret: «<h32>»
--password «<p>»
--password=«<p>»
--token «<w32>»
--api-key «<w32>»
--client-secret «<w40>»
mytool --db-password '«<p>»' --verbose
--passphrase "«<p>»"
master_key=«<h32>»
storage_key: «<s86>==»
license_key=«<u5>-<u5>-<u5>-<u5>»
encryptionKey: "«<s43>=»"
hmac_key=«<h64>»
deploy_key: "«<w40>»"
admin_password: «winter2031»
root password is set: password=«mY$up3rPw!9»
password="«<w1200>»"
"""


def _key(kind: str, lines: int, seed: str, dashes: str = "-----") -> str:
    body = filled(f"<k{lines}>", seed)
    space = " " if dashes == "----" else ""
    return f"{dashes}{space}BEGIN {kind}{space}{dashes}\n{body}\n{dashes}{space}END {kind}{space}{dashes}\n"


def _keys() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Private keys: a name, the output, and lines that must be gone."""
    for kind, lines in (
        ("RSA PRIVATE KEY", 25), ("PRIVATE KEY", 26), ("EC PRIVATE KEY", 3), ("DSA PRIVATE KEY", 9),
        ("OPENSSH PRIVATE KEY", 6), ("ENCRYPTED PRIVATE KEY", 28), ("PGP PRIVATE KEY BLOCK", 20),
    ):  # fmt: skip
        pem = _key(kind, lines, kind)
        yield kind, f"$ cat key\n{pem}$ ", tuple(pem.split("\n")[1:-2])
    pem = _key("RSA PRIVATE KEY", 24, "forms")
    body = tuple(pem.split("\n")[1:-2])
    encoded = b64encode(pem.encode()).decode()
    # The body, not what its marks are in base64.
    middle = tuple(encoded[place : place + 60] for place in range(60, len(encoded) - 80, 60))
    wrapped = "\n".join(encoded[place : place + 76] for place in range(0, len(encoded), 76))
    yield (
        "with headers",
        pem.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F1E\n\n", 1),
        body,
    )
    yield "in JSON", '{"private_key": "' + pem.replace("\n", "\\n") + '"}', body
    yield "in JSON in JSON", '"{\\"key\\": \\"' + pem.replace("\n", "\\\\n") + '\\"}"', body
    yield "indented", "key: |\n" + "".join(f"    {line}\n" for line in pem.splitlines()), body
    yield "after a name on each line", "".join(f"web-1  | {line}\n" for line in pem.splitlines()), body
    yield (
        "after the time on each line",
        "".join(f"2031-04-01T10:00:00Z {line}\n" for line in pem.splitlines()),
        body,
    )
    yield "with carriage returns", pem.replace("\n", "\r\n"), body
    yield "on one line with spaces", pem.replace("\n", " "), body
    yield "in base64", f"KEY_B64: {encoded}\n", middle
    yield "in base64, wrapped", f"{wrapped}\n", tuple(wrapped.split("\n")[1:-2])
    yield "in a file of Kubernetes", f"data:\n  tls.key: {encoded}\n", middle
    shifted = b64encode(f'{{"type":"service","private_key":"{pem}'.encode()).decode()
    yield (
        "in base64 of JSON",
        f"GCP={shifted}\n",
        tuple(shifted[place : place + 60] for place in range(120, len(shifted) - 80, 60)),
    )
    yield "in an address", "key=" + quote(pem, safe=""), tuple(quote(line, safe="") for line in body)
    yield "the end of it", "\n".join(pem.split("\n")[5:]), body[4:]
    yield "the beginning of it", "\n".join(pem.split("\n")[:12]) + "\n", body[:11]
    putty = filled(
        "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: kim\nPublic-Lines: 1\n<s60>\n"
        "Private-Lines: 3\n<k3>\nPrivate-MAC: <h40>\n",
        "putty",
    )
    yield "PuTTY", putty, tuple(putty.split("\n")[6:9])
    ssh2 = _key("SSH2 ENCRYPTED PRIVATE KEY", 8, "ssh2", "----")
    yield "SSH2", ssh2, tuple(ssh2.split("\n")[1:-2])
    for name, template in {
        "JWK": '{"kty":"EC","crv":"P-256","x":"<b43>","y":"<b43>","d":"«<b43>»"}',
        "WireGuard": "[Interface]\nPrivateKey = «<s43>=»\nAddress = 10.0.0.2/24\n",
        "WIF": "wallet dump: «5J<z49>»\n",
    }.items():
        text, secrets = marked(template, name)
        yield name, text.decode(), tuple(secret.decode() for secret in secrets)


def _shapes() -> Iterator[Shape]:
    for kind, templates in {"vendor": VENDOR, "header": HEADER, "files": FILES, "words": WORDS}.items():
        for place, line in enumerate(templates.splitlines()):
            text, secrets = marked(line.replace("\\n", "\n"), f"{kind} {place}")
            yield Shape(
                kind, f"{place} {line[:40]}", text, tuple(secret for secret in secrets if len(secret) >= 6)
            )
    for name, text, lines in _keys():
        yield Shape("keys", name, text.encode(), tuple(line.encode() for line in lines))


SHAPES = tuple(_shapes())


def held(shape: Shape, left: bytes) -> bool:
    """Whether nothing is left of the secrets, not even twelve bytes of one in a row."""
    for secret in shape.secrets:
        size = min(12, len(secret))
        if any(secret[place : place + size] in left for place in range(len(secret) - size + 1)):
            return False
    return True
