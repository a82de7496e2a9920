"""The docs guard on small repositories."""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.disk import refused
from tests.support.repositories import Repo

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = '{"scripts": {"build": "true", "docs:check": "true", "test": "true"}}'
PIPELINE = {
    "id": "checks",
    "title": "Checks",
    "stages": [{"kind": "command", "id": "a", "title": "A", "command": "true"}],
}


def configure(repo, **guards) -> None:
    repo.write("codex.orchestrator.json", json.dumps({"pipelines": [PIPELINE], "guards": {"docs": guards}}))


@pytest.fixture
def repo(empty) -> Repo:
    """A repository with scripts, targets, a pipeline and some files."""
    empty.write("package.json", PACKAGE)
    empty.write("Makefile", ".PHONY: lint\nCC ?= cc\nlint fmt:\n\ttrue\n")
    empty.write(".gitignore", "/dist/\n*.log\n")
    configure(empty)
    for path in ("README.md", "src/pkg/deep/mod.py", "docs/guide.md", "docs/how-to/x.md"):
        empty.write(path, "Nothing.\n")
    empty.commit()
    return empty


@pytest.fixture
def found(findings_of):
    """Check, and give place and rule of each finding."""
    return partial(findings_of, "docs")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("`npm run build` `npm run docs:check` `npm test`", []),
        ("`npm run missing`", ["docs-npm-script"]),
        ("`make lint fmt`", []),
        ("`make missing`", ["docs-make-target"]),
        ("`codex-orchestrator start checks` `pytest --codex-pipeline=diagnostics`", []),
        ("`codex-orchestrator start missing`", ["docs-pipeline"]),
        ("`pytest --codex-pipeline missing`", ["docs-pipeline"]),
        ("`codex-orchestrator guard diff-budget --override REASON`", []),
        ("`codex-orchestrator missing`", ["docs-command"]),
        ("`codex-orchestrator guard missing`", ["docs-argument"]),
        ("`codex-orchestrator start --missing`", ["docs-flag"]),
        ("`codex-orchestrator --missing`", ["docs-flag"]),
        ("```sh\nnpm run missing && make missing\n```", ["docs-npm-script", "docs-make-target"]),
        ("`src/pkg/deep/mod.py` `src/pkg/` `docs/how-to/x.md`", []),
        ("`deep/mod.py` is the end of a longer path, `how-to/x.md` lies beside", []),
        ("`src/missing.py`", ["docs-path"]),
        ("`src/pkg/missing/`", ["docs-path"]),
        ("`src/missing`", ["docs-path"]),
        ("`scripts/gone.sh`, though there are no scripts", ["docs-path"]),
        ("`gone/with/the/folder.py` and `gone/with/` may be anywhere", []),
        ("`src/missing.py:12` and `src/missing.py`", ["docs-path"]),
        ("`dist/a.whl` `src/x.log` `.runs/t/x.json` `out/t/state.json` `node_modules/x/y.js`", []),
        ("`and/or` `origin/main` `application/json` `example.org/a.html` `new/`", []),
        ("`../outside.md` `src/../../outside.md` `/etc/passwd`", []),
        ("Save as `web/app.js`:\n\n```js\n\n```\n\n`web/app.js` is yours.", []),
        ("```sh\nmkdir -p lib/x\necho 1 > lib/x/y.py\n```\n\n`lib/x/y.py` in `lib/x/`", []),
        ('```json\n{"pipelines": [{"id": "mine"}]}\n```\n\n`codex-orchestrator start mine`', []),
    ],
)
def test_what_is_named_must_exist(repo, found, text, rules):
    repo.write("docs/page.md", f"# Page\n\n{text}\n")
    assert [one.split()[1] for one in found()] == rules


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("README.md", True),
        ("AGENTS.md", True),
        ("docs/a/b/c.md", True),
        ("docs/UPPER.MD", True),
        ("tasks/tasks-1.md", True),
        ("tasks/specs/1.md", True),
        (".agent/task/1.md", True),
        ("CHANGELOG.md", False),
        ("src/README.md", False),
        ("docs/a.txt", False),
        ("docs/a.log/x.md", False),
    ],
)
def test_which_pages_count(repo, found, path, counts):
    repo.write(path, "one\n\n`make missing`\n")
    assert found() == ([f"{path}:3 docs-make-target"] if counts else [])


def test_without_package_json_and_makefile_their_names_lead_nowhere(empty, guard):
    empty.write("README.md", "`npm run x` and `make x`\n")
    code, out, _ = guard("docs")
    assert code == 1
    assert 'README.md:1: The npm script "x" is named, but there is no package.json. [docs-npm-script]' in out
    assert 'README.md:1: The make target "x" is named, but there is no Makefile. [docs-make-target]' in out
    assert out.endswith("docs-guard: 2 findings; 2 names on 1 page checked.\n")


