"""The lines of a run's summary (docs/reference/manifest.md, "Run summary")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from codex_orchestrator.model.manifest import GuardrailStatus, Manifest
from codex_orchestrator.text import printable

_PARTIAL = "Partial run: "
_NAMED = 5
# How a guard of ours begins what it prints, where there was nothing that it could check.
_NOT_CHECKED = ": not checked: "


def failure_line(
    manifest: Manifest, lines: Mapping[int, str], interrupted: Collection[int] = ()
) -> str | None:
    """The line about the first failed stage by index, or None.

    Args:
        manifest: The run.
        lines: By stage index, what to say where it is not the exit code.
        interrupted: The indexes of stages that were ended, perhaps because of the one that failed.
    """
    all_failed = [entry for entry in manifest.commands if entry.status == "failed"]
    if not all_failed:
        return None
    by_themselves = [entry for entry in all_failed if entry.index not in interrupted]
    failed = (by_themselves or all_failed)[0]
    if failed.index in lines:
        return lines[failed.index]
    if failed.exit_code is None:
        return f"Execution error: Stage '{failed.title}': {failed.summary}"
    return f"Stage '{failed.title}' failed with exit code {failed.exit_code}."


def compose_summary(
    manifest: Manifest,
    guardrails: GuardrailStatus,
    *,
    first_lines: Sequence[str],
    warnings: Sequence[str],
) -> str:
    """The run's summary; its last line is always the guardrail line.

    Args:
        manifest: The run; its approvals are named.
        guardrails: Its guardrail status.
        first_lines: What happened: failure, cancellation, partial selection.
        warnings: Degraded recording and the like.
    """
    lines = list(first_lines)
    if manifest.approvals:
        named = "; ".join(f"{item.actor} ({item.reason or 'no reason'})" for item in manifest.approvals)
        lines.append(f"Approvals: {named}")
    lines.extend(caveats(manifest))
    lines.extend(warnings)
    if guardrails.recommendation:
        lines.append(guardrails.recommendation)
    return joined([*lines, guardrails.summary])


def joined(lines: Iterable[str]) -> str:
    """Lines as a summary, each of them one line whatever titles and names are in it."""
    return "\n".join(map(printable, lines))


def caveats(manifest: Manifest) -> list[str]:
    """What a success does not show, a sentence each: skipped stages, guards with nothing to check."""
    skipped = [entry.id for entry in manifest.commands if entry.status == "skipped"]
    unchecked = [
        entry.id
        for entry in manifest.commands
        if entry.status == "succeeded" and says_not_checked(entry.summary)
    ]
    lines = []
    if skipped:
        lines.append(f"{_stages(skipped)} skipped: {_names(skipped)}.")
    if unchecked:
        lines.append(f"{_stages(unchecked)} had nothing to check: {_names(unchecked)}.")
    return lines


def not_checked(label: str, reason: str) -> str:
    """The line that a guard begins with where there was nothing that it could check."""
    return f"{label}{_NOT_CHECKED}{reason}"


def says_not_checked(summary: str | None) -> bool:
    """Whether a stage's summary begins with such a line."""
    return summary is not None and _NOT_CHECKED in summary.partition("\n")[0]


def _stages(ids: Sequence[str]) -> str:
    return "1 stage" if len(ids) == 1 else f"{len(ids)} stages"


def _names(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


def partial_line(selected: int, total: int) -> str | None:
    """The line of a run that left stages out, or None."""
    return f"{_PARTIAL}{selected} of {total} stages selected." if selected < total else None


def says_partial(summary: object) -> bool:
    """Whether a run's summary, as any tool has written it, says that the run left stages out."""
    return isinstance(summary, str) and any(line.startswith(_PARTIAL) for line in summary.split("\n"))
