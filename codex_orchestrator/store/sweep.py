"""What dead runs left half done: temporary files, and folders that never became a run.

Only runs that have not ended have a marker, so looking for the dead among them costs the same
however many runs there have been (docs/reference/files.md, "Leftovers").
"""

from __future__ import annotations

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import StorageError
from codex_orchestrator.run.layout import RunLayout, TaskLayout

from . import files
from .locks import held_lock
from .owner import exists, is_alive, read_owner, this_process


@dataclass(frozen=True)
class Swept:
    """How much there was to sweep, and what could not be."""

    temporaries: int = 0
    folders: int = 0
    warnings: tuple[str, ...] = ()

    def __add__(self, other: Swept) -> Swept:
        return Swept(
            self.temporaries + other.temporaries,
            self.folders + other.folders,
            (*self.warnings, *other.warnings),
        )


def sweep(task: TaskLayout) -> Swept:
    """Sweep what dead runs of a task left; runs that live, or live elsewhere, are not touched."""
    here = this_process()
    swept = Swept(files.remove_temporaries(task.live_dir, is_dead=lambda pid: not exists(pid)))
    for marker in sorted(task.live_dir.glob("*.json")):
        owner = read_owner(marker)
        if owner is None or is_alive(owner, here) is False:
            swept += _sweep_run(task.run(marker.stem))
    return swept


def _sweep_run(layout: RunLayout) -> Swept:
    swept = Swept()
    try:
        if layout.folder.is_dir():
            with held_lock(layout.lock) as held:
                if not held:
                    return swept  # Somebody has taken it up again.
                swept = remove_temporaries(layout) if layout.manifest.exists() else _remove_half_made(layout)
        files.remove(layout.live_marker)
    except (OSError, StorageError) as error:
        if not layout.folder.is_dir():
            return swept  # Housekeeping has just removed all of it.
        warning = f"Leftovers of run {layout.run_id} not swept: {error}"
        return swept + Swept(warnings=(warning,))
    return swept


def remove_temporaries(layout: RunLayout) -> Swept:
    """Remove what writers of a run died in, with its lock held.

    Raises:
        StorageError: The disk refused.
    """
    own = (path for path in layout.folder.iterdir() if path.is_dir())
    count = sum(
        files.remove_temporaries(folder)
        for folder in (layout.folder, *own, layout.mcp_folder, layout.compat_folder)
    )
    for pending in layout.task.pending_dirs:
        count += files.remove_temporaries(pending, of=f"{layout.run_id}.")
    return Swept(temporaries=count)


def _remove_half_made(layout: RunLayout) -> Swept:
    """Without a manifest it is no run for anybody: nothing of it was ever executed."""
    for folder in (layout.mcp_folder, layout.compat_folder, layout.folder):
        files.remove_tree(folder)
    return Swept(folders=1)
