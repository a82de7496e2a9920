"""The spec guard's rules, as tables of inputs and answers."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from codex_orchestrator.checks.git import git_environment, paths_below, status_paths
from codex_orchestrator.checks.report import Finding, render_text
from codex_orchestrator.checks.spec import (
    CODE_FOLDERS,
    SpecGuardReport,
    code_paths,
    judge_changes,
    judge_front_matter,
)
from codex_orchestrator.errors import UsageError

TODAY = dt.date(2026, 3, 31)
HASH = "0123456789abcdef0123456789abcdef01234567"


def front(value: str) -> str:
    return f"---\nid: 1\nlast_review: {value}\n---\n# Title\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(front("2026-03-31"), id="today"),
        pytest.param(front("2026-03-01"), id="30 days old"),
        pytest.param(front("'2026-03-30'"), id="single quotes"),
        pytest.param(front('"2026-03-30"  # by both'), id="double quotes and a comment"),
        pytest.param(front("2026-03-30   # checked again"), id="comment"),
        pytest.param("---\r\nlast_review: 2026-03-30\r\n---\r\n", id="CRLF"),
        pytest.param("---  \nlast_review :  2026-03-30\t\n...\n", id="spaces and dots as the end"),
        pytest.param("---\nowners:\n  - a\nlast_review: 2026-03-30\n---", id="after a list, no body"),
        pytest.param(front("2026-03-30") + "\nlast_review: never\n---\n", id="body is not read"),
        pytest.param(
            "---\nhistory:\n  last_review: 2020-01-01\nlast_review: 2026-03-30\n---\n",
            id="a nested key is another key",
        ),
    ],
)
def test_front_matter_that_is_fine(text):
    assert judge_front_matter(text, TODAY) is None


@pytest.mark.parametrize(
    ("text", "rule", "said"),
    [
        ("", "spec-front-matter", "no front matter"),
        ("# Title\n", "spec-front-matter", "no front matter"),
        ("\n---\nlast_review: 2026-03-30\n---\n", "spec-front-matter", "no front matter"),
        ("---\nlast_review: 2026-03-30\n", "spec-front-matter", "no front matter"),
        ("----\nlast_review: 2026-03-30\n----\n", "spec-front-matter", "no front matter"),
        ("---\n---\nlast_review: 2026-03-30\n", "spec-last-review-missing", "no last_review"),
        ("---\nreviewed: 2026-03-30\n---\n", "spec-last-review-missing", "no last_review"),
        ("---\n  last_review: 2026-03-30\n---\n", "spec-last-review-missing", "no last_review"),
        ("---\n# last_review: 2026-03-30\n---\n", "spec-last-review-missing", "no last_review"),
        (
            "---\nlast_review: 2026-03-30\nlast_review: 2026-03-29\n---\n",
            "spec-last-review-invalid",
            "2 times",
        ),
        (front(""), "spec-last-review-invalid", '""'),
        (front("# soon"), "spec-last-review-invalid", '""'),
        (front("yesterday"), "spec-last-review-invalid", '"yesterday"'),
        (front("20260330"), "spec-last-review-invalid", '"20260330"'),
        (front("2026-W13-1"), "spec-last-review-invalid", '"2026-W13-1"'),
        (front("2026-3-30"), "spec-last-review-invalid", '"2026-3-30"'),
        (front("2026-02-30"), "spec-last-review-invalid", '"2026-02-30"'),
        (front("0000-01-01"), "spec-last-review-invalid", '"0000-01-01"'),
        (front("2026-03-30T10:00:00Z"), "spec-last-review-invalid", "YYYY-MM-DD"),
        (front("٢٠٢٦-٠٣-٣٠"), "spec-last-review-invalid", "YYYY-MM-DD"),
        (front("\x1b[31m" + "x" * 100), "spec-last-review-invalid", '"\\x1b[31m' + "x" * 35 + '"'),
        (front("2026-04-01"), "spec-last-review-future", "today is 2026-03-31"),
        (front("9999-12-31"), "spec-last-review-future", "in the future"),
        (front("2026-02-28"), "spec-last-review-stale", "31 days old"),
        (front("0001-01-01"), "spec-last-review-stale", "days old"),
    ],
)
def test_front_matter_with_a_fault(text, rule, said):
    fault = judge_front_matter(text, TODAY)
    assert fault is not None
    assert fault.rule == rule
    assert said in fault.message
    assert "last_review: 2026-03-31" in fault.hint


@pytest.mark.parametrize(
    ("changed", "code", "broken"),
    [
        ((), (), False),
        (("README.md", "docs/src/x.md", "srcs/x.py", "lib/src/x.py"), (), False),
        (("src/x.py",), ("src/x.py",), True),
        (
            ("app/a", "migrations/1.sql", "server/s.js"),
            ("app/a", "migrations/1.sql", "server/s.js"),
            True,
        ),
        (("src",), ("src",), True),
        (("src/embedded/",), ("src/embedded/",), True),
        (("src/",), ("src/",), True),
        (("src/x.py", "tasks/specs/1.md"), ("src/x.py",), False),
        (("src/x.py", "tasks/specs/deep/er/1.md"), ("src/x.py",), False),
        (("src/x.py", "tasks/index.json"), ("src/x.py",), False),
        (("src/x.py", "tasks/index.json.bak"), ("src/x.py",), True),
        (("src/x.py", "tasks/specs.md", "pkg/tasks/specs/1.md"), ("src/x.py",), True),
        (("tasks/specs/1.md",), (), False),
    ],
)
def test_changed_code_needs_a_changed_spec(changed, code, broken):
    found, fault = judge_changes(changed, CODE_FOLDERS)
    assert found == code
    assert (fault is not None) is broken
    if fault is not None:
        assert fault.rule == "code-without-spec"
        assert "src" in fault.message or "app" in fault.message


def test_extra_code_paths_are_folders_or_files_and_a_dot_is_everything_but_the_specs():
    changed = ("lib/a.py", "library/b.py", "tasks/specs/1.md", "tools/x.py", "tools/y.py")
    assert judge_changes(changed, code_paths(["./lib/", "tools/x.py"]))[0] == ("lib/a.py", "tools/x.py")
    assert judge_changes(changed, code_paths(["."]))[0] == (
        "lib/a.py",
        "library/b.py",
        "tools/x.py",
        "tools/y.py",
    )


def test_the_message_names_five_files_and_counts_the_rest():
    changed = tuple(f"src/{number}.py" for number in range(8))
    fault = judge_changes(changed, CODE_FOLDERS)[1]
    assert fault is not None
    assert fault.message.endswith("src/0.py, src/1.py, src/2.py, src/3.py, src/4.py and 3 more.")


def test_code_paths_are_normalised_and_unique():
    assert code_paths(["lib//x/", "./src", "lib/x", "."]) == (*CODE_FOLDERS, "lib/x", ".")


@pytest.mark.parametrize("path", ["", "  ", "/etc", "../x", "lib/../../x", "\ud800/..", "a\n/.."])
def test_code_paths_outside_the_repository_are_refused(path):
    with pytest.raises(UsageError, match=r"guards\.spec\.paths: .* is not a path inside") as caught:
        code_paths([path])
    assert caught.value.exit_code == 2
    assert caught.value.message.isprintable()


def test_git_does_not_inherit_what_points_to_another_repository():
    environ = {
        "PATH": "/bin",
        "GIT_DIR": "/elsewhere",
        "GIT_WORK_TREE": "/elsewhere",
        "GIT_INDEX_FILE": "/elsewhere/index",
        "GIT_CONFIG_COUNT": "0",
        "LC_ALL": "de_DE.UTF-8",
    }
    found = git_environment(environ)
    assert {name for name in found if name.startswith("GIT_")} == {
        "GIT_ALLOW_PROTOCOL",
        "GIT_CONFIG_COUNT",
        "GIT_NO_LAZY_FETCH",
        "GIT_OPTIONAL_LOCKS",
        "GIT_TERMINAL_PROMPT",
    }
    assert found["LC_ALL"] == "C"
    assert found["PATH"] == "/bin"
    assert environ["GIT_DIR"] == "/elsewhere"


def test_status_output_is_cut_at_zero_bytes_only():
    assert status_paths(b"") == ()
    assert status_paths(b" M src/a b\0?? x\ny\0A   lead\0") == (b"src/a b", b"x\ny", b" lead")


def test_paths_below_a_prefix():
    paths = (b"pkg/src/b", b"pkg/src/a", b"other/src/a", b"pkgs/a", b"pkg/src/a", b"pkg/\xff")
    assert paths_below("pkg/", paths) == ("src/a", "src/b", "\udcff")
    assert paths_below("", (b"b", b"a")) == ("a", "b")


def report(*findings: Finding, **others: object) -> SpecGuardReport:
    values: dict = {
        "notices": (),
        "base": HASH,
        "base_source": "origin/main",
        "checked_specs": 2,
        "changed_code": ("src/\udcff\n",),
    }
    return SpecGuardReport(findings=findings, **(values | others))


FINDING = Finding("tasks/specs/\udcff.md", "spec-front-matter", "There is none.", "Write some.")


@pytest.mark.parametrize(
    ("found", "dry_run", "code"),
    [((), False, 0), ((), True, 0), ((FINDING,), False, 1), ((FINDING,), True, 0)],
)
def test_exit_codes(found, dry_run, code):
    assert report(*found).exit_code(dry_run=dry_run) == code


def test_text_of_a_report_with_findings():
    assert render_text(report(FINDING, notices=("This clone is shallow.",)), dry_run=False) == (
        "tasks/specs/\\udcff.md: There is none. [spec-front-matter]\n"
        "  Write some.\n"
        "Notice: This clone is shallow.\n"
        "spec-guard: 1 finding; 2 specs checked; 1 code file changed since 0123456789ab (origin/main).\n"
    )


@pytest.mark.parametrize(
    ("found", "last_line"),
    [
        (
            report(changed_code=(), checked_specs=1),
            (
                "spec-guard: no findings; 1 spec checked; "
                "0 code files changed since 0123456789ab (origin/main).\n"
            ),
        ),
        (
            report(base=None, base_source=None, changed_code=(), checked_specs=0),
            "spec-guard: no findings; 0 specs checked; changes not checked.\n",
        ),
        (
            report(FINDING, FINDING),
            (
                "spec-guard: 2 findings (dry run: the exit code is 0 all the same); 2 specs checked; "
                "1 code file changed since 0123456789ab (origin/main).\n"
            ),
        ),
    ],
)
def test_last_line_of_a_dry_run(found, last_line):
    assert render_text(found, dry_run=True).endswith(last_line)


def test_json_of_a_report_can_always_be_written():
    document = report(FINDING, notices=("n",)).to_json()
    assert json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8")) == {
        "guard": "spec",
        "status": "findings",
        "unchecked": None,
        "base": HASH,
        "base_source": "origin/main",
        "checked_specs": 2,
        "changed_code": ["src/\\udcff\n"],
        "findings": [
            {
                "path": "tasks/specs/\\udcff.md",
                "rule": "spec-front-matter",
                "message": "There is none.",
                "hint": "Write some.",
            }
        ],
        "notices": ["n"],
    }
    assert report().to_json()["status"] == "ok"


def test_the_specs_of_this_repository_are_well_formed_and_indexed():
    """Their age is the guard's to judge, day by day; their form must not depend on the date."""
    tasks = Path(__file__).parents[2] / "tasks"
    specs = sorted((tasks / "specs").rglob("*.md"))
    for spec in specs:
        text = spec.read_text(encoding="utf-8")
        stated = text.partition("last_review: ")[2][:10]
        assert judge_front_matter(text, dt.date.fromisoformat(stated)) is None
    items = json.loads((tasks / "index.json").read_text(encoding="utf-8"))["items"]
    assert [item["id"] for item in items] == [spec.stem for spec in specs]
    assert all(item["title"] for item in items)
