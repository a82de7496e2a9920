"""Every example in the README, the tutorial and the how-to pages runs as it is printed.

CONTRIBUTING.md, "Documentation", says how a page writes its examples.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("tutorial/*.md")),
    *sorted((ROOT / "docs").glob("how-to/*.md")),
]
# What else must be there, by the page: a program, or a module.
NEEDS = {"sign-evidence": ("openssl", "securesystemslib")}
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"`(?P<name>[\w./-]+)`:\s*\Z")
NOT_RUN = re.compile(r"# Not run by the tests: \S.*")
LANGUAGES = {"console", "sh", "json", "python", "toml", "yaml", "text"}


@dataclass(frozen=True)
class Step:
    """A file to write, or a command to run; ``expected`` is None where no output is shown."""

    line: int
    text: str
    file: str | None = None
    expected: str | None = None
    may_fail: bool = False


def steps(page: str) -> list[Step]:
    """What a page tells its reader to do, in order."""
    found: list[Step] = []
    for fence in FENCE.finditer(page):
        body, line = fence["body"], page.count("\n", 0, fence.start()) + 2
        name = FILE_NAME.search(page, 0, fence.start())
        if fence["language"] == "console":
            found.extend(commands(body, line))
        elif fence["language"] == "sh" and not NOT_RUN.match(body):
            found.append(Step(line, body))
        elif name and fence["language"] != "text":
            found.append(Step(line, body, file=name["name"]))
    asked = [following.text.startswith("echo $?") for following in found[1:]]
    return [replace(step, may_fail=may) for step, may in zip(found, [*asked, False], strict=True)]


def commands(body: str, line: int) -> Iterator[Step]:
    """The commands of a console block, each with the output shown after it."""
    for block in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        first, *rest = block.splitlines()
        more = [text[2:] for text in rest if text.startswith("> ")]
        output = [text for text in rest if not text.startswith("> ")]
        yield Step(line, "\n".join([first, *more]), expected="\n".join(output) if output else None)
        line += len(rest) + 1


def matches(expected: str, actual: str) -> bool:
    """Whether output is what is shown: a line ``...`` stands for any lines, ``...`` in one for any text."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in expected.strip("\n").split("\n")
    )
    return re.fullmatch(pattern, plain(actual)) is not None


def plain(output: str) -> str:
    """Output without blank ends of lines and of the whole."""
    return "\n".join(line.rstrip() for line in output.split("\n")).strip("\n") + "\n"


class Reader:
    """Follows a page in a folder of its own; variables and the current folder live on between commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "demo"
        self.folder.mkdir()
        # Nothing above this folder counts as the repository; `git init` makes it a real one.
        (self.folder / ".git").mkdir()
        self._state = folder / "state"
        self._state.write_text(f"cd '{self.folder}'\n", encoding="utf-8")
        self._code = 0
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(folder),
            "COLUMNS": "100",
            # A file, as pages may configure git: it replaces the file, were it the machine's null device.
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "GIT_CONFIG_SYSTEM": os.devnull,
            **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Ada"),
            **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "ada@example.org"),
        }

    def do(self, step: Step) -> str | None:
        """Do one step; the answer is what is wrong with it, if anything."""
        if step.file is not None:
            path = self.folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text, encoding="utf-8")
            return None
        output = self._run(step.text)
        if self._code and not step.may_fail:
            return f"ended with exit code {self._code}:\n{output}"
        if step.expected is not None and not matches(step.expected, output):
            return f"shown:\n{step.expected}\n\nprinted:\n{output}"
        return None

    def _run(self, command: str) -> str:
        script = (
            f". '{self._state}'\n(exit {self._code})\n{command}\ncode=$?\n"
            f"{{ export -p; echo \"cd '$PWD'\"; }} > '{self._state}'\nexit $code\n"
        )
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        self._code = done.returncode
        return done.stdout


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_does_what_it_says(page, tmp_path):
    for name in NEEDS.get(page.stem, ()):
        if shutil.which(name) is None and find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    reader = Reader(tmp_path)
    todo = steps(page.read_text(encoding="utf-8"))
    assert any(step.file is None for step in todo), "no example is run"
    for step in todo:
        wrong = reader.do(step)
        assert wrong is None, f"{name_of(page)}:{step.line}: {step.text.strip()}\n{wrong}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_keeps_to_the_convention(page):
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(list(FENCE.finditer(text)))
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        assert fence["language"] in LANGUAGES, f"{name_of(page)}:{line}: name the language"
        if fence["language"] == "console":
            assert fence["body"].startswith("$ "), f"{name_of(page)}:{line}: begin with a command"
        else:
            assert not fence["body"].startswith("$ "), (
                f"{name_of(page)}:{line}: commands go into console blocks"
            )


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("one\ntwo", "one\ntwo\n", True),
        ("one\ntwo", "one  \ntwo\n\n", True),
        ("one\ntwo", "one\n", False),
        ("one\ntwo", "one\ntwo\nthree\n", False),
        ("one\n...", "one\ntwo\nthree\n", True),
        ("one\n...", "one\n", True),
        ("...\nthree", "one\ntwo\nthree\n", True),
        ("...\nthree", "one\n", False),
        ("passed in ... s", "passed in 0.31 s\n", True),
        ("passed in ... s", "passed in 0.31\ns\n", False),
        ("a.b", "axb\n", False),
    ],
)
def test_output_is_compared_line_by_line(expected, actual, same):
    assert matches(expected, actual) is same


def test_what_is_not_run_and_what_may_fail():
    page = (
        "Save as `a.json`:\n\n```json\n{}\n```\n\nLike this:\n\n```json\n[]\n```\n"
        "```sh\n# Not run by the tests: no network.\nfalse\n```\n"
        "```console\n$ false\n$ echo $?\n1\n$ cat <<END\n> two\n> END\ntwo\n```\n"
    )
    assert [(step.text, step.file, step.expected, step.may_fail) for step in steps(page)] == [
        ("{}\n", "a.json", None, False),
        ("false", None, None, True),
        ("echo $?", None, "1", False),
        ("cat <<END\ntwo\nEND", None, "two", False),
    ]
