"""The benchmark cases as data: a new case is a new entry of ``CASES``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .figures import Measure

PIPELINE = "bench"
TASK_ID = "bench"

_OUTPUT_BYTES = 50_000_000
_LINE = "x" * 99


@dataclass(frozen=True)
class Case:
    """One command line, measured for both tools in projects of the same shape.

    ``stages`` are the shell commands of the project's only pipeline. In ``arguments``, ``{pipeline}`` is
    the pipeline's id and ``{run}`` the id of a run made beforehand. A case that names ``{run}`` keeps one
    project and one run per tool, any other gets a fresh project for every process. ``starts_run`` demands
    a succeeded run in the project afterwards, with at least ``log_bytes`` bytes of stage logs; every other
    case demands ``expected_output`` (with the same stand-ins) on stdout. ``targets`` are the highest ratios,
    ours divided by Node's, that count as met.
    """

    key: str
    title: str
    stages: tuple[str, ...]
    arguments: tuple[str, ...]
    targets: Mapping[Measure, float] = field(default_factory=dict)
    starts_run: bool = False
    log_bytes: int = 0
    expected_output: str = ""

    @property
    def needs_run(self) -> bool:
        """Whether a run is made before the measuring begins."""
        return any("{run}" in argument for argument in self.arguments)

    def command_line(self, run_id: str) -> tuple[str, ...]:
        """The arguments with their stand-ins filled in; ``run_id`` may be empty where none is needed."""
        return tuple(argument.format(pipeline=PIPELINE, run=run_id) for argument in self.arguments)

    def output_fragment(self, run_id: str) -> str:
        """The text that stdout must hold, with its stand-ins filled in."""
        return self.expected_output.format(pipeline=PIPELINE, run=run_id)


START: tuple[str, ...] = ("start", "{pipeline}", "--format", "json")

CASES: tuple[Case, ...] = (
    Case(
        key="a",
        title="start, 4 stages of `true`",
        stages=("true",) * 4,
        arguments=START,
        targets={Measure.WALL: 0.85, Measure.MEMORY: 0.60},
        starts_run=True,
    ),
    Case(
        key="b",
        title="start, 100 stages of `true`",
        stages=("true",) * 100,
        arguments=START,
        targets={Measure.WALL: 0.55},
        starts_run=True,
    ),
    Case(
        key="c",
        title="status of a finished run",
        stages=("true",) * 4,
        arguments=("status", "--run", "{run}", "--format", "json"),
        targets={Measure.WALL: 0.40},
        expected_output="{run}",
    ),
    Case(
        key="d",
        title="plan of 4 stages",
        stages=("true",) * 4,
        arguments=("plan", "{pipeline}", "--format", "json"),
        targets={Measure.WALL: 0.55},
        expected_output="{pipeline}:stage-4",
    ),
    Case(
        key="e",
        title="start, one stage printing 50 MB",
        stages=(f"yes {_LINE} | head -c {_OUTPUT_BYTES}",),
        arguments=START,
        targets={Measure.WALL: 0.60, Measure.MEMORY: 0.25},
        starts_run=True,
        log_bytes=_OUTPUT_BYTES,
    ),
)


def configuration(case: Case) -> dict[str, object]:
    """The case's ``codex.orchestrator.json``, in the part of the format that both tools read alike."""
    stages = [
        {"kind": "command", "id": f"stage-{number}", "title": f"Stage {number}", "command": command}
        for number, command in enumerate(case.stages, start=1)
    ]
    return {"pipelines": [{"id": PIPELINE, "title": "Benchmark", "stages": stages}]}
