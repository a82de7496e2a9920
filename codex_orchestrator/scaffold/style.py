"""JSON in the style of the repository's own formatter: prettier, Biome, .editorconfig, pre-commit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.repository.tree import Tree

_PRETTIER_FILES = (
    ".prettierrc",
    ".prettierrc.json",
    ".prettierrc.json5",
    ".prettierrc.yaml",
    ".prettierrc.yml",
    ".prettierrc.toml",
)
_BIOME_FILES = ("biome.json", "biome.jsonc")
_MOST_ALTERNATIVES = 100
_PRE_COMMIT = ".pre-commit-config.yaml"
# As JSON, as YAML and as TOML: a key at the top, then its value.
_SETTING = re.compile(
    r"""^[ \t]*["']?(?P<key>[A-Za-z]\w*)["']?[ \t]*[:=][ \t]*["']?(?P<value>[\w-]+)["']?[ \t,]*$""",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Style:
    """A layout of JSON.

    Attributes:
        indent: One level.
        newline: What ends a line.
        width: Up to how many columns a list of plain values stays on one line; 0 for never.
        final_newline: Whether the last line has an end.
        sorted_keys: Whether keys are in alphabetical order.
    """

    indent: str = "  "
    newline: str = "\n"
    width: int = 80
    final_newline: bool = True
    sorted_keys: bool = False


def style_of(tree: Tree, name: str) -> Style:
    """The style for a JSON file at the root: settings of a formatter, else of .editorconfig."""
    hook = _formatting_hook(tree)
    if hook is not None:
        return hook
    settings = _editor_settings(tree, name)
    if tree.first(*_BIOME_FILES):
        # Where it is not told otherwise, it indents by tabs.
        settings = {"useTabs": "true", **_biome_settings(tree)}
    else:
        settings |= _prettier_settings(tree)
    tabs = settings.get("useTabs") == "true"
    indent = settings.get("tabWidth", "2")
    width = settings.get("printWidth", "80")
    return Style(
        indent="\t" if tabs else " " * _number(indent, 2),
        newline={"crlf": "\r\n", "cr": "\r"}.get(settings.get("endOfLine", "lf"), "\n"),
        width=_number(width, 80),
        final_newline=settings.get("finalNewline") != "false",
    )


def _number(text: str, usual: int) -> int:
    """The number of a setting; the usual one where it is none, or not usable."""
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else usual


def render(document: Any, style: Style) -> str:
    """A JSON value as text in a style."""
    text = "\n".join(_lines(document, style, ""))
    return (text + "\n" if style.final_newline else text).replace("\n", style.newline)


def _lines(value: Any, style: Style, above: str) -> Iterator[str]:
    if not value or not isinstance(value, dict | list):
        yield json.dumps(value, ensure_ascii=False)
        return
    inner = above + style.indent
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        plain = json.dumps(value, ensure_ascii=False)
        # A comma may follow, and its key comes before it: both are rarely of a length that matters.
        if len(above.expandtabs(len(style.indent))) + len(plain) < style.width:
            yield plain
            return
    if isinstance(value, dict):
        keys = sorted(value) if style.sorted_keys else list(value)
        items = [(f"{json.dumps(key, ensure_ascii=False)}: ", value[key]) for key in keys]
    else:
        items = [("", item) for item in value]
    yield "{" if isinstance(value, dict) else "["
    for number, (label, item) in enumerate(items):
        lines = list(_lines(item, style, inner))
        lines[0] = label + lines[0]
        lines[-1] += "," if number < len(items) - 1 else ""
        yield from (inner + line if place == 0 else line for place, line in enumerate(lines))
    yield above + ("}" if isinstance(value, dict) else "]")


def _formatting_hook(tree: Tree) -> Style | None:
    """The style of pre-commit's pretty-format-json, which knows no lists on one line."""
    hook = re.search(
        r"-[ \t]*id:[ \t]*pretty-format-json\b(?P<rest>(?:\n(?![ \t]*-[ \t]*id:).*)*)",
        tree.text(_PRE_COMMIT) or "",
    )
    if hook is None:
        return None
    given = re.search(r"--indent[= ,'\"]+(\d{1,2}|\\t)", hook["rest"])
    indent = given[1] if given else "2"
    return Style(
        indent="\t" if indent == "\\t" else " " * int(indent),
        width=0,
        sorted_keys="--no-sort-keys" not in hook["rest"],
    )


def _prettier_settings(tree: Tree) -> Mapping[str, str]:
    """Prettier's settings at the top of its file, or of package.json."""
    own = tree.package.get("prettier")
    if isinstance(own, dict):
        return {key: str(value).lower() for key, value in own.items()}
    file = tree.first(*_PRETTIER_FILES)
    text = re.split(
        r"^[ \t]*[\"'\[]*overrides\b", (tree.text(file) or "") if file else "", flags=re.MULTILINE
    )[0]
    return {match["key"]: match["value"].lower() for match in _SETTING.finditer(_spread(text))}


def _spread(text: str) -> str:
    """JSON on one line as a line a key; other texts as they are."""
    return re.sub(r"[{},]", "\n", text)


def _biome_settings(tree: Tree) -> Mapping[str, str]:
    """The formatter's settings, those for JSON before those for all; comments are no hindrance."""
    text = tree.text(tree.first(*_BIOME_FILES) or "") or ""
    found: dict[str, str] = {}
    for section in (
        r'"formatter"\s*:\s*\{(?P<all>[^{}]*)\}',
        r'"json"\s*:\s*\{\s*"formatter"\s*:\s*\{(?P<all>[^{}]*)\}',
    ):
        for match in re.finditer(section, text):
            for setting in _SETTING.finditer(_spread(match["all"])):
                found[setting["key"]] = setting["value"].lower()
    named = {"indentWidth": "tabWidth", "lineWidth": "printWidth", "lineEnding": "endOfLine"}
    settings = {named[key]: value for key, value in found.items() if key in named}
    if "indentStyle" in found:
        settings["useTabs"] = str(found["indentStyle"] == "tab").lower()
    return settings


def _editor_settings(tree: Tree, name: str) -> dict[str, str]:
    """The settings of .editorconfig for a file at the root, by prettier's names; later sections win."""
    said: dict[str, str] = {}
    applies = False
    for line in (tree.text(".editorconfig") or "").splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            applies = any(
                fnmatchcase(name, pattern.lstrip("/"))
                for pattern in islice(_alternatives(text[1:-1]), _MOST_ALTERNATIVES)
            )
        elif applies and "=" in text and text[0] not in "#;":
            key, _, value = text.partition("=")
            said[key.strip().lower()] = value.strip().lower()
    settings: dict[str, str] = {}
    if "indent_style" in said:
        settings["useTabs"] = str(said["indent_style"] == "tab").lower()
    size = said.get("indent_size", said.get("tab_width"))
    if size is not None and size.isdigit():
        settings["tabWidth"] = size
    named = {
        "end_of_line": "endOfLine",
        "insert_final_newline": "finalNewline",
        "max_line_length": "printWidth",
    }
    return settings | {named[key]: value for key, value in said.items() if key in named}


def _alternatives(pattern: str) -> Iterator[str]:
    """``*.{json,yml}`` as ``*.json`` and ``*.yml``."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    for part in match[1].split(","):
        yield from _alternatives(pattern[: match.start()] + part.strip() + pattern[match.end() :])
