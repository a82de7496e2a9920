"""Of which source a run's evidence is: found out beside the rest of its start and of its end.

git is asked in a thread. Whoever starts a command waits for it: what the command changes is no part of what
there was before (docs/explanation/evidence.md, "Which source").
"""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

from codex_orchestrator import named
from codex_orchestrator.clock import Clock, timestamp
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import files
from codex_orchestrator.evidence.manifests import shape_in
from codex_orchestrator.model.codec import dumps, to_json
from codex_orchestrator.model.source import MOST_CHANGED, Source
from codex_orchestrator.rules.layout import RunLayout

if TYPE_CHECKING:
    from codex_orchestrator.checks.work_tree_id import TreeState, WorkTreeId


class SourceLook:
    """The work tree of a session's runs, which git is asked about from the moment on that this is made."""

    def __init__(self, environment: Environment) -> None:
        """Begin to look.

        Args:
            environment: Where things are.
        """
        self._tree: WorkTreeId | None = None
        self._thread: Thread | None = None
        root = environment.root.resolve()
        # Where there is none, nothing of git is so much as imported.
        if any(named.is_there(folder / ".git") for folder in (root, *root.parents)):
            from codex_orchestrator.checks.work_tree_id import WorkTreeId

            self._tree = WorkTreeId(environment)
            self._thread = Thread(target=self._tree.look, name="codex-source", daemon=True)
            self._thread.start()

    def state(self) -> TreeState | None:
        """What the work tree is; None where there is none of git.

        The first answer may be older than the call, but not than this object: no command has started since.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self._tree.state() if self._tree is not None else None


class SourceRecord:
    """Writes one run's ``source.json``: before its first command, and after its last.

    Attributes:
        warnings: Why the source is not known, or not written.
    """

    def __init__(self, layout: RunLayout, look: SourceLook, clock: Clock, *, resumed: bool) -> None:
        """Nothing is written yet.

        Args:
            layout: The run.
            look: Knows the work tree.
            clock: Time.
            resumed: Whether the run was started before.
        """
        self.warnings: dict[str, None] = {}
        self._layout = layout
        self._look = look
        self._clock = clock
        self._resumed = resumed
        self._source: Source | None = None
        self._ending: Thread | None = None
        self._end: list[TreeState | None] = []

    def begin(self) -> None:
        """Record what there is before the first command; later calls do nothing.

        Of a run that is taken up again, the first start counts: what has succeeded then is not done again.
        """
        if self._source is None:
            self._source = self._known() or self._at_start(self._look.state())
            self._write(self._source, durable=False)

    def begin_end(self) -> None:
        """Look again, now that the last command has ended; `end` waits for it."""
        self._ending = Thread(target=lambda: self._end.append(self._look.state()), name="codex-source")
        self._ending.start()

    def end(self) -> None:
        """Record what there is after the last command."""
        if self._ending is not None:
            self._ending.join()
        state = self._end.pop() if self._end else self._look.state()
        before = self._source or self._known() or self._at_start(state)
        after = replace(
            before,
            end_tree=state.tree if state is not None else None,
            problem=(state.problem if state is not None else None) or before.problem,
        )
        self._source = after
        self._write(after, durable=True)

    def _known(self) -> Source | None:
        """What an earlier start of this run has recorded; a tree that was not known then stays unknown."""
        if not self._resumed:
            return None
        return read_source(self._layout) or replace(self._at_start(self._look.state()), start_tree=None)

    def _at_start(self, state: TreeState | None) -> Source:
        now = timestamp(self._clock.now())
        if state is None:
            return Source(
                vcs="none",
                commit=None,
                branch=None,
                start_tree=None,
                end_tree=None,
                dirty=None,
                changed=(),
                changed_total=0,
                root=None,
                recorded_at=now,
            )
        return Source(
            vcs="git" if state.vcs == "git" else "none",
            commit=state.commit,
            branch=state.branch,
            start_tree=state.tree,
            end_tree=None,
            dirty=state.dirty,
            changed=state.changed[:MOST_CHANGED],
            changed_total=len(state.changed),
            root=state.root,
            recorded_at=now,
            problem=state.problem,
        )

    def _write(self, source: Source, *, durable: bool) -> None:
        if source.problem:
            self.warnings[f"Source not known: {source.problem}"] = None
        source = replace(source, recorded_at=timestamp(self._clock.now()))
        try:
            files.replace(
                self._layout.source, dumps(to_json(source)).encode(), below=self._layout.base, durable=durable
            )
        except StorageError as error:
            self.warnings[f"Source not recorded: {error.message}"] = None


def read_source(layout: RunLayout) -> Source | None:
    """What a run has recorded of its source, or None."""
    return shape_in(layout.source, Source, below=layout.base)
