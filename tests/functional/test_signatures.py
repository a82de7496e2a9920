"""Signatures: made by ``start`` and ``sign``, checked by ``verify`` and ``gate``, and by others."""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.support.clusters import needs_dask
from tests.support.projects import command, named
from tests.support.repositories import repository_of

pytest.importorskip("securesystemslib", reason="the extra sign is not installed")
pytest.importorskip("cryptography", reason="the extra sign is not installed")

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519

WORD = "open sesame"
DAY = datetime.timedelta(days=1)

# What the public definitions of DSSE 1.0, in-toto's Statement v1 and its test results v0.1 ask for.
ENVELOPE = {
    "type": "object",
    "required": ["payload", "payloadType", "signatures"],
    "properties": {
        "payload": {"type": "string", "contentEncoding": "base64"},
        "payloadType": {"const": "application/vnd.in-toto+json"},
        "signatures": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["sig"],
                "properties": {"keyid": {"type": "string"}, "sig": {"type": "string", "minLength": 1}},
            },
        },
    },
}
DIGESTS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]+$"},
    "properties": {
        "sha256": {"pattern": "^[0-9a-f]{64}$"},
        "gitCommit": {"pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"},
        "gitTree": {"pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"},
    },
}
DESCRIPTOR = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "uri": {"type": "string"}, "digest": DIGESTS},
    "anyOf": [{"required": ["digest"]}, {"required": ["uri"]}, {"required": ["content"]}],
}
NAMES = {"type": "array", "items": {"type": "string"}}
STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "additionalProperties": False,
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            "items": {**DESCRIPTOR, "required": ["digest"]},
        },
        "predicateType": {"const": "https://in-toto.io/attestation/test-result/v0.1"},
        "predicate": {
            "type": "object",
            "required": ["result", "configuration"],
            "additionalProperties": False,
            "properties": {
                "result": {"enum": ["PASSED", "WARNED", "FAILED"]},
                "configuration": {"type": "array", "items": DESCRIPTOR},
                "url": {"type": "string"},
                "passedTests": NAMES,
                "warnedTests": NAMES,
                "failedTests": NAMES,
            },
        },
    },
}


# ------------------------------------------------------------------ keys


