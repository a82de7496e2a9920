"""The worker's side: a run's own copy of the work tree, what is left of it, what is kept for the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from codex_orchestrator.errors import Busy
from codex_orchestrator.workspace import disk
from codex_orchestrator.workspace.scan import CannotTravel
from codex_orchestrator.workspace.snapshot import Outputs, digest_of
from tests.support.repositories import Repo, git_variables
from tests.support.workspaces import Travel, contents


@pytest.fixture
def travel(tmp_path):
    return Travel(tmp_path, git_variables(tmp_path))


@pytest.fixture
def repo(travel):
    return Repo(travel.root, travel.environ)


@pytest.fixture
def writings(monkeypatch):
    """The paths of files that are written, stores' aside."""
    paths = []
    write = disk.Folder.write

    def watched(self, path, *arguments, **keywords):
        if self.root.name == "tree":
            paths.append(path)
        return write(self, path, *arguments, **keywords)

    monkeypatch.setattr(disk.Folder, "write", watched)
    return paths


def kept_in(travel: Travel) -> set[str]:
    """The names of blobs in the depot."""
    return {path.name for path in (travel.base / "depot/blobs").rglob("*") if path.is_file()}


def end(copy) -> None:
    copy.remove()
    assert not copy.root.exists()


def test_a_copy_is_as_the_work_tree(repo, travel):
    repo.write("a/b/c", "text")
    repo.write("run.sh").chmod(0o755)
    (travel.root / "link").symlink_to("a")
    (travel.root / "empty").mkdir()
    copy = travel.depot().copy("k")
    root = travel.bring(travel.sender(), copy)
    assert contents(root) == contents(travel.root, ".runs")
    # Nothing is shared with what is kept: a command may write in place.
    assert all(path.stat().st_nlink == 1 for path in root.rglob("*") if path.is_file())
    end(copy)


def test_what_commands_write_into_a_copy_stays_in_it(repo, travel):
    repo.write("a", "as it was")
    sender, depot = travel.sender(), travel.depot()
    first, second = depot.copy("first"), depot.copy("second")
    root = travel.bring(sender, first)
    (root / "a").write_text("changed in place")
    assert (travel.bring(sender, second) / "a").read_text() == "as it was"
    # And it is left alone where the stage after it is given the same.
    assert (travel.bring(sender, first) / "a").read_text() == "changed in place"
    end(first)
    end(second)


def test_inputs_bring_only_what_they_name(repo, travel):
    repo.write("src/a", "content a")
    repo.write("docs/b", "content b")
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy, ["src"])
    assert sorted(contents(root)) == ["src", "src/a"]
    assert digest_of(b"content b") not in kept_in(travel)
    travel.bring(sender, copy, ["docs"])
    assert sorted(contents(root)) == ["docs", "docs/b", "src", "src/a"]
    end(copy)


def test_a_chain_of_stages_over_three_workers(repo, travel):
    repo.write("src/a", "a")
    repo.write("dist/stale", "from the last build")
    sender = travel.sender()
    workers = [travel.depot().copy(name) for name in ("one", "two", "three")]
    root = travel.bring(sender, workers[0])
    (root / "dist/stale").unlink()
    (root / "dist/build").write_bytes(bytes(range(256)))
    (root / "dist/run").write_text("#!/bin/sh\n")
    (root / "dist/run").chmod(0o755)
    (root / "left").write_text("no output")
    travel.back(workers[0], sender, "dist")
    root = travel.bring(sender, workers[1])
    assert sorted(contents(root)) == ["dist", "dist/build", "dist/run", "src", "src/a"]
    (root / "dist/build").write_text("packed")
    (root / "dist/latest").symlink_to("build")
    travel.back(workers[1], sender, "dist/*")
    root = travel.bring(sender, workers[2])
    assert contents(root) == contents(travel.root, ".runs")
    assert (travel.root / "dist/latest").read_text() == "packed"
    for copy in workers:
        end(copy)


def test_only_what_a_stage_has_changed_comes_back(repo, travel):
    repo.write("dist/same", "same")
    repo.write("dist/other", "other")
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy)
    (root / "dist/other").write_text("changed")
    (root / "beside").write_text("x")
    outputs = Outputs.loads(copy.collect(["dist"], sender.protected))
    assert [entry.path for entry in outputs.entries] == ["dist/other"]
    # Until it has come back, it is told again, as the stage may be tried again.
    travel.back(copy, sender, "dist")
    assert (travel.root / "dist/other").read_text() == "changed"
    travel.bring(sender, copy)
    assert Outputs.loads(copy.collect(["dist"], sender.protected)) == Outputs()
    end(copy)


