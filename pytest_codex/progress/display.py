"""Which forms of progress are shown, decided once from the terminal, the environment and the flags."""

from __future__ import annotations

from collections.abc import Mapping

from codex_orchestrator.dataclass import dataclass

_NO = ("", "0", "false")


@dataclass(frozen=True)
class DisplayOptions:
    """Which forms of progress are shown.

    Attributes:
        live: One view of all stages, redrawn several times a second.
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
        """Whether all that is printed while stages run is lines of ours, none of them a workflow command."""
        return self.lines and not self.stream

    @property
    def needs_output(self) -> bool:
        """Whether any output of stages is shown, or kept to be shown."""
        return self.live or self.heartbeats or self.stream or self.groups


def choose_display(
    variables: Mapping[str, str], *, terminal: bool, verbosity: int, stream: bool
) -> DisplayOptions:
    """Choose the forms of progress.

    Args:
        variables: The environment.
        terminal: Whether a person watches on a terminal, in whose foreground we are.
        verbosity: Below 0 failures and the end are all that is wanted; above 0 pytest names the stages.
        stream: Whether output is wanted as it comes.
    """
    github = variables.get("GITHUB_ACTIONS") == "true"
    if verbosity < 0:
        return DisplayOptions(stream=stream, github=github)
    in_ci = github or variables.get("CI", "").lower() not in _NO
    able = terminal and variables.get("TERM", "dumb") != "dumb" and not in_ci
    live = able and verbosity == 0 and not stream
    return DisplayOptions(
        live=live,
        lines=verbosity == 0,
        heartbeats=not live,
        stream=stream,
        groups=github and not stream,
        github=github,
    )
