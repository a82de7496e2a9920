"""The diff budget on real git repositories."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.diff_budget import DiffBudgetRequest, check_diff_budget
from codex_orchestrator.checks.difference import FileChange
from codex_orchestrator.errors import UsageError
from tests.support.repositories import Repo


@pytest.fixture
def repo(empty) -> Repo:
    """A repository whose one commit, the tag "start", has two files, of three lines and of one."""
    empty.write("a.py", "1\n2\n3\n")
    empty.write("b.py", "1\n")
    empty.commit()
    empty.git("tag", "start")
    return empty


UNCOMMITTED_ONLY = (
    "Only what is not committed is measured, as HEAD is at main itself. "
    "Name another base with --base, BASE_SHA or guards.base."
)


def check(
    repo, *, base="start", override=None, files=25, lines=800, size=1_048_576, folder=".", runs=(), **environ
):
    change = ChangeRequest(root=repo.root / folder, environ=repo.environ | environ, base=base, runs=runs)
    return check_diff_budget(DiffBudgetRequest(change, override, files, lines, size))


def rules(report) -> list[str]:
    return [finding.rule for finding in report.findings]


def nothing(repo):
    """Leave everything as it is."""


def commit_a_line(repo):
    repo.write("a.py", "1\n2\n3\n4\n")
    repo.commit()


def stage_a_line(repo):
    repo.write("a.py", "1\n2\n3\n4\n")
    repo.git("add", "a.py")


def change_a_line(repo):
    repo.write("a.py", "1\n2\nthree\n")


def write_a_new_file(repo):
    repo.write("new/c.py", "1\n2")


def ignore_a_new_file(repo):
    repo.write(".git/info/exclude", "*.log\n")
    repo.write("c.log", "1\n2\n")


def delete(repo):
    (repo.root / "a.py").unlink()


def delete_and_commit(repo):
    delete(repo)
    repo.commit()


def rename(repo):
    repo.git("mv", "a.py", "c.py")


def rewrite(repo):
    """Two files, six lines."""
    delete(repo)
    repo.write("c.py", "x\ny\nz\n")


def take_out_of_the_index(repo):
    repo.git("rm", "--quiet", "--cached", "a.py")


def change_the_mode(repo):
    (repo.root / "a.py").chmod(0o755)


def touch(repo):
    os.utime(repo.root / "a.py", (1, 1))


def write_a_binary_file(repo):
    repo.write("c.bin").write_bytes(b"\0\n" * 5_000)


def commit_a_binary_file(repo):
    write_a_binary_file(repo)
    repo.commit()


def write_a_huge_file(repo):
    with (repo.root / "huge.txt").open("wb") as stream:
        stream.truncate(3 * 1024**3)  # sparse: it takes no room


def write_a_long_text(repo):
    repo.write("long.txt", "line\n" * 600_000)


def link_out_of_the_repository(repo):
    (repo.root.parent / "outside").write_text("1\n2\n3\n")
    (repo.root / "link").symlink_to("../outside")


def link_to_nowhere(repo):
    (repo.root / "link").symlink_to("nowhere")


def link_to_a_folder(repo):
    (repo.root / "link").symlink_to("/")


def put_a_repository_inside(repo):
    inner = Repo(repo.root / "inner", repo.environ)
    inner.root.mkdir()
    inner.git("init", "--quiet")
    inner.commit("x.py")


def add_a_submodule(repo):
    put_a_repository_inside(repo)
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "./inner", "inner")


def change_lock_files(repo):
    repo.write("package-lock.json", "{}\n" * 1_000)
    repo.write("web/yarn.lock", "x\n" * 1_000)


def bring_in_content_without_text(repo):
    repo.write(".gitattributes", "*.py -diff\n")
    repo.write("a.py", "changed\n")


@pytest.mark.parametrize(
    ("change", "files", "added", "deleted"),
    [
        (nothing, 0, 0, 0),
        (commit_a_line, 1, 1, 0),
        (stage_a_line, 1, 1, 0),
        (change_a_line, 1, 1, 1),
        (write_a_new_file, 1, 2, 0),
        (ignore_a_new_file, 0, 0, 0),
        (delete, 1, 0, 3),
        (delete_and_commit, 1, 0, 3),
        (rename, 1, 0, 0),
        (take_out_of_the_index, 1, 3, 3),
        (change_the_mode, 1, 0, 0),
        (touch, 0, 0, 0),
        (write_a_binary_file, 1, 0, 0),
        (commit_a_binary_file, 1, 0, 0),
        (write_a_huge_file, 1, 0, 0),
        (write_a_long_text, 1, 600_000, 0),
        (link_out_of_the_repository, 1, 1, 0),
        (link_to_nowhere, 1, 1, 0),
        (link_to_a_folder, 1, 1, 0),
        (put_a_repository_inside, 1, 0, 0),
        (add_a_submodule, 2, 4, 0),
        (change_lock_files, 0, 0, 0),
        (bring_in_content_without_text, 2, 1, 0),
    ],
)
def test_what_is_counted(repo, change, files, added, deleted):
    change(repo)
    document = check(repo).to_json()
    lines = {"total": added + deleted, "added": added, "deleted": deleted, "limit": 800}
    assert (document["files"]["total"], document["lines"]) == (files, lines)


def test_a_merge_in_progress_is_measured(repo):
    repo.git("switch", "--quiet", "--create", "other")
    repo.write("a.py", "one\n2\n3\n")
    repo.commit()
    repo.git("switch", "--quiet", "main")
    repo.write("a.py", "uno\n2\n3\n")
    repo.commit()
    with pytest.raises(AssertionError):
        repo.git("merge", "--quiet", "other")  # both changed the same line
    assert [change.path for change in check(repo).changes] == ["a.py"]


@pytest.mark.parametrize(
    ("files", "lines", "found"),
    [(2, 6, []), (1, 6, ["diff-files"]), (2, 5, ["diff-lines"]), (1, 1, ["diff-files", "diff-lines"])],
)
def test_the_limits_themselves_are_allowed(repo, files, lines, found):
    rewrite(repo)
    report = check(repo, files=files, lines=lines)
    assert rules(report) == found
    assert [report.exit_code(dry_run=dry) for dry in (False, True)] == [1 if found else 0, 0]


def test_settings_of_the_user_do_not_change_what_is_counted(repo):
    for name, value in {
        "diff.renames": "copies",
        "diff.noprefix": "true",
        "diff.relative": "true",
        "diff.external": "false",
        "diff.algorithm": "histogram",
        "diff.ignoreSubmodules": "all",
        "status.showUntrackedFiles": "no",
        "core.quotePath": "true",
    }.items():
        repo.git("config", name, value)
    rename(repo)
    repo.write("ü/new.py", "1\n")
    report = check(repo)
    assert [(one.name, one.lines) for one in report.changes] == [("a.py → c.py", 0), ("ü/new.py", 1)]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no names that are not UTF-8")
def test_names_of_any_bytes(repo):
    names = ["a b", "neu\nzeile", 'quote"', "\x1b[31m", "tab\tin", os.fsdecode(b"\xff\xfe")]
    for name in names:
        repo.write(name, "1\n")
    assert sorted(change.path for change in check(repo).changes) == sorted(names)
    repo.commit()
    report = check(repo, base="HEAD~1", lines=1)
    assert sorted(change.path for change in report.changes) == sorted(names)
    assert json.dumps(report.to_json(), ensure_ascii=False).encode()
    assert report.findings[0].message.isprintable()


def test_a_root_below_the_top_counts_its_own_files(repo):
    repo.write("pkg/x.py", "1\n")
    repo.commit()
    repo.write("pkg/x.py", "2\n")
    repo.write("pkg/y.py", "2\n")
    repo.write("top.py", "1\n")
    assert check(repo, base="HEAD", folder="pkg").changes == (
        FileChange("x.py", 1, 1),
        FileChange("y.py", 1, 0),
    )


def test_folders_of_runs_do_not_count(repo):
    for path in (".runs/t/x", "out/t/state.json", "outer/x"):
        repo.write(path)
    report = check(repo, runs=(".runs", "out"))
    assert [change.path for change in report.changes] == ["outer/x"]
    assert len(report.difference.left_out) == 2
    assert report.notices == ()


def test_the_largest_files_are_named_first(repo):
    for number in range(12):
        repo.write(f"{number:02}.py", "x\n" * (number + 1))
    rows = check(repo, lines=5).to_json()["largest"]
    assert [row["path"] for row in rows] == [f"{number:02}.py" for number in range(11, 1, -1)]
    (finding,) = check(repo, lines=77).findings
    assert (
        finding.message == "78 lines changed, more than 77; the most in 11.py (12), 10.py (11), 09.py (10)."
    )


# ---------------------------------------------------------------- override


@pytest.mark.parametrize(
    ("flag", "variable", "reason", "source"),
    [
        ("moved files", None, "moved files", "--override"),
        (None, " generated ", "generated", "DIFF_BUDGET_OVERRIDE_REASON"),
        ("by flag", "by variable", "by flag", "--override"),
    ],
)
def test_a_reason_lifts_the_budget_and_is_recorded(repo, flag, variable, reason, source):
    rewrite(repo)
    environ = {} if variable is None else {"DIFF_BUDGET_OVERRIDE_REASON": variable}
    report = check(repo, override=flag, lines=1, **environ)
    document = report.to_json()
    assert document["override"] == {"reason": reason, "source": source}
    assert (document["status"], len(document["findings"])) == ("overridden", 1)
    assert report.exit_code(dry_run=False) == 0


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_an_override_needs_a_reason(repo, reason):
    with pytest.raises(UsageError, match="--override needs a reason"):
        check(repo, override=reason)
    rewrite(repo)
    report = check(repo, lines=1, DIFF_BUDGET_OVERRIDE_REASON=reason)
    assert report.status == "findings", "an empty variable counts as unset"


def test_an_override_that_nothing_needs_is_recorded_too(repo):
    report = check(repo, override="to be safe")
    assert (report.status, report.to_json()["override"]["reason"]) == ("ok", "to be safe")


# ------------------------------------------------- where git has little to say


def test_before_the_first_commit_nothing_is_measured(empty):
    empty.write("a.py")
    report = check(empty, base=None, lines=1)
    assert (report.base, report.changes, report.exit_code(dry_run=False)) == (None, (), 0)
    assert report.notices == ("Changes were not checked: the repository has no commit yet.",)


def test_outside_a_repository_nothing_is_measured(plain):
    assert check(plain, base=None).notices == (
        "Changes were not checked: this folder is not in a git repository.",
    )
    with pytest.raises(UsageError, match="--base"):
        check(plain, base="main")


def test_without_git_nothing_is_measured(repo, tmp_path):
    report = check(repo, base=None, PATH=str(tmp_path / "nothing"))
    assert report.notices == ("Changes were not checked: git is not installed.",)


def test_a_detached_head_and_a_shallow_clone(repo, tmp_path):
    commit_a_line(repo)
    repo.git("switch", "--quiet", "--detach", "HEAD")
    assert check(repo).to_json()["lines"]["total"] == 1
    clone = Repo(tmp_path / "clone", repo.environ)
    repo.git("clone", "--quiet", "--depth=1", repo.root.as_uri(), str(clone.root))
    clone.git("update-ref", "-d", "refs/remotes/origin/main")
    clone.write("new.py", "1\n2\n")
    report = check(clone, base=None)
    assert (report.base.source, len(report.changes)) == ("main", 1)
    assert "shallow" in report.notices[0]


@pytest.mark.parametrize("error", [errno.EACCES, errno.ENOENT])
def test_a_new_file_that_cannot_be_read_is_bad_use_but_one_that_is_gone_is_not(repo, monkeypatch, error):
    write_a_new_file(repo)

    real = os.open

    def refuse(path, *words, **options):
        if Path(path).name == "c.py":
            raise OSError(error, os.strerror(error), str(path))
        return real(path, *words, **options)

    # Permissions do not stop the superuser, whom containers run tests as.
    monkeypatch.setattr(os, "open", refuse)
    if error == errno.ENOENT:
        assert check(repo).changes == (FileChange("new/c.py", 0, 0),)
        return
    with pytest.raises(UsageError, match=r"new/c\.py cannot be read: Permission denied\.$"):
        check(repo)


def test_a_lost_object_is_one_clear_message(repo):
    commit_a_line(repo)
    name = repo.git("rev-parse", "HEAD~1^{tree}")
    (repo.root / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(UsageError) as caught:
        check(repo)
    assert caught.value.message.isprintable()


# ---------------------------------------------------------------- as called


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ((), 1, "diff-budget: 1 finding; 2 of 25 files and 6 of 5 lines changed since "),
        (
            ("--dry-run",),
            0,
            "diff-budget: 1 finding (dry run: the exit code is 0 all the same); 2 of 25 files",
        ),
        (("--override", "moved"), 0, "diff-budget: 1 finding, overridden; 2 of 25 files and 6 of 5 lines"),
        (("--base", "HEAD"), 1, " (--base)."),
    ],
)
def test_text_and_exit_codes(repo, guard, flags, code, said):
    repo.write("codex.orchestrator.json", '{"guards": {"diff": {"lines": 5}}}')
    repo.commit()
    rewrite(repo)
    exit_code, out, err = guard("diff-budget", *flags, *(() if "--base" in flags else ("--base", "HEAD")))
    assert (exit_code, err) == (code, "")
    assert said in out.splitlines()[-1]
    assert out.startswith("Override (--override): moved\n") is ("--override" in flags)


def test_json_is_one_document_with_all_there_is_to_know(repo, guard):
    write_a_new_file(repo)
    code, out, err = guard("diff-budget", "--format=json", "--override", "why")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "guard": "diff-budget",
        "status": "ok",
        "unchecked": None,
        "base": repo.git("rev-parse", "HEAD"),
        "base_source": "main",
        "files": {"total": 1, "left_out": 0, "limit": 25},
        "lines": {"total": 2, "added": 2, "deleted": 0, "limit": 800},
        "bytes": {"total": 0, "limit": 1_048_576},
        "largest": [
            {
                "path": "new/c.py",
                "renamed_from": None,
                "added": 2,
                "deleted": 0,
                "binary": False,
                "bytes": 0,
            }
        ],
        "override": {"reason": "why", "source": "--override"},
        "findings": [],
        "notices": [
            UNCOMMITTED_ONLY,
        ],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diff-budget", "--base", "nope"), '--base: "nope" names no commit'),
        (("diff-budget", "--override", ""), "--override needs a reason"),
        (("spec", "--override", "x"), "guard spec takes no --override"),
        (("docs", "--base", "HEAD"), "guard docs takes no --base"),
        (("evidence", "--base", "HEAD"), "guard evidence takes no --base"),
    ],
)
def test_bad_use_is_one_message_and_exit_code_2(repo, guard, words, said):
    code, out, err = guard(*words, "--format", "json")
    assert code == 2
    assert said in json.loads(out)["error"]["message"]
    assert said in err