def test_what_a_stage_has_removed_and_another_made_again_is_there(repo, travel):
    repo.write("dist/a", "the same")
    sender, depot = travel.sender(), travel.depot()
    here, there = depot.copy("here"), depot.copy("there")
    root = travel.bring(sender, here)
    (root / "dist/a").unlink()
    travel.back(here, sender, "dist")
    assert not (travel.root / "dist/a").exists()
    root = travel.bring(sender, there)
    (root / "dist").mkdir(exist_ok=True)
    (root / "dist/a").write_text("the same")
    travel.back(there, sender, "dist")
    root = travel.bring(sender, here)
    assert (root / "dist/a").read_text() == "the same"
    travel.back(here, sender, "dist")
    assert (travel.root / "dist/a").read_text() == "the same"
    end(here)
    end(there)


def test_what_stages_elsewhere_have_removed_goes(repo, travel):
    repo.write("kept", "x")
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy)
    (root / "made").write_text("here, and removed by a stage on another worker")
    copy.collect(["made"], ())
    copy.bring_up(sender.pages(), removed=["made", "never-there"])
    assert sorted(path.name for path in root.iterdir()) == ["kept"]
    end(copy)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda dist: (dist / "l").symlink_to("/etc/passwd"), "dist/l is a link that cannot travel"),
        (lambda dist: (dist / "l").symlink_to("../../x"), "dist/l is a link that cannot travel"),
        (lambda dist: os.mkfifo(dist / "pipe"), "dist/pipe is neither a file"),
    ],
    ids=["absolute", "out of the root", "pipe"],
)
def test_what_cannot_come_back_is_named(travel, spoil, told):
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy)
    (root / "dist").mkdir()
    spoil(root / "dist")
    with pytest.raises(CannotTravel, match=told):
        copy.collect(["dist"], sender.protected)
    end(copy)


def test_neither_git_nor_evidence_comes_back(travel):
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy)
    for path in ("a/.git/config", ".runs/t", "out/t", "a/x"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    outputs = Outputs.loads(copy.collect(["**"], sender.protected))
    assert [entry.path for entry in outputs.entries] == ["a/x"]
    end(copy)


def test_links_in_a_copy_are_not_written_through(repo, travel):
    victim = travel.base / "victim"
    victim.mkdir()
    repo.write("a/b", "mine")
    repo.write("c", "mine")
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy, ["nothing"])
    (root / "a").symlink_to(victim)
    (root / "c").symlink_to(victim / "c")
    travel.bring(sender, copy)
    assert list(victim.iterdir()) == []
    assert contents(root) == contents(travel.root, ".runs")
    end(copy)


def test_what_commands_have_put_in_the_way_gives_way(repo, travel):
    repo.write("a/b")
    repo.write("c")
    (travel.root / "e").mkdir()
    sender, copy = travel.sender(), travel.depot().copy("k")
    root = travel.bring(sender, copy, ["nothing"])
    (root / "a").write_text("a file")
    (root / "e").write_text("a file")
    (root / "c/d").mkdir(parents=True)
    (root / "c/d").chmod(0o500)
    travel.bring(sender, copy)
    assert contents(root) == contents(travel.root, ".runs")
    end(copy)


# ------------------------------------------------------------------ from run to run


def test_the_next_run_gets_only_what_has_changed(repo, travel, writings):
    for number in range(200):
        repo.write(f"d/{number}", f"content {number}")
    copy = travel.depot().copy("first", label="project")
    travel.bring(travel.sender(), copy)
    end(copy)
    for number in (3, 77, 150):
        repo.write(f"d/{number}", "changed")
    (travel.root / "d/8").unlink()
    travel.sent = 0
    del writings[:]
    copy = travel.depot().copy("second", label="project")
    root = travel.bring(travel.sender(), copy)
    assert sorted(writings) == ["d/150", "d/3", "d/77"]
    assert travel.sent < 30_000
    assert contents(root) == contents(travel.root, ".runs")
    end(copy)


def test_nothing_that_commands_have_made_outlives_the_run(repo, travel, writings):
    for name in ("kept", "changed", "touched", "gone", "folder/mode"):
        repo.write(name, "x" * 10)
    copy = travel.depot().copy("first")
    root = travel.bring(travel.sender(), copy)
    before = (root / "changed").stat()
    (root / "changed").write_text("y" * 10)
    os.utime(root / "changed", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "touched").chmod(0o755)
    (root / "gone").unlink()
    (root / "made/by").mkdir(parents=True)
    (root / "made/by/command").write_text("a secret")
    (root / "kept-link").symlink_to("kept")
    end(copy)
    everything = b"".join(path.read_bytes() for path in travel.base.rglob("*") if path.is_file())
    assert b"a secret" not in everything
    assert b"y" * 10 not in everything
    del writings[:]
    copy = travel.depot().copy("second")
    root = travel.bring(travel.sender(), copy)
    assert sorted(writings) == ["changed", "gone", "touched"]
    assert contents(root) == contents(travel.root, ".runs")
    end(copy)


