"""What a stage has made elsewhere, put into the work tree: what its patterns name, never through a link."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.globs import Glob
from codex_orchestrator.text import printable

from .disk import Folder, kind_of
from .rules import lies_in, link_problem, path_problem
from .snapshot import Entry, Outputs, Snapshot, matches
from .store import BlobStore

_SHOWN = 10


class OutputRefused(OrchestratorError):
    """What came as the output of a stage may not be written into the work tree."""


def problems(
    outputs: Outputs, patterns: Iterable[Glob], protected: Iterable[str], before: Snapshot
) -> Iterator[str]:
    """What is wrong with outputs, whatever the work tree looks like; pure.

    Args:
        outputs: What came.
        patterns: Those of the stage.
        protected: Folders, from the root, into which nothing is written.
        before: What the stage was given: nothing else is removed.
    """
    allowed, closed = tuple(patterns), tuple(protected)
    for entry in outputs.entries:
        problem = path_problem(entry.path)
        if problem is None and entry.kind == "link":
            problem = link_problem(entry.path, entry.target)
        if problem is None and lies_in(entry.path, closed):
            problem = "it lies in a folder of evidence"
        if problem is None and not matches(entry, allowed):
            problem = "no pattern of the stage's outputs names it"
        if problem is not None:
            yield f'"{printable(entry.path)}": {problem}'
    for path in outputs.removed:
        known = before.at(path)
        # What is not there for the stages after it is nothing to remove: another has been before it.
        if known is not None and not matches(known, allowed):
            yield f'"{printable(path)}", which is to be removed: no pattern of the stage\'s outputs names it'


def check(outputs: Outputs, patterns: Iterable[Glob], protected: Iterable[str], before: Snapshot) -> None:
    """Refuse outputs that have `problems`.

    Raises:
        OutputRefused: They have.
    """
    found = list(problems(outputs, patterns, protected, before))
    if found:
        raise _refused(found)


def bring_back(folder: Folder, outputs: Outputs, store: BlobStore) -> None:
    """Write outputs that were `check`ed into the work tree.

    Nothing is written where something stands in the way; each file is there at once and as a whole.

    Args:
        folder: The root of the work tree.
        outputs: What came.
        store: Has their content.

    Raises:
        OutputRefused: A link or file is where a folder has to be, or a folder with something in it where a
            file has.
        DamagedBlob: The store lacks something.
        OSError: The disk refuses.
    """
    going = frozenset(outputs.removed)
    if found := [problem for entry in outputs.entries if (problem := _in_the_way(folder, entry, going))]:
        raise _refused(found)
    for path in sorted(outputs.removed, reverse=True):
        _remove(folder, path)
    for entry in outputs.entries:
        _write(folder, entry, store)


def _in_the_way(folder: Folder, entry: Entry, going: frozenset[str]) -> str | None:
    obstacle = folder.obstacle(entry.path)
    if obstacle is not None:
        # What goes leaves room.
        return (
            None if obstacle in going else f'"{printable(entry.path)}": "{printable(obstacle)}" is no folder'
        )
    found = folder.status(entry.path)
    if found is None or entry.path in going:
        return None
    if entry.kind == "folder" and kind_of(found) != "folder":
        return f'"{printable(entry.path)}": it is a folder, and there is something else'
    if (
        entry.kind != "folder"
        and kind_of(found) == "folder"
        and not _will_be_empty(folder, entry.path, going)
    ):
        return f'"{printable(entry.path)}": there is a folder with something in it'
    return None


def _will_be_empty(folder: Folder, path: str, going: frozenset[str]) -> bool:
    return all(
        _will_be_empty(folder, inner, going) if kind == "folder" else inner in going
        for inner, kind in ((f"{path}/{name}", kind) for name, kind in folder.names(path))
    )


def _remove(folder: Folder, path: str) -> None:
    if folder.obstacle(path) is not None:
        return
    try:
        folder.remove(path)
    except OSError as error:
        # A folder that was empty in the snapshot has something in it here, which is somebody else's.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _write(folder: Folder, entry: Entry, store: BlobStore) -> None:
    if entry.kind == "folder":
        folder.make_folder(entry.path)
        return
    folder.make_folder(entry.path.rpartition("/")[0])
    found = folder.status(entry.path)
    if found is not None and kind_of(found) == "folder":
        _remove_folders(folder, entry.path)
    if entry.kind == "link":
        folder.link(entry.path, entry.target)
    else:
        folder.write(entry.path, store.read(entry.sha256), executable=entry.kind == "executable")


def _remove_folders(folder: Folder, path: str) -> None:
    for name, _ in folder.names(path):
        _remove_folders(folder, f"{path}/{name}")
    folder.remove(path)


def _refused(found: list[str]) -> OutputRefused:
    shown = "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    return OutputRefused(
        f"What the stage has made is not taken into the work tree: {shown}.",
        hint='Have its "outputs" name files and folders of the repository only, and links that stay in it.',
    )
