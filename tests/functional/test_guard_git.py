"""Questions to git about a repository whose settings name programs: none of these is run.

Each trap plants one program that leaves a mark when it runs, in the repository's own settings; what the
repository is asked, git itself would answer by running it (docs/reference/guards.md, "What git executes").
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import pytest

from codex_orchestrator.checks.changes import ChangeRequest, read_changes
from codex_orchestrator.checks.difference import read_difference
from codex_orchestrator.checks.git import Setting, overrides, parse_settings
from codex_orchestrator.cli import main
from codex_orchestrator.errors import UsageError
from tests.support.repositories import Repo

COMMANDS = (
    ("guard", "spec"),
    ("guard", "docs"),
    ("guard", "diff-budget"),
    ("guard", "evidence"),
    ("review", "--base", "HEAD~1"),
)


def asked(repo: Repo, environ: dict[str, str], base: str) -> ChangeRequest:
    return ChangeRequest(root=repo.root, environ=environ, base=base)


@pytest.fixture
def repo(empty) -> Repo:
    """Two commits, and a changed file whose size and time git has to look behind."""
    stage = {"kind": "command", "id": "a", "title": "A", "command": "true"}
    definitions = {"taskId": "t", "pipelines": [{"id": "p", "title": "P", "stages": [stage]}]}
    empty.write("codex.orchestrator.json", json.dumps(definitions))
    empty.write("src/a.c", "int a;\n")
    empty.write("README.md", "# R\n")
    empty.commit()
    empty.write("src/a.c", "int b;\n")
    empty.commit()
    empty.write("src/a.c", "int c;\n")
    return empty


@pytest.fixture
def planted(repo, tmp_path):
    """A program that leaves a mark, as a setting names it; the mark; and what tells whether it is there."""
    mark = tmp_path / "mark"
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\necho "$0 $*" >> {shlex.quote(str(mark))}\n[ "$1" = filter ] && cat\nexit 0\n'
    )
    program.chmod(0o755)
    return str(program), mark


def everything(repo: Repo, **attributes: str) -> None:
    words = " ".join(f"{name}={value}" for name, value in attributes.items())
    (repo.root / ".git/info/attributes").write_text(f"* {words}\n")


def monitor(repo, program):
    repo.git("config", "core.fsmonitor", program)


def hooks(repo, program):
    for name in (
        "post-index-change",
        "pre-auto-gc",
        "reference-transaction",
        "post-checkout",
        "fsmonitor-watchman",
    ):
        (repo.root / ".git/hooks").mkdir(exist_ok=True)
        (repo.root / ".git/hooks" / name).symlink_to(program)


def hooks_elsewhere(repo, program):
    folder = repo.root / ".git/elsewhere"
    folder.mkdir()
    for name in ("post-index-change", "reference-transaction"):
        (folder / name).symlink_to(program)
    repo.git("config", "core.hooksPath", str(folder))


def cleaner(repo, program, name="x"):
    repo.git("config", f"filter.{name}.clean", f"{program} filter")
    repo.git("config", f"filter.{name}.required", "true")
    everything(repo, filter=name)


def long_cleaner(repo, program):
    repo.git("config", "filter.x.process", program)
    repo.git("config", "filter.x.required", "true")
    everything(repo, filter="x")


def included(repo, program):
    more = repo.root / ".git/more"
    more.write_text(f'[filter "x"]\n\tclean = {program} filter\n[core]\n\tfsmonitor = {program}\n')
    repo.git("config", f"includeIf.gitdir:{repo.root}/.path", "more")
    everything(repo, filter="x")


def per_work_tree(repo, program):
    repo.git("config", "extensions.worktreeConfig", "true")
    repo.git("config", "--worktree", "filter.x.clean", f"{program} filter")
    everything(repo, filter="x")


def like_lfs(repo, program):
    repo.git("config", "filter.lfs.clean", f"{program} filter")
    everything(repo, filter="lfs")


def comparers(repo, program):
    repo.git("config", "diff.external", program)
    for key in ("command", "textconv"):
        repo.git("config", f"diff.x.{key}", program)
    everything(repo, diff="x")


def helpers(repo, program):
    for key in (
        *("core.pager", "pager.status", "pager.diff", "core.editor", "core.askPass", "core.sshCommand"),
        *(
            "core.gitProxy",
            "core.alternateRefsCommand",
            "credential.helper",
            "gpg.program",
            "gpg.ssh.program",
        ),
        *("interactive.diffFilter", "sequence.editor", "uploadpack.packObjectsHook", "merge.x.driver"),
        *("diff.tool", "gc.recentObjectsHook", "trailer.x.command"),
    ):
        repo.git("config", key, program)
    for name in ("status", "diff", "rev-parse", "config", "diff-index", "ls-files", "merge-base"):
        repo.git("config", f"alias.{name}", f"!{program}")
    repo.git("config", "log.showSignature", "true")
    repo.git("config", "status.submoduleSummary", "true")


def lazy(repo, program):
    """A partial clone that lacks what the comparison needs, and would have a program fetch it."""
    blob = repo.git("rev-parse", "HEAD:src/a.c")
    (repo.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    repo.git("config", "extensions.partialClone", "far")
    repo.git("config", "core.repositoryFormatVersion", "1")
    repo.git("config", "remote.far.url", f"ext::{program} %S")
    repo.git("config", "remote.far.promisor", "true")
    repo.git("config", "protocol.ext.allow", "always")


def submodule(repo, program):
    """A repository in this one, with a filter in settings of its own."""
    below = Repo(repo.root / "below", repo.environ)
    below.root.mkdir()
    below.git("init", "--quiet")
    below.write("b.c", "int a;\n")
    below.commit()
    repo.git("-c", "advice.addEmbeddedRepo=false", "add", "below")
    repo.git("commit", "--quiet", "--message", "below")
    monitor(below, program)
    cleaner(below, program, "of-below")
    below.write("b.c", "int b;\n")


TRAPS = {
    trap.__name__: trap
    for trap in (
        *(monitor, hooks, hooks_elsewhere, cleaner, long_cleaner, included, per_work_tree, like_lfs),
        *(comparers, helpers, lazy, submodule),
    )
}
# Which of them git would spring at once, asked as people ask it: the others stand for what may come.
SPRUNG = (
    "monitor",
    "hooks",
    "hooks_elsewhere",
    "cleaner",
    "long_cleaner",
    "included",
    "per_work_tree",
    "like_lfs",
)


@pytest.mark.parametrize("trap", [*SPRUNG, "comparers", "lazy", "submodule"])
def test_git_by_itself_runs_what_is_planted(repo, planted, trap):
    program, mark = planted
    TRAPS[trap](repo, program)
    environ = {name: value for name, value in repo.environ.items() if name != "GIT_OPTIONAL_LOCKS"}
    for words in (["status", "--porcelain"], ["diff", "HEAD"]):
        subprocess.run(["git", *words], cwd=repo.root, env=environ, capture_output=True, check=False)
    assert mark.exists()


@pytest.mark.parametrize("trap", TRAPS)
def test_no_command_runs_what_is_planted(repo, planted, trap, monkeypatch, capsys):
    program, mark = planted
    monkeypatch.chdir(repo.root)
    for name, value in repo.environ.items():
        monkeypatch.setenv(name, value)
    TRAPS[trap](repo, program)
    assert main(["start", "p", "-q"]) == 0
    for words in COMMANDS:
        main(list(words))
    assert not mark.exists(), mark.read_text()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("trap", [name for name in TRAPS if name not in ("lazy", "submodule")])
def test_the_answer_stays_the_same(repo, planted, trap):
    before = read_difference(asked(repo, repo.environ, "HEAD~1"))
    TRAPS[trap](repo, planted[0])
    assert read_difference(asked(repo, repo.environ, "HEAD~1")) == before
    assert before.changes.paths == ("src/a.c",)


def test_what_a_partial_clone_lacks_is_said(repo, planted):
    lazy(repo, planted[0])
    assert read_changes(asked(repo, repo.environ, "HEAD~1")).paths == ("src/a.c",)
    with pytest.raises(UsageError) as refused:
        read_difference(asked(repo, repo.environ, "HEAD"))
    assert "where this is a partial clone, have git fetch it first" in str(refused.value)


def test_what_a_partial_clone_lacks_is_not_fetched_to_find_what_was_moved(repo, planted):
    program, mark = planted
    lazy(repo, program)
    (repo.root / "src/a.c").unlink()
    repo.write("src/b.c", "int a;\n")
    with pytest.raises(UsageError):
        read_difference(asked(repo, repo.environ, "HEAD"))
    assert not mark.exists()


def test_a_folder_that_looks_like_a_repository_is_none(repo, planted, monkeypatch, capsys):
    program, mark = planted
    monkeypatch.chdir(repo.root)
    for name, value in repo.environ.items():
        monkeypatch.setenv(name, value)
    for path in ("objects/x", "refs/x"):
        repo.write(f"sub/{path}")
    repo.write("sub/HEAD", "ref: refs/heads/main\n")
    repo.write(
        "sub/config",
        f'[core]\n\trepositoryformatversion = 0\n\tworktree = ".."\n\tfsmonitor = "{program}"\n',
    )
    repo.write("sub/codex.orchestrator.json", "{}")
    monkeypatch.chdir(repo.root / "sub")
    for kind in ("spec", "docs", "diff-budget"):
        assert main(["guard", kind]) == 2
        assert "cannot use bare repository" in capsys.readouterr().err
    assert not mark.exists()


def test_a_program_beside_the_files_is_not_taken_for_git(repo, planted, monkeypatch):
    program, mark = planted
    for name in ("git", "node", "npm", "codex"):
        repo.write(f"bin/{name}", f"#!/bin/sh\nexec {program}\n").chmod(0o755)
    environ = {**repo.environ, "PATH": f"bin:.::{repo.environ['PATH']}"}
    read_difference(asked(repo, environ, "HEAD~1"))
    monkeypatch.chdir(repo.root)
    monkeypatch.setenv("PATH", environ["PATH"])
    main(["doctor"])
    assert not mark.exists()


# Git LFS, and other filters that the user has set up, stay: without them each file of theirs is a change.


def kept_elsewhere(repo: Repo, tmp_path, scope: str) -> dict[str, str]:
    """A repository whose ``.bin`` files are kept as `stored`, by the git-lfs of this machine."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git-lfs").write_text("#!/bin/sh\ncat > /dev/null; echo stored\n")
    (tools / "git-lfs").chmod(0o755)
    environ = {
        **repo.environ,
        "PATH": f"{tools}:{repo.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": str(tmp_path / "own"),
    }
    lfs = Repo(repo.root, environ)
    for key, value in (("clean", "git-lfs clean -- %f"), ("required", "true")):
        lfs.git("config", f"--{scope}", f"filter.lfs.{key}", value)
    lfs.write(".gitattributes", "*.bin filter=lfs -text\n")
    lfs.write("large.bin", "large\n")
    lfs.commit()
    # Another time than git knows: it has to compare.
    lfs.write("large.bin", "large\n")
    return environ


