"""Where a manifest says what the run's other files deny. Pure: for documents as they were read.

Documents of other tools lack much of this: only what both of two files say can be a contradiction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from codex_orchestrator.model.codec import loads
from codex_orchestrator.model.manifest import TERMINAL

Document = Mapping[str, Any]
_CHUNK = b'{"type":"exec:chunk"'
_STARTS = ("run:started", "run:resumed")
# What a run's summary says where its own logs may lack something.
_DEGRADED = ("Log incomplete", "Evidence could not be written")


class LogReading:
    """What a run's log says of its stages and of its end, read line by line.

    Attributes:
        ends: By stage id, the event with which it ended last, as far as that still counts.
        exits: By stage id, the exit code of its last command.
        begun: The ids of the stages whose command has started since the run was last taken up.
        run_ids: The runs that the log says it is of.
        end: The event with which the run ended, or None.
    """

    def __init__(self) -> None:
        self.ends: dict[str, Document] = {}
        self.exits: dict[str, object] = {}
        self.begun: set[str] = set()
        self.run_ids: set[str] = set()
        self.end: Document | None = None
        self._stages: tuple[str, ...] = ()

    def take(self, line: bytes) -> None:
        """Take up a line; one that is torn, or another tool's, says nothing."""
        if line.startswith(_CHUNK):
            return
        event = _parsed(line)
        kind = event.get("type")
        if kind in _STARTS:
            self._start(event)
        elif kind == "run:completed":
            self.end = event
        elif kind == "stage:completed":
            self.ends[str(event.get("stage_id"))] = event
        elif kind == "command:start":
            self.begun.add(self._stage_of(event))
        elif kind == "exec:end":
            self.exits[self._stage_of(event)] = event.get("exit_code")

    def _start(self, event: Document) -> None:
        self._stages = tuple(map(str, event.get("stages") or ()))
        self.run_ids.add(str(event.get("run_id")))
        self.end = None
        self.begun.clear()
        # What has succeeded stays; all else runs again, or waits for what does.
        self.ends = {name: end for name, end in self.ends.items() if end.get("status") == "succeeded"}

    def _stage_of(self, event: Document) -> str:
        index = event.get("index")
        known = isinstance(index, int) and 0 < index <= len(self._stages)
        return self._stages[index - 1] if known and isinstance(index, int) else f"#{index}"


def of_log(manifest: Document, log: LogReading) -> Iterator[str]:
    """Where manifest and ``runner.ndjson`` contradict each other."""
    if log.run_ids - {manifest.get("run_id")}:
        yield f"it is the log of {', '.join(sorted(log.run_ids))}, and this is {manifest.get('run_id')}"
    # Where recording had trouble, what is missing proves nothing.
    is_whole = bool(log.run_ids) and not any(word in str(manifest.get("summary")) for word in _DEGRADED)
    if manifest.get("status") in TERMINAL:
        if log.end is not None:
            yield from _differences("the run", manifest, log.end, ("status", "status_detail"))
        elif is_whole:
            yield f"the manifest says that the run has ended ({manifest['status']}), and the log has no end"
    for entry in _entries(manifest):
        yield from _of_stage(manifest, entry, log, is_whole=is_whole)
    known = {str(entry.get("id")) for entry in _entries(manifest)}
    for name in log.ends if is_whole else ():
        if name not in known:
            yield f'the log has stage "{name}", and the manifest lacks it'


