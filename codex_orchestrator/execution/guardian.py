"""The guardian: a process that ends what stages started when this process dies, however it dies.

It reads from a pipe which process groups stages have. Nobody else can write to that pipe, so its end
without a farewell is the death of this process (docs/reference/event-logs.md, "Processes").
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from codex_orchestrator.execution.leftovers import has_members
from codex_orchestrator.execution.process import Listener

# A shell starts in a millisecond. It kills at once what it was told of, and leaves the rest to an
# interpreter, whose start-up costs nothing where all went well.
_SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r word number; do
    case $word in
        watch) groups="$groups $number" ;;
        forget)
            kept=
            for group in $groups; do [ "$group" = "$number" ] || kept="$kept $group"; done
            groups=$kept ;;
        done) exit 0 ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
exec "$@" $groups
"""
_FIND_THE_REST = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
from codex_orchestrator.clock import SystemClock
from codex_orchestrator.execution.leftovers import kill_left
groups, folder = {int(group) for group in sys.argv[4:]}, Path(sys.argv[3]) if sys.argv[3] else None
kill_left(sys.argv[2].replace("\\n", "\\0"), groups, folder, clock=SystemClock())
"""
_ROOT = Path(__file__).parents[2]


class Guardian:
    """Starts the guardian and tells it what to watch; where that fails, stages run all the same.

    Several threads may run stages of one run.

    Attributes:
        groups: The process groups of stages that have members.
        warnings: That nobody watches, and why; empty where all is well.
    """

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self.warnings: list[str] = []
        self._listener: Listener | None = None
        self._lock = threading.Lock()

    def start(self, mark: str, folder: Path | None = None) -> None:
        """Start it, for a run in a folder, whose stages have ``mark`` in their environment."""
        # No argument may have a NUL, and no id of ours has a line break.
        lines = mark.replace("\0", "\n")
        rest = [sys.executable, "-IS", "-c", _FIND_THE_REST, str(_ROOT), lines, str(folder or "")]
        try:
            self._listener = Listener(_SCRIPT, ["codex-orchestrator-guardian", *rest])
        except OSError as error:
            self._lose(error)

    def watch(self, group: int) -> None:
        """A stage has begun, in a process group and session of its own."""
        if group <= 1:
            raise ValueError(f"{group} is no process group of a stage")
        with self._lock:
            self.groups.add(group)
            self._tell(f"watch {group}")

    def forget_empty(self) -> None:
        """A stage has ended: forget the groups without members, as their ids may now be given to others."""
        with self._lock:
            for group in [group for group in self.groups if not has_members(group)]:
                self.groups.remove(group)
                self._tell(f"forget {group}")

    def dismiss(self) -> None:
        """End it: from here on there is nothing to watch."""
        self._tell("done")
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _tell(self, line: str) -> None:
        if self._listener is None or self.warnings:
            return
        try:
            self._listener.tell(line)
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.warnings.append(
            f"No guardian: if this process is killed, what stages started may live on ({error.strerror})."
        )
