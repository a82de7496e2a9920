"""The guard of a run: one policy, over streams, texts and definitions (docs/reference/privacy.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from codex_orchestrator.environment import PRIVACY_GUARD, enforces
from codex_orchestrator.privacy.late import LatePattern
from codex_orchestrator.privacy.policy import CustomRule, Mode, PrivacyPolicy, secret_values
from codex_orchestrator.text import flattened

if TYPE_CHECKING:  # Workers need neither, and have to start soon.
    from codex_orchestrator.environment import Environment
    from codex_orchestrator.model.definitions import Pipeline, PrivacySettings, Stage

    # Nor do commands that look through nothing.
    from codex_orchestrator.privacy.finding import Finder
    from codex_orchestrator.privacy.stream import Decision, StreamGuard

Scrub = Callable[[str], str]

REDACTED = "[REDACTED]"

# What others refer to a pipeline or a stage by, and words of a fixed list.
_KEPT = ("id", "kind", "needs", "pipeline", "policy", "execution_mode")
# What holds nothing by any rule of ours, known without loading them: short words, none of which says secret.
# The shortest token has 20 characters, and what else is found needs a sign that is not here.
_PLAIN = LatePattern(
    r"(?!.*(?i:secret|token|pass|pwd|cred|key))(?=.{0,256}\Z)[ ./&]*(?:[A-Za-z0-9_-]{1,19}(?:[ ./&]+|\Z))*"
)


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
                mode="enforce" if environment.enforces(PRIVACY_GUARD) else "shadow",
                rules=tuple(CustomRule(rule.name, rule.pattern, rule.action) for rule in settings.rules),
                secrets=tuple(secrets),
            )
        )

    @classmethod
    def of_variables(cls, variables: Mapping[str, str]) -> PrivacyGuard:
        """The guard that the environment alone asks for: for what is said before there are definitions."""
        if not enforces(variables, PRIVACY_GUARD):
            return cls()
        return cls(PrivacyPolicy(mode="enforce", secrets=tuple(dict.fromkeys(secret_values(variables)))))

    @property
    def enforces(self) -> bool:
        """Whether secrets are replaced, and not only counted."""
        return self.policy.mode == "enforce"

    def stream(self) -> StreamGuard:
        """A guard for one stream of output."""
        return self._stream(self.policy.mode)

    def scrub(self, text: str) -> str:
        """A text as it may be recorded."""
        return self.inspect(text)[0] if self.enforces else text

    def inspect(self, text: str) -> tuple[str, list[Decision]]:
        """A text as it may be recorded, and what was found in it."""
        if not self.policy.rules and not self.policy.secrets and is_plain(text):
            return text, []
        guard = self._stream("enforce")
        # A text may hold what is no character, as file names may.
        scrubbed = guard.whole(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        return (scrubbed if self.enforces else text), guard.take_decisions()

    def line(self, text: str) -> str:
        """What somebody or something has said, as one line that may be recorded."""
        # Twice, as line ends may be part of a secret, and what goes with them may have stood within one.
        return self.scrub(flattened(self.scrub(text)))

    def pipeline(self, pipeline: Pipeline) -> Pipeline:
        """A pipeline as it may be recorded and shown: in no mode with the values of its variables.

        Ids stay, as others refer to them.
        """
        if self.enforces:
            pipeline = self._scrubbed(pipeline, kept=("id",))
        return replace(pipeline, stages=tuple(self._stage(stage) for stage in pipeline.stages))

    def _stage(self, stage: Stage) -> Stage:
        if stage.kind == "command" and stage.env:
            stage = replace(stage, env=dict.fromkeys(stage.env, REDACTED))
        return self._scrubbed(stage, kept=_KEPT) if self.enforces else stage

    def _scrubbed(self, value: Any, *, kept: tuple[str, ...] = ()) -> Any:
        """A value without secrets in its texts, names of keys among them; ``kept`` are fields that stay."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub(key): self._scrubbed(each) for key, each in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            names = (field.name for field in fields(value) if field.name not in (*kept, "stages"))
            return replace(value, **{name: self._scrubbed(getattr(value, name)) for name in names})
        return tuple(map(self._scrubbed, value)) if isinstance(value, tuple) else value

    def _stream(self, mode: Mode) -> StreamGuard:
        from codex_orchestrator.privacy.stream import StreamGuard

        return StreamGuard(_finder_of(self.policy.rules, self.policy.secrets), mode)


def is_plain(text: str) -> bool:
    """Whether a short text, as most commands are, can hold nothing that is found by a built-in rule."""
    return _PLAIN.fullmatch(text) is not None


@lru_cache(maxsize=2)
def _finder_of(rules: tuple[CustomRule, ...], secrets: tuple[str, ...]) -> Finder:
    """What finds these, made once in a process: each stage and each text has a guard of its own."""
    from codex_orchestrator.privacy.finding import Finder

    return Finder(PrivacyPolicy(rules=rules, secrets=secrets))
