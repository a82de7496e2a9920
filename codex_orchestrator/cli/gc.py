"""``gc``: remove runs that nobody needs any more, and finish what dead processes left."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Literal

from codex_orchestrator import places
from codex_orchestrator.cli import render
from codex_orchestrator.cli.common import add_format, add_root, add_task, environment_of, notify, task_of
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.errors import EXIT_OK, EXIT_RUN_FAILED, Misplaced, StorageError, UsageError
from codex_orchestrator.evidence import housekeeping
from codex_orchestrator.evidence.sweep import sweep
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from codex_orchestrator.rules.retention import RetentionPolicy, RunFacts, decide_retention, parse_age
from codex_orchestrator.views.cleanup import Cleanup, RemovedRun
from codex_orchestrator.views.lookup import task_ids, unusable_entries
from codex_orchestrator.views.run_facts import foreign_parents, run_facts, task_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``gc``."""
    parser.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="the N newest runs of a task stay, with the runs that they started",
    )
    parser.add_argument(
        "--older-than", metavar="AGE", help="only runs older than this go: 45m, 12h, 30d or 2w, say"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and touch nothing")
    add_task(parser)
    parser.add_argument("--all-tasks", action="store_true", help="clean all tasks, not one")
    add_format(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Clean; 1 where something could not be done."""
    policy = _policy(arguments)
    environment = environment_of(arguments)
    if arguments.all_tasks and arguments.task is not None:
        raise UsageError("--task and --all-tasks exclude each other.")
    names = task_ids(environment) if arguments.all_tasks else [task_of(environment, arguments)]
    cleanup = Cleanup(tuple(names), arguments.dry_run)
    for name in names:
        try:
            _Cleaning(TaskLayout(environment, name), policy, cleanup).clean()
        except Misplaced as error:
            cleanup.failures.append(str(error))
    if arguments.format == "json":
        render.emit_json(cleanup.document())
    else:
        render.emit_lines(cleanup.lines(now=SystemClock().now(), has_conditions=policy.has_conditions))
    notify(tuple(dict.fromkeys(f"notice: {notice}" for notice in cleanup.notices)))
    notify(tuple(f"error: {failure}" for failure in cleanup.failures))
    return EXIT_RUN_FAILED if cleanup.failures else EXIT_OK


def _policy(arguments: argparse.Namespace) -> RetentionPolicy:
    if arguments.keep is not None and arguments.keep < 0:
        raise UsageError("--keep must not be negative.")
    if arguments.older_than is None:
        return RetentionPolicy(arguments.keep)
    seconds = parse_age(arguments.older_than)
    if seconds is None:
        raise UsageError(
            f'--older-than "{arguments.older_than}" is not an age.',
            hint="Write a whole number and m, h, d or w, such as 45m, 12h, 30d or 2w.",
        )
    return RetentionPolicy(arguments.keep, seconds)


class _Cleaning:
    """Cleans one task, and adds what it did to the totals."""

    def __init__(self, task: TaskLayout, policy: RetentionPolicy, cleanup: Cleanup) -> None:
        self._task = task
        self._policy = policy
        self._cleanup = cleanup
        self._clock = SystemClock()

    def clean(self) -> None:
        """Finish earlier removals and merges, then remove runs by the policy, oldest first."""
        if self._cleanup.dry_run:
            self._cleanup.merged_records += housekeeping.queued_records(self._task)
        else:
            self._merge()
        self._sweep()
        self._empty_trash()
        now = self._clock.now()
        self._cleanup.notices.extend(unusable_entries(self._task))
        runs = task_runs(self._task, now=now)
        if self._cleanup.dry_run:
            # What is queued now would have been merged, and what never became a run swept.
            swept = set(self._cleanup.swept.folders)
            runs = [replace(run, queued=False) for run in runs if self._folder_of(run) not in swept]
        others = foreign_parents(self._task.environment, runs, now=now)
        for decision in decide_retention(runs, self._policy, now=now, others=others):
            if decision.kept is not None:
                self._cleanup.kept[decision.kept] += 1
            else:
                self._remove(decision.run)

    def _folder_of(self, run: RunFacts) -> str:
        layout = self._task.run(run.run_id)
        return layout.relative(layout.folder)

    def _merge(self) -> None:
        try:
            merged = housekeeping.merge_records(self._task, self._clock, self._cleanup.notices.append)
            self._cleanup.merged_records += merged
        except StorageError as error:
            self._cleanup.failures.append(error.message)

    def _sweep(self) -> None:
        swept = sweep(self._task, dry_run=self._cleanup.dry_run)
        self._cleanup.swept += swept
        self._cleanup.notices.extend(swept.warnings)

    def _empty_trash(self) -> None:
        """Finish what earlier removals began."""
        try:
            found = housekeeping.leftovers(self._task)
            self._cleanup.notices.extend(housekeeping.unusable_trash(self._task))
        except StorageError as error:
            self._cleanup.failures.append(error.message)
            return
        for layout in found:
            before = self._trash_bytes(layout)
            try:
                if not self._cleanup.dry_run:
                    housekeeping.discard(layout)
                self._cleanup.remains.append(
                    layout.relative(housekeeping.trash_dir(self._task) / layout.run_id)
                )
            except StorageError as error:
                self._cleanup.failures.append(error.message)
            self._cleanup.freed_bytes += before - (0 if self._cleanup.dry_run else self._trash_bytes(layout))

    def _remove(self, facts: RunFacts) -> None:
        layout = self._task.run(facts.run_id)
        size = housekeeping.bytes_of(layout.folder, below=layout.base)
        what = "removed" if self._cleanup.dry_run else self._try_to_remove(layout, facts)
        if what == "removed":
            freed = size - self._trash_bytes(layout)
            self._cleanup.removed.append(RemovedRun(self._task.task_id, facts, freed))
            self._cleanup.freed_bytes += freed
        elif what != "gone":
            self._cleanup.kept[what] += 1

    def _try_to_remove(self, layout: RunLayout, facts: RunFacts) -> Literal["failed"] | housekeeping.Removal:
        def unchanged() -> bool:
            return run_facts(layout, now=self._clock.now()) == facts

        try:
            return housekeeping.remove_run(layout, unchanged=unchanged)
        except StorageError as error:
            self._cleanup.failures.append(error.message)
        # What has left its place is a run no more: its remains wait in the trash.
        return "failed" if places.has_file(layout.manifest, below=layout.base) else "removed"

    def _trash_bytes(self, layout: RunLayout) -> int:
        return housekeeping.bytes_of(housekeeping.trash_dir(self._task) / layout.run_id, below=layout.base)
