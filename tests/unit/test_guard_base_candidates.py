"""Where the base of a change is looked for, as tables of what is known and of places."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.base_candidates import (
    CI_BASES,
    Branches,
    NamedBase,
    branch_candidates,
    ci_candidates,
    explicit_base,
    is_branch_name,
)
from codex_orchestrator.errors import UsageError


@pytest.mark.parametrize(
    ("flag", "variable", "setting", "found"),
    [
        ("main", "abc", "dev", ("--base", "main")),
        (None, "abc", "dev", ("BASE_SHA", "abc")),
        (None, "  abc\n", None, ("BASE_SHA", "abc")),
        (None, "0" * 40, "dev", ("guards.base", "dev")),
        (None, "", "dev", ("guards.base", "dev")),
        (None, None, "dev", ("guards.base", "dev")),
        *((None, unset, None, None) for unset in ("", "   ", "0" * 40, "0" * 64, None)),
    ],
)
def test_what_was_asked_for(flag, variable, setting, found):
    environ = {} if variable is None else {"BASE_SHA": variable}
    candidate = explicit_base(NamedBase(environ=environ, flag=flag, setting=setting))
    assert (candidate and (candidate.source, *candidate.refs)) == found


@pytest.mark.parametrize("base", ["", "  ", "-x", "--all", "a\0b"])
@pytest.mark.parametrize("where", ["flag", "setting"])
def test_a_base_that_can_be_no_revision_is_refused(base, where):
    with pytest.raises(UsageError, match="is not a revision") as caught:
        explicit_base(NamedBase(environ={}, **{where: base}))
    assert caught.value.message.isprintable()


REMOTE = ("origin/HEAD", "origin/main", "origin/master")


@pytest.mark.parametrize(
    ("branches", "sources"),
    [
        (Branches(), (*REMOTE, "main", "master")),
        (Branches(current="work"), (*REMOTE, "origin/work", "main", "master")),
        (
            Branches(current="work", upstream="refs/remotes/origin/dev", followed="dev", remotes=("origin",)),
            ("upstream origin/dev", *REMOTE, "origin/work", "main", "master"),
        ),
        (
            Branches(
                current="work", upstream="refs/remotes/fork/work", followed="work", remotes=("fork", "origin")
            ),
            (*REMOTE, "fork/work", "main", "master"),
        ),
        (
            Branches(current="fix", upstream="refs/remotes/origin/ada/fix", followed="ada/fix"),
            (*REMOTE, "origin/ada/fix", "main", "master"),
        ),
        (
            Branches(current="a", upstream="refs/heads/main", followed="main", remotes=("hub",)),
            ("upstream main", "hub/HEAD", "hub/main", "hub/master", "hub/a", "main", "master"),
        ),
        (Branches(remotes=("a", "b")), (*REMOTE, "main", "master")),
        (Branches(remotes=("a", "origin")), (*REMOTE, "main", "master")),
    ],
)
def test_branches_are_looked_at_in_order(branches, sources):
    assert tuple(candidate.source for candidate in branch_candidates(branches)) == sources


def test_variables_of_ci_are_looked_at_in_order():
    environ = dict.fromkeys(CI_BASES, "abcdef1")
    found = list(ci_candidates(environ, "hub"))
    assert [candidate.source for candidate in found] == list(CI_BASES)
    assert found[0].refs == ("refs/remotes/hub/abcdef1", "refs/heads/abcdef1")
    assert found[1].refs == ("abcdef1",)
    assert list(ci_candidates(dict.fromkeys(CI_BASES, " "), "hub")) == []


def test_a_command_that_fetches_can_be_pasted():
    (candidate,) = ci_candidates({"BUILDKITE_PULL_REQUEST_BASE_BRANCH": "it's$(x)"}, "origin")
    assert candidate.missing is not None
    command = "git fetch origin 'it'\"'\"'s$(x):refs/remotes/origin/it'\"'\"'s$(x)'"
    assert candidate.missing.endswith(f"To have it, call: {command}")


@pytest.mark.parametrize("name", ["main", "release/1.0", "ä", "a-b", "@"])
def test_names_of_branches(name):
    assert is_branch_name(name)


@pytest.mark.parametrize(
    "name", ["-a", "/a", "a/", "a.", "a..b", "a b", "a~1", "a^", "a:b", "a@{1}", "a//b", "a*", "a\\b"]
)
def test_what_is_no_name_of_a_branch(name):
    assert not is_branch_name(name)