def pair_of(private, folder: Path, name: str, *, word: str | None = None) -> tuple[Path, Path]:
    """A key in two PEM files: private, and public."""
    lock = form.BestAvailableEncryption(word.encode()) if word else form.NoEncryption()
    secret, public = folder / f"{name}.pem", folder / f"{name}.pub"
    secret.write_bytes(private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))
    public.write_bytes(
        private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return secret, public


MAKERS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.fixture
def keys(tmp_path):
    """A folder for keys, beside the project."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return folder


@pytest.fixture
def own(keys):
    return pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "own")


@pytest.fixture
def other(keys):
    return pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "other")


def envelope_of(folder: Path) -> dict:
    return json.loads((folder / "seal.dsse.json").read_text(encoding="utf-8"))


def statement_of(folder: Path) -> dict:
    return json.loads(base64.b64decode(envelope_of(folder)["payload"], validate=True))


def root_of(folder: Path) -> str:
    return json.loads((folder / "seal.json").read_text(encoding="utf-8"))["root"]


def findings(project, *words: str) -> list[str]:
    done = project.cli("verify", *words, "--format=json")
    answer = json.loads(done.stdout)
    assert done.returncode == (1 if answer["findings"] else 0)
    return [each["kind"] for each in answer["findings"]]


def refused(done) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


# ------------------------------------------------------------------ what others make of it


def check_independently(public: Path, envelope: dict) -> None:
    """Check the first signature by the definition of DSSE, with nothing but cryptography."""
    kind, body = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    message = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key = form.load_pem_public_key(public.read_bytes())
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.key_size]
        key.verify(signature, message, ec.ECDSA(digest))
    else:
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        key.verify(signature, message, scheme, hashes.SHA256())


@pytest.mark.parametrize("kind", MAKERS)
def test_another_implementation_agrees(project, keys, other, kind):
    secret, public = pair_of(MAKERS[kind](), keys, kind)
    project.pipeline("true")
    run = project.start("work", "--sign", str(secret))
    envelope = envelope_of(run.folder)
    jsonschema.validate(envelope, ENVELOPE)
    jsonschema.validate(statement_of(run.folder), STATEMENT)
    check_independently(public, envelope)
    with pytest.raises(InvalidSignature):
        check_independently(public, {**envelope, "payload": base64.b64encode(b"{}").decode()})
    assert findings(project, "--key", str(public)) == []
    assert findings(project, "--key", str(other[1])) == ["bad-signature"]


@pytest.mark.parametrize(
    ("stages", "words", "result", "lists"),
    [
        (["true", "true"], (), "PASSED", (["s1", "s2"], [], [])),
        (["true", {"command": "false", "allowFailure": True}], (), "WARNED", (["s1"], ["s2"], [])),
        (["true", "true"], ("--only", "s1"), "WARNED", (["s1"], [], [])),
        (["true", "false", "true"], (), "FAILED", (["s1"], [], ["s2"])),
        (["kill -TERM $PPID; sleep 5"], (), "FAILED", ([], [], ["s1"])),
    ],
)
def test_a_statement_says_what_became_of_the_run(project, own, stages, words, result, lists):
    project.pipeline(*stages)
    project.cli("start", "work", *words, "--sign", str(own[0]))
    folder = project.runs()[-1]
    statement = statement_of(folder)
    jsonschema.validate(statement, STATEMENT)
    predicate = statement["predicate"]
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert predicate["configuration"] == [{"name": "work: plan", "digest": {"sha256": plan["digest"]}}]
    told = tuple(predicate[f"{name}Tests"] for name in ("passed", "warned", "failed"))
    assert (predicate["result"], told) == (
        result,
        tuple([f"work::{name}" for name in names] for names in lists),
    )
    seal = {"name": f"codex:task-1/{folder.name} seal", "digest": {"sha256": root_of(folder)}}
    assert statement["subject"] == [seal]


def test_a_statement_names_the_source_only_where_the_run_was_of_it(project, own, tmp_path):
    project.pipelines(work=[command("look", "true")], format=[command("change", "echo >> src/a.txt")])
    repo = repository_of(project.root, project.environment, tmp_path)

    def spoken_of(pipeline: str) -> list[str]:
        run = project.start(pipeline, "--sign", str(own[0]))
        source = json.loads((run.folder / "source.json").read_text(encoding="utf-8"))
        known = {"gitCommit": source["commit"], "gitTree": source["end_tree"]}
        digests = [each["digest"] for each in statement_of(run.folder)["subject"][1:]]
        assert all(known[kind] == value for digest in digests for kind, value in digest.items())
        return [kind for digest in digests for kind in digest]

    assert spoken_of("work") == ["gitCommit", "gitTree"]
    repo.write("src/a.txt", "not committed\n")
    assert spoken_of("work") == ["gitTree"]
    assert spoken_of("format") == []


# ------------------------------------------------------------------ ways to sign


def test_a_run_is_signed_where_the_variable_names_a_key(project, own):
    project.pipelines(work=["true", {"kind": "subpipeline", "id": "i", "pipeline": "inner"}], inner=["true"])
    variable = {"CODEX_ORCHESTRATOR_SIGN_KEY": str(own[0])}
    project.start("work", environment=variable)
    assert len(project.runs()) == 2
    assert findings(project, "--all", "--key", str(own[1])) == []
    project.pytest("--codex-pipeline", "inner", environment=variable)
    assert len(project.runs()) == 3
    assert findings(project, "--all", "--key", str(own[1])) == []


def test_a_path_in_the_variable_is_from_the_root_and_a_flag_from_here(project, keys, own):
    project.pipeline("true")
    below = project.root / "below"
    below.mkdir()
    done = project.cli(
        "start", "work", environment={"CODEX_ORCHESTRATOR_SIGN_KEY": "../keys/own.pem"}, cwd=below
    )
    assert done.returncode == 0, done.stderr
    assert project.cli("start", "work", "--sign", "../../keys/own.pem", cwd=below).returncode == 0
    assert project.cli("verify", "--all", "--key", "../../keys/own.pub", cwd=below).returncode == 0


def test_a_run_is_signed_later_and_by_several(project, own, other):
    project.pipeline("true")
    run = project.start("work")
    assert findings(project) == []
    assert findings(project, "--key", str(own[1])) == ["not-signed"]
    done = project.cli("sign", "--key", str(own[0]))
    (signature,) = envelope_of(run.folder)["signatures"]
    assert done.stdout.splitlines() == [
        f"Run signed: {run.folder.name}",
        f"Key: {signature['keyid']}",
        f"Signature: .runs/task-1/cli/{run.folder.name}/seal.dsse.json",
    ]
    answer = json.loads(project.cli("sign", "--key", str(other[0]), "--format=json").stdout)
    assert answer["keyid"] == envelope_of(run.folder)["signatures"][1]["keyid"]
    project.cli("sign", "--key", str(own[0]))  # Again: one signature for each key.
    assert len(envelope_of(run.folder)["signatures"]) == 2
    for _, public in (own, other):
        assert findings(project, "--key", str(public)) == []


def test_who_dies_in_signing_leaves_nothing_for_good(project, own):
    project.pipeline("true")
    run = project.start("work")
    left = run.folder / ".seal.dsse.json.99999-0a1b2c3d.tmp"
    left.write_bytes(b"{")
    assert findings(project) == []
    assert project.cli("sign", "--key", str(own[0])).returncode == 0
    assert not left.exists()


def test_any_of_several_keys_will_do(project, own, other):
    project.pipeline("true")
    project.start("work", "--sign", str(own[0]))
    assert findings(project, "--key", str(other[1]), "--key", str(own[1])) == []
    done = project.cli("verify", "--key", str(other[1]))
    path = f".runs/task-1/cli/{project.runs()[-1].name}/seal.dsse.json"
    assert f"bad-signature: {path}: It has no signature by {other[1]}.\n" in done.stdout


def test_only_what_holds_is_signed(project, own):
    project.pipeline("echo one")
    run = project.start("work")
    log = run.folder / "runner.ndjson"
    log.write_bytes(log.read_bytes().replace(b"one", b"two"))
    done = project.cli("sign", "--key", str(own[0]))
    assert done.returncode == 1
    assert f"changed: .runs/task-1/cli/{run.folder.name}/runner.ndjson" in done.stderr
    assert not (run.folder / "seal.dsse.json").exists()


def test_a_run_that_waits_is_signed_when_it_ends(project, own):
    project.pipeline("true", {"kind": "manual", "id": "ask"})
    project.cli("start", "work", "--sign", str(own[0]))
    (folder,) = project.runs()
    assert not (folder / "seal.dsse.json").exists()
    assert "is not sealed" in refused(project.cli("sign", "--key", str(own[0])))
    done = project.cli("approve", "--stage", "ask", "--resume", "--sign", str(own[0]))
    assert done.returncode == 0, done.stderr
    assert findings(project, "--key", str(own[1])) == []


def test_a_run_that_is_sealed_anew_loses_its_signature_or_gets_a_new_one(project, own):
    project.pipeline("test -e done")
    run = project.start("work", "--sign", str(own[0]))
    assert findings(project, "--key", str(own[1])) == []
    project.cli("resume")
    assert not (run.folder / "seal.dsse.json").exists()
    assert findings(project) == []
    assert findings(project, "--key", str(own[1])) == ["not-signed"]
    (project.root / "done").touch()
    project.cli("resume", "--token", "wrong")  # The attempt is recorded, and so sealed.
    project.cli("resume", "--sign", str(own[0]))
    assert statement_of(run.folder)["predicate"]["result"] == "PASSED"
    assert findings(project, "--key", str(own[1])) == []
    project.cli("resume", "--token", "wrong")
    assert findings(project) == []
    assert findings(project, "--key", str(own[1])) == ["not-signed"]
    project.cli("resume", "--sign", str(own[0]))  # It has succeeded: there is nothing left but to sign.
    assert findings(project, "--key", str(own[1])) == []


# ------------------------------------------------------------------ what is wrong


def test_a_signature_of_another_seal_does_not_count(project, own):
    project.pipeline("true")
    first, second = (project.start("work", "--sign", str(own[0])) for _ in range(2))
    (second.folder / "seal.dsse.json").write_bytes((first.folder / "seal.dsse.json").read_bytes())
    assert findings(project) == ["bad-signature"]
    assert findings(project, "--key", str(own[1])) == ["bad-signature"]
    assert project.cli("sign", "--key", str(own[0])).returncode == 0
    assert findings(project, "--key", str(own[1])) == []


def test_evidence_made_anew_has_no_signature(project, own):
    """What a seal cannot show: somebody makes up a whole run, its seal and the chain."""
    project.pipeline("false")
    run = project.start("work", "--sign", str(own[0]))
    signature = (run.folder / "seal.dsse.json").read_bytes()
    project.pipeline("true")
    project.cli("resume", "--accept-changes")  # An honest forger: another seal, which holds.
    (run.folder / "seal.dsse.json").write_bytes(signature)
    assert findings(project, "--key", str(own[1])) == ["bad-signature"]


@pytest.mark.parametrize(
    "change",
    [
        lambda envelope: {**envelope, "payloadType": "text/plain"},
        lambda envelope: {**envelope, "signatures": []},
        lambda envelope: {**envelope, "payload": "%"},
        lambda envelope: {**envelope, "payload": base64.b64encode(b"no JSON").decode()},
        lambda envelope: {**envelope, "payload": base64.b64encode(b"[]").decode()},
        lambda envelope: {**envelope, "signatures": [{"keyid": "a", "sig": "%"}]},
        lambda envelope: {**envelope, "signatures": [{"keyid": "a", "sig": "AAAA"}]},
        lambda envelope: [],
    ],
    ids=range(8),
)
def test_what_is_no_signature_is_told(project, own, change):
    project.pipeline("true")
    run = project.start("work", "--sign", str(own[0]))
    changed = json.dumps(change(envelope_of(run.folder)))
    (run.folder / "seal.dsse.json").write_text(changed, encoding="utf-8")
    assert set(findings(project, "--key", str(own[1]))) == {"bad-signature"}


def test_every_byte_of_what_is_signed_counts(project, own):
    project.pipeline("true")
    run = project.start("work", "--sign", str(own[0]))
    envelope = envelope_of(run.folder)
    payload = base64.b64decode(envelope["payload"])
    for place in range(0, len(payload), 97):
        flipped = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        forged = {**envelope, "payload": base64.b64encode(flipped).decode()}
        (run.folder / "seal.dsse.json").write_text(json.dumps(forged), encoding="utf-8")
        assert set(findings(project, "--key", str(own[1]))) == {"bad-signature"}, place


def test_what_a_key_says_of_itself_does_not_matter(project, own, other):
    """A key id is no part of what is signed: it may be left out, or be another's."""
    project.pipeline("true")
    run = project.start("work", "--sign", str(own[0]))
    envelope = envelope_of(run.folder)
    for keyid in ({}, {"keyid": ""}, {"keyid": "0" * 64}):
        signatures = [{**keyid, "sig": envelope["signatures"][0]["sig"]}]
        changed = json.dumps({**envelope, "signatures": signatures})
        (run.folder / "seal.dsse.json").write_text(changed, encoding="utf-8")
        assert findings(project, "--key", str(own[1])) == []
        assert findings(project, "--key", str(other[1])) == ["bad-signature"]


# ------------------------------------------------------------------ keys that are refused


def test_a_key_that_cannot_sign_is_refused_before_anything_runs(project, keys, own):
    wrong = {
        "absent.pem": None,
        "empty.pem": b"",
        "text.pem": b"-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n",
        "public.pem": own[1].read_bytes(),
    }
    for name, content in wrong.items():
        if content is not None:
            (keys / name).write_bytes(content)
    pair_of(ec.generate_private_key(ec.SECP256K1()), keys, "curve")
    pair_of(x25519.X25519PrivateKey.generate(), keys, "exchange")
    pair_of(rsa.generate_private_key(65537, 1024), keys, "short")
    pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "locked", word=WORD)
    project.pipeline("touch ran")
    for name in (*wrong, "curve.pem", "exchange.pem", "short.pem", "locked.pem", "."):
        told = refused(project.cli("start", "work", "--sign", f"../keys/{name}"))
        assert f"../keys/{name}" in told, name
        assert "Traceback" not in told
    variable = {"CODEX_ORCHESTRATOR_SIGN_KEY": "../keys/absent.pem"}
    assert "../keys/absent.pem" in refused(project.cli("start", "work", environment=variable))
    done = project.pytest("--codex-pipeline", "work", environment=variable)
    assert done.returncode == 4
    assert "../keys/absent.pem" in done.stderr
    assert not (project.root / "ran").exists()
    assert not (project.root / ".runs").exists()


