"""What is measured, as values: command lines of our own tools, of the shell, and of GNU make."""

from dataclasses import dataclass

PIPELINE = "bench"
TASK_ID = "bench"

START: tuple[str, ...] = ("start", "{pipeline}", "--format", "json")


@dataclass(frozen=True)
class Stage:
    """A stage's shell command, and the ids of the stages that it waits for; None for the one before it."""

    id: str
    command: str
    needs: tuple[str, ...] | None = None


def in_turn(*commands: str) -> tuple[Stage, ...]:
    """Stages of which each waits for the one before it."""
    return tuple(Stage(f"stage-{number}", command) for number, command in enumerate(commands, start=1))


def independent(*commands: str) -> tuple[Stage, ...]:
    """Stages that wait for none."""
    return tuple(Stage(stage.id, stage.command, needs=()) for stage in in_turn(*commands))


def back_to_front(*commands: str) -> tuple[Stage, ...]:
    """Stages of which each waits for the one that is declared after it."""
    declared = in_turn(*commands)
    needs = [(stage.id,) for stage in declared[1:]]
    return tuple(
        Stage(stage.id, stage.command, each) for stage, each in zip(declared, [*needs, ()], strict=True)
    )


@dataclass(frozen=True)
class Tree:
    """A work tree of so many small files.

    With ``changed``, one project serves all processes, and so many of its files are others before each;
    without, project and workers know nothing of the tree.
    """

    files: int
    changed: int = 0


@dataclass(frozen=True)
class Work:
    """One command line of a tool, in a project.

    ``stages`` are those of the project's only pipeline. In ``arguments``, ``{pipeline}`` is the pipeline's
    id and ``{run}`` the id of a run made beforehand; with ``through_pytest`` they are pytest's, which
    has our plugin. Every process gets a fresh project, but where a run or ``past_runs`` of them are made
    beforehand: then all share one. ``starts_run`` demands a succeeded run in the project afterwards, with at
    least ``log_bytes`` bytes of stage logs; all other work demands ``expected_output`` (with the same
    stand-ins) on stdout. ``tree`` is what lies in the project besides, ``workspace`` how it gets to workers.
    """

    stages: tuple[Stage, ...]
    arguments: tuple[str, ...] = START
    through_pytest: bool = False
    starts_run: bool = True
    log_bytes: int = 0
    expected_output: str = ""
    past_runs: int = 0
    tree: Tree | None = None
    workspace: str | None = None

    @property
    def needs_run(self) -> bool:
        """Whether a run is made before the measuring begins."""
        return any("{run}" in text for text in (*self.arguments, self.expected_output))

    def command_line(self, run_id: str) -> tuple[str, ...]:
        """The arguments with their stand-ins filled in; ``run_id`` may be empty where none is needed."""
        return tuple(argument.format(pipeline=PIPELINE, run=run_id) for argument in self.arguments)

    def output_fragment(self, run_id: str) -> str:
        """The text that stdout must hold, with its stand-ins filled in."""
        return self.expected_output.format(pipeline=PIPELINE, run=run_id)


@dataclass(frozen=True)
class StageCost:
    """What one stage more costs: the time of ``many`` stages less that of ``few``, by the stages more.

    What a process costs before its first stage and after its last is left out so. The memory is that of
    ``many``.
    """

    many: Work
    few: Work

    @property
    def difference(self) -> int:
        """How many stages more there are in ``many``."""
        return len(self.many.stages) - len(self.few.stages)


@dataclass(frozen=True)
class EmptyTests:
    """pytest by itself, without the plugins that our sessions do without, on a file of empty tests."""

    count: int


@dataclass(frozen=True)
class Shell:
    """A command line for the shell, in an empty folder, where it leaves ``files`` of ``size`` bytes each."""

    command: str
    files: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Make:
    """GNU make with the same stages as targets, ``jobs`` of them at once."""

    stages: tuple[Stage, ...]
    jobs: int


def configuration(work: Work) -> dict[str, object]:
    """The work's ``codex.orchestrator.json``; without ``needs``, in the format that both tools read alike."""
    stages = [_definition(number, stage) for number, stage in enumerate(work.stages, start=1)]
    cloud = {} if work.workspace is None else {"cloud": {"workspace": work.workspace}}
    return {"pipelines": [{"id": PIPELINE, "title": "Benchmark", "stages": stages}], **cloud}


def _definition(number: int, stage: Stage) -> dict[str, object]:
    needs = {} if stage.needs is None else {"needs": list(stage.needs)}
    title = f"Stage {number}"
    return {"kind": "command", "id": stage.id, "title": title, "command": stage.command, **needs}


def makefile(work: Make) -> str:
    """The work's ``Makefile``: a phony target per stage, in declared order, with what it needs before it."""
    names = [stage.id for stage in work.stages]
    rules = [f"all: {' '.join(names)}\n", f".PHONY: all {' '.join(names)}\n"]
    before: tuple[str, ...] = ()
    for stage in work.stages:
        needs = before if stage.needs is None else stage.needs
        rules.append(f"{stage.id}: {' '.join(needs)}".rstrip() + f"\n\t{stage.command}\n")
        before = (stage.id,)
    return "".join(rules)
