"""The pipelines that come with the product: JSON that is fitted to the repository.

``{"pipelines"?: […], "stageSets": {name: stages}}``, where a stage has one of

- ``command``: as everywhere;
- ``step``: ``build``, ``lint``, ``types`` or ``test`` as this repository does it; no such stage where it has
  no command for the step;
- ``choose``: candidates ``{"when"?, "command"?}``, of which the first that holds is taken; one without a
  command is the command that its condition is about.

A set may take in others by ``ref``, those of the repository that have their names before the packaged
ones, and says by ``needs`` what some of their stages need there, ``*`` for all before it. Everything else
is as in the definition file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codex_orchestrator import resources
from codex_orchestrator.environment import Environment
from codex_orchestrator.model.codec import from_json, loads
from codex_orchestrator.model.definitions import CommandStage, PipelineDefinition, Stage

if TYPE_CHECKING:
    from codex_orchestrator.repository.project import Project

StageSets = Mapping[str, Sequence[Stage]]

_WITHOUT = {
    "diagnostics": "diagnostics runs the spec guard alone",
    "implementation-gate": "implementation-gate runs without build, lint and test",
}


def packaged_folder() -> Path:
    """Where the JSON lies: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "packaged"
    return inside if resources.files_in(inside) else Path(__file__).parents[2] / "pipelines"


def read_packaged() -> tuple[tuple[PipelineDefinition, ...], Mapping[str, list[dict[str, Any]]]]:
    """The packaged pipelines, and the packaged stage sets as they are written."""
    pipelines: list[PipelineDefinition] = []
    written: dict[str, list[dict[str, Any]]] = {}
    for path in resources.files_in(packaged_folder(), "*.json"):
        document = loads(resources.read_text(path))
        pipelines += from_json(tuple[PipelineDefinition, ...], document.get("pipelines", []))
        written |= document["stageSets"]
    return tuple(pipelines), written


class FittedSets(Mapping[str, Sequence[Stage]]):
    """The packaged stage sets, each fitted to the repository when it is first used."""

    def __init__(
        self, written: Mapping[str, list[dict[str, Any]]], environment: Environment, own: StageSets
    ) -> None:
        """Nothing is looked at yet.

        Args:
            written: The sets as they are written.
            environment: The repository.
            own: The repository's own sets, which others take in before the packaged ones.
        """
        self._written = written
        self._environment = environment
        self._own = own
        self._fitted: dict[str, tuple[Stage, ...]] = {}

    @cached_property
    def project(self) -> Project:
        """The repository."""
        # Who has written down all that runs has no need of it.
        from codex_orchestrator.repository.project import Project

        return Project(self._environment)

    @property
    def notices(self) -> tuple[str, ...]:
        """The notices about the sets that were fitted so far."""
        return self.project.notices if self._fitted else ()

    def __getitem__(self, name: str) -> Sequence[Stage]:
        if name not in self._fitted:
            self._fitted[name] = tuple(self._stages(self._written[name]))
        return self._fitted[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)

    def _stages(self, written: list[dict[str, Any]]) -> Iterator[Stage]:
        before: list[str] = []
        for each in written:
            for stage in self._members(each):
                needs = each.get("needs", {}).get(stage.id) if stage.needs is None else None
                if needs is None:
                    yield stage
                else:
                    named = before if needs == ["*"] else [need for need in needs if need in before]
                    yield replace(stage, needs=tuple(named))
                before.append(stage.id)

    def _members(self, written: dict[str, Any]) -> Sequence[Stage]:
        """The stages that one entry of a set stands for."""
        if "ref" in written:
            return self._own.get(written["ref"]) or self[written["ref"]]
        stage = self._stage(written)
        return () if stage is None else (stage,)

    def _stage(self, written: dict[str, Any]) -> Stage | None:
        found = {key: value for key, value in written.items() if key not in ("choose", "step")}
        if "step" in written:
            choice = self.project.step_commands.get(written["step"])
            if choice is None:
                return None
            found |= {"command": choice.command, "skip": choice.problem_and_remedy}
        elif "choose" in written:
            found["command"] = self._chosen(written["choose"])
        return from_json(CommandStage, {key: value for key, value in found.items() if value is not None})

    def _chosen(self, candidates: list[dict[str, str]]) -> str:
        for candidate in candidates:
            holds = self.project.condition_command(candidate["when"]) if "when" in candidate else ""
            if holds is not None:
                return self.project.machine.fill(candidate.get("command") or holds)
        raise ValueError("no candidate of a packaged stage holds")


def packaged_notice(project: Project, pipeline_id: str) -> str | None:
    """The notice that a packaged pipeline has less to do in this repository; else None."""
    if pipeline_id not in _WITHOUT or project.kind != "bare":
        return None
    return f"Nothing here says how to build, lint or test: {_WITHOUT[pipeline_id]}."
