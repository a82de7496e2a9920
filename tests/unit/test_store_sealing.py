"""Sealing: one unbroken chain, whoever seals at once and whoever dies when."""

from __future__ import annotations

import itertools
import json
import threading
from functools import partial

import pytest

from codex_orchestrator.clock import FakeClock
from codex_orchestrator.errors import StorageError
from codex_orchestrator.evidence import coordinator, files, lines, locks, sealing
from codex_orchestrator.evidence.seal_check import Chain, check_seal
from codex_orchestrator.evidence.sealing import (
    forget_draft,
    is_being_sealed,
    kept_sealed,
    merge_seals,
    read_seal,
    seal_run,
)
from codex_orchestrator.model.codec import dumps, to_json
from codex_orchestrator.model.definitions import CommandStage
from codex_orchestrator.rules.layout import RunLayout, TaskLayout
from tests.support.builders import opened_run, pipeline_of
from tests.support.disk import Death

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

PIPELINE = pipeline_of(CommandStage(kind="command", id="a", title="A", command="true"))
# What changes the disk while a run is sealed.
CALLS = (
    (files, "make_folder"),
    (files, "replace"),
    (files, "move"),
    (files, "remove"),
    (files, "remove_temporaries"),
    (sealing, "append"),
    (sealing, "mend_last_line"),
)


def ended(task: TaskLayout, run_id: str) -> RunLayout:
    """A run with a manifest and a log, as far as sealing looks at it."""
    layout = task.run(run_id)
    (layout.folder / "commands").mkdir(parents=True)
    manifest = opened_run(PIPELINE, layout=layout)
    layout.manifest.write_text(dumps(to_json(manifest)), encoding="utf-8")
    layout.runner_log.write_text('{"type":"x"}\n', encoding="utf-8")
    return layout


def seal(layout: RunLayout) -> bool:
    manifest = opened_run(PIPELINE, layout=layout)
    return seal_run(layout, manifest, FakeClock(), partial=False)


def lines_of(task: TaskLayout) -> list[dict]:
    return [json.loads(line) for line in task.seals.read_bytes().splitlines()]


def flaws(task: TaskLayout, *layouts: RunLayout) -> list[tuple[str, str]]:
    chain = Chain(task)
    found = [*chain.flaws, *(flaw for layout in layouts for flaw in check_seal(layout, chain))]
    return [(flaw.kind, flaw.path) for flaw in found]


def test_each_seal_names_the_one_before(task):
    runs = [ended(task, f"r{number}") for number in range(3)]
    assert all(map(seal, runs))
    chain = lines_of(task)
    assert [line["run_id"] for line in chain] == ["r0", "r1", "r2"]
    assert chain[0]["previous"] is None
    for before, line in itertools.pairwise(chain):
        assert line["previous"] == {"run_id": before["run_id"], "root": before["root"]}
    assert flaws(task, *runs) == []
    assert [read_seal(run).root for run in runs] == [line["root"] for line in chain]
    assert list(task.seals_pending.iterdir()) == []


def test_a_run_that_is_sealed_again_says_what_that_supersedes(task):
    run = ended(task, "r")
    seal(run)
    first = read_seal(run)
    run.runner_log.write_text('{"type":"y"}\n', encoding="utf-8")
    seal(run)
    again = read_seal(run)
    assert (first.supersedes, again.supersedes) == (None, first.root)
    assert again.previous.root == first.root
    assert flaws(task, run) == []


