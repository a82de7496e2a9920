"""The shape of ``bundle.json`` (docs/reference/files.md, "Bundles")."""

from dataclasses import field
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.canonical import canonical_json
from codex_orchestrator.model.codec import STRICT, Bounds, to_json
from codex_orchestrator.model.manifest import Name, Natural
from codex_orchestrator.model.seal import SealedFile, SealTool

KeptLogs = Literal["none", "failed", "all"]


@dataclass(frozen=True)
class BundledRun:
    """A run in a bundle."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    task_id: Name
    run_id: Name
    root: str | None


@dataclass(frozen=True)
class LeftOut:
    """A file that was sealed and is not in the bundle."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    path: Name
    size: Natural
    sha256: Name
    reason: Literal["logs", "link", "name", "elsewhere"]


@dataclass(frozen=True, kw_only=True)
class BundleList:
    """``bundle.json``: what no seal says of a bundle's content."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    version: Annotated[int, Bounds(ge=1, le=1)] = 1
    logs: KeptLogs
    tool: SealTool
    runs: tuple[BundledRun, ...]
    files: tuple[SealedFile, ...]
    left_out: tuple[LeftOut, ...]
    root: str = field(default="")

    def computed_root(self) -> str:
        """The digest that its root must be."""
        document = to_json(self)
        del document["root"]
        return sha256(canonical_json(document)).hexdigest()
