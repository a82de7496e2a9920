"""Of which source a run's evidence is: ``source.json`` and ``tree``, held to git's own answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.repositories import Repo, repository_of

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@pytest.fixture
def repo(project, tmp_path):
    """The project as a repository with a commit."""
    project.pipeline("true")
    return repository_of(project.root, project.environment, tmp_path)


def honest_tree(repo: Repo, *without: str) -> str:
    """What ``git add --all`` and ``git write-tree`` say of the work tree, in an index of their own."""
    index = repo.root.parent / "honest-index"
    index.unlink(missing_ok=True)
    honest = Repo(repo.root, {**repo.environ, "GIT_INDEX_FILE": str(index)})
    honest.git("read-tree", "HEAD")
    honest.git("add", "--all", "--", ".", *(f":(exclude){name}" for name in without))
    tree = honest.git("write-tree")
    index.unlink()
    return tree


def source_of(run) -> dict:
    return json.loads((run.folder / "source.json").read_text(encoding="utf-8"))


def printed(project, *words: str) -> str:
    done = project.cli("tree", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ------------------------------------------------------------------ a run's record


def test_a_clean_work_tree_is_its_commit(project, repo):
    source = source_of(project.start("work"))
    commit, tree = repo.git("rev-parse", "HEAD"), repo.git("rev-parse", "HEAD^{tree}")
    recorded_at = source.pop("recorded_at")
    assert recorded_at.endswith("Z")
    assert source == {
        "vcs": "git",
        "commit": commit,
        "branch": "main",
        "start_tree": tree,
        "end_tree": tree,
        "dirty": False,
        "changed": [],
        "changed_total": 0,
        "root": ".",
        "problem": None,
    }


def test_what_commands_change_shows_between_start_and_end(project, repo):
    project.pipeline("echo more >> src/a.txt", "echo new > made.txt")
    repo.commit()
    before = honest_tree(repo)
    source = source_of(project.start("work"))
    assert (source["start_tree"], source["end_tree"]) == (before, honest_tree(repo, ".runs", "out"))
    assert source["start_tree"] != source["end_tree"]


def test_changes_are_listed_with_what_they_are(project, repo):
    repo.write("src/a.txt", "changed\n")
    (repo.root / "src/b.txt").unlink()
    repo.write("new.txt")
    repo.write("staged.txt")
    repo.git("add", "staged.txt")
    source = source_of(project.start("work"))
    assert source["dirty"] is True
    assert source["changed"] == [
        {"path": "new.txt", "status": "added"},
        {"path": "src/a.txt", "status": "modified"},
        {"path": "src/b.txt", "status": "deleted"},
        {"path": "staged.txt", "status": "added"},
    ]
    # Once more, with what is known from the first time.
    assert source_of(project.start("work"))["changed"] == source["changed"]


def test_of_many_changes_some_are_listed_and_all_are_counted(project, repo):
    for number in range(205):
        repo.write(f"new/{number}")
    source = source_of(project.start("work"))
    assert (len(source["changed"]), source["changed_total"]) == (200, 205)


def test_a_run_that_goes_on_keeps_the_source_that_it_began_with(project, repo):
    project.pipeline("true", "test -e fixed")
    repo.commit()
    first = project.start("work")
    began = source_of(first)
    repo.write("fixed")
    source = source_of(project.resume())
    assert first.exit_code == 1
    assert source["start_tree"] == began["start_tree"]
    assert source["end_tree"] == honest_tree(repo, ".runs", "out") != source["start_tree"]


def test_a_sub_pipeline_is_of_what_there_was_when_it_began(project, repo):
    child = {"kind": "subpipeline", "id": "child", "title": "Child", "pipeline": "inner"}
    project.pipelines(work=["echo more >> src/a.txt", child], inner=["true"])
    repo.commit()
    parent = project.start("work")
    (inner,) = (folder for folder in project.runs() if folder != parent.folder)
    source = json.loads((inner / "source.json").read_text(encoding="utf-8"))
    assert source["start_tree"] == source["end_tree"] == source_of(parent)["end_tree"]
    assert source["start_tree"] != source_of(parent)["start_tree"]


def test_pytest_records_it_too(project, repo):
    project.pytest("--codex-pipeline=work")
    (folder,) = project.runs()
    source = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    assert source["start_tree"] == source["end_tree"] == repo.git("rev-parse", "HEAD^{tree}")


# ------------------------------------------------------------------ nothing of the user's is touched


def test_nothing_of_the_users_is_touched(project, repo):
    repo.write("src/a.txt", "changed\n")
    repo.write("new.txt")
    repo.git("status")  # Which brings the index up to date.
    ran = repo.root.parent / "ran"
    hooks = repo.root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "pre-commit"):
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\necho {name} >> {ran}\n")
        hook.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(hooks / "fsmonitor-watchman"))
    repo.git("config", "filter.mine.clean", f"sh -c 'echo filter >> {ran}; cat'")
    repo.write(".git/info/attributes", "*.txt filter=mine\n")
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted((repo.root / ".git").rglob("*"))
        if path.is_file()
    }
    assert source_of(project.start("work"))["start_tree"]
    after = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted((repo.root / ".git").rglob("*"))
        if path.is_file()
    }
    assert after == before
    assert not ran.exists()


def test_no_content_of_files_is_kept(project, repo):
    repo.write("notes.txt", "not to be copied anywhere\n")
    project.start("work")
    blob = repo.git("hash-object", "notes.txt")
    store = repo.root / ".runs/.source/objects"
    assert store.is_dir()
    assert not (store / blob[:2] / blob[2:]).exists()


@pytest.mark.parametrize("place", [".runs/.source", ".runs/.source/objects", ".runs/.source/objects/{}"])
def test_no_link_in_the_store_is_followed(project, repo, tmp_path, place):
    """A commit may have put it there; git itself would write through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    repo.write("new.txt")
    names = [f"{number:02x}" for number in range(256)] if "{}" in place else [""]
    for link in (repo.root / place.format(name) for name in names):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside)
    source = source_of(project.start("work"))
    assert list(outside.iterdir()) == []
    assert (source["start_tree"] is None) == ("{}" not in place)


