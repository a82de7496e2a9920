"""What a run's evidence says of its request (docs/reference/manifest.md, "Control plane").

`run_request` builds requests and finds what is wrong with them. Annotations are real types here, as `codec`
reads them.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import OMIT_NONE, STRICT, Bounds

SCHEMA = "codex.control-plane.run-request"
VERSION = "2.0.0"
REFUSED = "control-plane-validation-failed"

EnforcementMode = Literal["shadow", "enforce"]
Found = Literal["passed", "failed"]
Samples = Annotated[int, Bounds(ge=0)]

_TOLD = 5


@dataclass(frozen=True)
class RequestProblem:
    """One thing that is wrong with a request, with its JSON path from ``$`` on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    path: str
    message: str


@dataclass(frozen=True)
class RequestValidation:
    """How a request was found."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    mode: EnforcementMode
    status: Found
    timestamp: str
    errors: tuple[RequestProblem, ...]


@dataclass(frozen=True)
class Drift:
    """How the requests of the task were found so far."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    report_path: str | None
    total_samples: Samples
    invalid_samples: Samples
    invalid_rate: float
    last_sampled_at: str | None
    mode: EnforcementMode


@dataclass(frozen=True)
class Enforcement:
    """Whether a request that is not valid is refused, and since when in this run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    enabled: bool
    activated_at: str | None


@dataclass(frozen=True)
class ControlPlane:
    """The manifest's ``control_plane``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    schema_id: str
    schema_version: str
    request_id: str
    validation: RequestValidation
    drift: Drift | None = field(default=None, metadata={OMIT_NONE: True})
    enforcement: Enforcement | None = field(default=None, metadata={OMIT_NONE: True})

    @property
    def refuses(self) -> bool:
        """Whether the run may not run anything."""
        return self.validation.mode == "enforce" and self.validation.status == "failed"

    @property
    def summary(self) -> str:
        """What was found, on one line for people."""
        errors = self.validation.errors
        found = "; ".join(f"{error.path} {error.message}" for error in errors[:_TOLD])
        more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
        return f"Control plane validation failed: {found}{more}."


def control_plane_of(
    request_id: str, problems: Sequence[RequestProblem], *, mode: EnforcementMode, timestamp: str
) -> ControlPlane:
    """What the manifest says of a request.

    Args:
        request_id: The run's id.
        problems: All that is wrong with the request.
        mode: What is done about them.
        timestamp: When the request was checked.
    """
    enforced = mode == "enforce"
    status: Found = "failed" if problems else "passed"
    return ControlPlane(
        schema_id=SCHEMA,
        schema_version=VERSION,
        request_id=request_id,
        validation=RequestValidation(mode, status, timestamp, tuple(problems)),
        enforcement=Enforcement(enforced, timestamp if enforced else None),
    )