def test_two_hundred_at_once_keep_one_chain(task):
    runs = [ended(task, f"r{number:03}") for number in range(200)]
    threads = [threading.Thread(target=seal, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    merge_seals(task, FakeClock())
    assert sorted(line["run_id"] for line in lines_of(task)) == [run.run_id for run in runs]
    assert flaws(task, *runs) == []


def test_it_costs_the_same_among_thousands(task, monkeypatch):
    seal(ended(task, "r"))
    line = task.seals.read_bytes()
    read = []
    real = lines.os.pread
    monkeypatch.setattr(lines.os, "pread", lambda *words: read.append(words[1]) or real(*words))
    task.seals.write_bytes(line * 20_000)
    seal(ended(task, "r2"))
    # A block for the last line, and one for what may be torn behind it.
    assert sum(read) < 100_000 < task.seals.stat().st_size


# ------------------------------------------------------------------ who dies when


def dying(monkeypatch, at: int, *, half: bool) -> list[str]:
    """Have the process end before the ``at``-th change to the disk; ``half``: in the middle of an append."""
    calls: list[str] = []

    def step(name, real, *arguments, **keywords):
        if len(calls) == at:
            if half and name == "append":
                path, data = arguments
                path.write_bytes((path.read_bytes() if path.exists() else b"") + data[: len(data) // 2])
            raise Death
        calls.append(name)
        return real(*arguments, **keywords)

    for module, name in CALLS:
        monkeypatch.setattr(module, name, partial(step, name, getattr(module, name)))
    return calls


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_whoever_dies_the_next_finds_a_chain(task, monkeypatch, half, again):
    first = ended(task, "r0")
    seal(first)
    number = 0
    while True:
        run = ended(task, f"r{number + 1}")
        if again:
            seal(run)
            run.runner_log.write_text('{"type":"y"}\n', encoding="utf-8")
        with monkeypatch.context() as patch:
            dying(patch, number, half=half)
            try:
                seal(run)
                break
            except Death:
                pass
        left = flaws(task, run)
        # Not yet sealed, or not as it is now; the chain itself is never broken.
        assert {kind for kind, _ in left} <= {"not-sealed", "changed"}
        later = ended(task, f"later{number}")
        seal(later)
        assert flaws(task, first, later) == []
        assert len(flaws(task, run)) <= 1  # Its draft may have been on disk, or not.
        seal(run)
        assert flaws(task, first, later, run) == []
        number += 1
    assert number > 5


def test_a_signature_never_stands_beside_a_seal_that_it_is_not_of(task, monkeypatch):
    run, number = ended(task, "r"), 0
    while True:
        seal(run)
        before = read_seal(run).root
        run.signature.write_text("of the seal before", encoding="utf-8")
        run.runner_log.write_text(f'{{"type":"{number}"}}\n', encoding="utf-8")
        with monkeypatch.context() as patch:
            dying(patch, number, half=False)
            try:
                seal(run)
                break
            except Death:
                pass
        assert read_seal(run).root == before or not run.signature.exists()
        seal(run)
        assert not run.signature.exists()
        number += 1
    assert number > 5


def test_a_draft_that_was_left_is_sealed_by_the_next_and_by_gc(task, monkeypatch):
    run = ended(task, "r")
    monkeypatch.setattr(sealing, "held_lock", lambda path, *, below, **_: locks.held_lock(path, below=below))
    with locks.held_lock(task.seals_lock, below=task.environment.out_dir) as held:
        assert held
        assert seal(run) is False
        assert is_being_sealed(run)
        assert flaws(task, run) == [("not-sealed", ".runs/t/cli/r/seal.json")]
    assert merge_seals(task, FakeClock()) is True
    assert flaws(task, run) == []


def test_one_that_cannot_be_sealed_holds_up_nobody(task, monkeypatch):
    bad, good = ended(task, "bad"), ended(task, "good")
    real = files.replace

    def refusing(path, data, **keywords):
        if path == bad.seal:
            raise StorageError("no")
        real(path, data, **keywords)

    monkeypatch.setattr(files, "replace", refusing)
    with pytest.raises(StorageError):
        seal(bad)
    with pytest.raises(StorageError):
        seal(good)
    assert flaws(task, good) == []
    monkeypatch.undo()
    merge_seals(task, FakeClock())
    assert flaws(task, bad, good) == []


def test_what_is_no_draft_is_left_alone(task):
    task.seals_pending.mkdir()
    odd = task.seals_pending / "r9.json"
    odd.write_text("{}", encoding="utf-8")
    seal(ended(task, "r"))
    assert odd.read_text(encoding="utf-8") == "{}"


def test_a_run_that_is_gone_or_goes_on_is_not_sealed(task, monkeypatch):
    gone, going_on = ended(task, "gone"), ended(task, "going-on")
    monkeypatch.setattr(sealing, "merge_seals", lambda *_, **__: False)
    seal(gone)
    seal(going_on)
    gone.manifest.unlink()
    forget_draft(going_on)
    assert merge_seals(task, FakeClock()) is True
    assert not task.seals.exists()


# ------------------------------------------------------------------ what may change after the end


def test_what_others_set_after_the_end_is_sealed_anew(task):
    run = ended(task, "r")
    seal(run)
    assert coordinator.mark_recorded(run) is True
    assert flaws(task, run) == []
    assert read_seal(run).supersedes is not None
    assert len(lines_of(task)) == 2


def test_what_was_tampered_with_is_not_sealed_anew(task):
    run = ended(task, "r")
    seal(run)
    run.manifest.write_bytes(run.manifest.read_bytes().replace(b'"P"', b'"Q"'))
    assert coordinator.mark_recorded(run) is True
    assert flaws(task, run) == [("changed", ".runs/t/cli/r/manifest.json")]
    assert len(lines_of(task)) == 1


def test_receipts_may_be_added_and_none_changed(task):
    run = ended(task, "r")
    run.approvals.write_bytes(b"one\n")
    seal(run)
    run.approvals.write_bytes(b"one\ntwo\n")
    with kept_sealed(run):
        pass
    assert flaws(task, run) == []
    run.approvals.write_bytes(b"six\ntwo\nten\n")
    with kept_sealed(run):
        pass
    assert flaws(task, run) == [("changed", ".runs/t/cli/r/approvals.ndjson")]


def test_a_log_that_was_changed_stays_found(task):
    run = ended(task, "r")
    seal(run)
    run.runner_log.write_bytes(b"other\n")
    assert coordinator.mark_recorded(run) is True
    assert flaws(task, run) == [("changed", ".runs/t/cli/r/runner.ndjson")]
