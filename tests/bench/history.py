"""Makes thousands of past runs out of one: its files again and again, under other ids."""

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from codex_orchestrator.model.codec import dumps, dumps_line, from_json, loads, to_json
from codex_orchestrator.model.seal import Seal, SealedFile

_JOURNALS = ("metrics.json", "runs.ndjson", "control-plane/samples.ndjson")
# What they hold follows from the journals, and is made anew where it is missing.
_AGGREGATES = ("metrics-summary.json", "state.json", "runs-index.json", "control-plane/drift.json")
_ID = re.compile(r"(\d{4})(-.*-)([0-9a-f]{8})")


def make_history(project: Path, task_id: str, run_id: str, count: int) -> None:
    """Have ``count`` runs in place of a project's only one: folders, pointers, seals, metrics and history.

    The aggregates are removed. Raises ValueError where ``run_id`` is not made of a time and eight hexadecimal
    digits.
    """
    found = _ID.fullmatch(run_id)
    if found is None:
        raise ValueError(f"{run_id!r} is no run id of ours")
    # An earlier year keeps the real run the newest, and every file as long as it was.
    year, rest = int(found[1]) - 1, found[2]
    ids = [f"{year}{rest}{number:08x}" for number in range(1, count)]
    task, out = project / ".runs" / task_id, project / "out" / task_id
    for folder in (task / "cli", task / "mcp", project / ".runs" / "local-mcp"):
        _copy_run(folder / run_id, run_id, ids)
    for folder in (task, out):
        for name in _JOURNALS:
            _repeat_line(folder / name, run_id, ids)
        for name in _AGGREGATES:
            (folder / name).unlink(missing_ok=True)
    _seal_anew(project, [task / "cli" / each / "seal.json" for each in (*ids, run_id)], out / "seals.ndjson")


def _seal_anew(project: Path, seals: list[Path], chain: Path) -> None:
    previous, lines = None, []
    for path in seals:
        seal = from_json(Seal, loads(path.read_bytes()))
        files = [(each.path, (project / each.path).read_bytes()) for each in seal.files]
        kept = tuple(SealedFile(name, len(data), sha256(data).hexdigest()) for name, data in files)
        seal = replace(seal, files=kept, previous=previous)
        seal = replace(seal, root=seal.computed_root())
        path.write_text(dumps(to_json(seal)), encoding="utf-8")
        lines.append(dumps_line(to_json(seal.line())))
        previous = seal.line().ref
    chain.write_text("".join(lines), encoding="utf-8")


def _copy_run(folder: Path, run_id: str, ids: list[str]) -> None:
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    folders = [path.relative_to(folder) for path in folder.rglob("*") if path.is_dir()]
    for new_id in ids:
        copy = folder.with_name(new_id)
        copy.mkdir()
        for name in folders:
            (copy / name).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (copy / name).write_bytes(_of_last_year(content, run_id, new_id))


def _repeat_line(journal: Path, run_id: str, ids: list[str]) -> None:
    if not journal.exists():
        return
    line = journal.read_bytes()
    journal.write_bytes(b"".join(_of_last_year(line, run_id, new_id) for new_id in ids) + line)


def _of_last_year(content: bytes, run_id: str, new_id: str) -> bytes:
    """What is recorded of a run of last year was recorded then."""
    this_year, last_year = f'"{run_id[:4]}-'.encode(), f'"{int(run_id[:4]) - 1}-'.encode()
    return content.replace(run_id.encode(), new_id.encode()).replace(this_year, last_year)
