"""The shapes of ``codex.orchestrator.json`` (docs/reference/configuration.md, "The file").

Annotations are real types here (no postponed evaluation): `codec` reads them directly and
pydantic makes the JSON Schema from them.
"""

from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import CAMEL, OMIT_NONE, Bounds, OneOf

# A year: what is longer is a mistake, and the kernel's own timers would refuse it.
Seconds = Annotated[float, Bounds(gt=0, le=31_536_000)]
# Far beyond use, and yet a number that all of what we write can hold.
LARGEST = 1_000_000_000
Count = Annotated[int, Bounds(ge=1, le=LARGEST)]
Name = Annotated[str, Bounds(min_length=1)]
ExecutionMode = Literal["mcp", "cloud"]

STREAM_BYTES = 65_536
ERROR_DETAIL_BYTES = 8_192
ERROR_FILE_BYTES = 10_240


@dataclass(frozen=True, kw_only=True)
class Session:
    """A label that groups commands in the event log."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    id: Name | None = None
    persist: bool = False
    reuse: bool = False


@dataclass(frozen=True, kw_only=True)
class PlanHints:
    """What a stage tells the planner."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    runnable: bool | None = None
    default_target: bool | None = None
    aliases: tuple[str, ...] = ()
    requires_cloud: bool | None = None
    execution_mode: str | None = None


@dataclass(frozen=True, kw_only=True)
class Expect:
    """What a command has to show beside its exit code: all that is said here."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    junit: Name | None = field(default=None, metadata={OMIT_NONE: True})
    tests: Count | None = field(default=None, metadata={OMIT_NONE: True})
    pattern: Name | None = field(default=None, metadata={OMIT_NONE: True})
    files: tuple[Name, ...] | None = field(default=None, metadata={OMIT_NONE: True})


@dataclass(frozen=True, kw_only=True)
class CommandStage:
    """A shell command."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    kind: Literal["command"]
    id: Name
    title: Name
    command: Name
    cwd: str | None = None
    env: dict[str, str] | None = None
    allow_failure: bool = False
    summary_hint: str | None = None
    timeout_seconds: Seconds | None = None
    retries: Annotated[int, Bounds(ge=0, le=LARGEST)] = 0
    session: Session | None = None
    needs: tuple[str, ...] | None = None
    execution_mode: str | None = None
    requires_cloud: bool | None = None
    resources: dict[str, Count] | None = None
    plan: PlanHints | None = None
    # Left out where there is none, so that plans made before there were any keep their digests.
    skip: Name | None = field(default=None, metadata={OMIT_NONE: True})
    inputs: tuple[Name, ...] | None = field(default=None, metadata={OMIT_NONE: True})
    outputs: tuple[Name, ...] | None = field(default=None, metadata={OMIT_NONE: True})
    expect: Expect | None = field(default=None, metadata={OMIT_NONE: True})


@dataclass(frozen=True, kw_only=True)
class SubpipelineStage:
    """Another pipeline, run as a child."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    kind: Literal["subpipeline"]
    id: Name
    title: Name
    pipeline: Name
    optional: bool = False
    needs: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ManualStage:
    """A person's decision."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    kind: Literal["manual"]
    id: Name
    title: Name
    instructions: str | None = None
    policy: Literal["any", "human"] = "any"
    expires_seconds: Seconds | None = None
    needs: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class StageSetRef:
    """The stages of a named set, in place."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    kind: Literal["stage-set"]
    ref: Name


Stage = CommandStage | SubpipelineStage | ManualStage
AnyStage = Annotated[Stage, OneOf("kind")]
WrittenStage = Annotated[Stage | StageSetRef, OneOf("kind")]


@dataclass(frozen=True, kw_only=True)
class PipelineDefinition:
    """A pipeline as written, its sets not yet expanded."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    id: Name
    title: Name
    description: str | None = None
    tags: tuple[str, ...] | None = None
    guardrails_required: bool | None = None
    keep_going: bool = False
    stages: tuple[WrittenStage, ...]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A pipeline whose stage sets are expanded: what is planned and run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    id: Name
    title: Name
    description: str | None
    tags: tuple[str, ...] | None
    guardrails_required: bool | None
    # Left out where it is not so, as the digest of a pipeline that does not ask for it is older than the key.
    keep_going: bool | None = field(default=None, metadata={OMIT_NONE: True})
    stages: tuple[AnyStage, ...]

    def stage(self, stage_id: str) -> Stage:
        """The stage of that id; the caller knows that it is there."""
        return next(stage for stage in self.stages if stage.id == stage_id)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what is kept in memory, in error files and, where it is set, in logs, in bytes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    stream_bytes: Annotated[int, Bounds(ge=1, le=STREAM_BYTES)] = STREAM_BYTES
    error_detail_bytes: Annotated[int, Bounds(ge=1, le=ERROR_DETAIL_BYTES)] = ERROR_DETAIL_BYTES
    error_file_bytes: Annotated[int, Bounds(ge=1_024, le=ERROR_FILE_BYTES)] = ERROR_FILE_BYTES
    log_bytes: Annotated[int, Bounds(ge=STREAM_BYTES)] | None = None


@dataclass(frozen=True, kw_only=True)
class PrivacyRule:
    """A further rule of the privacy guard."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    name: Name
    pattern: Name
    action: Literal["redact", "block"] = "redact"


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """Rules beyond the built-in ones, and variables that hold secrets whatever their names say."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    rules: tuple[PrivacyRule, ...] = ()
    variables: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReviewSettings:
    """The command that reviews a hand-off."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    command: Name | None = None


@dataclass(frozen=True, kw_only=True)
class SpecGuardSettings:
    """Code paths beyond src, app, server and migrations."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    paths: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DiffGuardSettings:
    """The diff budget."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    files: Count = 25
    lines: Count = 800
    bytes: Count = 1_048_576


@dataclass(frozen=True, kw_only=True)
class DocsGuardSettings:
    """What the docs guard does not look for, and how long the task list may be."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    ignore: tuple[Name, ...] = ()
    tasks_lines: Count = 450


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """Settings of the built-in guards."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    base: Name | None = None
    left_out: tuple[Name, ...] = ()
    counted: tuple[Name, ...] = ()
    spec: SpecGuardSettings = SpecGuardSettings()
    docs: DocsGuardSettings = DocsGuardSettings()
    diff: DiffGuardSettings = DiffGuardSettings()


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """The cluster that runs the stages whose mode is cloud, and what travels to it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    address: Name | None = None
    workspace: Literal["shared", "snapshot", "auto"] = "auto"
    connect_seconds: Seconds = 10
    loss_seconds: Annotated[float, Bounds(ge=1, le=31_536_000)] = 30
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()
    environment: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """``codex.orchestrator.json`` as a whole."""

    __pydantic_config__: ClassVar[dict[str, Any]] = CAMEL
    schema_: str | None = None
    task_id: Name | None = None
    default_pipeline: Name | None = None
    pipelines: tuple[PipelineDefinition, ...] = ()
    stage_sets: dict[str, tuple[WrittenStage, ...]] = field(default_factory=dict)
    limits: Limits = Limits()
    privacy: PrivacySettings = PrivacySettings()
    review: ReviewSettings = ReviewSettings()
    guards: GuardSettings = GuardSettings()
    cloud: CloudSettings = CloudSettings()
    resources: dict[str, Count] | None = None
    plugins: tuple[Name, ...] = ()
    tasks: dict[str, str] | None = None
