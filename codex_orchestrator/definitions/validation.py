"""The rules of definitions beyond their shape (docs/reference/configuration.md, "Validation").

Pure: shapes in, problems out, each with the JSON path of what the author wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from codex_orchestrator.definitions.graph import (
    DEFAULT_CAPACITY,
    MOST_DEFINED,
    MOST_STAGES,
    Children,
    Sizes,
    dependencies,
    extents,
    find_cycle,
    outermost,
)
from codex_orchestrator.definitions.planner import parse_mode
from codex_orchestrator.errors import Path, Problem
from codex_orchestrator.identifiers import id_problem
from codex_orchestrator.model.definitions import (
    CloudSettings,
    CommandStage,
    Configuration,
    Expect,
    PipelineDefinition,
    Stage,
    StageSetRef,
    SubpipelineStage,
)
from codex_orchestrator.text import is_hidden

_SHOWN_OF_CYCLE = 20

StageSets = Mapping[str, Sequence[Stage]]
PlacedStage = tuple[Stage, Path]


def check_configuration(
    configuration: Configuration, sets: StageSets, packaged_pipelines: Mapping[str, frozenset[str]]
) -> list[Problem]:
    """Every problem of a well-shaped file.

    Args:
        configuration: The file.
        sets: The stage sets that it may refer to: the packaged ones under its own.
        packaged_pipelines: Packaged pipelines' ids, each with the pipelines it runs as children.
    """
    too_many = list(_check_sizes(configuration, sets))
    if too_many:
        return too_many  # Nothing else is looked at: all that follows lists the stages.
    problems = [
        *_check_task(configuration),
        *_check_registry(configuration),
        *_check_resources(configuration),
        *_check_privacy(configuration),
        *_check_cloud(configuration.cloud),
        *_check_sets(configuration),
        *_check_pipelines(configuration, sets),
        *_check_children(configuration, sets, packaged_pipelines),
    ]
    # What is wrong with a set is wrong in every pipeline that uses it, and is said once.
    return list(dict.fromkeys(problems))


def place_stages(
    definition: PipelineDefinition, sets: StageSets, own_sets: frozenset[str], path: Path
) -> Iterator[PlacedStage]:
    """The stages of a pipeline with its sets expanded, each with the path it was written at."""
    for index, stage in enumerate(definition.stages):
        here = (*path, "stages", index)
        if not isinstance(stage, StageSetRef):
            yield stage, here
            continue
        for position, member in enumerate(sets.get(stage.ref, ())):
            yield member, ("stageSets", stage.ref, position) if stage.ref in own_sets else here


def _check_sizes(configuration: Configuration, sets: StageSets) -> Iterator[Problem]:
    """Pipelines that are too large with their sets expanded, which is not done for it."""
    total = 0
    for index, definition in enumerate(configuration.pipelines):
        count = sum(
            len(sets.get(stage.ref, ())) if isinstance(stage, StageSetRef) else 1
            for stage in definition.stages
        )
        total += count
        if count > MOST_STAGES:
            message = (
                f'"{definition.id}" has {count} stages with its stage sets, and {MOST_STAGES} is the most'
            )
            yield Problem(("pipelines", index), message)
    if total > MOST_DEFINED:
        message = f"there are {total} stages in all with the stage sets, and {MOST_DEFINED} is the most"
        yield Problem(("pipelines",), message)


def _check_task(configuration: Configuration) -> Iterator[Problem]:
    if configuration.task_id is not None:
        problem = id_problem(configuration.task_id)
        if problem:
            yield Problem(("taskId",), f'Invalid task ID "{configuration.task_id}": {problem}')


def _check_registry(configuration: Configuration) -> Iterator[Problem]:
    for pattern, project in (configuration.tasks or {}).items():
        problem = id_problem(pattern.replace("*", "x").replace("?", "x"))
        if problem:
            yield Problem(("tasks", pattern), f'no task ID fits "{pattern}": {problem}')
        if not project.strip() or project.startswith("/") or ".." in project.split("/"):
            yield Problem(("tasks", pattern), f'"{project}" is not a path inside the repository')


def _check_sets(configuration: Configuration) -> Iterator[Problem]:
    for name, members in configuration.stage_sets.items():
        if not members:
            yield Problem(("stageSets", name), "a stage set needs at least one stage")
        seen: set[str] = set()
        for index, stage in enumerate(members):
            where: Path = ("stageSets", name, index)
            if isinstance(stage, StageSetRef):
                yield Problem(where, "a stage set holds no references to other sets")
            else:
                yield from _check_stage(stage, where, seen)


def _check_resources(configuration: Configuration) -> Iterator[Problem]:
    """Stages that need more of a resource than there is: they would wait for ever."""
    capacities = configuration.resources or {}
    written = [
        (stage, ("pipelines", index, "stages", position))
        for index, definition in enumerate(configuration.pipelines)
        for position, stage in enumerate(definition.stages)
    ]
    in_sets = [
        (stage, ("stageSets", name, position))
        for name, members in configuration.stage_sets.items()
        for position, stage in enumerate(members)
    ]
    for stage, where in [*written, *in_sets]:
        for name, wanted in ((isinstance(stage, CommandStage) and stage.resources) or {}).items():
            capacity = capacities.get(name, DEFAULT_CAPACITY)
            if wanted > capacity:
                yield Problem(
                    (*where, "resources", name), f'needs {wanted} of "{name}", and there is {capacity} of it'
                )


def _check_privacy(configuration: Configuration) -> Iterator[Problem]:
    if not configuration.privacy.rules:
        return
    # Only here: every start reads the definitions, and few projects have rules of their own.
    from codex_orchestrator.model.patterns import pattern_problem

    seen: set[str] = set()
    for index, rule in enumerate(configuration.privacy.rules):
        where: Path = ("privacy", "rules", index)
        if rule.name in seen:
            yield Problem((*where, "name"), f'duplicate rule name "{rule.name}"')
        seen.add(rule.name)
        problem = pattern_problem(rule.pattern)
        if problem:
            yield Problem((*where, "pattern"), f"the pattern {problem}")


def _check_cloud(cloud: CloudSettings) -> Iterator[Problem]:
    yield from _check_patterns(cloud.include, ("cloud", "include"))
    yield from _check_patterns(cloud.exclude, ("cloud", "exclude"))
    for index, name in enumerate(cloud.environment):
        if "=" in name or "\0" in name:
            yield Problem(("cloud", "environment", index), f'no variable has the name "{name}"')


def _check_patterns(patterns: Sequence[str] | None, path: Path) -> Iterator[Problem]:
    if not patterns:
        return
    # Only here: every start reads the definitions, and few have patterns.
    from codex_orchestrator.globs import pattern_problem

    for index, pattern in enumerate(patterns):
        if problem := pattern_problem(pattern):
            yield Problem((*path, index), problem)


def _check_pipelines(configuration: Configuration, sets: StageSets) -> Iterator[Problem]:
    seen: set[str] = set()
    own_sets = frozenset(configuration.stage_sets)
    for index, definition in enumerate(configuration.pipelines):
        path: Path = ("pipelines", index)
        yield from _check_name(definition.id, "pipeline", (*path, "id"))
        if definition.id in seen:
            yield Problem((*path, "id"), f'duplicate pipeline id "{definition.id}"')
        seen.add(definition.id)
        unknown = [
            Problem((*path, "stages", position, "ref"), f'unknown stage set "{stage.ref}"')
            for position, stage in enumerate(definition.stages)
            if isinstance(stage, StageSetRef) and stage.ref not in sets
        ]
        yield from unknown
        placed = list(place_stages(definition, sets, own_sets, path))
        # A packaged set has no stages in a repository with nothing to build.
        if not placed and not unknown:
            yield Problem((*path, "stages"), "a pipeline needs at least one stage")
        yield from _check_stages(placed, (*path, "stages"))


def _check_stages(placed: Sequence[PlacedStage], path: Path) -> Iterator[Problem]:
    ids = {stage.id for stage, _ in placed}
    seen: set[str] = set()
    for stage, where in placed:
        yield from _check_stage(stage, where, seen)
        for number, need in enumerate(stage.needs or ()):
            if need not in ids:
                yield Problem((*where, "needs", number), f'unknown stage "{need}"')
    waits = dependencies([stage for stage, _ in placed])
    # An unknown need is reported above and must not look like a cycle.
    cycle = find_cycle({item: tuple(n for n in needs if n in waits) for item, needs in waits.items()})
    if cycle and len(ids) == len(placed):
        where = next(where for stage, where in placed if stage.id == cycle[0])
        yield Problem(where or path, f"stages wait for each other: {_way(cycle)}")


def _check_extents(configuration: Configuration, sizes: Sizes, children: Children) -> Iterator[Problem]:
    found = extents(sizes, children)
    places = {definition.id: place for place, definition in enumerate(configuration.pipelines)}
    # A packaged pipeline is not this file's to mend.
    too_much = [name for name, extent in found.items() if name in places and extent.problem]
    for name in outermost(too_much, children):
        yield Problem(("pipelines", places[name]), f'"{name}" {found[name].problem}')


def _way(cycle: Sequence[str]) -> str:
    """``a → b → a``, with the middle left out where it is long."""
    if len(cycle) > _SHOWN_OF_CYCLE:
        half = _SHOWN_OF_CYCLE // 2
        left_out = f"… {len(cycle) - 2 * half} more …"
        cycle = [*cycle[:half], left_out, *cycle[-half:]]
    return " → ".join(cycle)


def _check_stage(stage: Stage, where: Path, seen: set[str]) -> Iterator[Problem]:
    """The problems of one stage, also in a set that no pipeline uses; ``seen`` has the ids before it."""
    yield from _check_name(stage.id, "stage", (*where, "id"))
    if stage.id in seen:
        yield Problem((*where, "id"), f'duplicate stage id "{stage.id}"')
    seen.add(stage.id)
    if isinstance(stage, CommandStage):
        yield from _check_modes(stage, where)
        yield from _check_process(stage, where)
        yield from _check_patterns(stage.inputs, (*where, "inputs"))
        yield from _check_patterns(stage.outputs, (*where, "outputs"))
        yield from _check_expect(stage.expect, (*where, "expect"))


def _check_expect(expect: Expect | None, where: Path) -> Iterator[Problem]:
    """Expectations that anything would meet, or that none of ours can be held to."""
    if expect is None:
        return
    if expect.junit is None and expect.pattern is None and not expect.files:
        yield Problem(where, "expects nothing: give it junit, pattern or files")
    if expect.tests is not None and expect.junit is None:
        yield Problem((*where, "tests"), "tests are counted in a JUnit file: name it as junit")
    if expect.junit is not None:
        for problem in _check_patterns([expect.junit], where):
            yield Problem((*where, "junit"), problem.message)
    yield from _check_patterns(expect.files, (*where, "files"))


def _check_modes(stage: CommandStage, where: Path) -> Iterator[Problem]:
    hints = stage.plan.execution_mode if stage.plan else None
    for word, path in ((stage.execution_mode, where), (hints, (*where, "plan"))):
        if word is not None and parse_mode(word) is None:
            yield Problem((*path, "executionMode"), f'unknown execution mode "{word}" (mcp or cloud)')


def _check_process(stage: CommandStage, where: Path) -> Iterator[Problem]:
    """Commands, folders and variables that no system can start a process with, found before anything runs."""
    if not stage.command.strip():
        yield Problem((*where, "command"), "a command must not be blank")
    given = [(stage.command, (*where, "command")), (stage.cwd or "", (*where, "cwd"))]
    for name, value in (stage.env or {}).items():
        here: Path = (*where, "env", name)
        given += [(name, here), (value, here)]
        if not name or "=" in name:
            yield Problem(here, f'a variable\'s name must not be empty or hold "=": "{name}"')
    for text, here in given:
        if "\0" in text:
            yield Problem(here, "no command, folder or variable holds a NUL character")


def _check_name(name: str, what: str, path: Path) -> Iterator[Problem]:
    if is_hidden(name):
        yield Problem(path, f"a {what} id holds no control characters")
    if "::" in name:
        yield Problem(path, f'a {what} id holds no "::"')


def _check_children(
    configuration: Configuration, sets: StageSets, packaged: Mapping[str, frozenset[str]]
) -> Iterator[Problem]:
    own_sets = frozenset(configuration.stage_sets)
    children: dict[str, tuple[str, ...]] = {name: tuple(ids) for name, ids in packaged.items()}
    sizes = {name: len(ids) for name, ids in packaged.items()}
    places: dict[tuple[str, str], Path] = {}
    asked: list[tuple[str, Path]] = [
        (stage.pipeline, ("stageSets", name, index, "pipeline"))
        for name, members in configuration.stage_sets.items()
        for index, stage in enumerate(members)
        if isinstance(stage, SubpipelineStage)
    ]
    for index, definition in enumerate(configuration.pipelines):
        placed = list(place_stages(definition, sets, own_sets, ("pipelines", index)))
        sizes[definition.id] = len(placed)
        named: list[tuple[str, Path]] = [
            (stage.pipeline, (*where, "pipeline"))
            for stage, where in placed
            if isinstance(stage, SubpipelineStage)
        ]
        asked.extend(named)
        children[definition.id] = tuple(child for child, _ in named)
        places.update({(definition.id, child): where for child, where in reversed(named)})
    for child, where in asked:
        if child not in children:
            yield Problem(where, f'unknown pipeline "{child}"')
    known = {name: tuple(child for child in ids if child in children) for name, ids in children.items()}
    cycle = find_cycle(known)
    if cycle:
        where = places.get((cycle[0], cycle[1]), ("pipelines",))
        yield Problem(where, f"pipelines run each other: {_way(cycle)}")
    yield from _check_extents(configuration, sizes, known)
    default = configuration.default_pipeline
    if default is not None and default not in children:
        yield Problem(("defaultPipeline",), f'unknown pipeline "{default}"')
