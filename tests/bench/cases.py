"""The benchmark cases as data: a new case is a new entry of ``CASES``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .figures import Limit, Measure, Target
from .graph import CRITICAL_PATH_SECONDS, GRAPH
from .work import (
    START,
    EmptyTests,
    Make,
    Shell,
    Stage,
    StageCost,
    Tree,
    Work,
    back_to_front,
    in_turn,
    independent,
)

NODE = "node"

_LINE = "x" * 99
_MEGABYTES_50 = 50_000_000
_MEGABYTES_100 = 100_000_000
_GIGABYTE = 1_000_000_000
_MIB = 2**20
_PAST_RUNS = 10_000


@dataclass(frozen=True)
class Case:
    """Our tool's work beside that of a peer.

    ``peer`` names what stands beside it: ``node`` is the Node CLI at the same work, anything else is
    ``peer_work``, done by our own tool, by pytest alone, by the shell or by GNU make. ``targets`` say what
    counts as met.
    """

    key: str
    title: str
    work: Work | StageCost
    targets: Mapping[Measure, Target] = field(default_factory=dict)
    peer: str = NODE
    peer_work: Work | StageCost | EmptyTests | Shell | Make | None = None


def _printing(size: int) -> str:
    return f"yes {_LINE} | head -c {size}"


def _within(path_seconds: float, seconds_more: float) -> Target:
    """The time of the stages that must follow each other, a twentieth more, and what a process costs."""
    return Target(1.05 * path_seconds + seconds_more, Limit.VALUE)


def _planned(stages: tuple[Stage, ...]) -> Work:
    """The plan of stages, of which it has to name the last."""
    return Work(
        stages,
        arguments=("plan", "{pipeline}", "--format", "json"),
        starts_run=False,
        expected_output=f"{{pipeline}}:{stages[-1].id}",
    )


_QUIET = Work(in_turn("true"))
_HUNDRED = Work(in_turn(*("true",) * 100))
_THOUSAND = Work(in_turn(*("true",) * 1_000))
_TWO_THOUSAND = Work(in_turn(*("true",) * 2_000))
_FOUR = in_turn(*("true",) * 4)
_STATUS = Work(
    _FOUR,
    arguments=("status", "--run", "{run}", "--format", "json"),
    starts_run=False,
    expected_output="{run}",
)
_RUNS = replace(_STATUS, arguments=("runs", "--limit", "20", "--format", "json"))
_GIGABYTE_PRINTED = Work(in_turn(_printing(_GIGABYTE)), log_bytes=_GIGABYTE)
_HUNDRED_APART = independent(*("true",) * 100)
_HUNDRED_IN_PAIRS = Work(_HUNDRED_APART, arguments=(*START, "--jobs", "2"))


def _there(work: Work, workers: int = 2) -> Work:
    """The same on a cluster of this machine, which is started for the run."""
    return replace(work, arguments=(*START, "--execution-mode", "cloud", "--cluster", f"local:{workers}"))


def _here(work: Work, workers: int = 2) -> Work:
    """The same in threads of the process."""
    return replace(work, arguments=(*START, "--jobs", str(workers)))


_EIGHT, _EIGHTY, _EIGHT_HUNDRED = (Work(independent(*("true",) * count)) for count in (8, 80, 800))
_EIGHT_ASLEEP = Work(independent(*("sleep 0.05",) * 8))
_EIGHT_HUNDRED_ASLEEP = Work(independent(*("sleep 0.05",) * 800))
_PRINTED_ONCE, _PRINTED_TWICE = (
    Work(in_turn(*(_printing(_MEGABYTES_100),) * count), log_bytes=count * _MEGABYTES_100) for count in (1, 2)
)
_IN_A_TREE = Work(in_turn("true"), tree=Tree(5_000), workspace="snapshot")
_IN_A_KNOWN_TREE = replace(_IN_A_TREE, tree=Tree(5_000, changed=3))

CASES: tuple[Case, ...] = (
    Case(
        key="a",
        title="start, 4 stages of `true`",
        work=Work(_FOUR),
        targets={Measure.WALL: Target(0.60), Measure.MEMORY: Target(0.60)},
    ),
    Case(
        key="b",
        title="start, 100 stages of `true`",
        work=_HUNDRED,
        targets={Measure.WALL: Target(0.40)},
    ),
    Case(
        key="c",
        title="status of a finished run",
        work=_STATUS,
        targets={Measure.WALL: Target(0.20)},
    ),
    Case(
        key="d",
        title="plan of 4 stages",
        work=_planned(_FOUR),
        targets={Measure.WALL: Target(0.25)},
    ),
    Case(
        key="e",
        title="start, one stage printing 50 MB",
        work=Work(in_turn(_printing(_MEGABYTES_50)), log_bytes=_MEGABYTES_50),
        targets={Measure.WALL: Target(0.35), Measure.MEMORY: Target(0.15)},
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
        work=Work(in_turn("true"), past_runs=_PAST_RUNS),
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
    Case(
        key="i",
        title="start --jobs 4, a graph of 8 stages",
        work=Work(GRAPH, arguments=(*START, "--jobs", "4")),
        targets={Measure.WALL: _within(CRITICAL_PATH_SECONDS, 0.25)},
        peer="make -j4",
        peer_work=Make(GRAPH, jobs=4),
    ),
    Case(
        key="j",
        title="pytest -n 4, the same graph",
        work=Work(GRAPH, arguments=("--codex-pipeline={pipeline}", "-n", "4"), through_pytest=True),
        targets={Measure.WALL: _within(CRITICAL_PATH_SECONDS, 0.8)},
        peer="make -j4",
        peer_work=Make(GRAPH, jobs=4),
    ),
    Case(
        key="k",
        title="start --jobs 2, 100 independent `true`",
        work=_HUNDRED_IN_PAIRS,
        targets={Measure.WALL: Target(1.00)},
        peer="serial",
        peer_work=Work(_HUNDRED_APART),
    ),
    Case(
        key="l",
        title="start --jobs 2, 100 independent `true`",
        work=_HUNDRED_IN_PAIRS,
        peer="make -j2",
        peer_work=Make(_HUNDRED_APART, jobs=2),
    ),
    Case(
        key="m",
        title="plan of 2 000 stages, back to front",
        work=_planned(back_to_front(*("true",) * 2_000)),
        targets={Measure.WALL: Target(1.0, Limit.VALUE)},
        peer="plan of 100",
        peer_work=_planned(back_to_front(*("true",) * 100)),
    ),
    Case(
        key="n",
        title="a stage of `true` among 2 000",
        work=StageCost(_TWO_THOUSAND, Work(_FOUR)),
        targets={Measure.WALL: Target(1.30)},
        peer="among 100",
        peer_work=StageCost(_HUNDRED, Work(_FOUR)),
    ),
    Case(
        key="o",
        title="1 000 stages of `true` more",
        work=_TWO_THOUSAND,
        peer="start of 1 000",
        peer_work=_THOUSAND,
    ),
    Case(
        key="p",
        title="status, with 10 000 past runs",
        work=replace(_STATUS, past_runs=_PAST_RUNS),
        targets={Measure.WALL: Target(1.10), Measure.MEMORY: Target(1.10)},
        peer="no past",
        peer_work=_STATUS,
    ),
    Case(
        key="q",
        title="the newest 20 of 10 000 runs",
        work=replace(_RUNS, past_runs=_PAST_RUNS),
        peer="of one",
        peer_work=_RUNS,
    ),
    Case(
        key="r",
        title="start, 4 stages of `true`",
        work=Work(_FOUR),
        targets={Measure.WALL: Target(1.60)},
        peer="pytest alone",
        peer_work=EmptyTests(4),
    ),
    Case(
        key="s",
        title="local:2, 8 independent `true`",
        work=_there(_EIGHT),
        peer="--jobs 2",
        peer_work=_here(_EIGHT),
    ),
    Case(
        key="t",
        title="local:2, 80 independent `true`",
        work=_there(_EIGHTY),
        peer="--jobs 2",
        peer_work=_here(_EIGHTY),
    ),
    Case(
        key="u",
        title="local:2, 8 times `sleep 0.05`",
        work=_there(_EIGHT_ASLEEP),
        peer="--jobs 2",
        peer_work=_here(_EIGHT_ASLEEP),
    ),
    Case(
        key="v",
        title="local:2, 100 MB more printed",
        work=StageCost(_there(_PRINTED_TWICE), _there(_PRINTED_ONCE)),
        # Half the throughput.
        targets={Measure.WALL: Target(2.00)},
        peer="--jobs 2",
        peer_work=StageCost(_here(_PRINTED_TWICE), _here(_PRINTED_ONCE)),
    ),
    Case(
        key="w",
        title="local:2, 5 000 files go to workers",
        work=_there(_IN_A_TREE),
        peer="shared",
        peer_work=_there(replace(_IN_A_TREE, workspace="shared")),
    ),
    Case(
        key="x",
        title="local:2, 3 of 5 000 files go to workers",
        work=_there(_IN_A_KNOWN_TREE),
        targets={Measure.WALL: Target(1.0, Limit.GROWTH)},
        peer="shared",
        peer_work=_there(replace(_IN_A_KNOWN_TREE, workspace="shared")),
    ),
    Case(
        key="y",
        title="local:2, a `true` among 800",
        work=StageCost(_there(_EIGHT_HUNDRED), _there(_EIGHT)),
        targets={Measure.WALL: Target(1.30)},
        peer="among 80",
        peer_work=StageCost(_there(_EIGHTY), _there(_EIGHT)),
    ),
    Case(
        key="z",
        title="local:8, 800 times `sleep 0.05`",
        work=_there(_EIGHT_HUNDRED_ASLEEP, 8),
        peer="--jobs 8",
        peer_work=_here(_EIGHT_HUNDRED_ASLEEP, 8),
    ),
)