def certificate(
    folder: Path, name: str, *, first: datetime.timedelta, last: datetime.timedelta
) -> tuple[Path, Path]:
    """A private key, and a certificate of its public one that is valid between two days from now."""
    private = ed25519.Ed25519PrivateKey.generate()
    secret, _ = pair_of(private, folder, name)
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ci")])
    made = (
        x509.CertificateBuilder(subject, subject, private.public_key(), 1)
        .not_valid_before(now + first)
        .not_valid_after(now + last)
        .sign(private, None)
    )
    path = folder / f"{name}.crt"
    path.write_bytes(made.public_bytes(form.Encoding.PEM))
    return secret, path


def test_a_certificate_checks_while_it_is_valid(project, keys):
    secret, public = certificate(keys, "now", first=-DAY, last=DAY)
    project.pipeline("true")
    project.start("work", "--sign", str(secret))
    assert findings(project, "--key", str(public)) == []
    _, expired = certificate(keys, "old", first=-2 * DAY, last=-DAY)
    assert f"The certificate in {expired} has expired at" in refused(
        project.cli("verify", "--key", str(expired))
    )
    _, early = certificate(keys, "new", first=DAY, last=2 * DAY)
    assert f"{early} is not valid before" in refused(project.cli("verify", "--key", str(early)))


