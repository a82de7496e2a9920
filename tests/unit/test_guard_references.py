"""What a document names, as a table."""

from __future__ import annotations

import pytest

from codex_orchestrator.checks.paths import path_in
from codex_orchestrator.checks.programs import CommandWords
from codex_orchestrator.checks.references import names_in

START = CommandWords(
    {"--task": True, "--root": True, "--only": True, "--interactive": False}, takes_pipeline=True
)
COMMANDS = {
    "": CommandWords({"--version": False, "--help": False, "-h": False}),
    "start": START,
    "plan": CommandWords({"--format": True}, takes_pipeline=True),
    "guard": CommandWords({"--dry-run": False, "--base": True}, choices=("spec", "docs")),
    "logs": CommandWords({"-f": False, "--run": True}),
}


def found(text: str) -> list[str]:
    """Each reference as `kind name`, a flag or argument with its command."""
    references = names_in("page.md", text, COMMANDS).references
    return [f"{one.kind} {one.command}{one.command and ' '}{one.name}" for one in references]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("npm run build", ["npm-script build"]),
        ("npm run-script docs:check -- --fix", ["npm-script docs:check"]),
        ("npm --silent run build", ["npm-script build"]),
        ("npm test", ["npm-script test"]),
        ("pnpm run build && npm t", ["npm-script build", "npm-script test"]),
        ("npm run", []),
        ("npm run <script>", []),
        ("npm run $SCRIPT", []),
        ("npm run NAME", []),
        ("npm run ...", []),
        ("npm run build --if-present", []),
        ("npm run build -w web", []),
        ("npm run build --workspace=web", []),
        ("npm --prefix web run build", []),
        ("npm install x", []),
        ("cd web && npm run build", []),
        ("make", []),
        ("make check docs", ["make-target check", "make-target docs"]),
        ("make -j4 check V=1", ["make-target check"]),
        ("make -C web check", []),
        ("make TARGET", []),
        ("make %.o", []),
        ("codex-orchestrator", []),
        ("codex-orchestrator start", ["command start"]),
        ("codex-orchestrator start checks", ["command start", "pipeline checks"]),
        ("codex-orchestrator start <pipeline>", ["command start"]),
        ("codex-orchestrator start [pipeline] --task ID", ["command start", "flag start --task"]),
        ("npx codex-orchestrator plan --format json x", ["command plan", "flag plan --format", "pipeline x"]),
        ("python -m codex_orchestrator start --task=t", ["command start", "flag start --task"]),
        ("python3 -P -m codex_orchestrator start", ["command start"]),
        ("python3 -P -m pytest --codex-pipeline=p", ["pipeline p"]),
        ("python3 -m other start", []),
        ("codex-orchestrator start --nonsense x", ["command start", "flag start --nonsense", "pipeline x"]),
        ("codex-orchestrator start x --root ../y", ["command start", "flag start --root"]),
        ("codex-orchestrator start x -- --other", ["command start", "pipeline x"]),
        ("codex-orchestrator guard nonsense", ["command guard", "argument guard nonsense"]),
        ("codex-orchestrator guard spec [--dry-run] [--base REF]", [
            "command guard", "argument guard spec", "flag guard --dry-run", "flag guard --base",
        ]),
        ("codex-orchestrator logs -f", ["command logs", "flag logs -f"]),
        ("codex-orchestrator nonsense --flag", ["command nonsense"]),
        ("codex-orchestrator --version", ["flag  --version"]),
        ("codex-orchestrator COMMAND", []),
        ("codex-orchestrator …", []),
        ("pytest --codex-pipeline=x", ["pipeline x"]),
        ("python -m pytest -q --codex-pipeline x", ["pipeline x"]),
        ("pytest --codex-pipeline", []),
        ("pytest --codex-pipeline=<id>", []),
        ("pytest tests/x", []),
        ("bash scripts/guard.sh --dry-run", ["path scripts/guard.sh"]),
        ("node ./scripts/a.mjs && python3.11 tools/b.py x/y.txt", ["path scripts/a.mjs", "path tools/b.py"]),
        ("python -c 'x/y.py' && node script.js && sh -c scripts/x.sh", []),
    ],
)  # fmt: skip
def test_commands_in_spans_and_blocks(code, names):
    names = [name.replace("  ", " ") for name in names]
    assert found(f"Call `{code}` now.") == names
    assert found(f"```console\n$ {code}\n```") == names
    assert found(f"```sh\n{code}\n```") == names


@pytest.mark.parametrize(
    "text",
    [
        "npm run build, in plain words; codex-orchestrator start is one too.",
        "```json\nnpm run build\n```",
        "```text\n$ npm run build\n```",
        "```console\n$ true\nnpm run build\n```",
        "```sh\ncd web\nnpm run build\n```",
        "```sh\ncat > x <<END\nnpm run build\nEND\n```",
        "<!-- `npm run build` -->",
        "```console\n$ codex-orchestrator start nothing\nerror: Unknown pipeline\n```",
    ],
)
def test_what_names_nothing(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("span", "path"),
    [
        ("src/a.py", "src/a.py"),
        ("./src/a.py", "src/a.py"),
        ("../README.md", "../README.md"),
        ("src/", "src/"),
        ("src/a.py:12", "src/a.py"),
        ("src/a.py:12:3-4", "src/a.py"),
        ("docs/a.md#part", "docs/a.md"),
        ("tests/a.py::test_x[a b]", "tests/a.py"),
        (".agent/task/a-b.md", ".agent/task/a-b.md"),
        ("docs/PRD-thing.md", "docs/PRD-thing.md"),
        ("docs/TASKS.md", "docs/TASKS.md"),
        ("and/or", "and/or"),
        ("README.md", ""),
        ("/etc/passwd", ""),
        ("~/x/y", ""),
        ("https://example.org/a.md", ""),
        ("@scope/package", ""),
        ("src/*.py", ""),
        ("src/**", ""),
        ("packages/<project>", ""),
        (".runs/T/cli/R/manifest.json", ""),
        ("commands/NN-slug.ndjson", ""),
        ("docs/TASKS-archive-YYYY.md", ""),
        ("src/{a,b}.py", ""),
        ("$HOME/x.py", ""),
        ("src/...", ""),
        ("src/…", ""),
        ("a b/c", ""),
        ("--flag/x", ""),
        ("a/" * 3_000, ""),
    ],
)
def test_paths(span, path):
    assert path_in(span) == path


def test_each_thing_is_named_once_and_in_order():
    text = "`make b`\n`make a` `make b`\n\n```sh\nmake a\n```\n"
    assert [(one.line, one.name) for one in names_in("page.md", text, {}).references] == [(1, "b"), (2, "a")]


def test_what_a_page_makes_and_shows():
    text = (
        "Save as `web/app.js`:\n\n```js\nrun('first')\n```\n\n"
        "```sh\nmkdir -p lib deep/er\necho x > lib/x.py\ncat <<END > conf.json\n"
        '{"id": "second"}\nEND\n```\n\n```makefile\nthird fourth: x\n\tnpm run no\n```\n'
    )
    named = names_in("page.md", text, {})
    assert named.made == {"web/app.js", "lib", "deep/er", "lib/x.py", "conf.json"}
    assert named.shown >= {"first", "second", "third", "fourth"}
