"""Makes thousands of past runs out of one: its files again and again, under other ids."""

import re
from pathlib import Path

_JOURNALS = ("metrics.json", "runs.ndjson", "control-plane/samples.ndjson")
# What they hold follows from the journals, and is made anew where it is missing.
_AGGREGATES = ("metrics-summary.json", "state.json", "runs-index.json", "control-plane/drift.json")
_ID = re.compile(r"(\d{4})(-.*-)([0-9a-f]{8})")


def make_history(project: Path, task_id: str, run_id: str, count: int) -> None:
    """Have ``count`` runs in place of a project's only one: folders, pointers, lines in metrics and history.

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


def _copy_run(folder: Path, run_id: str, ids: list[str]) -> None:
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    folders = [path.relative_to(folder) for path in folder.rglob("*") if path.is_dir()]
    for new_id in ids:
        copy = folder.with_name(new_id)
        copy.mkdir()
        for name in folders:
            (copy / name).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (copy / name).write_bytes(content.replace(run_id.encode(), new_id.encode()))


def _repeat_line(journal: Path, run_id: str, ids: list[str]) -> None:
    if not journal.exists():
        return
    line = journal.read_bytes()
    this_year, last_year = f'"{run_id[:4]}-'.encode(), f'"{int(run_id[:4]) - 1}-'.encode()
    older = b"".join(
        # What is recorded of a run of last year was recorded then.
        line.replace(run_id.encode(), new_id.encode()).replace(this_year, last_year)
        for new_id in ids
    )
    journal.write_bytes(older + line)
