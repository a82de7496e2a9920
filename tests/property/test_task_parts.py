"""Whatever is in a task's files: once is enough, and nothing outside of the marks is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from codex_orchestrator.environment import Environment
from codex_orchestrator.tasks.index import read_index
from codex_orchestrator.tasks.marked_parts import MarkError, parts_of
from codex_orchestrator.tasks.mirrors import SHARED, checklist_of, copies_of, plan_sync, write_changes
from codex_orchestrator.tasks.texts import Texts

TASKS = ("1-a", "2-b")
FILES = tuple(
    dict.fromkeys(path for name in TASKS for path in (checklist_of(name), *copies_of(name), *SHARED))
)
MARKS = [f"<!-- {edge} task {name} -->" for edge in ("begin", "end") for name in TASKS]
LINES = st.sampled_from(
    [*MARKS, *MARKS, "- [ ] do", "- [x] done", "- Run Manifest Link: x", "", " é ", "\ufeff"]
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r\r\n", "\r", ""])
GARBAGE = st.lists(st.tuples(LINES, ENDS).map("".join), max_size=8).map("".join)
INSIDE = st.lists(
    st.sampled_from(["- [ ] do\n", "- [x] é\r\n", "\n", "- Run Manifest Link: x\n"]), max_size=4
)


@st.composite
def checklists(draw, name):
    """A file with one part that is right, and garbage that holds no marks around it."""
    before, after = (draw(GARBAGE).replace("<!--", "<--") for _ in range(2))
    return f"{before}\n<!-- begin task {name} -->\n{''.join(draw(INSIDE))}<!-- end task {name} -->\n{after}"


CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        path: GARBAGE | checklists(next((name for name in TASKS if name in path), TASKS[0])) for path in FILES
    },
)


def outside(text: str) -> list[str] | None:
    """What a file holds outside of its parts; None where its marks do not pair up."""
    try:
        parts = sorted(parts_of(text).values(), key=lambda part: part.start)
    except MarkError:
        return None
    edges = [0, *(edge for part in parts for edge in (part.start, part.end)), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def texts_in(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes().decode()
        for path in root.rglob("*")
        if path.is_file()
    }


def sync(root: Path):
    environment = Environment(root, root / ".runs", root / "out", root, {})
    run = root / ".runs" / "1-a" / "cli" / "r"
    run.mkdir(parents=True, exist_ok=True)
    (run / "manifest.json").write_text('{"run_id": "r", "status": "succeeded"}')
    texts = Texts(root)
    found = plan_sync(environment, read_index(root), texts)
    assert write_changes(texts, found.changes) == ()
    return found


@given(CONTENTS)
def test_in_step_is_in_step_and_nothing_else_is_touched(contents):
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        index = json.dumps({"items": [{"id": name} for name in TASKS]})
        for path, text in {"tasks/index.json": index, **contents}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text.encode())
        first = sync(root)
        after = texts_in(root)
        again = sync(root)
        assert (again.changes, again.troubles) == ((), first.troubles)
        assert texts_in(root) == after
        for path, text in contents.items():
            around = outside(text)
            if around is None:
                assert after[path] == text, "a file that is in disorder is left alone"
            else:
                assert unchanged(around, outside(after[path]) or []), path
        for name in TASKS:
            if name in kept(after, name):
                assert_equal_parts(after, name, first.troubles)


def unchanged(before: list[str], after: list[str]) -> bool:
    """Whether all outside of the parts is as it was, but for parts added at the end."""
    *whole, last = before
    added = "".join(after[len(whole) :])
    return after[: len(whole)] == whole and added.startswith(last) and is_added(added[len(last) :])


def is_added(text: str) -> bool:
    return re.fullmatch(r"(\r?\n)*(<!-- (begin|end) task \S+( \(.*\))? -->(\r?\n)*)*", text) is not None


def kept(files: dict[str, str], name: str) -> dict[str, str]:
    """The content of a task's checklist by its name, where it has a part that is right."""
    try:
        parts = parts_of(files.get(checklist_of(name), ""))
    except MarkError:
        return {}
    return {name: parts[name].content} if name in parts else {}


def assert_equal_parts(files: dict[str, str], name: str, troubles) -> None:
    unmended = {trouble.path for trouble in troubles}
    for path in {*copies_of(name), *SHARED} - unmended:
        assert parts_of(files[path])[name].content == kept(files, name)[name], path
