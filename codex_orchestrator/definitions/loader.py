"""Find, read, merge and validate definitions (docs/reference/configuration.md).

Reading is all that touches the disk here. A bad file is one `ConfigurationError` that names file,
line and path of everything wrong with it.
"""

from __future__ import annotations

import hashlib
import json
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Literal, NoReturn

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.definitions.packaged import FittedSets, packaged_notice, read_packaged
from codex_orchestrator.definitions.source import (
    DefinitionFile,
    notice_above,
    read_definition_file,
    refuse_foreign,
)
from codex_orchestrator.definitions.validation import StageSets, check_configuration, place_stages
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import ConfigurationError, Problem, UsageError
from codex_orchestrator.model.codec import Mismatch, from_json, to_json
from codex_orchestrator.model.definitions import (
    Configuration,
    Pipeline,
    PipelineDefinition,
    Stage,
    StageSetRef,
)
from codex_orchestrator.text import printable

PipelineSource = Literal["user", "default"]

DEFAULT_PIPELINE = "diagnostics"


@dataclass(frozen=True)
class Definitions:
    """All pipelines that can be run in a repository, and its configuration.

    Attributes:
        configuration: The repo's own file, defaults where it has none.
        pipelines: Resolved pipelines by id, the repo's first; packaged ones when they are asked for.
        sources: Where each comes from.
        packaged: The packaged stage sets, and the repository that they are fitted to.
        notices: What the user should be told once.
    """

    configuration: Configuration
    pipelines: Mapping[str, Pipeline]
    sources: Mapping[str, PipelineSource]
    packaged: FittedSets
    notices: tuple[str, ...]

    @property
    def own_pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines that the repository defines itself."""
        return tuple(self.pipelines[name] for name, source in self.sources.items() if source == "user")

    def choose(self, pipeline_id: str | None) -> Pipeline:
        """The pipeline of that id, the config's default, or ``diagnostics``.

        Raises:
            UsageError: There is none of that id.
        """
        wanted = pipeline_id
        if wanted is None:
            wanted = self.configuration.default_pipeline or DEFAULT_PIPELINE
        if wanted not in self.pipelines:
            known = ", ".join(self.pipelines)
            raise UsageError(f'Unknown pipeline "{wanted}".', hint=f"Pipelines here: {known}.")
        return self.pipelines[wanted]


def load_definitions(environment: Environment) -> Definitions:
    """The repo's pipelines merged over the packaged ones by id.

    Raises:
        ConfigurationError: The repo's file cannot be used, or is another user's.
    """
    refuse_foreign(environment)
    written = read_definition_file(environment)
    configuration, notices = _read_configuration(written) if written else (Configuration(), [])
    packaged, packaged_sets = read_packaged()
    own_sets = _own_stages(configuration)
    fitted = FittedSets(packaged_sets, environment, own_sets)
    merged: StageSets = ChainMap(own_sets, fitted)  # type: ignore[arg-type]
    if written:
        # None of the packaged pipelines runs another.
        children = {item.id: frozenset[str]() for item in packaged}
        written.refuse(check_configuration(configuration, merged, children))
    own = [_resolve(item, merged, frozenset(configuration.stage_sets)) for item in configuration.pipelines]
    defined = {item.id: item for item in own}
    pipelines = _Pipelines(defined, {item.id: item for item in packaged}, fitted)
    sources: dict[str, PipelineSource] = {**dict.fromkeys(pipelines, "default"), **user_sources(defined)}
    above = notice_above(environment)
    return Definitions(configuration, pipelines, sources, fitted, (*([above] if above else ()), *notices))


def user_sources(pipeline_ids: Iterable[str]) -> dict[str, PipelineSource]:
    """The source ``user`` for each pipeline: it is the repository's own, or a plugin's."""
    return dict.fromkeys(pipeline_ids, "user")


def refuse_invalid(pipelines: Mapping[str, Pipeline], configuration: Configuration) -> None:
    """Check pipelines that a plugin has made against the rules of definitions.

    Raises:
        ConfigurationError: They break one.
    """
    written = tuple(
        PipelineDefinition(**{each.name: getattr(pipeline, each.name) for each in fields(pipeline)})
        for pipeline in pipelines.values()
    )
    changed = replace(configuration, pipelines=written, stage_sets={}, default_pipeline=None)
    places = list(pipelines)
    problems = check_configuration(changed, {}, {})
    problems += [
        Problem(("pipelines", place, "id"), f'belongs to another pipeline than "{name}": "{pipeline.id}"')
        for place, (name, pipeline) in enumerate(pipelines.items())
        if pipeline.id != name
    ]
    if problems:
        # Who has written them knows their ids, not their places.
        named = [Problem((places[int(str(item.path[1]))], *item.path[2:]), item.message) for item in problems]
        told = printable("; ".join(f"{item.where()}: {item.message}" for item in named))
        raise ConfigurationError(f"Plugins have made pipelines that are not valid: {told}.")


def notices_of(definitions: Definitions, pipeline: Pipeline) -> tuple[str, ...]:
    """The notices about a pipeline, among them how it was fitted to the repository."""
    packaged = definitions.sources[pipeline.id] == "default"
    less = packaged_notice(definitions.packaged.project, pipeline.id) if packaged else None
    return (*definitions.notices, *([less] if less else ()), *definitions.packaged.notices)


def pipeline_digest(pipeline: Pipeline) -> str:
    """SHA-256 (hex) of the resolved pipeline as canonical JSON: sorted keys, no spaces."""
    return digest_of(to_json(pipeline))


def digest_of(document: Any) -> str:
    """The same of a pipeline as JSON has it."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_configuration(written: DefinitionFile) -> tuple[Configuration, list[str]]:
    """The document in its shape, and the notices that go with it."""
    try:
        if not written.repeats_keys:
            with suppress(Mismatch):
                return from_json(Configuration, written.data), []
        # Keys of the Node CLI are none of the shape's.
        from codex_orchestrator.definitions.node_keys import translate_node_keys

        data, notices = translate_node_keys(written.data)
        if not written.repeats_keys:
            with suppress(Mismatch):
                return from_json(Configuration, data), notices
        _explain(written, data)
    except RecursionError as error:
        raise ConfigurationError(f"{written.name}: nested too deeply.") from error


