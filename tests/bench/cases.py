"""The benchmark cases as data: a new case is a new entry of ``CASES``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .figures import Limit, Measure, Target

PIPELINE = "bench"
TASK_ID = "bench"
NODE = "node"

_LINE = "x" * 99
_MEGABYTES_50 = 50_000_000
_GIGABYTE = 1_000_000_000
_MIB = 2**20
_PAST_RUNS = 10_000

START: tuple[str, ...] = ("start", "{pipeline}", "--format", "json")


@dataclass(frozen=True)
class Work:
    """One command line of a tool, in a project.

    ``stages`` are the shell commands of the project's only pipeline. In ``arguments``, ``{pipeline}`` is
    the pipeline's id and ``{run}`` the id of a run made beforehand. Every process gets a fresh project, but
    where a run or ``past_runs`` of them are made beforehand: then all share one. ``starts_run`` demands
    a succeeded run in the project afterwards, with at least ``log_bytes`` bytes of stage logs; all other
    work demands ``expected_output`` (with the same stand-ins) on stdout.
    """

    stages: tuple[str, ...]
    arguments: tuple[str, ...] = START
    starts_run: bool = True
    log_bytes: int = 0
    expected_output: str = ""
    past_runs: int = 0

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


@dataclass(frozen=True)
class Shell:
    """A command line for the shell, in an empty folder, where it leaves ``files`` of ``size`` bytes each."""

    command: str
    files: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Case:
    """Our tool's work beside that of a peer.

    ``peer`` names what stands beside it: ``node`` is the Node CLI at the same work, anything else is
    ``peer_work``, done by our own tool or by the shell. ``targets`` say what counts as met.
    """

    key: str
    title: str
    work: Work
    targets: Mapping[Measure, Target] = field(default_factory=dict)
    peer: str = NODE
    peer_work: Work | Shell | None = None


def _printing(size: int) -> str:
    return f"yes {_LINE} | head -c {size}"


_QUIET = Work(("true",))
_GIGABYTE_PRINTED = Work((_printing(_GIGABYTE),), log_bytes=_GIGABYTE)

CASES: tuple[Case, ...] = (
    Case(
        key="a",
        title="start, 4 stages of `true`",
        work=Work(("true",) * 4),
        targets={Measure.WALL: Target(0.85), Measure.MEMORY: Target(0.60)},
    ),
    Case(
        key="b",
        title="start, 100 stages of `true`",
        work=Work(("true",) * 100),
        targets={Measure.WALL: Target(0.55)},
    ),
    Case(
        key="c",
        title="status of a finished run",
        work=Work(
            ("true",) * 4,
            arguments=("status", "--run", "{run}", "--format", "json"),
            starts_run=False,
            expected_output="{run}",
        ),
        targets={Measure.WALL: Target(0.40)},
    ),
    Case(
        key="d",
        title="plan of 4 stages",
        work=Work(
            ("true",) * 4,
            arguments=("plan", "{pipeline}", "--format", "json"),
            starts_run=False,
            expected_output="{pipeline}:stage-4",
        ),
        targets={Measure.WALL: Target(0.55)},
    ),
    Case(
        key="e",
        title="start, one stage printing 50 MB",
        work=Work((_printing(_MEGABYTES_50),), log_bytes=_MEGABYTES_50),
        targets={Measure.WALL: Target(0.60), Measure.MEMORY: Target(0.25)},
    ),
    Case(
        key="f",
        title="start, one stage printing 1 GB",
        work=_GIGABYTE_PRINTED,
        # Half the throughput of a program that does nothing but write the same bytes twice.
        targets={Measure.WALL: Target(2.00)},
        peer="tee a b",
        peer_work=Shell(f"{_printing(_GIGABYTE)} | tee a b >/dev/null", ("a", "b"), _GIGABYTE),
    ),
    Case(
        key="g",
        title="start, with 10 000 past runs",
        work=Work(("true",), past_runs=_PAST_RUNS),
        targets={Measure.WALL: Target(1.10), Measure.MEMORY: Target(1.10)},
        peer="no past",
        peer_work=_QUIET,
    ),
    Case(
        key="h",
        title="start, one stage printing 1 GB",
        work=_GIGABYTE_PRINTED,
        targets={Measure.MEMORY: Target(16 * _MIB, Limit.GROWTH)},
        peer="quiet",
        peer_work=_QUIET,
    ),
)


def configuration(work: Work) -> dict[str, object]:
    """The work's ``codex.orchestrator.json``, in the part of the format that both tools read alike."""
    stages = [
        {"kind": "command", "id": f"stage-{number}", "title": f"Stage {number}", "command": command}
        for number, command in enumerate(work.stages, start=1)
    ]
    return {"pipelines": [{"id": PIPELINE, "title": "Benchmark", "stages": stages}]}