def _of_stage(manifest: Document, entry: Document, log: LogReading, *, is_whole: bool) -> Iterator[str]:
    name, status = str(entry.get("id")), entry.get("status")
    end = log.ends.get(name)
    if end is not None:
        keys = ("status", "exit_code", "summary", "error_file")
        yield from _differences(f'stage "{name}"', entry, end, keys)
        if entry.get("completed_at") != end.get("timestamp"):
            said, other = entry.get("completed_at"), end.get("timestamp")
            yield _told(f'stage "{name}"', "completed_at", said, other)
        yield from _exit(name, entry, log)
    elif status in ("succeeded", "failed", "skipped") and is_whole:
        reasons = (str(each.get("reason")) for each in manifest.get("approvals") or ())
        if not any(reason.startswith(f"stage:{name}:") for reason in reasons):
            yield f'the manifest says that stage "{name}" is {status}, and the log has no end of it'
    elif status == "pending" and name in log.begun and manifest.get("status") in TERMINAL:
        yield f'the manifest says that stage "{name}" is pending, and the log has its start'


def _exit(name: str, entry: Document, log: LogReading) -> Iterator[str]:
    """Where a stage succeeded though its last command has not."""
    code = log.exits.get(name)
    if entry.get("kind") == "command" and entry.get("status") == "succeeded" and code not in (None, 0):
        yield f'stage "{name}" is succeeded, and its command has ended with {code}'


def of_summary(manifest: Document, summary: Document) -> Iterator[str]:
    """Where manifest and ``run-summary.json`` contradict each other."""
    build, test = _inside(summary, "build"), _inside(summary, "test")
    pairs = (
        ("taskId", summary.get("taskId"), manifest.get("task_id")),
        ("runId", summary.get("runId"), manifest.get("run_id")),
        ("timestamp", summary.get("timestamp"), manifest.get("completed_at")),
        ("build.success", build.get("success"), manifest.get("status") == "succeeded"),
        ("build.runId", build.get("runId"), manifest.get("run_id")),
        ("build.notes", build.get("notes"), _notes(manifest)),
        ("test.runId", test.get("runId"), manifest.get("run_id")),
    )
    yield from _unequal(pairs)
    decision = _inside(_inside(summary, "review"), "decision")
    if decision.get("approved") is True and manifest.get("status") != "succeeded":
        yield f"review.decision.approved is true, and the run is {manifest.get('status')}"
    handles = [each.get("handle_id") for each in manifest.get("handles") or ()]
    told = [each.get("handleId") for each in summary.get("handles") or () if isinstance(each, dict)]
    if handles != told:
        yield "handles are not those of the manifest"


def of_metrics(manifest: Document, line: Document) -> Iterator[str]:
    """Where manifest and the run's line of ``metrics.json`` contradict each other."""
    statuses = [entry.get("status") for entry in _entries(manifest)]
    privacy, guardrails = _inside(manifest, "privacy"), _inside(manifest, "guardrail_status")
    yield from _unequal(
        (
            *((key, line.get(key), manifest.get(key)) for key in _SHARED),
            ("artifact_path", line.get("artifact_path"), manifest.get("artifact_root")),
            ("commands_passed", line.get("commands_passed"), statuses.count("succeeded")),
            ("commands_failed", line.get("commands_failed"), statuses.count("failed")),
            ("commands_skipped", line.get("commands_skipped"), statuses.count("skipped")),
            ("guardrails_present", line.get("guardrails_present"), guardrails.get("present", False)),
            ("handle_count", line.get("handle_count"), len(manifest.get("handles") or ())),
            ("privacy_event_count", line.get("privacy_event_count"), len(privacy.get("decisions") or ())),
            ("approvals_count", line.get("approvals_count"), len(line.get("approvals") or ())),
            ("resumed", line.get("resumed"), line.get("attempts") != 1),
        )
    )


_SHARED = ("run_id", "task_id", "pipeline_id", "status", "started_at", "completed_at")