def test_a_key_that_cannot_check_is_refused(project, keys, own):
    project.pipeline("true")
    project.start("work")
    (keys / "text.pub").write_bytes(b"no key")
    pair_of(ec.generate_private_key(ec.SECP256K1()), keys, "curve")
    pair_of(rsa.generate_private_key(65537, 1024), keys, "short")
    for name in ("absent.pub", "text.pub", "own.pem", "curve.pub", "short.pub"):
        for words in (("verify", "--key"), ("gate", "work", "--signed")):
            told = refused(project.cli(*words, f"../keys/{name}"))
            assert f"../keys/{name}" in told, (name, words)
    assert "holds a private key" in refused(project.cli("verify", "--key", "../keys/own.pem"))


# ------------------------------------------------------------------ secrets


def test_an_encrypted_key_is_opened_by_a_passphrase_that_nobody_else_learns(project, keys):
    secret, public = pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "locked", word=WORD)
    project.pipelines(
        work=["env", "cat /proc/$PPID/cmdline", {"kind": "subpipeline", "id": "i", "pipeline": "inner"}],
        inner=["env"],
    )
    variables = {
        "CODEX_ORCHESTRATOR_SIGN_KEY": str(secret),
        "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE": WORD,
    }
    done = project.cli("start", "work", environment=variables)
    assert done.returncode == 0, done.stderr
    assert findings(project, "--all", "--key", str(public)) == []
    written = [path for path in project.root.rglob("*") if path.is_file()]
    assert any(b"MCP_RUNNER_TASK_ID=task-1" in path.read_bytes() for path in written)
    for forbidden in (WORD.encode(), b"SIGN_KEY", b"SIGN_PASSPHRASE", str(secret).encode()):
        assert forbidden not in done.stdout.encode() + done.stderr.encode()
        assert not [path for path in written if forbidden in path.read_bytes()], forbidden
    wrong = {**variables, "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE": "close sesame"}
    told = refused(project.cli("start", "work", environment=wrong))
    assert "the passphrase does not open it" in told
    assert "sesame" not in told