@pytest.mark.parametrize("mode", [0o500, 0o000, 0o777])
def test_folders_that_commands_have_locked_are_removed_all_the_same(repo, travel, mode):
    repo.write("d/a")
    copy = travel.depot().copy("first")
    root = travel.bring(travel.sender(), copy)
    (root / "cache/deep").mkdir(parents=True)
    (root / "cache/deep/module").write_text("x")
    (root / "cache/deep").chmod(mode)
    (root / "d").chmod(mode)
    end(copy)
    assert not list((travel.base / "depot").rglob("module"))
    copy = travel.depot().copy("second")
    root = travel.bring(travel.sender(), copy)
    assert contents(root) == contents(travel.root, ".runs")
    assert (root / "d").stat().st_mode == root.stat().st_mode
    end(copy)


def test_what_was_brought_a_moment_ago_is_not_taken_for_unchanged(repo, travel, writings):
    repo.write("a")
    travel.clock.jump((travel.root / "a").stat().st_ctime - travel.clock.now())
    copy = travel.depot().copy("first")
    travel.bring(travel.sender(), copy)
    end(copy)
    copy = travel.depot().copy("second")
    travel.bring(travel.sender(), copy)
    assert writings == ["a", "a"]
    end(copy)


def test_a_copy_that_was_changed_while_it_rested_is_not_used(repo, travel):
    repo.write("a", "mine")
    copy = travel.depot().copy("first")
    travel.bring(travel.sender(), copy)
    end(copy)
    resting = next((travel.base / "depot/resting").rglob("tree"))
    (resting / "a").write_text("thei")
    (resting / "b").symlink_to("a")
    copy = travel.depot().copy("second")
    assert contents(travel.bring(travel.sender(), copy)) == contents(travel.root, ".runs")
    end(copy)


def test_labels_keep_copies_of_different_work_trees_apart(repo, travel, writings):
    repo.write("a")
    for key, label in (("one", "this"), ("two", "other"), ("three", "this")):
        copy = travel.depot().copy(key, label=label)
        travel.bring(travel.sender(), copy)
        end(copy)
    assert writings == ["a", "a"]


def test_a_run_has_all_that_it_needs_whatever_the_limit_is(repo, travel):
    data = ["a" * 1000, "b" * 1000, "c" * 1000]
    for number, text in enumerate(data):
        repo.write(f"f{number}", text)
    depot = travel.depot(limit_bytes=0)
    copy = depot.copy("k")
    root = travel.bring(travel.sender(), copy, ["f0"])
    depot.trim()
    other = depot.copy("other")
    travel.bring(travel.sender(), other, ["f1"])
    end(other)
    assert digest_of(data[0].encode()) in kept_in(travel)
    assert digest_of(data[1].encode()) not in kept_in(travel)
    travel.bring(travel.sender(), copy)
    assert contents(root) == contents(travel.root, ".runs")
    end(copy)
    assert kept_in(travel) == set()
    assert list((travel.base / "depot/resting").rglob("f*")) == []


def test_the_depot_keeps_to_its_limit(repo, travel):
    for number in range(10):
        repo.write(f"f{number}", str(number) * 1000)
    for key in ("one", "two", "three"):
        copy = travel.depot(limit_bytes=25_000).copy(key, label=key)
        travel.bring(travel.sender(), copy)
        end(copy)
    sizes = [path.stat().st_size for path in (travel.base / "depot").rglob("*") if path.is_file()]
    assert 10_000 <= sum(size for size in sizes if size == 1000) <= 25_000


# ------------------------------------------------------------------ processes


def test_a_key_belongs_to_one_process(travel):
    copy = travel.depot().copy("k")
    with pytest.raises(Busy, match="belongs to a process that lives"):
        travel.depot().copy("k")
    end(copy)
    end(travel.depot().copy("k"))


def test_a_depot_is_its_owners_alone(travel):
    end(travel.depot().copy("k"))
    assert (travel.base / "depot").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("key", ["", "..", "a/b", "/a"])
def test_a_key_is_the_name_of_a_folder(travel, key):
    with pytest.raises(ValueError, match="no name of a folder"):
        travel.depot().copy(key)


HOLDER = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    from codex_orchestrator.workspace.depot import Depot
    copy = Depot(Path(sys.argv[1])).copy("theirs")
    (copy.root / "left").write_text("x")
    os.mkdir(copy.root / "locked", 0o500)
    print("ready", flush=True)
    time.sleep(60)
    """
)


def test_what_a_process_that_was_killed_has_left_is_removed_by_the_next(travel):
    folder = travel.base / "depot"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"ready\n"
        depot = travel.depot()
        assert depot.sweep() == 0
        assert (folder / "copies/theirs/tree/left").exists()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert depot.sweep() == 1
    assert list((folder / "copies").iterdir()) == []


def test_the_worker_side_needs_the_standard_library_alone():
    program = (
        "import sys, codex_orchestrator.workspace.depot\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert {name for name in loaded if not name.startswith(("_", "sitecustomize"))} <= {"codex_orchestrator"}
