"""A work tree of which ids are asked: where its index and objects are, and what of it is ours."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from codex_orchestrator import named
from codex_orchestrator.checks.git import WorkTree, git_complaint
from codex_orchestrator.checks.private_index import PrivateIndex, own_objects
from codex_orchestrator.checks.tree_status import STATUS, TreeStatus, parse_status
from codex_orchestrator.environment import Environment
from codex_orchestrator.errors import Misplaced, OrchestratorError
from codex_orchestrator.model.source import ChangedPath, ChangeStatus
from codex_orchestrator.rules.layout import source_store
from codex_orchestrator.text import printable

# What git has not looked at before is hashed: more than this at once is no source, but data.
MOST_NEW_FILES = 50_000
MOST_NEW_BYTES = 2 * 1024**3
_ID = re.compile("[0-9a-f]{40,64}")
_PLACES = ("index", "objects", "info/sparse-checkout")
# The private index stands alone, and no command that reads it begins to write.
_PLAIN_INDEX = ("-c", "core.splitIndex=false", "-c", "core.untrackedCache=false", "-c", "core.fsync=none")


class IdentifiedTree:
    """A work tree, with where its index and objects are, and the folders of ours in it."""

    def __init__(
        self, environment: Environment, tree: WorkTree, top: Path, paths: list[str], head: str | None
    ) -> None:
        self.tree = tree
        self.top = top
        self.excluded = _folders_below(top, (environment.runs_dir, environment.out_dir))
        self.root_from_top = os.path.relpath(environment.root.resolve(), top)
        self.tracked_ours: tuple[bytes, ...] = ()
        self._root = environment.root.resolve()
        self._store, self._runs_dir = source_store(environment), environment.runs_dir
        self.index, self._objects, self._sparse = (Path(os.path.normpath(top / path)) for path in paths)
        self._head: tuple[str | None, str | None] | None = None
        self._first_head = head

    @classmethod
    def of(cls, environment: Environment, found: WorkTree) -> IdentifiedTree:
        """Ask where things are.

        Raises:
            UsageError: git does not say.
        """
        top = environment.root.resolve()
        for _ in Path(found.prefix).parts:
            top = top.parent
        tree = replace(found, root=top, overrides=(*found.overrides, *_PLAIN_INDEX))
        words = [
            word for path in ("index", "objects", "info/sparse-checkout") for word in ("--git-path", path)
        ]
        asked = tree.run("rev-parse", *words, "HEAD^{tree}")
        lines = asked.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
        if asked.exit_code == 0 and len(lines) == 4:
            place = cls(environment, tree, top, lines[:3], lines[3])
        elif len(lines) >= 3:
            place = cls(environment, tree, top, lines[:3], None)
        else:
            raise OrchestratorError(f"git rev-parse failed in {printable(str(top))}: {git_complaint(asked)}")
        if place.excluded and _may_have(place.index, place.excluded):
            listed = tree.output("ls-files", "-z", "--", *map(_from_top, place.excluded))
            place.tracked_ours = tuple(path for path in listed.split(b"\0") if path)
        return place

    def is_ours(self, path: bytes) -> bool:
        """Whether a path from the top lies in a folder of runs."""
        return any(path.startswith(os.fsencode(folder) + b"/") for folder in self.excluded)

    def status(self) -> TreeStatus:
        """What git says of the work tree now, through the private index where there is one that fits."""
        kept = self._kept_index()
        tree = self._with_index(kept) if named.kind(kept) == "file" else self.tree
        return parse_status(tree.output(*STATUS, "--", ":(top)", *self._without_ours()))

    def head_tree(self, commit: str | None) -> str | None:
        """The tree of the commit that is checked out, without what is ours in it."""
        if self._head is None:
            self._head = commit, self._first_head
        elif self._head[0] != commit:
            answer = self.tree.run("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}")
            self._head = commit, _text(answer.stdout) if answer.exit_code == 0 else None
        return self._head[1]

    def from_root(self, changes: Mapping[bytes, ChangeStatus]) -> tuple[ChangedPath, ...]:
        """Changes by their paths from the run's root, sorted."""
        return tuple(
            ChangedPath(_named_from(self._root, self.top, path), how) for path, how in sorted(changes.items())
        )

    def written(self, status: TreeStatus) -> str:
        """Bring the private index up to the work tree and have git make the tree of it; returns its id.

        Raises:
            OrchestratorError: There is too much to look at, or git or the disk refuses.
        """
        kept = self._kept_index()
        seed = kept if named.kind(kept) == "file" else self._seed()
        stale = status.stale if seed is not None else self._all_files()
        _require_little(self.top, stale)
        with self.private() as index:
            if seed is not None:
                index.begin(seed)
            index.take_up(stale, self.tracked_ours)
            tree_id = index.write_tree()
            index.keep_as(kept)
        return tree_id

    def private(self) -> PrivateIndex:
        """An index of our own for one use."""
        return PrivateIndex(self.tree, self._store, self._runs_dir, self._objects)

    def differences(self, one: str, other: str) -> list[ChangedPath] | None:
        """In which files two trees differ; None where one is not known, or no id of a tree."""
        if not (_ID.fullmatch(one) and _ID.fullmatch(other)):
            return None  # It is from a file that anybody may have written.
        tree = replace(self.tree, environ={**self.tree.environ, **self._own_objects()})
        answer = tree.run("diff-tree", "-r", "-z", "--name-status", "--no-renames", one, other, "--")
        if answer.exit_code != 0:
            return None
        words = answer.stdout.split(b"\0")
        how: dict[bytes, ChangeStatus] = {b"A": "added", b"D": "deleted"}
        pairs = zip(words[0::2], words[1::2], strict=False)
        return list(self.from_root({path: how.get(letter, "modified") for letter, path in pairs}))

    def _own_objects(self) -> dict[str, str]:
        return own_objects(self._store, self._objects)

    def _with_index(self, index: Path) -> WorkTree:
        return replace(self.tree, environ={**self.tree.environ, "GIT_INDEX_FILE": str(index)})

    @property
    def is_filtered(self) -> bool:
        """Whether filters are left out which have made what the user's index has."""
        return any(word.startswith("filter.") and word.endswith(".clean=") for word in self.tree.overrides)

    def _seed(self) -> Path | None:
        return None if self.is_filtered or named.kind(self.index) != "file" else self.index

    def _all_files(self) -> tuple[bytes, ...]:
        words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
        listed = self.tree.output(*words, "--", ":(top)", *self._without_ours())
        return tuple(path for path in listed.split(b"\0") if path)

    def _without_ours(self) -> list[str]:
        return [f":(top,exclude,literal){folder}" for folder in self.excluded]

    def _kept_index(self) -> Path:
        """Where the private index is that grew out of the user's as it is now."""
        facts = [str(self.top), *self.tree.overrides, *self.excluded]
        for path in (self.index, self._sparse):
            found = named.status(path)
            facts.append("none" if found is None else f"{found.st_mtime_ns} {found.st_size} {found.st_ino}")
        key = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self._store / f"index-{key}"


