"""Which commit a change is measured against, in real repositories of every shape."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from codex_orchestrator.checks.base import FoundBase, describe_base
from codex_orchestrator.checks.base_candidates import NamedBase
from codex_orchestrator.errors import UsageError
from tests.support.repositories import Repo

ONLY_UNCOMMITTED = "Only what is not committed is measured, as "
NO_BASE = f"{ONLY_UNCOMMITTED}no base was found among origin/HEAD, origin/main, origin/master"


class Place:
    """A remote whose default branch has the commits ``one`` and ``two``, and a clone that is worked in."""

    def __init__(self, up: Repo, default: str = "main") -> None:
        self.up = up
        self.work = up
        self.marks: dict[str, str] = {}
        up.git("init", "--quiet", "--initial-branch", default)
        self.marks["one"] = up.commit("one.txt")
        self.marks["two"] = up.commit("two.txt")

    def clone(self, *words: str, name: str = "work") -> Place:
        """Go on in a clone of the remote."""
        self.work = Repo(self.up.root.parent / name, self.up.environ)
        self.up.git("clone", "--quiet", *words, self.up.root.as_uri(), str(self.work.root))
        return self

    def mark(self, name: str) -> Place:
        """Commit, and remember the commit."""
        self.marks[name] = self.work.commit(f"{name}.txt")
        return self

    def git(self, line: str) -> Place:
        """Call git in the clone."""
        self.work.git(*shlex.split(line))
        return self

    def there(self, line: str) -> Place:
        """Call git in the remote."""
        self.up.git(*shlex.split(line))
        return self

    def find(self, flag: str | None = None, setting: str | None = None, **environ: str) -> FoundBase:
        named = NamedBase(environ=self.work.environ | environ, flag=flag, setting=setting)
        return describe_base(self.work.root, named)


@pytest.fixture
def place(plain) -> Callable[..., Place]:
    return lambda default="main": Place(plain, default)


def with_develop(at: Place) -> Place:
    """A branch ``develop`` of the remote, one commit ahead."""
    at.there("switch --quiet --create develop")
    at.marks["three"] = at.up.commit("three.txt")
    at.there("switch --quiet main")
    return at


def feature_on_origin(at: Place) -> Place:
    """A branch that was pushed, and then got another commit."""
    at.clone().git("switch --quiet --create feature").mark("four").git("push --quiet -u origin feature")
    return at.mark("five")


def overtaken(at: Place) -> Place:
    """The remote has gone on since the branch was made."""
    at.clone().git("switch --quiet --create feature").mark("four")
    at.marks["theirs"] = at.up.commit("theirs.txt")
    return at.git("fetch --quiet")


def forked(at: Place) -> Place:
    """Two remotes: an own copy, and the one that it was made from, whose main the branch follows."""
    at.clone()
    fork = at.up.root.parent / "fork"
    at.up.git("clone", "--quiet", "--bare", at.up.root.as_uri(), str(fork))
    at.marks["theirs"] = at.up.commit("theirs.txt")
    at.git("remote rename origin upstream").git(f"remote add origin {shlex.quote(fork.as_uri())}")
    at.git("fetch --quiet --all").git("switch --quiet --create feature --track upstream/main")
    return at.mark("four")


def linked(at: Place) -> Place:
    """A second work tree of the clone."""
    at.clone().git("worktree add --quiet -b feature ../linked")
    at.work = Repo(at.work.root.parent / "linked", at.work.environ)
    return at.mark("four")


def broken(at: Place, ref: str) -> Place:
    """A branch that names a commit which is not there."""
    at.clone().git("switch --quiet --create feature").mark("four")
    path = at.work.root / ".git" / ref
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("d" * 40 + "\n")
    return at


def gone_head(at: Place) -> Place:
    """A clone whose origin/HEAD leads to a branch that is gone."""
    at.clone().git("switch --quiet --create feature").mark("four")
    return at.git("symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/trunk")


def pull_request(at: Place) -> Place:
    """As actions/checkout leaves it: one commit, at no branch, of a branch of its own."""
    at.there("switch --quiet --create work")
    at.marks["four"] = at.up.commit("four.txt")
    at.there("switch --quiet main")
    at.work = Repo(at.up.root.parent / "ci", at.up.environ)
    at.work.root.mkdir()
    at.git("init --quiet").git(f"remote add origin {shlex.quote(at.up.root.as_uri())}")
    at.git("fetch --quiet --depth=1 origin work:refs/remotes/pull/1/merge")
    return at.git("checkout --quiet refs/remotes/pull/1/merge")


# What is made; what the remote's default branch is called; the commit, its source, and what notices say.
SITUATIONS: dict[str, tuple[Callable[[Place], object], str, str, str, tuple[str, ...]]] = {
    "a clean clone": (lambda at: at.clone(), "main", "two", "origin/HEAD", ()),
    "a clean clone of master": (lambda at: at.clone(), "master", "two", "origin/HEAD", ()),
    "a clean clone of trunk": (lambda at: at.clone(), "trunk", "two", "origin/HEAD", ()),
    "commits that were not pushed": (lambda at: at.clone().mark("four"), "main", "two", "origin/HEAD", ()),
    "a branch that was never pushed": (
        lambda at: at.clone().git("switch --quiet --create feature").mark("four"),
        *("main", "two", "origin/HEAD", ()),
    ),
    "a branch that was pushed": (feature_on_origin, "main", "two", "origin/HEAD", ()),
    "a branch that was pushed under a prefix": (
        lambda at: (
            at.clone().git("switch --quiet --create fix").mark("four").git("push -qu origin fix:ada/fix")
        ),
        *("main", "two", "origin/HEAD", ()),
    ),
    "a branch that the remote has overtaken": (overtaken, "main", "two", "origin/HEAD", ()),
    "a branch of develop": (
        lambda at: (
            with_develop(at)
            .clone()
            .git("switch --quiet --create feature --track origin/develop")
            .mark("four")
        ),
        *("main", "three", "upstream origin/develop", ()),
    ),
    "a branch of a local one": (
        lambda at: at.clone().mark("three").git("switch --quiet --create feature --track main").mark("four"),
        *("main", "three", "upstream main", ()),
    ),
    "an upstream that is gone": (
        lambda at: (
            with_develop(at)
            .clone()
            .git("switch --quiet --create feature --track origin/develop")
            .git("update-ref -d refs/remotes/origin/develop")
        ),
        *("main", "two", "origin/HEAD", ()),
    ),
    "a fork and the repository that it was made from": (
        forked,
        "main",
        "theirs",
        "upstream upstream/main",
        (),
    ),
    "a branch with a slash": (
        lambda at: at.clone().git("switch --quiet --create release/1.0").mark("four"),
        *("main", "two", "origin/HEAD", ()),
    ),
    "a branch with a slash that was pushed": (
        lambda at: at.clone().git("switch -q -c ada/fix").mark("four").git("push -qu origin ada/fix"),
        *("main", "two", "origin/HEAD", ()),
    ),
    "without origin/HEAD": (
        lambda at: at.clone().git("remote set-head origin --delete").mark("four"),
        *("main", "two", "origin/main", ()),
    ),
    "without origin/HEAD, master": (
        lambda at: at.clone().git("remote set-head origin --delete").mark("four"),
        *("master", "two", "origin/master", ()),
    ),
    "an origin/HEAD that leads nowhere": (gone_head, "main", "two", "origin/main", ()),
    "a remote whose HEAD is unborn": (
        lambda at: (
            at.there("symbolic-ref HEAD refs/heads/none")
            .clone()
            .git("checkout --quiet -b feature origin/main")
        ),
        *("main", "two", "upstream origin/main", ()),
    ),
    "one remote of another name": (
        lambda at: at.clone("--origin", "hub").mark("four"),
        *("main", "two", "hub/HEAD", ()),
    ),
    "a remote with a slash": (
        lambda at: at.clone("--origin", "ada/hub").mark("four"),
        *("main", "two", "ada/hub/HEAD", ()),
    ),
    "a clone of one branch only": (
        lambda at: with_develop(at).clone("--single-branch", "--branch", "develop").mark("four"),
        *("main", "three", "origin/develop"),
        ("origin/develop is this branch itself: what was pushed is not measured.",),
    ),
    "at no branch": (
        lambda at: at.clone().mark("four").git("switch --quiet --detach"),
        *("main", "two", "origin/HEAD", ()),
    ),
    "a second work tree": (linked, "main", "two", "origin/HEAD", ()),
    "a shallow clone": (lambda at: at.clone("--depth=1").mark("four"), "main", "two", "origin/HEAD", ()),
    "a broken origin/main": (
        lambda at: broken(at, "refs/remotes/origin/main"),
        *("main", "two", "main"),
        (
            "origin/HEAD names a commit that cannot be read: it is passed over.",
            "origin/main names a commit that cannot be read: it is passed over.",
        ),
    ),
    "a branch of a repository without a remote": (
        lambda at: at.git("switch --quiet --create feature").mark("four"),
        *("main", "two", "main", ()),
    ),
    "a branch of a repository without a remote, master": (
        lambda at: at.git("switch --quiet --create feature").mark("four"),
        *("master", "two", "master", ()),
    ),
    "a repository without a remote": (
        lambda at: at,
        *("main", "two", "main", (f"{ONLY_UNCOMMITTED}HEAD is at main itself.",)),
    ),
    "a repository without a remote, master": (
        lambda at: at,
        *("master", "two", "master", (f"{ONLY_UNCOMMITTED}HEAD is at master itself.",)),
    ),
    "a repository without a remote, at no branch": (
        lambda at: at.git("switch --quiet --detach"),
        *("main", "two", "main", (f"{ONLY_UNCOMMITTED}HEAD is at main itself.",)),
    ),
    "a repository without a remote, trunk": (
        lambda at: at,
        *("trunk", "two", "HEAD"),
        (f"{NO_BASE}, origin/trunk, main and master.",),
    ),
    "a pull request of one commit": (
        pull_request,
        *("main", "four", "HEAD"),
        (f"{NO_BASE}, main and master.",),
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_base_in_each_situation(place, situation):
    make, default, commit, source, notices = SITUATIONS[situation]
    at = place(default)
    make(at)
    found = at.find()
    assert found.base is not None
    names = {value: name for name, value in at.marks.items()}
    assert (names[found.base.commit], found.base.source) == (commit, source)
    assert len(found.notices) == len(notices)
    for said, begin in zip(found.notices, notices, strict=True):
        assert said.startswith(begin)
    only_uncommitted = any(notice.startswith(ONLY_UNCOMMITTED) for notice in notices)
    assert found.uncommitted_only is only_uncommitted
    if only_uncommitted:
        assert "with --base, BASE_SHA or guards.base" in found.notices[-1]


# ------------------------------------------------------------------------- CI


CI = {
    "GITHUB_BASE_REF": ("develop", "three"),
    "CI_MERGE_REQUEST_DIFF_BASE_SHA": ("{three}", "three"),
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": ("develop", "three"),
    "SYSTEM_PULLREQUEST_TARGETBRANCH": ("refs/heads/develop", "three"),
    "BITBUCKET_PR_DESTINATION_COMMIT": ("{three:.12}", "three"),
    "BITBUCKET_PR_DESTINATION_BRANCH": ("develop", "three"),
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH": ("develop", "three"),
}


def for_develop(at: Place) -> Place:
    return (
        with_develop(at).clone().git("switch --quiet --create feature origin/develop --no-track").mark("four")
    )


@pytest.mark.parametrize("variable", CI)
def test_ci_says_what_a_change_is_for(place, variable):
    at = for_develop(place())
    value, commit = CI[variable]
    found = at.find(**{variable: value.format(**at.marks)})
    assert (found.base.commit, found.base.source, found.notices) == (at.marks[commit], variable, ())
    assert at.find(**{variable: ""}).base.source == "origin/HEAD"


@pytest.mark.parametrize("variable", [name for name in CI if not name.endswith(("_SHA", "_COMMIT"))])
def test_a_branch_that_ci_names_may_be_a_local_one_and_the_remote_comes_first(place, variable):
    at = for_develop(place())
    at.git("branch develop HEAD")
    assert at.find(**{variable: "develop"}).base.commit == at.marks["three"]
    at.git("update-ref -d refs/remotes/origin/develop")
    assert at.find(**{variable: "develop"}).base.commit == at.marks["four"]


def test_the_branch_that_ci_names_may_have_a_slash(place):
    at = place().clone().git("switch -q -c release/1.0").mark("three").git("push -q origin release/1.0")
    at.git("switch -q -c fix").mark("four")
    found = at.find(GITHUB_BASE_REF="release/1.0")
    assert (found.base.commit, found.base.source) == (at.marks["three"], "GITHUB_BASE_REF")


@pytest.mark.parametrize("variable", CI)
def test_what_was_not_fetched_is_said_with_the_command_that_fetches_it(place, variable):
    at = pull_request(place())
    value = at.marks["two"] if variable.endswith(("_SHA", "_COMMIT")) else "main"
    # As many hosts do, for merge requests.
    at.there("config uploadpack.allowReachableSHA1InWant true")
    found = at.find(**{variable: value})
    assert (found.base.source, found.uncommitted_only) == ("HEAD", True)
    missing = found.notices[0]
    assert missing.startswith(
        f'{variable} names "{value}", which is not here. To have it, call: git fetch origin '
    )
    command = missing.partition("To have it, call: ")[2].partition(" (")[0]
    at.git(command.removeprefix("git "))
    found = at.find(**{variable: value})
    assert (found.base.commit, found.base.source) == (at.marks["two"], variable)


def test_the_history_that_a_shallow_clone_lacks_is_there_after_the_command_that_is_named(place):
    at = pull_request(place())
    at.git("fetch --quiet --depth=1 origin main:refs/remotes/origin/main")
    found = at.find()
    assert (found.base.commit, found.base.source) == (at.marks["two"], "origin/main")
    at.marks["theirs"] = at.up.commit("theirs.txt")
    at.git("fetch --quiet --depth=1 origin +main:refs/remotes/origin/main")
    found = at.find()
    assert (found.base.commit, found.base.source) == (at.marks["theirs"], "origin/main")
    (notice,) = found.notices
    assert "no common commit here (the clone is shallow): they are compared directly." in notice
    command = notice.partition("call: ")[2].partition(" (")[0]
    at.git(command.removeprefix("git "))
    found = at.find()
    assert (found.base.commit, found.base.source, found.notices) == (at.marks["two"], "origin/main", ())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GITHUB_BASE_REF", "main~1"),
        ("GITHUB_BASE_REF", "-main"),
        ("GITHUB_BASE_REF", "a..b"),
        ("GITHUB_BASE_REF", "main^{/one}"),
        ("GITHUB_BASE_REF", "../../heads/main"),
        ("CI_MERGE_REQUEST_DIFF_BASE_SHA", "main"),
        ("BITBUCKET_PR_DESTINATION_COMMIT", "--all"),
    ],
)
def test_what_can_be_no_branch_or_commit_is_passed_over_with_a_notice(place, variable, value):
    found = place().clone().find(**{variable: value})
    assert found.base.source == "origin/HEAD"
    (notice,) = found.notices
    assert notice.startswith(f"{variable} names no ")


def test_a_commit_of_zeros_is_none(place):
    found = place().clone().find(CI_MERGE_REQUEST_DIFF_BASE_SHA="0" * 40)
    assert (found.base.source, found.notices) == ("origin/HEAD", ())


# ------------------------------------------------------------------ what is asked for


def test_what_is_asked_for_comes_first(place):
    at = for_develop(place())
    named = {"BASE_SHA": "HEAD~1", "GITHUB_BASE_REF": "develop"}
    found = [at.find("origin/main", "HEAD", **named), at.find(None, "HEAD", **named), at.find(None, "HEAD")]
    assert [(one.base.commit, one.base.source) for one in found] == [
        (at.marks["two"], "--base"),
        (at.marks["three"], "BASE_SHA"),
        (at.marks["four"], "guards.base"),
    ]
    assert not any(one.notices or one.uncommitted_only for one in found)


def test_the_configured_base_is_where_the_branch_left_it(place):
    at = overtaken(place())
    assert at.find(setting="origin/main").base.commit == at.marks["two"]


@pytest.mark.parametrize("value", ["-x", " ", "a\0b"])
def test_a_configured_base_that_can_be_no_revision_is_refused(place, value):
    with pytest.raises(UsageError, match=r"^guards\.base: .* is not a revision"):
        place().find(setting=value)


def test_a_configured_base_that_was_not_fetched_is_refused_with_the_command_that_fetches_it(place):
    at = pull_request(place())
    with pytest.raises(UsageError, match=r'^guards\.base: "origin/main" names no commit') as caught:
        at.find(setting="origin/main")
    command = caught.value.hint.partition("call: ")[2]
    at.git(command.removeprefix("git "))
    assert at.find(setting="origin/main").base.commit == at.marks["two"]


def test_a_branch_that_only_the_remote_has_is_pointed_to(place):
    at = with_develop(place()).clone()
    with pytest.raises(UsageError) as caught:
        at.find(setting="develop")
    assert caught.value.hint == 'There is "origin/develop": name that.'


def test_before_the_first_commit_the_configured_base_is_not_asked_for(empty):
    found = describe_base(empty.root, NamedBase(environ=empty.environ, setting="origin/main"))
    assert (found.base, found.notices) == (
        None,
        ("Changes were not checked: the repository has no commit yet.",),
    )


def test_outside_a_repository_and_without_git_there_is_none(plain, tmp_path):
    named = NamedBase(environ=plain.environ, setting="main")
    assert describe_base(plain.root, named).notices == (
        "Changes were not checked: this folder is not in a git repository.",
    )
    nothing = NamedBase(environ=plain.environ | {"PATH": str(tmp_path / "none")})
    assert describe_base(plain.root, nothing).notices == ("Changes were not checked: git is not installed.",)


def test_what_git_refuses_to_read_is_refused(place):
    at = place().clone()
    (at.work.root / ".git/config").write_text("[broken\n")
    with pytest.raises(UsageError, match="git cannot read the repository"):
        at.find()


def test_a_lost_head_is_refused(place):
    at = place()
    (at.work.root / ".git/refs/heads/main").write_text("d" * 40 + "\n")
    with pytest.raises(UsageError, match="The commit that HEAD names cannot be read"):
        at.find()


# ------------------------------------------------------------------ as guards say it


def grown(repo: Repo, branch: str) -> Repo:
    """A repository with 900 lines of history."""
    repo.git("init", "--quiet", "--initial-branch", branch)
    repo.commit("a.txt")
    repo.write("b.txt", "line\n" * 900)
    repo.commit()
    return repo


def test_a_clean_clone_of_master_has_no_change(plain, tmp_path, guard, monkeypatch):
    grown(plain, "master")
    plain.git("clone", "--quiet", plain.root.as_uri(), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    code, out, _ = guard("diff-budget", "--format", "json")
    answer = json.loads(out)
    assert (code, answer["base_source"], answer["unchecked"]) == (0, "origin/HEAD", None)
    assert (answer["files"]["total"], answer["lines"]["total"]) == (0, 0)


@pytest.mark.parametrize("branch", ["main", "master", "trunk"])
def test_in_a_repository_without_a_remote_only_what_is_not_committed_is_measured(plain, guard, branch):
    grown(plain, branch)
    for kind in ("diff-budget", "spec"):
        code, out, _ = guard(kind)
        first, second, *_ = out.splitlines()
        assert code == 0
        assert first.endswith(
            "not checked: there is no base to compare commits with, and nothing is uncommitted."
        )
        assert second.startswith(f"Notice: {ONLY_UNCOMMITTED}")
    plain.write("new.txt", "1\n2\n")
    answer = json.loads(guard("diff-budget", "--format", "json")[1])
    assert (answer["unchecked"], answer["lines"]["total"]) == (None, 2)
    assert answer["base_source"] == ("HEAD" if branch == "trunk" else branch)


def test_the_configured_base_is_used_by_every_command(place, guard, monkeypatch, tmp_path, capsys):
    at = for_develop(place())
    stage = {"kind": "command", "id": "a", "title": "A", "command": "true"}
    settings = {
        "taskId": "t",
        "pipelines": [{"id": "p", "title": "P", "stages": [stage]}],
        "guards": {"base": "origin/develop"},
    }
    at.work.write("codex.orchestrator.json", json.dumps(settings))
    monkeypatch.chdir(at.work.root)
    for kind in ("spec", "diff-budget"):
        answer = json.loads(guard(kind, "--format", "json")[1])
        assert (answer["base"], answer["base_source"]) == (at.marks["three"], "guards.base")
        assert answer["notices"] == [
            "codex.orchestrator.json is part of this change, which so says itself what of it counts."
        ]
    code, out, err = guard("spec", "--base", "HEAD", "--format", "json")
    assert (code, json.loads(out)["base_source"], err) == (0, "--base", "")


def test_what_is_told_is_what_is_measured(place, guard, monkeypatch):
    at = for_develop(place())
    monkeypatch.chdir(at.work.root)
    answer = json.loads(guard("diff-budget", "--format", "json")[1])
    told = at.find()
    assert (answer["base"], answer["base_source"]) == (told.base.commit, told.base.source)


def test_nothing_in_the_repository_is_written(place):
    at = for_develop(place())

    def everything() -> dict[Path, tuple[int, int]]:
        found = (path for path in at.work.root.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    before = everything()
    at.find(GITHUB_BASE_REF="nowhere")
    assert everything() == before