@pytest.mark.parametrize("line", ["include more.mk", "-include more.mk", "%.o: %.c", "$(ALL): x", "build-%:"])
def test_a_makefile_that_has_more_than_it_shows_is_not_judged(repo, found, line):
    repo.write("Makefile", f"lint:\n{line}\n")
    repo.write("README.md", "`make missing`\n")
    assert found() == []


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\xff"])
def test_a_package_json_that_is_none_is_bad_use(repo, guard, text):
    repo.write("package.json", text)
    repo.write("README.md", "Nothing of npm.\n")
    assert guard("docs")[0] == 0, "nobody asked for a script"
    repo.write("README.md", "`npm run x`\n")
    code, out, err = guard("docs", "--format", "json")
    assert code == 2
    assert "package.json is not a JSON object" in json.loads(out)["error"]["message"]
    assert "Traceback" not in err


@pytest.mark.parametrize(("name", "text"), [("Makefile", "`make x`"), ("package.json", "`npm run x`")])
def test_a_file_that_cannot_be_read_is_bad_use(repo, guard, monkeypatch, name, text):
    repo.write("README.md", text)
    real = os.open

    def opened(path, *words, **options):
        return refused(path) if Path(path).name == name else real(path, *words, **options)

    # Permissions do not stop the superuser, whom containers run tests as.
    monkeypatch.setattr(os, "open", opened)
    code, _, err = guard("docs")
    assert (code, err.count("\n")) == (2, 1)
    assert f"{name} cannot be read: Permission denied." in err


def test_a_conflict_is_listed_once(repo, found):
    repo.write("README.md", "`make missing`\n")
    repo.commit()
    repo.git("switch", "--quiet", "--create", "other", "HEAD~1")
    repo.write("README.md", "`make other`\n")
    repo.commit()
    with pytest.raises(AssertionError):
        repo.git("merge", "--quiet", "main")  # both changed the same line
    assert found() == ["README.md:2 docs-make-target", "README.md:4 docs-make-target"]


def test_names_that_belong_elsewhere_can_be_listed(repo, found):
    repo.write("README.md", "`npm run x` `make x` `src/x.py` `src/y/` `codex-orchestrator start x`\n")
    configure(repo, ignore=["npm run *", "src/?.py", "src/y"])
    assert found() == ["README.md:1 docs-make-target", "README.md:1 docs-pipeline"]
    configure(repo, ignore=["*"])
    assert found() == []


@pytest.mark.parametrize(
    ("lines", "limit", "fine"), [(450, None, True), (451, None, False), (3, 2, False), (3, 3, True)]
)
def test_the_task_list_has_a_size(repo, guard, lines, limit, fine):
    configure(repo, **({} if limit is None else {"tasksLines": limit}))
    repo.write("docs/TASKS.md", "x\n" * lines)
    repo.write("tasks/TASKS.md", "x\n" * 1_000)
    code, out, _ = guard("docs")
    assert code == (0 if fine else 1)
    assert (
        f"docs/TASKS.md: The page has {lines} lines, more than {limit or 450}. [docs-tasks-size]" in out
    ) is not fine


# ---------------------------------------------------------------- odd repositories


def test_renamed_and_deleted_files_are_missed(repo, found):
    repo.write("README.md", "`src/pkg/deep/mod.py`\n")
    repo.write("docs/gone.md", "`make missing`\n")
    repo.commit()
    repo.git("mv", "src/pkg/deep/mod.py", "src/pkg/deep/new.py")
    (repo.root / "docs/gone.md").unlink()
    assert found() == ["README.md:1 docs-path"]


def test_untracked_files_are_there(repo, found):
    repo.write("README.md", "`src/new.py`\n")
    repo.write("src/new.py")
    repo.write("docs/new.md", "`make missing`\n")
    assert found() == ["docs/new.md:1 docs-make-target"]


@pytest.mark.parametrize(
    "git", ["none", "no repository", "no commit", "detached", "shallow", "below the top"]
)
def test_wherever_git_has_little_to_say(repo, guard, monkeypatch, tmp_path, git):
    repo.write("README.md", "`src/pkg/` `src/missing.py` `deep/mod.py`\n")
    repo.write("node_modules/x/deep/other.py")
    if git == "none":
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    elif git in ("no repository", "no commit"):
        shutil.rmtree(repo.root / ".git")
        if git == "no commit":
            repo.git("init", "--quiet")
    elif git == "detached":
        repo.git("switch", "--quiet", "--detach", "HEAD")
    elif git == "shallow":
        (repo.root / ".git/shallow").write_text(repo.git("rev-parse", "HEAD") + "\n")
    else:
        shutil.move(repo.root / ".git", tmp_path / ".git")
        monkeypatch.delenv("GIT_CEILING_DIRECTORIES")
    code, out, _ = guard("docs", "--format", "json")
    document = json.loads(out)
    assert (code, document["checked_names"]) == (1, 2), "one is only the end of a path"
    assert [one["message"] for one in document["findings"]] == ["There is no src/missing.py."]


