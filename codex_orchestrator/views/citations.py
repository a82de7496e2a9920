"""Evidence cited in texts: the tokens for a run, and what became of those that a text has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from codex_orchestrator import places
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import StorageError, UnknownRun, UsageError
from codex_orchestrator.evidence.manifests import read_manifest
from codex_orchestrator.evidence.seal_check import Chain
from codex_orchestrator.evidence.sealing import read_seal
from codex_orchestrator.model.seal import Seal
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.tokens import Citation, Token
from codex_orchestrator.text import flattened, printable
from codex_orchestrator.views.lookup import FoundRun
from codex_orchestrator.views.verification import Verification

Verdict = Literal["SUPPORTED", "REFUTED", "STALE", "TAMPERED", "UNKNOWN"]
_SHOWN = 12


@dataclass(frozen=True)
class Claim:
    """Something that a run shows, with the token that stands for it."""

    subject: str
    status: str
    token: Token


def claims_of(found: FoundRun, stages: Sequence[str]) -> list[Claim]:
    """What a run shows: as a whole and of each of its stages, or of some stages.

    Raises:
        UsageError: It is not sealed, or has no such stage.
    """
    layout, seal = found.layout, read_seal(found.layout)
    if seal is None or found.manifest.get("status") != seal.status:
        raise UsageError(
            f"Run {layout.run_id} is not sealed, so that there is nothing to cite.",
            hint="A run is sealed when it has ended.",
        )

    def token(stage_id: str | None) -> Token:
        return Token(layout.task.task_id, layout.run_id, stage_id, seal.root)

    entries = {str(each.get("id")): each for each in found.manifest["commands"]}
    if missing := [name for name in stages if name not in entries]:
        raise UsageError(
            f'Unknown stage "{printable(missing[0])}" in run {layout.run_id}.',
            hint=f"Stages: {', '.join(map(printable, entries))}.",
        )
    whole = [] if stages else [Claim(seal.pipeline_id, _of_run(seal, entries.values()), token(None))]
    named = stages or list(entries)
    return [*whole, *(Claim(name, str(entries[name].get("status")), token(name)) for name in named)]


def claims_of_sealed(found: FoundRun) -> list[Claim]:
    """What a run shows as a whole and of each of its stages; nothing where there is nothing to cite."""
    try:
        return claims_of(found, ())
    except UsageError:
        return []


def _of_run(seal: Seal, entries: Iterable[dict[str, Any]]) -> str:
    statuses = [each.get("status") for each in entries]
    left_out = f", {statuses.count('pending')} not run" if statuses.count("pending") else ""
    return f"{seal.status}, {statuses.count('succeeded')} of {len(statuses)} stages succeeded{left_out}"


def claim_lines(claims: Iterable[Claim]) -> list[str]:
    """Markdown, a line for each."""
    return [f"- {flattened(each.subject)}: {each.status} (`{each.token.text}`)" for each in claims]


def claim_document(claims: Iterable[Claim]) -> dict[str, Any]:
    """The JSON answer of ``cite``."""
    return {
        "claims": [
            {
                "task_id": each.token.task_id,
                "run_id": each.token.run_id,
                "stage_id": each.token.stage_id,
                "status": each.status,
                "token": each.token.text,
            }
            for each in claims
        ]
    }


@dataclass(frozen=True)
class Answer:
    """What became of what a token stands for.

    Attributes:
        verdict: In a word.
        citation: Where the text has it.
        place: The text's name.
        message: What the token stands for, or why it does not.
    """

    verdict: Verdict
    citation: Citation
    place: str
    message: str


class Checker:
    """Looks up what tokens stand for; each run is verified once."""

    def __init__(self, environment: Environment, tree: str | None, *, now: float, any_tree: bool) -> None:
        """Nothing is read yet.

        Args:
            environment: Where runs are.
            tree: The tree that is asked about; None where it is not known.
            now: The moment, as epoch seconds.
            any_tree: Whether evidence of any tree will do.
        """
        self._environment = environment
        self._tree = tree
        self._now = now
        self._any_tree = any_tree
        self._chains: dict[str, Chain] = {}
        self._doubts: dict[tuple[str, str], str | None] = {}

    def answer(self, citation: Citation, place: str) -> Answer:
        """What became of what a text has there."""
        verdict, message = self._judged(citation.token)
        return Answer(verdict, citation, place, message)

    def _judged(self, token: Token | None) -> tuple[Verdict, str]:
        if token is None:
            return "UNKNOWN", "it is no token as cite writes it: cut, or changed"
        layout = TaskLayout(self._environment, token.task_id).run(token.run_id)
        try:
            return self._of_run(token, layout)
        except (OSError, UnknownRun, StorageError) as error:
            return "TAMPERED", f"the run's evidence cannot be read: {error}"

    def _of_run(self, token: Token, layout: RunLayout) -> tuple[Verdict, str]:
        if not places.has_folder(layout.folder, below=layout.base):
            return "UNKNOWN", f"there is no run {token.run_id} of task {token.task_id} here"
        chain = self._chain(layout.task)
        seal = read_seal(layout)
        if seal is None:
            known = layout.run_id in chain.last
            return ("TAMPERED", "the run's seal is gone") if known else ("UNKNOWN", "the run is not sealed")
        if not seal.root.startswith(token.root):
            if any(root.startswith(token.root) for root in chain.roots.get(layout.run_id, ())):
                return "STALE", "the run has gone on since, and has another seal now"
            return "TAMPERED", "the run's seal is another one than the one cited"
        if doubt := self._doubt(layout, chain):
            return "TAMPERED", doubt
        return self._of_seal(token, layout, seal)

    def _of_seal(self, token: Token, layout: RunLayout, seal: Seal) -> tuple[Verdict, str]:
        manifest = read_manifest(layout)
        status: str
        if token.stage_id is None:
            what, status = f"pipeline {seal.pipeline_id}", "partial" if seal.partial else seal.status
        else:
            entry = next((each for each in manifest["commands"] if each.get("id") == token.stage_id), None)
            if entry is None:
                return "UNKNOWN", f"the run has no stage {token.stage_id}"
            what, status = f"stage {token.stage_id} of pipeline {seal.pipeline_id}", str(entry.get("status"))
        if status != "succeeded":
            return "REFUTED", f"{what} is {status}"
        trees = {seal.source.start_tree, seal.source.end_tree}
        if not self._any_tree and (self._tree is None or trees != {self._tree}):
            return "STALE", f"{what} succeeded, on {self._other(seal)}"
        return "SUPPORTED", f"{what} succeeded, run {seal.run_id}"

    def _other(self, seal: Seal) -> str:
        start, end = seal.source.start_tree, seal.source.end_tree
        if start is None or end is None:
            return "a source that is not known"
        if start != end:
            return "a source that changed meanwhile"
        asked = f"not {self._tree[:_SHOWN]}" if self._tree else "and there is none to compare it with"
        return f"tree {end[:_SHOWN]}, {asked}"

    def _chain(self, task: TaskLayout) -> Chain:
        if task.task_id not in self._chains:
            self._chains[task.task_id] = Chain(task)
        return self._chains[task.task_id]

    def _doubt(self, layout: RunLayout, chain: Chain) -> str | None:
        """The first thing that `verify` would find, or None."""
        key = layout.task.task_id, layout.run_id
        if key not in self._doubts:
            flaws = [*chain.flaws, *Verification(chain, now=self._now).flaws(layout)]
            self._doubts[key] = flaws[0].text if flaws else None
        return self._doubts[key]


def answer_lines(answers: Iterable[Answer]) -> list[str]:
    """For people, a line for each."""
    return [
        f"{each.verdict}: {printable(each.place)}:{each.citation.line}: {each.citation.text}: "
        + printable(each.message)
        for each in answers
    ]


def answer_document(answers: Sequence[Answer]) -> dict[str, Any]:
    """The JSON answer of ``check``."""
    return {
        "supported": bool(answers) and all(each.verdict == "SUPPORTED" for each in answers),
        "citations": [
            {
                "verdict": each.verdict,
                "file": each.place,
                "line": each.citation.line,
                "token": each.citation.text,
                "message": each.message,
            }
            for each in answers
        ],
    }