def _explain(written: DefinitionFile, data: object) -> NoReturn:
    from codex_orchestrator.model.explain import explain

    repeated = [Problem(where, "this key is repeated") for where in written.positions().repeated_keys]
    written.refuse([*repeated, *explain(Configuration, data)])
    # The fast reader and pydantic read the same shapes; were they ever to differ, refuse all the same.
    raise ConfigurationError(f"{written.name}: does not have the expected shape.")


def _own_stages(configuration: Configuration) -> StageSets:
    return {
        name: [stage for stage in stages if not isinstance(stage, StageSetRef)]
        for name, stages in configuration.stage_sets.items()
    }


def _resolve(definition: PipelineDefinition, sets: StageSets, own_sets: frozenset[str]) -> Pipeline:
    stages: list[Stage] = [stage for stage, _ in place_stages(definition, sets, own_sets, ())]
    return Pipeline(
        id=definition.id,
        title=definition.title,
        description=definition.description,
        tags=definition.tags,
        guardrails_required=definition.guardrails_required,
        keep_going=definition.keep_going or None,
        stages=tuple(stages),
    )


class _Pipelines(Mapping[str, Pipeline]):
    """The repository's pipelines, and after them the packaged ones that it does not define anew."""

    def __init__(
        self, own: dict[str, Pipeline], packaged: Mapping[str, PipelineDefinition], sets: StageSets
    ) -> None:
        self._resolved = dict(own)
        self._packaged = packaged
        self._sets = sets
        self._names = dict.fromkeys([*own, *packaged])

    def __getitem__(self, name: str) -> Pipeline:
        if name not in self._resolved:
            self._resolved[name] = _resolve(self._packaged[name], self._sets, frozenset())
        return self._resolved[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