@pytest.mark.parametrize("words", [("--codex-jobs", "2"), ("-n", "1")])
def test_no_engine_hands_the_passphrase_to_stages(project, keys, words):
    secret, public = pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "locked", word=WORD)
    project.pipeline("env", {"command": "env", "needs": []})
    variables = {
        "CODEX_ORCHESTRATOR_SIGN_KEY": str(secret),
        "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE": WORD,
    }
    done = project.pytest("--codex-pipeline", "work", *words, environment=variables)
    assert done.returncode == 0, done.stdout
    assert findings(project, "--key", str(public)) == []
    log = (project.runs()[-1] / "runner.ndjson").read_text(encoding="utf-8")
    assert "MCP_RUNNER_TASK_ID=task-1" in log
    assert "SIGN_" not in log
    assert WORD not in log


@needs_dask
def test_no_worker_of_a_cluster_hands_the_passphrase_to_stages(project, keys):
    secret, public = pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "locked", word=WORD)
    project.write(
        {
            "pipelines": [{"id": "work", "title": "Work", "stages": named(["env"])}],
            "cloud": {"environment": ["CODEX_ORCHESTRATOR_SIGN_KEY", "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE"]},
        }
    )
    variables = {
        "CODEX_ORCHESTRATOR_SIGN_KEY": str(secret),
        "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE": WORD,
    }
    words = ("--execution-mode", "cloud", "--cluster", "local:1")
    done = project.cli("start", "work", *words, environment=variables)
    assert done.returncode == 0, done.stderr
    assert findings(project, "--key", str(public)) == []
    log = (project.runs()[-1] / "runner.ndjson").read_text(encoding="utf-8")
    assert "MCP_RUNNER_TASK_ID=task-1" in log
    assert "SIGN_" not in log


