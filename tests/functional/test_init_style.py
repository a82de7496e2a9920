"""What `init` writes, and the formatters that a repository may have: they say what they said before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codex_orchestrator.repository.tree import DiskTree
from codex_orchestrator.scaffold.style import Style, render, style_of
from tests.support.npm import install

CONFIG = "codex.orchestrator.json"
SCRIPTS = {"build": "true", "lint": "true", "test": "true"}
EDITORS = """\
root = true
[*]
indent_style = tab
end_of_line = lf
[*.{json,yml}]
indent_style = space
indent_size = 4
"""
HOOK = """\
repos:
- repo: x
  hooks:
  - id: pretty-format-json
    args: [--autofix, --indent, '4']
  - id: check-json
"""
# To read these takes no longer than they are.
LONG = " " * 100_000 + "\n" * 1_000_000
BRACES = f"[{'{a,b}' * 60}]\ntabWidth: 99999999999999999999\nindent_size = 77777777\n"
OVERRIDES = '{"useTabs": true, "overrides": [{"files": "*.md", "options": {"tabWidth": 8}}]}'


@pytest.fixture(scope="session")
def formatters(tmp_path_factory) -> Path:
    """The folder of the programs of prettier and Biome."""
    return install(tmp_path_factory.mktemp("formatters"), "prettier@3", "@biomejs/biome@2") / ".bin"


def set_up(root: Path, files: dict[str, str]) -> None:
    (root / "package.json").write_text(json.dumps({"name": "demo", "scripts": SCRIPTS}))
    for name, text in files.items():
        (root / name).write_text(text)


def judged(program: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".prettierrc": "tabWidth: 4\nsemi: false\n"},
        {".prettierrc.json": OVERRIDES},
        {".prettierrc.json5": "// comment\n{\n  tabWidth: 3,\n}\n"},
        {".prettierrc.toml": 'useTabs = true\nendOfLine = "crlf"\n'},
        {".prettierrc.yaml": "printWidth: 20\nendOfLine: lf\n"},
        {".editorconfig": EDITORS},
        {".editorconfig": EDITORS, ".prettierrc": '{"tabWidth": 2}'},
        {".editorconfig": "[codex.*]\nindent_style = tab\nend_of_line = crlf\n[*.py]\nindent_size = 8\n"},
    ],
)
def test_prettier_has_nothing_to_say(project, said, formatters, files):
    set_up(project.root, files)
    assert said("init")[0] == 0
    done = judged(formatters / "prettier", "--check", CONFIG, cwd=project.root)
    assert done.returncode == 0, (done.stdout, done.stderr, (project.root / CONFIG).read_text())


def test_settings_of_prettier_in_package_json_count(project, said, formatters):
    document = {"name": "demo", "scripts": SCRIPTS, "prettier": {"useTabs": True}}
    (project.root / "package.json").write_text(json.dumps(document))
    assert said("init")[0] == 0
    assert "\n\t" in (project.root / CONFIG).read_text()
    assert judged(formatters / "prettier", "--check", CONFIG, cwd=project.root).returncode == 0


@pytest.mark.parametrize(
    "files",
    [
        {"biome.json": "{}"},
        {"biome.json": '{"formatter": {"indentStyle": "space", "indentWidth": 4}}'},
        {"biome.json": '{"formatter": {"indentStyle": "space"}, "json": {"formatter": {"indentWidth": 3}}}'},
        {"biome.jsonc": '{\n  // ours\n  "formatter": { "lineEnding": "crlf", "lineWidth": 40 },\n}\n'},
    ],
)
def test_biome_has_nothing_to_say(project, said, formatters, files):
    set_up(project.root, files)
    assert said("init")[0] == 0
    done = judged(formatters / "biome", "format", CONFIG, cwd=project.root)
    assert done.returncode == 0, (done.stdout, done.stderr, (project.root / CONFIG).read_text())


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (HOOK, ["--indent", "4"]),
        ("repos:\n- hooks:\n  - id: pretty-format-json\n", []),
        ("- id: pretty-format-json\n  args: ['--no-sort-keys']\n", ["--no-sort-keys"]),
    ],
)
def test_the_hook_of_pre_commit_has_nothing_to_say(project, said, hook, words):
    program = shutil.which("pretty-format-json", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("pre-commit-hooks is not installed")
    set_up(project.root, {".pre-commit-config.yaml": hook})
    assert said("init")[0] == 0
    done = judged(Path(program), *words, CONFIG, cwd=project.root)
    assert done.returncode == 0, (done.stdout, (project.root / CONFIG).read_text())


@pytest.mark.parametrize("name", [".prettierrc", ".editorconfig", "biome.json", ".pre-commit-config.yaml"])
@pytest.mark.parametrize(
    "text", ["", "\0\xff", "[[[", "{" * 5_000, "tabWidth: x\nindent_size=\n[*]\nindent_size=no", LONG, BRACES]
)
def test_settings_that_are_none_change_nothing(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    expected = Style(indent="\t") if name == "biome.json" else Style()
    assert style_of(DiskTree(tmp_path), CONFIG) == expected


def test_what_is_rendered_is_the_document():
    document = {"b": [], "a": {}, "list": ["x" * 30] * 3, "short": [1, True, None], "nested": [{"ä": [[1]]}]}
    for style in (
        Style(),
        Style(indent="\t", width=0, sorted_keys=True),
        Style(newline="\r\n", final_newline=False),
    ):
        text = render(document, style)
        assert json.loads(text) == document
        assert text.endswith(style.newline) is style.final_newline
        assert ("\r\n" in text) is (style.newline == "\r\n")
