"""Signs the seals of runs, and checks who has (docs/reference/files.md, "Signatures")."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from codex_orchestrator import places
from codex_orchestrator.errors import Misplaced, StorageError, UsageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.sealing import is_being_sealed, read_seal
from codex_orchestrator.evidence.statements import run_statement
from codex_orchestrator.model.attestation import PAYLOAD_TYPE, Envelope
from codex_orchestrator.model.canonical import canonical_json
from codex_orchestrator.model.codec import Mismatch, dumps, from_json, loads, to_json
from codex_orchestrator.rules.flaws import Flaw, FlawKind
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.statement import names_evidence

if TYPE_CHECKING:  # Only who signs or checks has the libraries.
    from codex_orchestrator.evidence.keys import PublicKey, SigningKey


def sign_run(layout: RunLayout, key: SigningKey) -> Envelope:
    """Sign a run's seal, for who holds the run's lock; what others have signed of this seal stays.

    Raises:
        UsageError: The run is not sealed, or its manifest cannot be read.
        StorageError: The disk refused.
    """
    require_sealed(layout)
    payload = canonical_json(run_statement(layout))
    own = key.sign(payload)
    known = _read_or_none(layout)
    signed = known.signatures if known is not None and b64decode(known.payload) == payload else ()
    others = tuple(one for one in signed if one.keyid != own.keyid)
    envelope = Envelope(b64encode(payload).decode(), PAYLOAD_TYPE, (*others, own))
    # Of who has died at this, whom no later run sweeps after.
    files.remove_temporaries(layout.folder, below=layout.base, of=layout.signature.name)
    files.replace(layout.signature, dumps(to_json(envelope)).encode(), below=layout.base)
    return envelope


def require_sealed(layout: RunLayout) -> None:
    """Refuse a run that has no seal, or none that stays.

    Raises:
        UsageError: That is so.
    """
    seal = read_seal(layout)
    if seal is None or is_being_sealed(layout) or read_manifest(layout).get("status") != seal.status:
        raise UsageError(
            f"Run {layout.run_id} is not sealed, so that there is nothing to sign.",
            hint="A run is sealed when it has ended.",
        )


def check_signature(layout: RunLayout, keys: Sequence[PublicKey] = ()) -> Iterator[Flaw]:
    """What is wrong with the signature of a run.

    Args:
        layout: The run.
        keys: Public keys, one of which must have signed; without any, a run need not be signed, and of a
            signature only what it speaks of is looked at.
    """

    def flaw(kind: FlawKind, message: str) -> Flaw:
        return Flaw(kind, layout.relative(layout.signature), message, layout.run_id)

    try:
        envelope = _read(layout)
    except FileNotFoundError:
        if keys:
            yield flaw("not-signed", "The run was not signed, or was sealed anew since.")
        return
    except (OSError, Misplaced) as error:
        yield flaw("unreadable", f"{error}")
        return
    except (ValueError, Mismatch):
        yield flaw("bad-signature", "It is not of the shape of a signature.")
        return
    seal = read_seal(layout)
    payload = b64decode(envelope.payload)
    if seal is None or not names_evidence(_document(payload), seal.computed_root()):
        yield flaw("bad-signature", "It is of another seal than the run's.")
    if keys and not any(key.has_signed(payload, envelope.signatures) for key in keys):
        named = ", ".join(key.name for key in keys)
        yield flaw("bad-signature", f"It has no signature by {'' if len(keys) == 1 else 'any of '}{named}.")


def _read(layout: RunLayout) -> Envelope:
    """The envelope of a run.

    Raises:
        OSError: It cannot be read, or is not there.
        ValueError: It is no envelope; or `Mismatch`.
        Misplaced: What lies there is not opened.
    """
    envelope: Envelope = from_json(
        Envelope, loads(places.read(layout.signature, below=layout.base)), strict=False
    )
    b64decode(envelope.payload, validate=True)
    return envelope


def _read_or_none(layout: RunLayout) -> Envelope | None:
    try:
        return _read(layout)
    except (OSError, ValueError, Mismatch, StorageError):
        return None


def _document(payload: bytes) -> object:
    try:
        return loads(payload)
    except ValueError:
        return None