def of_approvals(manifest: Document, receipts: Iterable[Document]) -> Iterator[str]:
    """Where decisions of the manifest and ``approvals.ndjson`` contradict each other."""
    listed = [
        (each.get("actor"), each.get("timestamp"), _decision(str(each.get("reason"))))
        for each in manifest.get("approvals") or ()
        if isinstance(each, dict) and str(each.get("reason")).startswith("stage:")
    ]
    given = [
        (each.get("actor"), each.get("timestamp"), f"stage:{each.get('stage_id')}:{each.get('decision')}")
        for each in receipts
    ]
    for actor, moment, decision in listed:
        if (actor, moment, decision) not in given:
            yield f"the manifest has {decision} by {actor} at {moment}, and there is no such receipt"
    for actor, moment, decision in given:
        if (actor, moment, decision) not in listed:
            yield f"there is a receipt of {decision} by {actor} at {moment}, which the manifest lacks"


def of_child(manifest: Document, listed: Document, child: Document) -> Iterator[str]:
    """Where a run and the manifest of one that it has started contradict each other."""
    yield from _unequal(
        (
            ("run_id", listed.get("run_id"), child.get("run_id")),
            ("pipeline_id", listed.get("pipeline_id"), child.get("pipeline_id")),
            ("parent_run_id", child.get("parent_run_id"), manifest.get("run_id")),
        )
    )
    if child.get("status") in TERMINAL and listed.get("status") != child.get("status"):
        yield f"status is {listed.get('status')!r}, and the run itself says {child.get('status')!r}"


def of_plan(manifest: Document, plan: Document, digest: Callable[[Any], str]) -> Iterator[str]:
    """Where manifest and ``plan.json`` contradict each other, or the plan its own digest.

    A plan with values that were taken out has a digest that cannot be computed from it.
    """
    pipeline = _inside(plan, "pipeline")
    if "[REDACTED" not in str(pipeline) and digest(pipeline) != plan.get("digest"):
        yield "digest is not that of the pipeline beside it"
    stages = [each for each in pipeline.get("stages") or () if isinstance(each, dict)]
    entries = _entries(manifest)
    ids, planned = [each.get("id") for each in entries], [each.get("id") for each in stages]
    if ids != planned:
        yield f"its stages are {_names(planned)}, and those of the manifest {_names(ids)}"
    for entry, stage in zip(entries, stages, strict=False) if ids == planned else ():
        yield from _differences(f'stage "{entry.get("id")}"', entry, stage, ("title", "kind"))
        if entry.get("kind") == "command":
            yield from _differences(f'stage "{entry.get("id")}"', entry, stage, ("command",))


def of_error(entry: Document, error: Document, manifest: Document) -> Iterator[str]:
    """Where a stage's entry and its error file contradict each other."""
    yield from _unequal(
        (
            ("run_id", error.get("run_id"), manifest.get("run_id")),
            ("command_index", error.get("command_index"), entry.get("index")),
            ("details.exit_code", _inside(error, "details").get("exit_code"), entry.get("exit_code")),
        )
    )


def _entries(manifest: Document) -> list[Document]:
    return [each for each in manifest.get("commands") or () if isinstance(each, dict)]


def _notes(manifest: Document) -> str:
    told = [each for each in _entries(manifest) if each.get("summary")]
    return "\n".join(f"{each.get('title')}: {each['summary']}" for each in told)


def _decision(reason: str) -> str:
    """``stage:<id>:<decision>`` of a reason, which may go on after a colon."""
    for word in (":approved", ":rejected"):
        head, found, _ = reason.partition(word)
        if found:
            return head + word
    return reason


def _inside(document: Document, key: str) -> Document:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _differences(what: str, said: Document, other: Document, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        if said.get(key) != other.get(key):
            yield _told(what, key, said.get(key), other.get(key))


def _told(what: str, key: str, said: object, other: object) -> str:
    return f"{what}: the manifest says {key} {said!r}, and here it is {other!r}"


def _unequal(pairs: Iterable[tuple[str, object, object]]) -> Iterator[str]:
    for key, found, expected in pairs:
        if found != expected:
            yield f"{key} is {found!r}, and by the manifest {expected!r}"


def _names(ids: Iterable[object]) -> str:
    return ", ".join(map(str, ids)) or "none"


def _parsed(line: bytes) -> Document:
    try:
        document = loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
