"""The spec guard on real git repositories."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.checks.changes import ChangeRequest
from codex_orchestrator.checks.report import render_text
from codex_orchestrator.checks.spec import SpecGuardReport, SpecGuardRequest, check_specs
from codex_orchestrator.errors import UsageError
from codex_orchestrator.model.definitions import GuardSettings, SpecGuardSettings
from tests.support.disk import refused
from tests.support.repositories import FRESH_SPEC, Repo

TODAY = dt.date(2026, 3, 31)
FRESH = FRESH_SPEC
STALE = "---\nid: 2\nlast_review: 2026-01-01\n---\n# An old spec\n"


class GuardedRepo(Repo):
    """A folder, git in it, and the spec guard."""

    def check(
        self, base: str | None = None, *paths: str, folder: str = ".", **environ: str
    ) -> SpecGuardReport:
        settings = GuardSettings(spec=SpecGuardSettings(paths=paths))
        root, environ = self.root / folder, self.environ | environ
        change = ChangeRequest(root=root, environ=environ, base=base, settings=settings)
        return check_specs(SpecGuardRequest(change, TODAY))


@pytest.fixture
def plain(plain) -> GuardedRepo:
    """A folder outside any repository."""
    return GuardedRepo(plain.root, plain.environ)


@pytest.fixture
def repo(empty) -> GuardedRepo:
    """A repository whose first commit holds code and a reviewed spec, and which was pushed."""
    first = empty.commit("src/a.py", "tasks/specs/1.md")
    empty.git("update-ref", "refs/remotes/origin/main", first)
    return empty


def rules(report: SpecGuardReport) -> list[tuple[str, str]]:
    return [(finding.path, finding.rule) for finding in report.findings]


NEEDS_A_SPEC = [("tasks/specs", "code-without-spec")]


def test_what_the_base_has_is_no_change(repo):
    report = repo.check()
    assert report.base == repo.git("rev-parse", "HEAD")
    assert report.base_source == "origin/main"
    assert (report.findings, report.changed_code, report.checked_specs, report.notices) == ((), (), 1, ())


def commit_code(repo):
    repo.commit("src/a.py")


def stage_code(repo):
    repo.write("src/a.py", "staged\n")
    repo.git("add", "src/a.py")


def change_code(repo):
    repo.write("src/a.py", "changed\n")


def delete_code(repo):
    (repo.root / "src/a.py").unlink()


def stage_and_take_back(repo):
    repo.write("src/a.py", "staged\n")
    repo.git("add", "src/a.py")
    repo.git("restore", "--source=HEAD", "--worktree", "src/a.py")


def commit_and_take_back(repo):
    before = (repo.root / "src/a.py").read_bytes()
    repo.commit("src/a.py")
    (repo.root / "src/a.py").write_bytes(before)


def rename_out_of_the_code(repo):
    repo.git("mv", "src/a.py", "a.py")


def change_mode(repo):
    (repo.root / "src/a.py").chmod(0o755)


def conflict_in_code(repo):
    repo.git("switch", "--quiet", "--create", "other")
    repo.commit("src/a.py")
    repo.git("switch", "--quiet", "main")
    repo.commit("src/a.py")
    merge = ["git", "merge", "--quiet", "other"]
    assert subprocess.run(merge, cwd=repo.root, env=repo.environ, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    "change",
    [
        commit_code,
        stage_code,
        change_code,
        delete_code,
        stage_and_take_back,
        commit_and_take_back,
        rename_out_of_the_code,
        change_mode,
        conflict_in_code,
    ],
)
def test_every_kind_of_code_change_needs_a_spec_change_of_any_kind(repo, change):
    change(repo)
    report = repo.check()
    assert rules(report) == NEEDS_A_SPEC
    assert report.changed_code == ("src/a.py",)
    assert "src/a.py" in report.findings[0].message
    repo.write("tasks/specs/2.md", FRESH)
    assert repo.check().findings == ()


@pytest.mark.parametrize("path", ["src/new.py", "app/x/y.ts", "server/z", "migrations/0001.sql"])
def test_untracked_code_counts_in_each_code_folder(repo, path):
    repo.write(path)
    assert repo.check().changed_code == (path,)
    assert rules(repo.check()) == NEEDS_A_SPEC


@pytest.mark.parametrize(
    "evidence",
    ["tasks/specs/1.md", "tasks/specs/deep/er/2.md", "tasks/specs/notes.txt", "tasks/index.json"],
)
@pytest.mark.parametrize("committed", [True, False])
def test_what_counts_as_a_spec_change(repo, evidence, committed):
    repo.commit("src/a.py")
    repo.write(evidence, FRESH + "More.\n")
    if committed:
        repo.commit()
    report = repo.check()
    assert report.findings == ()
    assert report.changed_code == ("src/a.py",)


def test_ignored_files_and_files_elsewhere_are_no_code(repo):
    repo.commit(".gitignore")
    repo.write(".gitignore", "*.tmp\n")
    repo.write("src/x.tmp")
    repo.write("lib/b.py")
    repo.write("docs/src/c.py")
    assert repo.check().changed_code == ()


def test_a_file_that_was_only_touched_has_not_changed(repo):
    os.utime(repo.root / "src/a.py", (1, 1))
    index = repo.root / ".git/index"
    before = index.read_bytes()
    assert repo.check().changed_code == ()
    assert index.read_bytes() == before, "a guard only reads"


def test_configured_paths_are_code_too(repo):
    repo.write("lib/b.py")
    repo.write("tools/release.py")
    repo.write("tools/other.py")
    report = repo.check(None, "lib/", "./tools/release.py")
    assert report.changed_code == ("lib/b.py", "tools/release.py")
    assert rules(report) == NEEDS_A_SPEC


@pytest.mark.parametrize("config", ["status.branch", "status.showStash", "diff.renames", "diff.noprefix"])
def test_settings_of_the_user_do_not_change_what_is_found(repo, config):
    repo.git("config", config, "true")
    repo.git("config", "status.showUntrackedFiles", "no")
    repo.git("config", "status.relativePaths", "true")
    rename_out_of_the_code(repo)
    repo.write("src/deep/new.py")
    assert repo.check().changed_code == ("src/a.py", "src/deep/new.py")


# ---------------------------------------------------------------- the base


def test_base_flag_before_variable_before_origin_main(repo):
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit("src/b.py")
    third = repo.commit("src/c.py")
    repo.git("update-ref", "refs/remotes/origin/main", third)
    repo.commit("src/d.py")
    found = [repo.check(), repo.check(BASE_SHA=second), repo.check(first, BASE_SHA=second)]
    assert [(one.base, one.base_source) for one in found] == [
        (third, "origin/main"),
        (second, "BASE_SHA"),
        (first, "--base"),
    ]
    assert [len(one.changed_code) for one in found] == [1, 2, 3]


def test_the_base_is_where_the_branch_left_so_that_work_of_others_does_not_count(repo):
    fork = repo.git("rev-parse", "HEAD")
    repo.git("switch", "--quiet", "--create", "work")
    repo.commit("src/mine.py")
    repo.git("switch", "--quiet", "main")
    repo.commit("src/theirs.py", "tasks/specs/theirs.md")
    repo.git("update-ref", "refs/remotes/origin/main", "main")
    repo.git("switch", "--quiet", "work")
    for report in (repo.check(), repo.check("main"), repo.check(BASE_SHA=repo.git("rev-parse", "main"))):
        assert report.base == fork
        assert report.changed_code == ("src/mine.py",)
        assert rules(report) == NEEDS_A_SPEC


def test_tags_are_bases_and_a_local_branch_does_not_pose_as_origin_main(repo):
    repo.git("tag", "--annotate", "--message", "v1", "v1")
    tagged = repo.git("rev-parse", "v1^{commit}")
    head = repo.commit("src/b.py")
    assert repo.check("v1").base == tagged
    repo.git("update-ref", "-d", "refs/remotes/origin/main")
    repo.git("branch", "origin/main", head)
    assert repo.check().base_source == "main"


def test_unrelated_histories_are_compared_directly_with_a_notice(repo):
    repo.git("switch", "--quiet", "--orphan", "other")
    other = repo.commit("src/other.py")
    repo.git("switch", "--quiet", "main")
    report = repo.check("other")
    assert report.base == other
    assert report.changed_code == ("src/a.py", "src/other.py")
    assert "their histories are unrelated" in report.notices[0]


def test_a_detached_head_is_like_any_other(repo):
    repo.commit("src/b.py")
    repo.git("switch", "--quiet", "--detach", "HEAD")
    report = repo.check()
    assert report.changed_code == ("src/b.py",)
    assert rules(report) == NEEDS_A_SPEC


@pytest.mark.parametrize(
    "base", ["nope", "", "--all", "-", "HEAD:src/a.py", "HEAD^{tree}", "a..b", "d" * 40, "\udcff\n", "a\0b"]
)
def test_a_bad_base_is_bad_use(repo, base):
    with pytest.raises(UsageError, match=r"^--base: ") as caught:
        repo.check(base)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_a_bad_base_variable_is_bad_use_but_an_empty_one_is_unset(repo):
    with pytest.raises(UsageError, match=r'^BASE_SHA: "d+" names no commit in this repository'):
        repo.check(BASE_SHA="d" * 40)
    assert repo.check(BASE_SHA="").base_source == "origin/main"


def test_a_base_variable_of_zeros_is_unset_with_a_notice(repo):
    report = repo.check(BASE_SHA="0" * 40)
    assert report.base_source == "origin/main"
    assert report.notices == ("BASE_SHA is all zeros, which means no earlier commit: it counts as unset.",)
    assert repo.check("HEAD", BASE_SHA="0" * 40).notices == ()


@pytest.fixture
def shallow(repo, tmp_path) -> GuardedRepo:
    """A clone that holds the newest of three commits only."""
    repo.commit("src/b.py")
    repo.commit("src/c.py", "tasks/specs/2.md")
    clone = GuardedRepo(tmp_path / "clone", repo.environ)
    repo.git("clone", "--quiet", "--depth=1", repo.root.as_uri(), str(clone.root))
    return clone


def test_a_shallow_clone_compares_with_what_was_fetched(shallow, repo):
    shallow.write("src/d.py")
    report = shallow.check()
    assert (report.base_source, report.changed_code, report.notices) == ("origin/HEAD", ("src/d.py",), ())
    shallow.git("update-ref", "-d", "refs/remotes/origin/main")
    report = shallow.check()
    assert (report.base_source, report.changed_code) == ("main", ("src/d.py",))
    assert report.notices[0].endswith(
        "This clone is shallow: to have its history, call: git fetch --unshallow "
        "(in actions/checkout: fetch-depth: 0)."
    )


def test_a_base_that_a_shallow_clone_lacks_is_bad_use_with_the_way_out(shallow, repo):
    first = repo.git("rev-list", "--max-parents=0", "HEAD")
    with pytest.raises(UsageError, match="names no commit") as caught:
        shallow.check(BASE_SHA=first)
    assert "git fetch --unshallow" in str(caught.value)


def test_commits_of_a_shallow_clone_without_a_common_one_are_compared_directly(shallow, repo):
    first = repo.git("rev-list", "--max-parents=0", "HEAD")
    shallow.git("fetch", "--quiet", "--depth=1", "origin", first)
    report = shallow.check(BASE_SHA=first)
    assert report.base == first
    assert report.changed_code == ("src/b.py", "src/c.py")
    assert "the clone is shallow" in report.notices[0]


# ------------------------------------------------- where git has little to say


def test_before_the_first_commit_only_specs_are_checked(empty):
    empty.write("src/a.py")
    empty.write("tasks/specs/2.md", STALE)
    report = empty.check()
    assert report.base is None
    assert rules(report) == [("tasks/specs/2.md", "spec-last-review-stale")]
    assert report.notices == ("Changes were not checked: the repository has no commit yet.",)
    with pytest.raises(UsageError, match="names no commit"):
        empty.check("main")


def test_outside_a_repository_only_specs_are_checked(plain):
    plain.write("src/a.py")
    plain.write("tasks/specs/2.md", STALE)
    report = plain.check(BASE_SHA="abc")
    assert rules(report) == [("tasks/specs/2.md", "spec-last-review-stale")]
    assert report.notices == ("Changes were not checked: this folder is not in a git repository.",)
    assert render_text(report, dry_run=False).endswith("; 1 spec checked; changes not checked.\n")
    with pytest.raises(UsageError, match='--base: "main" names no commit, for this folder is not in a git'):
        plain.check("main")


def test_a_bare_repository_is_refused(plain):
    # A change can make a folder look like one; that must not keep its changes from being checked.
    plain.git("init", "--quiet", "--bare")
    with pytest.raises(UsageError, match="cannot use bare repository"):
        plain.check()


def test_without_git_only_specs_are_checked(repo, tmp_path):
    repo.write("tasks/specs/2.md", STALE)
    report = repo.check(PATH=str(tmp_path / "nothing"))
    assert rules(report) == [("tasks/specs/2.md", "spec-last-review-stale")]
    assert report.notices == ("Changes were not checked: git is not installed.",)
    with pytest.raises(UsageError, match="git is not installed"):
        repo.check("main", PATH=str(tmp_path / "nothing"))


def break_index(repo):
    (repo.root / ".git/index").write_bytes(b"broken")


def break_config(repo):
    (repo.root / ".git/config").write_text("[broken\n", encoding="utf-8")


def lose_the_head_commit(repo):
    name = repo.commit("src/lost.py")
    (repo.root / ".git/objects" / name[:2] / name[2:]).unlink()


def lose_the_tree(repo):
    repo.commit("src/lost.py")
    name = repo.git("rev-parse", "HEAD^{tree}")
    (repo.root / ".git/objects" / name[:2] / name[2:]).unlink()


def replace_git(repo):
    (repo.root.parent / "git").write_text(
        "#!/bin/sh\necho 'fatal: no\tway' >&2\nexit 128\n", encoding="utf-8"
    )
    (repo.root.parent / "git").chmod(0o755)
    repo.environ["PATH"] = f"{repo.root.parent}{os.pathsep}{repo.environ['PATH']}"


def replace_git_by_no_program(repo):
    replace_git(repo)
    (repo.root.parent / "git").write_bytes(b"\0\1")
    repo.environ["PATH"] = str(repo.root.parent)


@pytest.mark.parametrize(
    "harm",
    [
        break_index,
        break_config,
        lose_the_head_commit,
        lose_the_tree,
        replace_git,
        replace_git_by_no_program,
    ],
)
def test_a_git_that_cannot_look_is_one_clear_message_and_no_finding(repo, harm):
    harm(repo)
    with pytest.raises(UsageError) as caught:
        repo.check()
    assert caught.value.exit_code == 2, "1 would say that there are findings"
    assert "git" in str(caught.value)
    assert caught.value.message.isprintable()


# --------------------------------------------------------- names and folders


def test_names_of_any_bytes(repo):
    names = ["src/a b", "src/neu\nzeile", "src/ quote\"'", "src/ä", "src/-x", "src/\x1b[31m"]
    for name in names:
        repo.write(name)
    blob = repo.git("hash-object", "-w", "src/a.py").encode()
    repo.git("update-index", "-z", "--index-info", stdin=b"100644 " + blob + b"\tsrc/\xff\xfe\0")
    report = repo.check()
    assert set(report.changed_code) == {*names, os.fsdecode(b"src/\xff\xfe")}
    for text in (render_text(report, dry_run=False), str(report.to_json())):
        assert text.encode("utf-8")
        assert "\x1b" not in text


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no names that are not UTF-8")
def test_a_spec_whose_name_is_not_utf_8(repo):
    repo.write(os.fsdecode(b"tasks/specs/\xff.md"), STALE)
    report = repo.check()
    assert report.checked_specs == 2
    assert "tasks/specs/\\udcff.md: last_review 2026-01-01" in render_text(report, dry_run=False)
    assert report.to_json()["findings"][0]["path"] == "tasks/specs/\\udcff.md"


@pytest.mark.parametrize("name", ["pkg", "a b", "-x", "*", "new\nline", "ü"])
def test_a_root_below_the_top_of_the_work_tree_sees_its_own_paths(repo, name):
    repo.commit("src/top.py")
    repo.write(f"{name}/src/inner.py")
    repo.write("tasks/specs/top.md", FRESH)
    report = repo.check(folder=name)
    assert report.changed_code == ("src/inner.py",)
    assert rules(report) == NEEDS_A_SPEC
    repo.commit()
    assert repo.check(folder=name).changed_code == ("src/inner.py",)
    repo.write(f"{name}/tasks/index.json", "{}")
    assert repo.check(folder=name).findings == ()


def test_an_embedded_repository_is_one_path(repo):
    inner = GuardedRepo(repo.root / "src/inner", repo.environ)
    inner.root.mkdir(parents=True)
    inner.git("init", "--quiet")
    inner.commit("x.py")
    assert repo.check().changed_code == ("src/inner/",)


def test_variables_that_hooks_set_do_not_mislead(repo, tmp_path):
    other = GuardedRepo(tmp_path / "other", repo.environ)
    other.root.mkdir()
    other.git("init", "--quiet")
    repo.write("src/b.py")
    misleading = {
        "GIT_DIR": str(other.root / ".git"),
        "GIT_WORK_TREE": str(other.root),
        "GIT_INDEX_FILE": str(other.root / "no-index"),
        "GIT_OBJECT_DIRECTORY": str(other.root / "objects"),
        "GIT_PREFIX": "src/",
    }
    assert repo.check(**misleading).changed_code == ("src/b.py",)


def test_linked_work_trees(repo, tmp_path):
    repo.git("worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "linked"))
    linked = GuardedRepo(tmp_path / "linked", repo.environ)
    linked.write("src/b.py")
    assert linked.check().changed_code == ("src/b.py",)
    assert repo.check().changed_code == ()


# ---------------------------------------------------------------- the specs


def test_every_markdown_file_below_the_folder_but_readmes_is_a_spec(plain):
    plain.write("tasks/specs/README.md", "# no front matter\n")
    plain.write("tasks/specs/deep/README.md", "# no front matter\n")
    plain.write("tasks/specs/notes.txt", "no spec\n")
    plain.write("tasks/specs/folder.md/readme.md", "# another name\n")
    plain.write("tasks/specs/b.md", FRESH)
    plain.write("tasks/specs/deep/a.md", STALE)
    plain.write("tasks/other.md", STALE)
    report = plain.check()
    assert report.checked_specs == 3
    assert rules(report) == [
        ("tasks/specs/deep/a.md", "spec-last-review-stale"),
        ("tasks/specs/folder.md/readme.md", "spec-front-matter"),
    ]


@pytest.mark.parametrize("content", [None, ""])
def test_no_specs_at_all_are_no_finding(plain, content):
    if content is not None:
        plain.write("tasks/specs", content)
    report = plain.check()
    assert (report.findings, report.checked_specs) == ((), 0)


def test_a_byte_order_mark_and_stray_bytes_in_the_body_are_no_fault(plain):
    spec = plain.write("tasks/specs/1.md")
    spec.write_bytes(b"\xef\xbb\xbf" + FRESH.encode() + b"\xff\xfe\0" * 100_000)
    assert plain.check().findings == ()


def test_binary_and_huge_files_are_judged_by_their_beginning(plain):
    plain.write("tasks/specs/utf-16.md").write_bytes(FRESH.encode("utf-16"))
    plain.write("tasks/specs/zeros.md").write_bytes(bytes(1_000_000))
    plain.write("tasks/specs/endless.md", "---\n" + "key: value\n" * 100_000 + FRESH)
    assert [rule for _, rule in rules(plain.check())] == ["spec-front-matter"] * 3


def test_what_is_no_file_is_a_finding_and_is_not_waited_for(plain):
    plain.write("tasks/specs/1.md", FRESH)
    os.mkfifo(plain.root / "tasks/specs/pipe.md")
    (plain.root / "tasks/specs/dangling.md").symlink_to("nowhere")
    (plain.root / "tasks/specs/loop.md").symlink_to("loop.md")
    (plain.root / "tasks/specs/good-link.md").symlink_to("1.md")
    report = plain.check()
    assert rules(report) == [
        (f"tasks/specs/{name}.md", "spec-unreadable") for name in ("dangling", "loop", "pipe")
    ]
    assert report.checked_specs == 5


def test_change_findings_come_before_those_of_the_specs(repo):
    repo.commit("src/b.py")
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD")
    repo.write("tasks/specs/1.md", STALE)
    repo.commit()
    repo.write("src/c.py")
    report = repo.check("HEAD")
    assert rules(report) == [*NEEDS_A_SPEC, ("tasks/specs/1.md", "spec-last-review-stale")]
    assert [report.exit_code(dry_run=dry) for dry in (False, True)] == [1, 0]


def test_a_spec_that_cannot_be_opened_is_a_finding(plain, monkeypatch):
    plain.write("tasks/specs/1.md", FRESH)
    # Permissions do not stop the superuser, whom containers run tests as.
    real = os.open

    def opened(path, *words, **options):
        return refused(path) if Path(path).name == "1.md" else real(path, *words, **options)

    monkeypatch.setattr(os, "open", opened)
    (finding,) = plain.check().findings
    assert (finding.path, finding.rule) == ("tasks/specs/1.md", "spec-unreadable")
    assert finding.message == "The spec cannot be read: Permission denied."


def test_a_specs_folder_that_cannot_be_listed_is_no_clean_pass(plain, monkeypatch):
    plain.write("tasks/specs/1.md", FRESH)
    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UsageError, match=r"tasks/specs cannot be listed: Permission denied\.$"):
        plain.check()