@pytest.mark.parametrize("scope", ["global", "local"])
def test_files_of_git_lfs_are_no_change(repo, tmp_path, scope):
    environ = kept_elsewhere(repo, tmp_path, scope)
    assert read_changes(asked(repo, environ, "HEAD")).paths == ()
    assert read_difference(asked(repo, environ, "HEAD")).files == ()


def test_extensions_of_git_lfs_are_the_repository_s(repo, tmp_path, planted):
    environ = kept_elsewhere(repo, tmp_path, "local")
    repo.git("config", "lfs.extension.x.clean", planted[0])
    assert read_changes(asked(repo, environ, "HEAD")).paths == ("large.bin",)


def setting(scope, key, value="program"):
    return Setting(scope, key, value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], []),
        ([setting("global", "filter.a.clean")], []),
        ([setting("local", "filter.a.clean")], ["filter.a.clean="]),
        ([setting("worktree", "filter.a b.c.process")], ["filter.a b.c.process="]),
        ([setting("local", "filter.a.required", "true")], ["filter.a.required=false"]),
        ([setting("local", "filter..smudge")], ["filter..smudge="]),
        # The user's own comes back.
        (
            [setting("system", "filter.a.clean", "mine"), setting("local", "filter.a.clean")],
            ["filter.a.clean=mine"],
        ),
        (
            [setting("local", "filter.a.clean"), setting("command", "filter.a.clean", "mine")],
            ["filter.a.clean=mine"],
        ),
        (
            [setting("local", "filter.lfs.clean", "git-lfs clean -- %f")],
            ["filter.lfs.clean=git-lfs clean -- %f"],
        ),
        ([setting("local", "filter.lfs.clean", "git-lfs clean -- %f; x")], ["filter.lfs.clean="]),
        (
            [setting("local", "filter.lfs.required", "true"), setting("local", "lfs.extension.x.clean")],
            ["filter.lfs.required=false"],
        ),
    ],
)
def test_filters_of_the_repository_are_left_out(settings, words):
    assert list(overrides(settings)) == [part for word in words for part in ("-c", word)]


def test_a_filter_that_cannot_be_left_out_is_refused():
    with pytest.raises(UsageError, match=r'a filter "filter\.a=b\.clean"'):
        overrides([setting("local", "filter.a=b.clean")])


def test_settings_are_read_as_git_writes_them():
    output = b"global\0filter.a.clean\nx\ny\0local\0filter.b.required\0"
    assert parse_settings(output) == [
        setting("global", "filter.a.clean", "x\ny"),
        setting("local", "filter.b.required", ""),
    ]


def test_what_git_advises_for_a_repository_of_another_user_is_passed_on(repo, monkeypatch, capsys):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(repo.root, 65_533, -1)
    os.chown(repo.root / ".git", 65_533, -1)
    monkeypatch.chdir(repo.root)
    assert main(["guard", "diff-budget", "--root", "."]) == 2
    advice = f"call: git config --global --add safe.directory {repo.root}"
    assert advice in capsys.readouterr().err
    assert main(["doctor", "--root", "."]) == 0
    out = capsys.readouterr().out
    assert advice in out
    assert out.endswith("A run would start, and not all of it would do its work: git.\n")
