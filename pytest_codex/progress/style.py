"""How progress is shown: decided once, from where it goes and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping

from codex_orchestrator.dataclass import dataclass

_NO = ("", "0", "false")


@dataclass(frozen=True)
class Manner:
    """What is shown.

    Attributes:
        live: One view of all stages, drawn anew.
        lines: A line as each stage starts and ends.
        heartbeats: A line for a stage that is silent.
        stream: What stages print, while they run.
        groups: What a stage has printed as a group of a GitHub log, when it has ended.
        github: Annotations and a step summary.
    """

    live: bool = False
    lines: bool = False
    heartbeats: bool = False
    stream: bool = False
    groups: bool = False
    github: bool = False

    @property
    def guarded(self) -> bool:
        """Whether all that is printed while stages run is ours, line by line."""
        return self.lines and not self.stream

    @property
    def needs_output(self) -> bool:
        """Whether anything of what stages print is shown before they have ended."""
        return self.live or self.heartbeats or self.stream or self.groups


def choose(variables: Mapping[str, str], *, terminal: bool, verbosity: int, stream: bool) -> Manner:
    """Decide.

    Args:
        variables: The environment.
        terminal: Whether a person watches on a terminal, in whose foreground we are.
        verbosity: Below 0 failures and the end are all that is wanted; above 0 pytest names the stages.
        stream: Whether output is wanted as it comes.
    """
    github = variables.get("GITHUB_ACTIONS") == "true"
    if verbosity < 0:
        return Manner(stream=stream, github=github)
    in_ci = github or variables.get("CI", "").lower() not in _NO
    able = terminal and variables.get("TERM", "dumb") != "dumb" and not in_ci
    live = able and verbosity == 0 and not stream
    return Manner(
        live=live,
        lines=verbosity == 0,
        heartbeats=not live,
        stream=stream,
        groups=github and not stream,
        github=github,
    )
