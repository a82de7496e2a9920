"""The answer to ``gate``: which run shows that a pipeline holds on a tree, or why the nearest does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from codex_orchestrator import places
from codex_orchestrator.checks.work_tree_id import WorkTreeId
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import OrchestratorError, StorageError, UnknownRun
from codex_orchestrator.evidence.manifests import object_in, read_manifest
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.evidence.sealing import read_seal
from codex_orchestrator.identifiers import is_run_id
from codex_orchestrator.model.seal import Seal
from codex_orchestrator.rules.gate import Candidate, Reason, in_words, reasons_against
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.views.verification import Verification

if TYPE_CHECKING:  # Most ask without a key.
    from codex_orchestrator.evidence.keys import PublicKey

# Of runs before these nobody asks whether the work tree is what they were of.
MOST_RUNS = 1_000
# The nearest run is looked for among so many; one that runs or waits is among the newest too.
_MOST_RECENT = 50
_MOST_NAMED = 5
_SHOWN = 12


@dataclass(frozen=True)
class GateAnswer:
    """What is known of one pipeline.

    Attributes:
        pipeline: Its id.
        run_id: The run that shows that it holds, or the one that nearly does; None where there is none.
        reasons: Why it does not; nothing where it does.
        waits: Whether that run waits for an approval.
        age_seconds: How long ago it ended, or None.
    """

    pipeline: str
    run_id: str | None
    reasons: tuple[str, ...]
    waits: bool = False
    age_seconds: float | None = None

    @property
    def passes(self) -> bool:
        """Whether the pipeline holds."""
        return self.run_id is not None and not self.reasons


class Gate:
    """Asks the runs of a task about a tree."""

    def __init__(
        self,
        task: TaskLayout,
        tree: str,
        work_tree: WorkTreeId,
        *,
        now: float,
        max_age_seconds: float | None,
        keys: Sequence[PublicKey] = (),
    ) -> None:
        """Nothing is read yet.

        Args:
            task: Whose runs count.
            tree: The tree that is asked about.
            work_tree: Knows in which files trees differ.
            now: The moment, as epoch seconds.
            max_age_seconds: How old a run may be; None for any age.
            keys: Public keys of which one must have signed the run; without any, it need not be signed.
        """
        self._keys = keys
        self._task = task
        self._tree = tree
        self._work_tree = work_tree
        self._now = now
        self._max_age = max_age_seconds
        found = places.listed(task.cli_dir, below=task.environment.runs_dir)
        names = sorted((name for name, kind in found if kind == "folder"), reverse=True)
        self._layouts = [task.run(name) for name in islice(filter(is_run_id, names), MOST_RUNS)]

    def ask(self, pipeline: str) -> GateAnswer:
        """What the runs of a pipeline say."""
        nearest: tuple[int, Candidate, list[Reason]] | None = None
        for layout, run in self._candidates(pipeline):
            reasons = self._reasons(run)
            if not reasons:
                reasons = [Reason(5, text) for text in self._doubts(layout)]
            if not reasons:
                return GateAnswer(pipeline, run.run_id, (), age_seconds=self._age(run))
            weight = sum(each.weight for each in reasons)
            if nearest is None or weight < nearest[0]:
                nearest = weight, run, reasons
        if nearest is None:
            return GateAnswer(pipeline, None, (f"task {self._task.task_id} has no run of it",))
        _, run, reasons = nearest
        told = tuple(map(self._told, reasons))
        return GateAnswer(pipeline, run.run_id, told, waits=run.waits, age_seconds=self._age(run))

    def _candidates(self, pipeline: str) -> Iterator[tuple[RunLayout, Candidate]]:
        for place, layout in enumerate(self._layouts):
            is_recent = place < _MOST_RECENT
            if not is_recent and not self._may_be_of_the_tree(layout):
                continue  # Nor will it be the nearest.
            seal = read_seal(layout)
            if seal is None:
                yield from _unsealed(layout, pipeline) if is_recent else ()
            elif seal.pipeline_id == pipeline:
                yield layout, self._sealed(layout, seal)

    def _sealed(self, layout: RunLayout, seal: Seal) -> Candidate:
        """A sealed run: with all that its files say where it is of the tree, else by its seal's own words."""
        if (seal.source.start_tree, seal.source.end_tree) == (self._tree, self._tree):
            with suppress(UnknownRun, StorageError):
                return _candidate(layout, read_manifest(layout), seal)
        return Candidate(
            run_id=layout.run_id,
            status=seal.status,
            partial=seal.partial,
            start_tree=seal.source.start_tree,
            end_tree=seal.source.end_tree,
            completed_at=parse_timestamp(seal.sealed_at),
        )

    def _may_be_of_the_tree(self, layout: RunLayout) -> bool:
        """Whether a run's seal names the tree that is asked about; cheaper than to read the seal."""
        try:
            return self._tree.encode() in places.read(layout.seal, below=layout.base)
        except (OSError, StorageError):
            return False

    def _reasons(self, run: Candidate) -> list[Reason]:
        return reasons_against(run, self._tree, now=self._now, max_age_seconds=self._max_age)

    def _doubts(self, layout: RunLayout) -> list[str]:
        """What `verify` would find."""
        verification = Verification(Chain(self._task, back_to=layout.run_id), now=self._now, keys=self._keys)
        flaws = [*verification.chain.flaws, *verification.flaws(layout)]
        return [flaw.text for flaw in flaws[:_MOST_NAMED]]

    def _told(self, reason: Reason) -> str:
        """A reason with the files that are different, where it is that."""
        if reason.trees is None:
            return reason.text
        try:
            found = self._work_tree.differences(*reason.trees)
        except OrchestratorError:
            found = None
        if found is None:
            return f"{reason.text} ({reason.trees[0][:_SHOWN]}), which is not known here any more"
        named = ", ".join(f"{each.path} ({each.status})" for each in found[:_MOST_NAMED])
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        count = "1 file differs" if len(found) == 1 else f"{len(found)} files differ"
        return f"{reason.text}: {count}: {named}{more}"

    def _age(self, run: Candidate) -> float | None:
        return None if run.completed_at is None else max(0.0, self._now - run.completed_at)