def _may_have(index: Path, folders: Iterable[str]) -> bool:
    """Whether an index may have files in some folders, by its bytes: to ask git costs a process."""
    try:
        content = named.read(index)
    except FileNotFoundError:
        return False
    except (OSError, Misplaced):
        return True
    # Version 4 has the ends of names only, and a split index has names elsewhere.
    is_plain = content[4:8] in (b"\0\0\0\2", b"\0\0\0\3") and b"link" not in content
    return not is_plain or any(os.fsencode(folder) + b"/" in content for folder in folders)


def _require_little(top: Path, stale: tuple[bytes, ...]) -> None:
    """Refuse to look at more than a source has.

    Raises:
        OrchestratorError: These are too many files, or they are too large.
    """
    if len(stale) > MOST_NEW_FILES:
        much = f"{len(stale)} files that are new or changed, over {MOST_NEW_FILES}"
    else:
        size = sum(found.st_size for path in stale if (found := named.status(top / os.fsdecode(path))))
        if size <= MOST_NEW_BYTES:
            return
        much = f"{size / 1024**3:.1f} GiB in files that are new or changed, over {MOST_NEW_BYTES // 1024**3}"
    raise OrchestratorError(
        f"The work tree has {much}: its id is not taken.", hint="Have .gitignore name what is no source."
    )


def _folders_below(top: Path, folders: Iterable[Path]) -> tuple[str, ...]:
    """Those folders that lie below the top, from there."""
    found = [named.place(folder) for folder in folders]
    return tuple(
        place.relative_to(top).as_posix() for place in found if place != top and place.is_relative_to(top)
    )


def _from_top(folder: str) -> str:
    return f":(top,literal){folder}"


def _named_from(root: Path, top: Path, path: bytes) -> str:
    name = Path(os.path.relpath(top / os.fsdecode(path), root)).as_posix()
    return name.encode("utf-8", "replace").decode()


def _text(output: bytes) -> str:
    return output.decode("ascii", "replace").strip()