# ------------------------------------------------------------------ repositories of all kinds


def plain_folder(repo: Repo) -> None:
    subprocess.run(["rm", "-rf", str(repo.root / ".git")], check=True)


def unborn(repo: Repo) -> None:
    plain_folder(repo)
    repo.git("init", "--quiet", "--initial-branch", "main")


def refused(repo: Repo) -> None:
    # As git says it of a repository that is another user's.
    repo.environ["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"


def broken(repo: Repo) -> None:
    (repo.root / ".git/index").write_bytes(b"no index")


def embedded_without_commit(repo: Repo) -> None:
    (repo.root / "inner").mkdir()
    Repo(repo.root / "inner", repo.environ).git("init", "--quiet")


@pytest.mark.parametrize(
    ("make", "vcs", "problem"),
    [
        (plain_folder, "none", None),
        (refused, "git", "dubious ownership"),
        (broken, "git", "index"),
        (embedded_without_commit, "git", "inner"),
    ],
)
def test_where_there_is_no_tree_it_is_null_and_the_run_goes_on(project, repo, make, vcs, problem):
    make(repo)
    run = project.start("work", environment=repo.environ)
    source = source_of(run)
    assert run.exit_code == 0
    assert (source["vcs"], source["start_tree"], source["end_tree"]) == (vcs, None, None)
    if problem is None:
        assert source["problem"] is None
    else:
        assert problem in source["problem"]
        assert "Source not known" in run.manifest["summary"]


def test_without_git_there_is_none(project, repo, tmp_path):
    run = project.start("work", environment={"PATH": str(tmp_path)})
    assert (source_of(run)["vcs"], source_of(run)["start_tree"]) == ("none", None)
    assert "git" in source_of(run)["problem"]


def test_before_the_first_commit_there_is_a_tree(project, repo):
    unborn(repo)
    source = source_of(project.start("work"))
    assert source["commit"] is None
    assert source["branch"] == "main"
    assert source["start_tree"] == source["end_tree"] == printed(project)
    assert source["dirty"] is True
    repo.git("add", "--all")
    assert repo.git("write-tree") == source["start_tree"]


def shallow(repo: Repo) -> Path:
    repo.commit("one.txt")
    place = repo.root.parent / "shallow"
    repo.git("clone", "--quiet", "--depth", "1", repo.root.as_uri(), str(place))
    return place


def worktree(repo: Repo) -> Path:
    place = repo.root.parent / "beside"
    repo.git("worktree", "add", "--quiet", str(place))
    return place


def in_a_folder(repo: Repo) -> Path:
    (repo.root / "codex.orchestrator.json").rename(repo.root / "src/codex.orchestrator.json")
    repo.commit()
    return repo.root / "src"


def with_submodule(repo: Repo) -> Path:
    library = Repo(repo.root.parent / "library", repo.environ)
    library.root.mkdir()
    library.git("init", "--quiet")
    library.commit("lib.txt")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.root), "lib")
    return repo.root


