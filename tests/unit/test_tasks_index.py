"""``tasks/index.json``: tasks by any of their names, and changed without disturbing the rest."""

from __future__ import annotations

import json

import pytest

from codex_orchestrator.environment import TASK_INDEX
from codex_orchestrator.errors import UsageError
from codex_orchestrator.tasks.index import (
    parse_index,
    read_index,
    split_name,
    with_gates,
    with_task,
)


def index_of(*items: dict, **more):
    return parse_index(json.dumps({"items": list(items), **more}))


@pytest.mark.parametrize(
    ("item", "name", "slug", "names"),
    [
        ({"id": "0042", "slug": "pay"}, "0042-pay", "pay", {"0042-pay", "0042"}),
        ({"id": "0042-pay"}, "0042-pay", "pay", {"0042-pay", "0042"}),
        ({"id": "0042-pay", "slug": "pay"}, "0042-pay", "pay", {"0042-pay", "0042"}),
        ({"id": "0042", "slug": "0042-pay"}, "0042-pay", "0042-pay", {"0042-pay", "0042"}),
        ({"id": "0042-pay", "slug": "0042-pay"}, "0042-pay", "0042-pay", {"0042-pay", "0042"}),
        ({"id": "ABC", "slug": "12-more"}, "ABC-12-more", "12-more", {"ABC-12-more", "ABC"}),
        (
            {"id": "20251226-0913-road-map"},
            "20251226-0913-road-map",
            "road-map",
            {"20251226-0913-road-map", "20251226-0913", "0913-road-map", "0913"},
        ),
        ({"id": "20251226-road"}, "20251226-road", "road", {"20251226-road", "20251226"}),
        ({"id": "solo"}, "solo", "solo", {"solo"}),
        ({"id": "日本", "slug": ""}, "日本", "日本", {"日本"}),
    ],
)
def test_a_task_is_found_by_all_of_its_names(item, name, slug, names):
    index = index_of(item, {"id": "9999-other"})
    task = index.tasks[0]
    assert (task.name, task.slug, set(task.names)) == (name, slug, names)
    assert all(index.find(one) == (task,) for one in names)
    assert index.find("0000") == ()


def test_a_bare_id_that_several_share_means_none_of_them():
    index = index_of({"id": "0001-a"}, {"id": "0001-b"}, {"id": "0001-b-c"})
    assert [task.name for task in index.find("0001")] == ["0001-a", "0001-b", "0001-b-c"]
    assert [task.name for task in index.find("0001-b")] == ["0001-b"]
    assert index.names_of(index.tasks[0]) == ("0001-a",)


def test_a_name_of_its_own_goes_before_a_bare_id():
    index = index_of({"id": "0001", "slug": "a"}, {"id": "0001-a-b", "slug": "b"}, {"id": "0001"})
    assert [task.name for task in index.find("0001")] == ["0001"]
    assert [task.name for task in index.find("0001-a")] == ["0001-a"]


def test_further_keys_are_no_problem_and_a_title_may_be_missing():
    index = index_of({"id": "1", "title": "One", "owners": ["a"]}, {"id": "2", "title": None}, specs=[])
    assert [task.title for task in index.tasks] == ["One", None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f"{TASK_INDEX}:1: not valid JSON"),
        ('{"items": [\n}', f"{TASK_INDEX}:2: not valid JSON at column 1"),
        ("[]", "(document): must be an object"),
        ("{}", "items: missing"),
        ('{"items": {}}', "items: must be a list"),
        ('{"items": [1]}', "items[0]: must be an object"),
        ('{"items": [{"id": 1}]}', "items[0].id: must be a string"),
        ('{"items": [{"id": ""}]}', "items[0].id: must not be empty"),
        ('{"items": [{"id": "a", "slug": 2}]}', "items[0].slug: must be a string"),
        ('{"items": [{"id": "../x"}]}', "items[0].id: Invalid task ID \"../x\": it starts with '.'"),
        ('{"items": [{"id": "a", "slug": "b/c"}]}', 'Invalid task ID "a-b/c"'),
        (
            '{"items": [{"id": "a-b"}, {"id": "a", "slug": "b"}]}',
            'items[1].id: the task "a-b" is there twice',
        ),
        ('{"items": [{"id": "a", "id": "b"}]}', 'the key "id" is repeated'),
        ('{"items": [], "note": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_index_is_refused_with_the_reason(text, said):
    with pytest.raises(UsageError) as refused:
        parse_index(text)
    assert said in refused.value.message


def test_many_problems_are_cut():
    with pytest.raises(UsageError, match="and 3 more"):
        index_of(*({"id": f".{number}"} for number in range(8)))


def test_no_index_is_no_problem_but_bytes_that_are_no_text_are(tmp_path):
    assert read_index(tmp_path) is None
    path = tmp_path / TASK_INDEX
    path.parent.mkdir()
    path.write_bytes(b'{"items":\n "\xff"}')
    with pytest.raises(UsageError, match=f"{TASK_INDEX}:2: not valid UTF-8"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("0042-payments", ("0042", "payments")),
        ("ab12-c-d-3", ("ab12", "c-d-3")),
        ("20251226-0913-road", ("20251226-0913", "road")),
        ("0042", None),
        ("0042-", None),
        ("-payments", None),
        ("0042--payments", None),
        ("0042-pay_ments", None),
        ("0042-pay ments", None),
        ("0042-zahlung-ü", None),
        ("0042-payments\n", None),
        ("0042-pay>ments", None),
    ],
)
def test_the_name_of_a_new_task(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize(
    "style",
    [
        {"indent": 2, "ensure_ascii": False},
        {"indent": 4, "ensure_ascii": False},
        {"indent": "\t", "ensure_ascii": True},
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_the_files_own_style_is_kept(style, ends, last):
    document = {"items": [{"id": "a", "title": "Ä"}, {"id": "b", "owners": []}], "specs": [1.5]}
    text = (json.dumps(document, **style) + last).replace("\n", ends)
    assert with_gates(text, {}) == text
    changed = with_gates(text, {1: {"status": "failed"}})
    document["items"][1]["gate"] = {"status": "failed"}
    assert changed == (json.dumps(document, **style) + last).replace("\n", ends)


def test_a_first_task_makes_the_index():
    text = with_task(None, {"id": "0042-pay", "title": "Zahlen: ü"})
    assert (
        text == '{\n  "items": [\n    {\n      "id": "0042-pay",\n      "title": "Zahlen: ü"\n    }\n  ]\n}\n'
    )
    assert json.loads(with_task(text, {"id": "2"}))["items"][1] == {"id": "2"}