def _unsealed(layout: RunLayout, pipeline: str) -> Iterator[tuple[RunLayout, Candidate]]:
    """A run that has no seal: it runs, waits, was killed or is an older one."""
    try:
        manifest = read_manifest(layout)
    except (UnknownRun, StorageError):
        return
    if manifest.get("pipeline_id") == pipeline:
        yield layout, _candidate(layout, manifest, None)


def _candidate(layout: RunLayout, manifest: dict[str, Any], seal: Seal | None) -> Candidate:
    source = object_in(layout.source, below=layout.base)
    summary = object_in(layout.run_summary, below=layout.base)
    entries = manifest["commands"]
    decision = (summary.get("review") or {}).get("decision") or {}
    ended = manifest.get("completed_at")
    return Candidate(
        run_id=layout.run_id,
        status=str(manifest.get("status")),
        partial=seal is not None and seal.partial,
        pending=tuple(str(each.get("id")) for each in entries if each.get("status") == "pending"),
        failed=tuple(str(each.get("id")) for each in entries if each.get("status") == "failed"),
        start_tree=source.get("start_tree"),
        end_tree=source.get("end_tree"),
        completed_at=parse_timestamp(ended) if isinstance(ended, str) else None,
        sealed=seal is not None,
        waits=str(manifest.get("status_detail")).endswith(":awaiting-approval"),
        approved=decision.get("approved") is True,
        doubt=decision.get("feedback"),
    )


def gate_document(tree: str, answers: list[GateAnswer]) -> dict[str, Any]:
    """The JSON answer."""
    return {
        "tree": tree,
        "passes": all(answer.passes for answer in answers),
        "pipelines": [
            {
                "pipeline": each.pipeline,
                "passes": each.passes,
                "run_id": each.run_id,
                "age_seconds": None if each.age_seconds is None else round(each.age_seconds, 3),
                "reasons": list(each.reasons),
            }
            for each in answers
        ],
    }


def gate_lines(tree: str, answers: list[GateAnswer]) -> list[str]:
    """The answer for people, a line for each pipeline and each reason."""
    lines = []
    for each in answers:
        if each.passes:
            ago = f", {in_words(each.age_seconds)} ago" if each.age_seconds is not None else ""
            lines.append(f"{each.pipeline}: passed on this tree ({tree[:_SHOWN]}), run {each.run_id}{ago}")
        else:
            nearest = f"; the nearest run is {each.run_id}:" if each.run_id else ":"
            lines.append(f"{each.pipeline}: no evidence for this tree ({tree[:_SHOWN]}){nearest}")
            lines += [f"  {reason}" for reason in each.reasons]
    return lines
