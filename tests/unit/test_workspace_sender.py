"""The orchestrator's side: what of a work tree travels, what is read again, and what comes back into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from codex_orchestrator.errors import OrchestratorError, ToolMissing
from codex_orchestrator.workspace import scan as scanning
from codex_orchestrator.workspace.memory import settled
from codex_orchestrator.workspace.pieces import Piece
from codex_orchestrator.workspace.returning import OutputRefused
from codex_orchestrator.workspace.scan import CannotTravel, Scanned, Signature
from codex_orchestrator.workspace.sender import Sender
from codex_orchestrator.workspace.snapshot import DamagedSnapshot, Entry, Outputs, digest_of
from codex_orchestrator.workspace.store import DamagedBlob
from tests.support.repositories import Repo, git_variables
from tests.support.workspaces import Travel


@pytest.fixture
def travel(tmp_path):
    return Travel(tmp_path, git_variables(tmp_path))


@pytest.fixture
def repo(travel):
    repo = Repo(travel.root, travel.environ)
    repo.git("init", "--quiet")
    return repo


def paths(sender: Sender) -> list[str]:
    return [entry.path for entry in sender.snapshot]


# ------------------------------------------------------------------ what travels


def test_what_git_does_not_ignore_travels(repo, travel):
    repo.write(".gitignore", "*.log\n/node_modules/\nbuild\n")
    repo.write("tracked.log")
    repo.git("add", "--force", "tracked.log", ".gitignore")
    for path in ("untracked.py", "a.log", "node_modules/a.js", "sub/build/x", "out/t/state.json"):
        repo.write(path)
    (travel.runs / "t").mkdir()
    (travel.runs / "t/manifest.json").write_text("{}")
    assert paths(travel.sender()) == [".gitignore", "tracked.log", "untracked.py"]


def test_files_are_as_they_are_in_the_work_tree(repo, travel):
    repo.commit("changed", "gone", "staged", "folder/a", "now-a-link/a")
    repo.write("changed", "new")
    repo.write("staged", "staged")
    repo.git("add", "staged")
    repo.write("staged", "later")
    (travel.root / "gone").unlink()
    shutil.rmtree(travel.root / "now-a-link")
    (travel.root / "now-a-link").symlink_to("folder")
    sender = travel.sender()
    assert paths(sender) == ["changed", "folder/a", "now-a-link", "staged"]
    assert sender.snapshot.at("changed") == Entry("changed", "file", 3, digest_of(b"new"))
    assert sender.snapshot.at("staged") == Entry("staged", "file", 5, digest_of(b"later"))
    assert sender.snapshot.at("now-a-link") == Entry("now-a-link", "link", target="folder")


def test_kinds_names_and_empty_folders(repo, travel):
    repo.write("run.sh").chmod(0o755)
    repo.write("line\nbreak")
    repo.write("é")
    Path(os.fsdecode(os.fsencode(travel.root) + b"/stray\xff")).write_text("")
    (travel.root / "empty/inner").mkdir(parents=True)
    repo.write(".gitignore", "*.o\nignored\n")
    # To git, a folder with nothing but what it ignores is ignored itself.
    repo.write("objects/a.o")
    (travel.root / "ignored").mkdir()
    (travel.root / "link").symlink_to("nowhere")
    kinds = {entry.path: entry.kind for entry in travel.sender().snapshot}
    assert kinds == {
        ".gitignore": "file",
        "empty/inner": "folder",
        "line\nbreak": "file",
        "link": "link",
        "run.sh": "executable",
        "stray\udcff": "file",
        "é": "file",
    }


def test_the_files_of_submodules_and_of_repositories_inside_travel(repo, travel, tmp_path):
    other = Repo(tmp_path / "other", travel.environ)
    other.root.mkdir()
    other.git("init", "--quiet")
    other.write(".gitignore", "*.log\n")
    other.commit("inner/a")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.root), "module")
    repo.git("commit", "--quiet", "--message", "module")
    (travel.root / "module/untracked").write_text("x")
    (travel.root / "module/a.log").write_text("x")
    shutil.copytree(other.root, travel.root / "nested")
    assert paths(travel.sender()) == [
        ".gitmodules",
        "module/.gitignore",
        "module/inner/a",
        "module/untracked",
        "nested/.gitignore",
        "nested/inner/a",
    ]


def test_a_submodule_that_is_not_there_is_an_empty_folder(repo, travel, tmp_path):
    other = Repo(tmp_path / "other", travel.environ)
    other.root.mkdir()
    other.git("init", "--quiet")
    other.commit("a")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.root), "module")
    repo.git("commit", "--quiet", "--message", "module")
    repo.git("submodule", "--quiet", "deinit", "--force", "module")
    assert paths(travel.sender()) == [".gitmodules", "module"]


def test_of_a_sparse_checkout_travels_what_is_there(repo, travel):
    repo.commit("a/x", "b/y", "top")
    repo.git("sparse-checkout", "set", "--cone", "a")
    assert paths(travel.sender()) == ["a/x", "top"]


def test_a_root_below_the_top_of_the_repository(tmp_path):
    travel = Travel(tmp_path, git_variables(tmp_path.parent))
    repo = Repo(tmp_path, travel.environ)
    repo.git("init", "--quiet")
    repo.write(".gitignore", "*.log\n")
    repo.write("beside")
    repo.write("root/a/b")
    repo.write("root/a.log")
    assert paths(travel.sender()) == ["a/b"]


def test_without_git_all_travels_but_evidence(travel):
    for path in ("a", "b/c", "out/t/x", ".git/config", "b/.git/config", ".runs/t"):
        (travel.root / path).parent.mkdir(parents=True, exist_ok=True)
        (travel.root / path).write_text("x")
    (travel.root / "empty").mkdir()
    shutil.rmtree(travel.root / ".git")
    assert paths(travel.sender()) == ["a", "b/c", "empty"]


def test_a_repository_does_not_travel_without_git_to_say_what_it_ignores(repo, travel):
    repo.write("secret")
    travel.environ["PATH"] = ""
    with pytest.raises(ToolMissing):
        travel.sender()


def test_a_runs_folder_that_is_not_there_yet_is_made(repo, travel):
    repo.write("a")
    travel.runs.rmdir()
    assert paths(travel.sender()) == ["a"]
    assert (travel.runs / ".gitignore").exists()


def test_a_pattern_of_folders_leaves_files_of_that_name_alone(repo, travel):
    repo.write("data")
    repo.write("x/data/a")
    (travel.root / "cache").mkdir()
    assert paths(travel.sender(exclude=["data/", "x/data/", "cache/"])) == ["data"]


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        ((), (), ["a.py", "secret/key"]),
        (("node_modules",), (), ["a.py", "node_modules/m/i.js", "secret/key"]),
        (("*/m",), ("secret",), ["a.py", "node_modules/m/i.js"]),
        (("**/*.js",), ("a.py", "secret/"), ["node_modules/m/i.js", "packages/p/node_modules/j.js"]),
        (("**",), ("node_modules",), ["a.py", "packages/p/node_modules/j.js", "secret/key"]),
        (("node_modules",), ("**/*.js",), ["a.py", "secret/key"]),
        ((".runs", ".git", "out"), (), ["a.py", "secret/key"]),
    ],
)
def test_include_and_exclude(repo, travel, include, exclude, found):
    (travel.root / ".git/info/exclude").write_text("node_modules\n")
    for path in ("a.py", "secret/key", "node_modules/m/i.js", "packages/p/node_modules/j.js", ".runs/x"):
        repo.write(path)
    everything = [
        path for path in paths(travel.sender(include=include, exclude=exclude)) if path != "packages/p"
    ]
    assert everything == found


@pytest.mark.parametrize("target", ["/etc/hosts", "../outside", "a/../../x"])
def test_a_link_that_leads_out_is_refused_unless_it_is_left_out(repo, travel, target):
    (travel.root / "lead").symlink_to(target)
    with pytest.raises(CannotTravel, match=r"^lead is a link that cannot travel: it .*\n.*exclude"):
        travel.sender()
    assert paths(travel.sender(exclude=["lead"])) == []


def test_what_is_no_file_is_refused_unless_it_is_left_out(travel):
    os.mkfifo(travel.root / "pipe")
    with pytest.raises(CannotTravel, match="pipe is neither a file, a folder nor a link"):
        travel.sender()
    assert paths(travel.sender(exclude=["pipe"])) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_named(repo, travel):
    repo.write("closed").chmod(0)
    with pytest.raises(CannotTravel, match="closed cannot be read: Permission denied"):
        travel.sender()


# ------------------------------------------------------------------ what is read again


class Readings:
    """Counts the files that are read."""

    def __init__(self, monkeypatch) -> None:
        self.count = 0
        read = scanning._read

        def counted(*arguments):
            self.count += 1
            return read(*arguments)

        monkeypatch.setattr(scanning, "_read", counted)


@pytest.fixture
def readings(monkeypatch):
    return Readings(monkeypatch)


def test_only_what_has_changed_is_read_again(repo, travel, readings):
    for number in range(20):
        repo.write(f"d/{number}")
    first = travel.sender().snapshot
    assert readings.count == 20
    assert travel.sender().snapshot == first
    assert readings.count == 20
    repo.write("d/3", "changed")
    repo.write("d/new")
    (travel.root / "d/4").chmod(0o755)
    second = travel.sender().snapshot
    assert readings.count == 23
    assert second.at("d/3").sha256 == digest_of(b"changed")
    assert second.at("d/4").kind == "executable"


def test_a_change_that_hides_its_time_is_seen(repo, travel):
    place = repo.write("a", "one")
    before = place.stat()
    travel.sender()
    place.write_text("two")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert travel.sender().snapshot.at("a").sha256 == digest_of(b"two")


def test_what_was_written_a_moment_ago_is_read_again(repo, travel, readings):
    place = repo.write("a", "one")
    travel.clock.jump(place.stat().st_ctime - travel.clock.now() + 0.01)
    travel.sender()
    travel.sender()
    assert readings.count == 2


@pytest.mark.parametrize(
    ("written", "began", "kept"),
    [
        (100.1, 100.2, True),
        (100.1, 100.14, False),
        (100.1, 100.0, False),
        # A file system that tells whole seconds, or only even ones.
        (100.0, 102.0, False),
        (100.0, 103.0, True),
    ],
)
def test_what_is_remembered(written, began, kept):
    moment = round(written * 1000) * 1_000_000
    one = Scanned(Entry("a", "file", 1, digest_of(b"a")), Signature(1, moment, moment, 7, 0o100644))
    assert settled({"a": one}, began) == ({"a": one} if kept else {})


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"version":1,"files":{"a":[1]}}', b"null"])
def test_a_memory_that_cannot_be_read_costs_time_only(repo, travel, content):
    repo.write("a")
    first = travel.sender().snapshot
    (travel.runs / ".snapshot.json").write_bytes(content)
    assert travel.sender().snapshot == first


# ------------------------------------------------------------------ what changes while it is read


def test_a_file_that_does_not_come_to_rest_is_named(repo, travel, monkeypatch):
    place = repo.write("busy", "x")
    written = scanning.hashed

    def written_meanwhile(content):
        answer = written(content)
        with place.open("a") as file:
            file.write("more")
        return answer

    monkeypatch.setattr(scanning, "hashed", written_meanwhile)
    monkeypatch.setattr(scanning.scan, "__defaults__", (None, written_meanwhile))
    with pytest.raises(CannotTravel, match="busy changes while it is read"):
        travel.sender()


@pytest.mark.parametrize("change", ["other", "longer and longer", "", None])
def test_a_file_that_has_changed_since_is_named_and_never_sent_half(repo, travel, change):
    place = repo.write("a", "first")
    sender = travel.sender()
    copy = travel.depot().copy("k")
    if change is None:
        place.unlink()
    else:
        place.write_text(change)
    with pytest.raises(CannotTravel, match=r"^a (has changed since|was there when) the run began"):
        travel.bring(sender, copy)
    assert copy.lacking(sender.pages()) == [digest_of(b"first")]
    copy.remove()


def test_what_is_nothing_of_the_run_is_not_sent(repo, travel):
    repo.write("a")
    with pytest.raises(DamagedBlob, match="nothing of this run"):
        list(travel.sender().send([digest_of(b"/etc/passwd")]))


# ------------------------------------------------------------------ what comes back


def given(sender: Sender, *made: tuple[Entry, bytes], removed=()) -> bytes:
    """Outputs as a worker might say them, whose content has come."""
    for entry, data in made:
        if entry.has_content:
            sender.put([Piece(entry.sha256, 0, data, last=True)])
    return Outputs(tuple(entry for entry, _ in made), tuple(removed)).dumps()


def made(path: str, text: str = "made", kind="file") -> tuple[Entry, bytes]:
    data = text.encode()
    return Entry(path, kind, len(data), digest_of(data)), data


def test_outputs_come_into_the_work_tree_and_into_the_snapshot(repo, travel):
    repo.write("dist/old", "old")
    repo.write("dist/changed", "old")
    sender = travel.sender()
    outputs = given(
        sender,
        made("dist/deep/er/new"),
        made("dist/changed"),
        made("dist/run", kind="executable"),
        (Entry("dist/link", "link", target="run"), b""),
        (Entry("dist/empty", "folder"), b""),
        removed=["dist/old"],
    )
    sender.take_in(outputs, ["dist"])
    dist = travel.root / "dist"
    assert sorted(path.name for path in dist.iterdir()) == ["changed", "deep", "empty", "link", "run"]
    assert (dist / "changed").read_text() == (dist / "deep/er/new").read_text() == "made"
    assert os.access(dist / "link", os.X_OK)
    # Another worker has them, whatever is made of the work tree meanwhile.
    (dist / "run").write_text("something else")
    copy = travel.depot().copy("k")
    there = travel.bring(sender, copy) / "dist"
    assert (there / "link").read_text() == "made"
    assert not (there / "old").exists()
    copy.remove()
    sender.close()
    assert [
        path for path in (travel.base / "returned").rglob("*") if path.stat().st_size and path.is_file()
    ] == []


@pytest.mark.parametrize(
    ("arrange", "entry"),
    [
        (lambda root: (root / "dist").symlink_to("../outside"), made("dist/a")),
        (lambda root: (root / "dist").symlink_to("src"), made("dist/a")),
        (lambda root: (root / "dist").write_text("a file"), made("dist/a")),
        (lambda root: (root / "dist/a/b").mkdir(parents=True), made("dist/a/b/../../../x")),
        (
            lambda root: (root / "dist/a/full").mkdir(parents=True) or (root / "dist/a/full/x").touch(),
            made("dist/a"),
        ),
        (lambda root: None, made("/dist/a")),
        (lambda root: None, made("src/a")),
        (lambda root: None, made(".runs/t/manifest.json")),
        (lambda root: None, made("dist/.git/hooks/post-checkout")),
        (lambda root: None, (Entry("dist/l", "link", target="../../outside"), b"")),
        (lambda root: None, (Entry("dist/l", "link", target="/etc/passwd"), b"")),
    ],
)
def test_outputs_that_are_refused_leave_all_as_it_was(repo, travel, arrange, entry):
    outside = travel.base / "outside"
    outside.mkdir()
    (travel.root / "src").mkdir()
    arrange(travel.root)
    sender = travel.sender(exclude=["dist"])
    with pytest.raises((OutputRefused, DamagedSnapshot)):
        sender.take_in(given(sender, made("dist/fine"), entry), ["dist", ".runs"])
    assert list(outside.iterdir()) == list((travel.root / "src").iterdir()) == []
    assert not (travel.root / "dist/fine").exists()
    assert sender.snapshot.at("dist/fine") is None


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(repo, travel):
    victim = travel.base / "victim"
    victim.write_text("mine")
    (travel.root / "dist").mkdir()
    (travel.root / "dist/a").symlink_to(victim)
    sender = travel.sender(exclude=["dist"])
    sender.take_in(given(sender, made("dist/a")), ["dist"])
    assert victim.read_text() == "mine"
    assert not (travel.root / "dist/a").is_symlink()
    assert (travel.root / "dist/a").read_text() == "made"


def test_a_file_where_a_folder_was_and_a_folder_where_a_file_was(repo, travel):
    repo.write("dist/a/b/c")
    repo.write("dist/x")
    sender = travel.sender()
    sender.take_in(
        given(sender, made("dist/a"), made("dist/x/y"), removed=["dist/a/b/c", "dist/x"]), ["dist"]
    )
    assert (travel.root / "dist/a").read_text() == (travel.root / "dist/x/y").read_text() == "made"
    assert paths(sender) == ["dist/a", "dist/x/y"]


def test_outputs_whose_content_has_not_come_are_refused(repo, travel):
    sender = travel.sender()
    entry, _ = made("dist/a")
    with pytest.raises(DamagedBlob, match="1 files have not come"):
        sender.take_in(Outputs((entry,)).dumps(), ["dist"])
    assert not (travel.root / "dist").exists()


def test_only_what_the_stage_was_given_is_removed(repo, travel):
    repo.write("dist/mine")
    repo.write("src/a")
    (travel.root / ".git/info/exclude").write_text("dist\n")
    sender = travel.sender()
    sender.take_in(given(sender, removed=["dist/mine"]), ["dist"])
    with pytest.raises(OutputRefused):
        sender.take_in(given(sender, removed=["src/a"]), ["dist"])
    assert (travel.root / "dist/mine").exists()
    assert (travel.root / "src/a").exists()


def test_what_a_stage_makes_here_goes_to_the_stages_after_it(repo, travel):
    (travel.root / ".git/info/exclude").write_text("dist\n")
    repo.write("src/a")
    repo.write("gen/old")
    sender = travel.sender()
    repo.write("dist/a", "made here")
    repo.write("src/b")
    (travel.root / "gen/old").unlink()
    outputs = sender.look_again(["dist", "gen"])
    assert [entry.path for entry in outputs.entries] == ["dist/a", "gen"]
    assert outputs.removed == ("gen/old",)
    assert paths(sender) == ["dist/a", "gen", "src/a"]


def test_the_errors_are_for_people(repo, travel):
    (travel.root / "l\x1b[2J").symlink_to("/etc")
    with pytest.raises(OrchestratorError) as caught:
        travel.sender()
    assert all(line.isprintable() for line in caught.value.lines)