def test_a_broken_repository_is_one_clear_message(repo, guard):
    (repo.root / ".git/index").write_bytes(b"broken")
    code, _, err = guard("docs")
    assert code == 2
    assert err.startswith("error: git ls-files failed in ")
    assert err.count("\n") == 1


def test_paths_in_submodules_and_beyond_links_exist_or_not(repo, found):
    inner = Repo(repo.root / "inner", repo.environ)
    inner.root.mkdir()
    inner.git("init", "--quiet")
    inner.commit("x.py")
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "./inner", "inner")
    (repo.root / "link").symlink_to("src")
    (repo.root / "dangling").symlink_to("nowhere")
    repo.write("README.md", "`inner/x.py` `inner/y.py` `link/pkg/` `link/y.py` `dangling/` `dangling/x.py`\n")
    repo.commit()
    assert found() == ["README.md:1 docs-path"] * 4


def test_pages_that_lead_out_of_the_repository_are_not_read(repo, guard):
    (repo.root.parent / "secret.md").write_text("`make missing`\n")
    (repo.root / "docs/out.md").symlink_to("../../secret.md")
    (repo.root / "docs/in.md").symlink_to("../README.md")
    code, out, _ = guard("docs")
    assert code == 0
    assert "Notice: docs/out.md leads out of the repository and was not read.\n" in out


def test_what_is_no_file_is_a_finding_and_is_not_waited_for(repo, found):
    repo.commit()
    (repo.root / "docs/guide.md").unlink()
    os.mkfifo(repo.root / "docs/guide.md")
    (repo.root / "docs/nowhere.md").symlink_to("nowhere")
    (repo.root / "docs/loop.md").symlink_to("loop.md")
    (repo.root / "docs/folder.md").symlink_to("how-to")
    names = ("folder", "guide", "loop", "nowhere")
    assert found() == [f"docs/{name}.md:0 docs-unreadable" for name in names]


def test_a_page_that_cannot_be_opened_is_a_finding(repo, guard, monkeypatch):
    real = os.open

    def opened(path, *words, **options):
        return refused(path) if Path(path).name == "README.md" else real(path, *words, **options)

    monkeypatch.setattr(os, "open", opened)
    code, out, _ = guard("docs")
    assert code == 1
    assert "README.md: The page cannot be read: Permission denied. [docs-unreadable]\n" in out


def test_a_folder_that_cannot_be_listed_is_no_clean_pass(plain, guard, monkeypatch):
    monkeypatch.setattr(os, "scandir", refused)
    code, _, err = guard("docs")
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith("cannot be listed: Permission denied.\n")


def test_binary_and_huge_pages_are_read_to_their_bound(repo, guard):
    repo.write("docs/binary.md").write_bytes(bytes(range(256)) * 100 + b"\n\n`make missing`\n")
    with repo.write("docs/huge.md", "`make other`\n").open("ab") as stream:
        stream.truncate(2 * 1024**3)  # sparse: it takes no room
    code, out, _ = guard("docs", "--format", "json")
    document = json.loads(out)
    assert code == 1
    assert [one["path"] for one in document["findings"]] == ["docs/binary.md", "docs/huge.md"]
    assert document["notices"] == ["docs/huge.md is very long: only its first 1048576 bytes were read."]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no names that are not UTF-8")
def test_names_and_contents_that_are_not_utf_8(repo, guard):
    repo.write(os.fsdecode(b"docs/\xff\n.md")).write_bytes(b"\xff `make missing` `src/\xfe.py`\n")
    code, out, _ = guard("docs", "--format", "json")
    assert code == 1
    assert [one["path"] for one in json.loads(out)["findings"]] == ["docs/\\udcff\n.md"]
    code, out, _ = guard("docs", "--dry-run")
    assert code == 0
    assert out.startswith('docs/\\udcff\\n.md:1: The Makefile has no target "missing". [docs-make-target]\n')


def test_json_is_one_document(repo, guard):
    repo.write("README.md", "`make missing` `make lint`\n")
    code, out, err = guard("docs", "--format=json", "--dry-run")
    assert (code, err) == (0, "")
    hint = "Correct the page; a name that belongs elsewhere can be listed in guards.docs.ignore."
    assert json.loads(out) == {
        "guard": "docs",
        "status": "findings",
        "unchecked": None,
        "checked_pages": 3,
        "checked_names": 2,
        "findings": [
            {
                "path": "README.md",
                "line": 1,
                "rule": "docs-make-target",
                "message": 'The Makefile has no target "missing".',
                "hint": hint,
            }
        ],
        "notices": [],
    }


@pytest.mark.skipif(not (ROOT / "pytest_codex").is_dir(), reason="the pages name sources that are not here")
def test_this_repository_passes(capsys):
    from codex_orchestrator.cli import main

    assert main(["guard", "docs", "--root", str(ROOT)]) == 0, capsys.readouterr().out
