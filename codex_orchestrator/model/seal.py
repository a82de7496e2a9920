"""The shapes of ``seal.json`` and of ``seals.ndjson`` (docs/reference/files.md, "Seals")."""

from dataclasses import field
from hashlib import sha256
from typing import Annotated, Any, ClassVar

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.canonical import canonical_json
from codex_orchestrator.model.codec import STRICT, Bounds, to_json
from codex_orchestrator.model.manifest import Name, Natural, RunStatus


@dataclass(frozen=True)
class SealedFile:
    """A file as it was when the run was sealed."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    path: Name
    size: Natural
    sha256: Name


@dataclass(frozen=True)
class SealRef:
    """A seal, named."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name
    root: Name


@dataclass(frozen=True)
class SealSource:
    """The source, as ``source.json`` has it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    commit: str | None
    start_tree: str | None
    end_tree: str | None


@dataclass(frozen=True)
class SealTool:
    """What has sealed."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    name: Name
    version: Name


@dataclass(frozen=True, kw_only=True)
class SealDraft:
    """A run as it is to be sealed: what is left of the seal is known when its turn comes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    version: Annotated[int, Bounds(ge=1, le=1)] = 1
    task_id: Name
    run_id: Name
    pipeline_id: Name
    status: RunStatus
    plan_digest: Name
    partial: bool
    source: SealSource
    tool: SealTool
    files: tuple[SealedFile, ...]

    def file(self, path: str) -> SealedFile | None:
        """What is known of a file, or None."""
        return next((one for one in self.files if one.path == path), None)


@dataclass(frozen=True, kw_only=True)
class Seal(SealDraft):
    """``seal.json``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    previous: SealRef | None
    supersedes: str | None
    sealed_at: str
    root: str = field(default="")

    def body(self) -> bytes:
        """What the root is the digest of."""
        document = to_json(self)
        del document["root"]
        return canonical_json(document)

    def computed_root(self) -> str:
        """The root that it must have."""
        return sha256(self.body()).hexdigest()

    def is_of(self, draft: SealDraft) -> bool:
        """Whether a draft has become this seal."""
        own = to_json(self)
        return all(own[key] == value for key, value in to_json(draft).items())

    def line(self) -> "SealLine":
        """Its line in the chain."""
        return SealLine(self.run_id, self.root, self.previous, self.sealed_at)


@dataclass(frozen=True)
class SealLine:
    """A line of ``seals.ndjson``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    run_id: Name
    root: Name
    previous: SealRef | None
    sealed_at: str

    @property
    def ref(self) -> SealRef:
        """The seal that it stands for."""
        return SealRef(self.run_id, self.root)