def test_no_reviewer_gets_the_passphrase(project):
    pipeline = {"id": "work", "title": "Work", "stages": named(["true"])}
    project.write({"pipelines": [pipeline], "review": {"command": "env"}})
    project.start("work")
    variables = {"CODEX_ORCHESTRATOR_SIGN_KEY": "key.pem", "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE": WORD}
    done = project.cli("review", "--force", environment=variables)
    assert "MCP_RUNNER_TASK_ID=task-1" in done.stdout, done.stderr
    assert "SIGN_" not in done.stdout


def test_the_guard_hides_the_passphrase_and_not_the_name_of_the_key(project):
    project.pipeline(f"echo keys/absent.pem {WORD}")
    variables = {
        "CODEX_PRIVACY_GUARD_MODE": "enforce",
        "CODEX_ORCHESTRATOR_SIGN_KEY": "keys/absent.pem",
        "CODEX_ORCHESTRATOR_SIGN_PASSPHRASE": WORD,
    }
    assert "keys/absent.pem" in refused(project.cli("start", "work", environment=variables))
    variables["CODEX_ORCHESTRATOR_SIGN_KEY"] = ""
    run = project.start("work", environment=variables)
    log = (run.folder / "runner.ndjson").read_text(encoding="utf-8")
    assert "keys/absent.pem" in log
    assert WORD not in log


