"""The Node CLI's own validator takes our requests, and refuses nothing that our rules let pass."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from codex_orchestrator.definitions.loader import load_definitions
from codex_orchestrator.environment import discover
from codex_orchestrator.rules.run_request import build_request, problems_of
from tests.support.builders import NOW, layout_of
from tests.support.projects import named

CHECK = """
import { readFileSync } from 'node:fs';
const { validateRunRequestV2 } = await import(process.argv[1]);
const found = JSON.parse(readFileSync(0)).map(validateRunRequestV2);
console.log(JSON.stringify(found.map(({ errors }) => errors.map(({ path }) => path))));
"""


@pytest.fixture
def its_findings(node_package):
    """The paths of what the Node CLI's validator has against each of some requests."""
    module = node_package / "dist/packages/control-plane-schemas/src/run-request.js"

    def check(requests: list) -> list[list[str]]:
        done = subprocess.run(
            ["node", "--input-type=module", "-e", CHECK, module.as_uri()],
            input=json.dumps(requests),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert len(found) == len(requests)
        return found

    return check


def requests_of(project) -> list[dict]:
    """The requests of all pipelines of a project."""
    pipelines = load_definitions(discover(project.root, {})).pipelines.values()
    return [
        build_request(layout_of(), each, approval_policy=policy, requested_at=NOW)
        for each in pipelines
        for policy in (None, "never")
    ]


def write_pipelines(project) -> None:
    """Pipelines with all that a request is made of."""
    stages = [
        {"command": "true", "session": {"id": "s", "persist": True}},
        {"command": "true", "allowFailure": True, "session": {"reuse": True}},
        {"id": "sub", "kind": "subpipeline", "pipeline": "inner", "optional": True},
    ]
    keys = {"title": "W \u2192 \u20ac", "tags": ["ci", "python"]}
    project.write(
        {
            "pipelines": [
                {"id": "work", "stages": named(stages), **keys},
                {"id": "inner", "title": "I", "stages": named(["true"])},
            ]
        }
    )


def test_our_requests_pass_its_validator(project, its_findings):
    write_pipelines(project)
    requests = requests_of(project)
    assert len(requests) > 4
    assert its_findings(requests) == [[]] * len(requests)
    assert [problems_of(each) for each in requests] == [[]] * len(requests)


def test_so_do_the_requests_of_its_own_pipelines(project, node_package, its_findings):
    project.write((node_package / "codex.orchestrator.json").read_text(encoding="utf-8"))
    requests = requests_of(project)
    assert len(requests) > 10
    assert its_findings(requests) == [[]] * len(requests)
    assert [problems_of(each) for each in requests] == [[]] * len(requests)


GONE = object()
OTHERS = (GONE, None, "", "x", 0, -1, 1.5, True, [], [""], [None], {}, {"x": 1})


def spoilt(request: Any) -> Iterator[dict]:
    """A request with each of its values, at any depth, taken away or replaced by others."""
    for steps in places(request):
        for other in OTHERS:
            document = copy.deepcopy(request)
            inner = document
            for step in steps[:-1]:
                inner = inner[step]
            if other is GONE:
                del inner[steps[-1]]
            else:
                inner[steps[-1]] = other
            yield document


def places(value: Any) -> Iterator[tuple]:
    """Where values lie in a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (key,)
        yield from ((key, *further) for further in places(inner))


def test_whatever_it_has_against_a_request_we_have_at_that_place_or_below(project, its_findings):
    write_pipelines(project)
    cases = list(spoilt(json.loads(json.dumps(requests_of(project)[0]))))
    found = its_findings(cases)
    assert sum(bool(paths) for paths in found) > 300
    for document, paths in zip(cases, found, strict=True):
        ours = [problem.path for problem in problems_of(document)]
        for path in paths:
            assert any(own == path or own.startswith((f"{path}.", f"{path}[")) for own in ours), (
                path,
                document,
            )
