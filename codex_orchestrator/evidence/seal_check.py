"""Holds a run's files to its seal, and a task's seals to their chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from codex_orchestrator import places
from codex_orchestrator.clock import parse_timestamp
from codex_orchestrator.errors import Misplaced, StorageError
from codex_orchestrator.evidence.lineage import child_layout, is_childs_word
from codex_orchestrator.evidence.lines import lines_backwards
from codex_orchestrator.evidence.sealed_files import sealed_file, sealed_name, sealed_paths
from codex_orchestrator.evidence.sealing import is_being_sealed, read_seal
from codex_orchestrator.model.codec import Mismatch, dumps, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.manifest import ChildRun
from codex_orchestrator.model.seal import Seal, SealedFile, SealLine
from codex_orchestrator.rules.flaws import Flaw, FlawKind
from codex_orchestrator.rules.layout import RunLayout, TaskLayout

# More than that in all is hashed by several threads.
_MUCH = 64 * 1024 * 1024


class Chain:
    """A task's seals in their order, as far as they could be read.

    Attributes:
        flaws: Where it is broken.
        last: By run id, the latest line of each run.
        roots: By run id, the roots of all seals that it has had.
    """

    def __init__(self, task: TaskLayout, *, back_to: str | None = None) -> None:
        """Read it.

        Args:
            task: The task.
            back_to: Only from the last seal of this run on: what came before does not matter to it.
        """
        self.flaws: list[Flaw] = []
        self.last: dict[str, SealLine] = {}
        self.roots: dict[str, set[str]] = {}
        self._path = task.environment.relative(task.seals)
        is_waited_for = bool(places.listed(task.seals_pending, below=task.environment.out_dir))
        before: SealLine | None = None
        lines = _lines(task) if back_to is None else _last_lines(task, back_to)
        for number, text in enumerate(lines, start=1):
            line = _line(text)
            if line is None:
                if text.endswith(b"\n") or not is_waited_for:
                    self._break("", f"line {number} is none of a seal")
                continue
            if before is not None or back_to is None:
                self._follow(number, before, line)
            self.last[line.run_id] = line
            self.roots.setdefault(line.run_id, set()).add(line.root)
            before = line

    def _follow(self, number: int, before: SealLine | None, line: SealLine) -> None:
        expected = before.ref if before is not None else None
        if line.previous != expected:
            named = f"the seal of {expected.run_id}" if expected is not None else "no seal"
            said = f"that of {line.previous.run_id}" if line.previous is not None else "none"
            self._break(line.run_id, f"line {number} follows {named}, and says that it follows {said}")

    def _break(self, run_id: str, message: str) -> None:
        self.flaws.append(Flaw("chain-broken", self._path, f"{message}.", run_id))

    def flaws_of(self, seal: Seal, layout: RunLayout) -> Iterator[Flaw]:
        """Where a run's seal is not what the chain has."""
        line = self.last.get(layout.run_id)
        if line is None:
            yield Flaw("chain-broken", self._path, "It has no line of this run's seal.", layout.run_id)
        elif line != seal.line():
            told = f"Its last line of this run has the root {line.root[:16]}…, its seal {seal.root[:16]}…."
            yield Flaw("chain-broken", self._path, told, layout.run_id)


def check_seal(layout: RunLayout, chain: Chain) -> Iterator[Flaw]:
    """Where a run that has ended is not what was sealed.

    Args:
        layout: The run.
        chain: Of its task.

    Raises:
        StorageError: Something cannot be looked at.
    """
    name = layout.relative(layout.seal)
    if is_being_sealed(layout):
        message = "Its sealing was interrupted: the next run of the task, or gc, brings it to its end."
        yield Flaw("not-sealed", name, message, layout.run_id)
        return

    def flaw(kind: FlawKind, message: str, path: str = name) -> Flaw:
        return Flaw(kind, path, message, layout.run_id)

    try:
        written = places.read(layout.seal, below=layout.base)
    except FileNotFoundError:
        if layout.run_id in chain.last:
            yield flaw("missing", "The chain has a seal of this run, and the file is not there.")
        else:
            yield flaw("not-sealed", "The run was not sealed at its end: it was killed, or is an older one.")
        return
    except (OSError, Misplaced) as error:
        yield flaw("unreadable", f"{error}")
        return
    seal = read_seal(layout)
    if seal is None:
        yield flaw("changed", "It is not of the shape of a seal.")
        return
    if dumps(to_json(seal)).encode() != written or seal.root != seal.computed_root():
        computed = seal.computed_root()[:16]
        yield flaw("changed", f"Its root is {seal.root[:16]}…, and that of what it says {computed}….")
    if (seal.run_id, seal.task_id) != (layout.run_id, layout.task.task_id):
        yield flaw("changed", f"It is the seal of run {seal.run_id} of task {seal.task_id}.")
    yield from chain.flaws_of(seal, layout)
    yield from _check_files(layout, seal)


