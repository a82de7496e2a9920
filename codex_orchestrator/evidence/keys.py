"""Keys that runs are signed and checked with: the one module that knows the libraries for that.

Nothing here is cryptography of our own: securesystemslib makes and checks signatures, cryptography reads PEM.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_orchestrator import named
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced, UsageError
from codex_orchestrator.model.attestation import PAYLOAD_TYPE, EnvelopeSignature

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

_MOST_BYTES = 64 * 1024
_KINDS = "an Ed25519, ECDSA (P-256, P-384 or P-521) or RSA key"
_FEWEST_BITS = 2048  # Of RSA: signatures by shorter keys can be made up.
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class SigningKey:
    """A private key that is ready to sign."""

    signer: CryptoSigner

    def sign(self, payload: bytes) -> EnvelopeSignature:
        """Sign a payload as DSSE has it: its type is signed with it."""
        made = self.signer.sign(_signed_bytes(payload))
        return EnvelopeSignature(keyid=made.keyid, sig=b64encode(bytes.fromhex(made.signature)).decode())


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Attributes:
        name: The file that it was read from, as the user has named it.
        key: The key.
    """

    name: str
    key: SSlibKey

    def has_signed(self, payload: bytes, signatures: Sequence[EnvelopeSignature]) -> bool:
        """Whether one of the signatures is this key's; whose they say to be does not matter."""
        from securesystemslib.exceptions import UnverifiedSignatureError
        from securesystemslib.signer import Signature

        message = _signed_bytes(payload)
        for one in signatures:
            try:
                found = Signature(self.key.keyid, b64decode(one.sig, validate=True).hex())
                self.key.verify_signature(found, message)
            except (ValueError, UnverifiedSignatureError):
                continue
            return True
        return False


def load_signing_key(path: Path, name: str, passphrase: Callable[[], str | None]) -> SigningKey:
    """A private key from its PEM file.

    Args:
        path: The file.
        name: As the user has named it.
        passphrase: Asked for where the key is encrypted; None where nobody knows it.

    Raises:
        UsageError: What signs is not installed; the file cannot be read, or holds no such key; or the
            passphrase does not open it.
    """
    _require_libraries()
    from cryptography.exceptions import UnsupportedAlgorithm
    from securesystemslib.signer import CryptoSigner

    pem = _read(path, name)
    try:
        private = _private_key(name, pem, passphrase)
        _require_strength(name, private)
        return SigningKey(CryptoSigner(private))
    except (ValueError, UnsupportedAlgorithm) as error:
        what = (
            "holds a public key" if b" PUBLIC KEY-----" in pem or _CERTIFICATE in pem else "holds no such key"
        )
        raise UsageError(
            f"{name} cannot be signed with: it {what}.",
            hint=f"Name one with {_KINDS}, private and in PEM.",
        ) from error


def load_public_key(path: Path, name: str, *, now: float) -> PublicKey:
    """A public key from its PEM file, or that of a certificate.

    Args:
        path: The file.
        name: As the user has named it.
        now: The moment at which a certificate must be valid, as epoch seconds.

    Raises:
        UsageError: What checks is not installed; the file cannot be read, or holds no such key; or the
            certificate is not valid now.
    """
    _require_libraries()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    pem = _read(path, name)
    try:
        key = _certified(name, pem, now) if _CERTIFICATE in pem else load_pem_public_key(pem)
        _require_strength(name, key)
        return PublicKey(name, SSlibKey.from_crypto(key))
    except (ValueError, UnsupportedAlgorithm) as error:
        what = "holds a private key" if b" PRIVATE KEY-----" in pem else "holds no such key"
        raise UsageError(
            f"{name} cannot be checked with: it {what}.",
            hint=f"Name one with {_KINDS}, public and in PEM.",
        ) from error


def _private_key(name: str, pem: bytes, passphrase: Callable[[], str | None]) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, None)
    except TypeError:  # It is encrypted.
        word = passphrase()
    if not word:
        raise UsageError(
            f"{name} is encrypted, and its passphrase is not known.",
            hint="Set CODEX_ORCHESTRATOR_SIGN_PASSPHRASE, or sign on a terminal, which asks for it.",
        )
    try:
        return load_pem_private_key(pem, word.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise UsageError(f"{name} is encrypted, and the passphrase does not open it.") from error


def _require_strength(name: str, key: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    if isinstance(key, RSAPrivateKey | RSAPublicKey) and key.key_size < _FEWEST_BITS:
        raise UsageError(
            f"The RSA key in {name} has {key.key_size} bits, which are too few.",
            hint=f"Name one with {_FEWEST_BITS} bits or more.",
        )


def _certified(name: str, pem: bytes, now: float) -> Any:
    """The key of a certificate: who has issued it is not looked at, as the user has named the file."""
    from cryptography.x509 import load_pem_x509_certificate

    certificate = load_pem_x509_certificate(pem)
    moment = datetime.fromtimestamp(now, UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if moment < first:
        raise UsageError(f"The certificate in {name} is not valid before {first:%Y-%m-%d %H:%M} UTC.")
    if moment > last:
        raise UsageError(f"The certificate in {name} has expired at {last:%Y-%m-%d %H:%M} UTC.")
    return certificate.public_key()


def _signed_bytes(payload: bytes) -> bytes:
    from securesystemslib.dsse import Envelope

    return Envelope(payload, PAYLOAD_TYPE, {}).pae()


def _require_libraries() -> None:
    if any(find_spec(name) is None for name in ("securesystemslib", "cryptography")):
        raise UsageError(
            "Signatures need securesystemslib with cryptography, which is not installed.",
            hint='Install it with: pip install "codex-orchestrator[sign]"',
        )


def _read(path: Path, name: str) -> bytes:
    if "-----BEGIN" in name:
        # It must not be repeated to anybody.
        raise UsageError("What names the key is a key itself.", hint="Name a file that holds it.")
    try:
        return named.read(path, at_most=_MOST_BYTES)
    except Misplaced as error:
        raise UsageError(f"The key {name} cannot be read: {error.message}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"The key {name} cannot be read: {reason}.") from error