def test_a_key_in_the_place_of_its_path_is_not_repeated(project, own):
    content = own[0].read_text(encoding="utf-8")
    project.pipeline("true")
    done = project.cli("start", "work", environment={"CODEX_ORCHESTRATOR_SIGN_KEY": content})
    told = refused(done)
    assert "Name a file that holds it." in told
    assert not [line for line in content.splitlines() if line in told]


# ------------------------------------------------------------------ gate and export


def test_gate_asks_for_a_signature(project, own, other, tmp_path):
    project.pipeline("true", guardrailsRequired=False)
    repository_of(project.root, project.environment, tmp_path)
    project.start("work")
    assert project.cli("gate", "work").returncode == 0
    done = project.cli("gate", "work", "--signed", str(own[1]))
    assert done.returncode == 1
    assert "  not-signed: " in done.stdout
    project.cli("sign", "--key", str(own[0]))
    assert project.cli("gate", "work", "--signed", str(own[1])).returncode == 0
    assert project.cli("gate", "work", "--signed", str(other[1])).returncode == 1
    both = ("--signed", str(other[1]), "--signed", str(own[1]))
    assert project.cli("gate", "work", *both).returncode == 0


# ------------------------------------------------------------------ without the libraries


def test_without_the_extra_it_is_said_what_to_install(project, own):
    project.pipeline("true")
    project.start("work", "--sign", str(own[0]))
    block = project.root.parent / "blocked"
    block.mkdir()
    (block / "sitecustomize.py").write_text(
        "import importlib.util as util\nfound = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'securesystemslib' else found(name, *rest)\n",
        encoding="utf-8",
    )
    without = {"PYTHONPATH": str(block)}
    for words in (
        ("start", "work", "--sign", str(own[0])),
        ("sign", "--key", str(own[0])),
        ("verify", "--key", str(own[1])),
        ("gate", "work", "--signed", str(own[1])),
    ):
        told = refused(project.cli(*words, environment=without))
        assert 'pip install "codex-orchestrator[sign]"' in told, words
    # What needs no key needs no library.
    assert project.cli("verify", environment=without).returncode == 0
    assert project.cli("export", "--format", "in-toto", environment=without).returncode == 0


def test_nothing_is_imported_where_nothing_is_signed(project, own):
    project.pipeline("true")
    project.start("work", "--sign", str(own[0]))
    for words in (["start", "work"], ["verify"], ["export", "--format", "in-toto"]):
        probe = (
            "import sys\nfrom codex_orchestrator.cli import main\n"
            f"code = main({words!r})\n"
            "found = {'securesystemslib', 'cryptography'} & sys.modules.keys()\n"
            "sys.exit(f'{code} {found}' if code or found else 0)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe],
            cwd=project.root,
            env={**project.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------ on a terminal


def test_a_person_is_asked_for_the_passphrase(project, keys, terminal):
    secret, public = pair_of(ed25519.Ed25519PrivateKey.generate(), keys, "locked", word=WORD)
    project.pipeline("touch ran")
    for answer, code in (("wrong", 2), ("", 2), (WORD, 0)):
        shown = terminal("start", "work", "--quiet", "--sign", str(secret))
        shown.shows(f"Passphrase of {secret}: ")
        assert not (project.root / "ran").exists()
        shown.types(f"{answer}\n")
        assert shown.finish() == code
        assert not answer or answer not in shown.text  # It is not shown.
    assert findings(project, "--key", str(public)) == []
    shown = terminal("start", "work", "--no-interactive", "--sign", str(secret))
    assert shown.finish() == 2
    assert "its passphrase is not known" in shown.text