def _check_files(layout: RunLayout, seal: Seal) -> Iterator[Flaw]:
    folder = folder_of(seal)
    own = {one.path: one for one in seal.files if one.path.startswith(folder)}
    found = {sealed_name(layout, path): path for path in sealed_paths(layout)}
    here = layout.relative(layout.folder) + "/"
    sealed = {here + name.removeprefix(folder): one for name, one in own.items()}
    # A child may end after its parent, and has its word then as its own evidence has it.
    for name in sorted(found.keys() - sealed.keys()):
        if is_childs_word(layout, found[name]):
            continue
        yield Flaw("added", name, "The seal does not have it.", layout.run_id)
    for name in sorted(sealed.keys() - found.keys()):
        yield Flaw("missing", name, "The seal has it, and it is not there.", layout.run_id)
    both = sorted(sealed.keys() & found.keys())
    digests = _digests(layout, {name: found[name] for name in both}, sum(sealed[name].size for name in both))
    for name, now in digests:
        message = _difference(sealed[name], now)
        if message is not None and not is_childs_word(layout, found[name]):
            yield Flaw("changed", name, message, layout.run_id)
    for one in seal.files:
        if one.path not in own:
            yield from _check_child(layout, one)


def _difference(sealed: SealedFile, now: SealedFile | str | None) -> str | None:
    if isinstance(now, str):
        return f"It cannot be read: {now}"
    if now is None or now.size != sealed.size:
        return f"It has {now.size if now else 0} bytes, and {sealed.size} were sealed."
    if now.sha256 != sealed.sha256:
        return f"Its SHA-256 is {now.sha256[:16]}…, and {sealed.sha256[:16]}… was sealed."
    return None


def _digests(
    layout: RunLayout, paths: Mapping[str, Path], size: int
) -> Iterable[tuple[str, SealedFile | str | None]]:
    def digest(name: str) -> tuple[str, SealedFile | str | None]:
        try:
            return name, sealed_file(layout, paths[name])
        except (OSError, StorageError) as error:
            return name, str(error)

    if size < _MUCH:
        return map(digest, paths)
    from concurrent.futures import ThreadPoolExecutor

    # To hash does not hold the interpreter.
    with ThreadPoolExecutor() as threads:
        return list(threads.map(digest, paths))


def _check_child(layout: RunLayout, sealed: SealedFile) -> Iterator[Flaw]:
    """Where a child's seal is none that it has had; one that was resumed since has had this one before."""
    manifest = PurePosixPath(sealed.path).with_name("manifest.json")
    run_id = manifest.parent.name
    child = child_layout(layout, ChildRun(run_id, "-", "succeeded", str(manifest)))
    if child is None:
        yield Flaw("changed", layout.relative(layout.seal), f"{sealed.path} is no run's seal.", layout.run_id)
        return
    seal = read_seal(child)
    if seal is not None and seal.root == sealed.sha256:
        return
    if sealed.sha256 not in Chain(child.task).roots.get(run_id, ()):
        message = f"The run {layout.run_id} was sealed with another seal of this one, {sealed.sha256[:16]}…."
        yield Flaw("changed" if seal is not None else "missing", sealed.path, message, run_id)


def folder_of(seal: Seal) -> str:
    """The folder of the run when it was sealed, with a slash: it may have been moved as a whole since."""
    end = f"/cli/{seal.run_id}/manifest.json"
    return next((one.path.removesuffix("manifest.json") for one in seal.files if one.path.endswith(end)), "/")


def _lines(task: TaskLayout) -> Iterator[bytes]:
    try:
        yield from places.lines(task.seals, below=task.environment.out_dir)
    except FileNotFoundError:
        return


def _last_lines(task: TaskLayout, run_id: str) -> list[bytes]:
    """The lines from the last one of a run on."""
    below = task.environment.out_dir
    found = places.status(task.seals, below=below)
    needle, kept = f'{{"run_id":"{run_id}"'.encode(), []
    for line in lines_backwards(task.seals, found.st_size, below=below) if found is not None else ():
        kept.append(line + b"\n")
        if line.startswith(needle):
            break
    return kept[::-1]


def _line(text: bytes) -> SealLine | None:
    try:
        line = from_json(SealLine, loads(text))
    except (ValueError, Mismatch):
        return None
    # Nothing in it may differ from what was written, not even a space.
    is_as_written = dumps_line(to_json(line)).encode() == text and parse_timestamp(line.sealed_at) is not None
    return line if is_as_written else None
