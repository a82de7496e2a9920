"""The shape of ``seal.dsse.json``: a DSSE envelope (docs/reference/files.md, "Signatures")."""

from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import STRICT, Bounds
from codex_orchestrator.model.manifest import Name

PAYLOAD_TYPE: Literal["application/vnd.in-toto+json"] = "application/vnd.in-toto+json"


@dataclass(frozen=True, kw_only=True)
class EnvelopeSignature:
    """A signature, in Base64, and the id of the key that it says to be by: a hint, and nothing more."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    keyid: str = ""
    sig: Name


@dataclass(frozen=True)
class Envelope:
    """``seal.dsse.json``: a statement in Base64, and who has signed it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    payload: Name
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815 - as DSSE has it
    signatures: Annotated[tuple[EnvelopeSignature, ...], Bounds(min_length=1)]