def sparse(repo: Repo) -> Path:
    repo.write("other/c.txt")
    repo.commit()
    repo.git("sparse-checkout", "set", "src")
    assert not (repo.root / "other").exists()
    return repo.root


def carriage_returns(repo: Repo) -> Path:
    repo.git("config", "core.autocrlf", "true")
    repo.write("src/c.txt", "with\r\nreturns\r\n")
    return repo.root


def attributes(repo: Repo) -> Path:
    repo.write(".gitattributes", "*.txt text eol=crlf\n*.bin -text\n")
    repo.write("src/c.txt", "with\r\nreturns\r\n")
    repo.write("src/d.bin", "with\r\nreturns\r\n")
    return repo.root


def lfs_pointer(repo: Repo) -> Path:
    repo.write(".gitattributes", "*.big filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("model.big", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    return repo.root


def odd_names(repo: Repo) -> Path:
    for name in ("a b", 'quote"d', "new\nline", "tab\t", "ünï", "-dash", ":colon", "sub/[x]*"):
        repo.write(name)
    (repo.root / os.fsdecode(b"no-text-\xff")).write_text("x\n")
    return repo.root


def links_and_modes(repo: Repo) -> Path:
    (repo.root / "link").symlink_to("src/a.txt")
    (repo.root / "nowhere").symlink_to("gone")
    (repo.root / "src/a.txt").chmod(0o755)
    return repo.root


def ignored(repo: Repo) -> Path:
    repo.write(".gitignore", "*.log\nbuild/\n")
    repo.write("x.log")
    repo.write("build/out")
    return repo.root


def split_index(repo: Repo) -> Path:
    repo.git("config", "core.splitIndex", "true")
    repo.git("update-index", "--split-index")
    repo.write("new.txt")
    return repo.root


def conflict(repo: Repo) -> Path:
    repo.git("checkout", "--quiet", "-b", "other")
    repo.write("src/a.txt", "theirs\n")
    repo.git("commit", "--quiet", "--all", "--message", "theirs")
    repo.git("checkout", "--quiet", "main")
    repo.write("src/a.txt", "ours\n")
    repo.git("commit", "--quiet", "--all", "--message", "ours")
    merging = subprocess.run(
        ["git", "merge", "other"], cwd=repo.root, env=repo.environ, capture_output=True, check=False
    )
    assert merging.returncode == 1
    return repo.root


def intended(repo: Repo) -> Path:
    repo.write("new.txt")
    repo.git("add", "--intent-to-add", "new.txt")
    return repo.root


def file_for_folder(repo: Repo) -> Path:
    subprocess.run(["rm", "-rf", str(repo.root / "src")], check=True)
    repo.write("src", "a file now\n")
    return repo.root


def detached(repo: Repo) -> Path:
    repo.git("checkout", "--quiet", "--detach")
    return repo.root


def colon_in_its_path(repo: Repo) -> Path:
    place = repo.root.parent / "a:b"
    repo.git("clone", "--quiet", str(repo.root), str(place))
    (place / "new.txt").write_text("x\n")
    return place


@pytest.mark.parametrize(
    "make",
    [
        shallow, worktree, in_a_folder, with_submodule, sparse, carriage_returns, attributes, lfs_pointer,
        odd_names, links_and_modes, ignored, split_index, conflict, intended, file_for_folder, detached,
        colon_in_its_path,
    ],
)  # fmt: skip
def test_the_tree_is_what_git_would_make_of_it(project, repo, make):
    place = make(repo)
    top = Repo(Path(Repo(place, repo.environ).git("rev-parse", "--show-toplevel")), repo.environ)
    expected = honest_tree(top, ".runs", "src/.runs")
    assert printed(project, "--root", str(place)) == expected
    run = json.loads(project.cli("start", "work", "--root", str(place), "--format", "json").stdout)
    source = json.loads((place / run["artifact_root"] / "source.json").read_text(encoding="utf-8"))
    assert (source["start_tree"], source["end_tree"]) == (expected, expected)
    assert source["root"] == os.path.relpath(place, top.root)
    # And again, by what is known from the first time.
    assert printed(project, "--root", str(place)) == expected


def test_every_change_is_seen_though_much_is_known_already(project, repo):
    steps = [
        lambda: repo.write("src/a.txt", "1\n"),
        lambda: repo.write("new.txt", "1\n"),
        lambda: repo.write("new.txt", "2\n"),
        lambda: (repo.root / "new.txt").chmod(0o755),
        (repo.root / "new.txt").unlink,
        lambda: repo.git("add", "src/a.txt"),
        lambda: repo.write("src/a.txt", "a\n"),
        lambda: repo.git("reset", "--quiet", "--hard"),
        lambda: repo.write("src/deep/er/c.txt"),
        lambda: repo.git("add", "--all"),
        lambda: repo.git("commit", "--quiet", "--message", "c"),
    ]
    for step in steps:
        step()
        assert printed(project) == honest_tree(repo, ".runs")


def test_files_of_runs_are_no_source_also_where_they_are_tracked(project, repo):
    bare = printed(project)
    repo.write("out/kept.txt")
    repo.write(".runs/kept.txt")
    repo.git("add", "--force", "out", ".runs")
    assert printed(project) == bare
    repo.git("commit", "--quiet", "--message", "tracked")
    assert printed(project) == bare
    assert printed(project, "HEAD") == bare
    assert repo.git("rev-parse", "HEAD^{tree}") != bare
    source = source_of(project.start("work"))
    assert (source["start_tree"], source["end_tree"]) == (bare, bare)


def test_more_than_a_source_has_is_said_in_words(project, repo):
    with (repo.root / "data.bin").open("wb") as data:
        data.truncate(3 * 1024**3)
    run = project.start("work")
    assert source_of(run)["start_tree"] is None
    assert source_of(run)["commit"] == repo.git("rev-parse", "HEAD")
    assert source_of(run)["problem"] == (
        "The work tree has 3.0 GiB in files that are new or changed, over 2: its id is not taken. "
        "Have .gitignore name what is no source."
    )


# ------------------------------------------------------------------ the command


def test_tree_prints_that_of_a_ref(project, repo):
    first = repo.git("rev-parse", "HEAD^{tree}")
    repo.commit("more.txt")
    repo.git("tag", "--annotate", "--message", "x", "v1", "HEAD~1")
    for ref in ("HEAD~1", "v1", first):
        assert printed(project, ref) == first
    assert json.loads(project.cli("tree", "main", "--format=json").stdout) == {
        "ref": "main",
        "tree": repo.git("rev-parse", "main^{tree}"),
    }


@pytest.mark.parametrize(
    ("words", "make", "said"),
    [
        (("nowhere",), None, 'git knows no commit or tree "nowhere" here.'),
        (("--", "--all"), None, 'git knows no commit or tree "--all" here.'),
        ((), plain_folder, "is in no work tree of git"),
        (("HEAD",), plain_folder, "this folder is not in a git repository"),
        ((), refused, "dubious ownership"),
    ],
)
def test_tree_says_why_there_is_none(project, repo, words, make, said):
    if make is not None:
        make(repo)
    done = project.cli("tree", *words, environment=repo.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
