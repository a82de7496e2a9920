"""The guard of a run: one policy, over streams, texts and definitions (docs/reference/privacy.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from .finding import Finder
from .policy import CustomRule, PrivacyPolicy, secret_values
from .stream import Decision, StreamGuard

if TYPE_CHECKING:  # Workers need neither, and have to start soon.
    from codex_orchestrator.environment import Environment
    from codex_orchestrator.pipelines.model import Pipeline, PrivacySettings, Stage

Scrub = Callable[[str], str]

# Of the variables that this begins, the first that is set counts.
SETTINGS = "CODEX_PRIVACY_GUARD"


class PrivacyGuard:
    """Keeps secrets out of what is recorded and shown, where its policy says so.

    Attributes:
        policy: What it looks for, and whether it replaces.
    """

    def __init__(self, policy: PrivacyPolicy | None = None) -> None:
        self.policy = policy or PrivacyPolicy()

    @classmethod
    def of(
        cls, environment: Environment, settings: PrivacySettings, pipelines: Iterable[Pipeline]
    ) -> PrivacyGuard:
        """The guard that environment and configuration ask for.

        Args:
            environment: Says the mode, and holds secrets.
            settings: Further rules, and names of variables.
            pipelines: All that may run: their stages' own variables hold secrets too.
        """
        stages = [stage for pipeline in pipelines for stage in pipeline.stages]
        own = [stage.env for stage in stages if stage.kind == "command" and stage.env]
        secrets = {
            value: None
            for variables in (environment.variables, *own)
            for value in secret_values(variables, settings.variables)
        }
        return cls(
            PrivacyPolicy(
                mode="enforce" if environment.enforces(SETTINGS) else "shadow",
                rules=tuple(CustomRule(rule.name, rule.pattern, rule.action) for rule in settings.rules),
                secrets=tuple(secrets),
            )
        )

    @property
    def enforces(self) -> bool:
        """Whether secrets are replaced, and not only counted."""
        return self.policy.mode == "enforce"

    def stream(self) -> StreamGuard:
        """A guard for one stream of output."""
        return StreamGuard(self._finder, self.policy.mode)

    def scrub(self, text: str) -> str:
        """A text as it may be recorded."""
        return self.inspect(text)[0] if self.enforces else text

    def inspect(self, text: str) -> tuple[str, list[Decision]]:
        """A text as it may be recorded, and what was found in it."""
        guard = StreamGuard(self._finder, "enforce")
        # A text may hold what is no character, as file names may.
        scrubbed = guard.whole(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        return (scrubbed if self.enforces else text), guard.take_decisions()

    def pipeline(self, pipeline: Pipeline) -> Pipeline:
        """A pipeline as it may be recorded; ids stay, as others refer to them."""
        if not self.enforces:
            return pipeline
        return replace(
            pipeline,
            title=self.scrub(pipeline.title),
            description=_maybe(self.scrub, pipeline.description),
            stages=tuple(self._stage(stage) for stage in pipeline.stages),
        )

    def _stage(self, stage: Stage) -> Stage:
        title = self.scrub(stage.title)
        if stage.kind == "command":
            return replace(
                stage,
                title=title,
                command=self.scrub(stage.command),
                cwd=_maybe(self.scrub, stage.cwd),
                env=stage.env and {name: self._value(name, value) for name, value in stage.env.items()},
                summary_hint=_maybe(self.scrub, stage.summary_hint),
            )
        if stage.kind == "manual":
            return replace(stage, title=title, instructions=_maybe(self.scrub, stage.instructions))
        return replace(stage, title=title)

    def _value(self, name: str, value: str) -> str:
        """A variable's value: ``API_TOKEN`` and what it is stand apart in a file, and belong together."""
        prefix = f"{name}="
        scrubbed = self.scrub(prefix + value)
        return scrubbed.removeprefix(prefix) if scrubbed.startswith(prefix) else self.scrub(value)

    @property
    def _finder(self) -> Finder:
        return _finder_of(self.policy.rules, self.policy.secrets)


@lru_cache(maxsize=2)
def _finder_of(rules: tuple[CustomRule, ...], secrets: tuple[str, ...]) -> Finder:
    """What finds these, made once in a process: each stage and each text has a guard of its own."""
    return Finder(PrivacyPolicy(rules=rules, secrets=secrets))


def _maybe(scrub: Scrub, text: str | None) -> str | None:
    return scrub(text) if text is not None else None
