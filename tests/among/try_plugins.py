"""Runs small pipelines beside each of some sixty plugins from PyPI, one after the other, in three modes.

``nox -s plugins`` installs them all (``--names`` lists them) and calls this; what follows ``--`` are names of
plugins, all of them where there are none. Expected is what happens without any: the same exit codes and
statuses, manifests that are valid, and nothing that broke. What comes out is a table in Markdown; the exit
code is 1 where anything differs.

No test for `pytest` to find: it takes half an hour and needs what most people do not have installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MODES = {"serial": (), "jobs": ("--codex-jobs=2",), "workers": ("-n", "2")}
PASSING = {"kind": "command", "id": "passing", "title": "Passing", "command": "echo fine"}
SLOW = {"kind": "command", "id": "slow", "title": "Slow", "command": "sleep 2; echo slow", "needs": []}
ALLOWED = dict(PASSING, id="allowed", title="Allowed", command="exit 3", allowFailure=True, needs=[])
FAILING = {"kind": "command", "id": "failing", "title": "Failing", "command": "echo no; exit 4", "needs": []}
AFTER = {"kind": "command", "id": "after", "title": "After", "command": "true", "needs": ["failing"]}
PIPELINES = {"green": [PASSING, SLOW, ALLOWED], "red": [PASSING, ALLOWED, FAILING, AFTER]}
EXIT_CODES = {"green": 0, "red": 1}
BROKEN = ("INTERNALERROR", "Traceback (most recent call last)")


@dataclass(frozen=True)
class Plugin:
    """A distribution, and what switches it on.

    Attributes:
        name: On PyPI.
        entries: Its entry points, and those of the plugins that it needs.
        options: On the command line.
        ini: Lines of ``pytest.ini``.
    """

    name: str
    entries: tuple[str, ...]
    options: tuple[str, ...] = ()
    ini: tuple[str, ...] = ()


def on(name: str, entries: str, options: str = "", *ini: str) -> Plugin:
    """A line of the table."""
    return Plugin(name, tuple(entries.split()), tuple(options.split()), ini)


PLUGINS = (
    on("allure-pytest", "allure_pytest", "--alluredir=allure"),
    on("anyio", "anyio"),
    on("flaky", "flaky", "--force-flaky --max-runs=3"),
    on("hypothesis", "hypothesispytest", "--hypothesis-show-statistics"),
    on("nbval", "nbval", "--nbval"),
    on("pytest-asyncio", "asyncio", "", "asyncio_mode = auto"),
    on("pytest-azurepipelines", "azurepipelines nunit"),
    on("pytest-bdd", "pytest-bdd", "--cucumberjson=cucumber.json"),
    on("pytest-benchmark", "benchmark", "--benchmark-json=benchmark.json"),
    on("pytest-check", "check", "--check-max-report=3"),
    on("pytest-clarity", "clarity"),
    on("pytest-cov", "pytest_cov", "", "addopts = --cov=. --cov-fail-under=80"),
    on("pytest-custom-exit-code", "custom_exit_code", "--suppress-tests-failed-exit-code"),
    on("pytest-deadfixtures", "deadfixtures"),
    on("pytest-dependency", "dependency", "", "automark_dependency = true"),
    on("pytest-describe", "pytest-describe"),
    on("pytest-django", "django", "--fail-on-template-vars"),
    on("pytest-dotenv", "dotenv"),
    on("pytest-durations", "pytest-durations", "--pytest-durations=5"),
    on("pytest-env", "env", "", "env = MODE=test"),
    on("pytest-flakefinder", "flakefinder", "--flake-finder --flake-runs=3"),
    on("pytest-flask", "flask"),
    on("pytest-forked", "pytest_forked", "--forked"),
    on("pytest-freezegun", "freezegun"),
    on("pytest-github-actions-annotate-failures", "pytest_github_actions_annotate_failures"),
    on("pytest-harvest", "harvest"),
    on("pytest-html", "html metadata", "--html=report.html --self-contained-html"),
    on("pytest-httpx", "pytest_httpx"),
    on("pytest-icdiff", "icdiff"),
    on("pytest-instafail", "instafail", "--instafail"),
    on("pytest-json-report", "pytest_jsonreport metadata", "--json-report"),
    on("pytest-lazy-fixtures", "pytest_lazyfixture"),
    on("pytest-loguru", "loguru"),
    on("pytest-md-report", "pytest-md-report", "--md-report --md-report-output=report.md"),
    on("pytest-memray", "memray", "--memray"),
    on("pytest-metadata", "metadata", "--metadata by tests"),
    on("pytest-mock", "pytest_mock"),
    on("pytest-monitor", "monitor"),
    on("pytest-nunit", "nunit", "--nunit-xml=nunit.xml"),
    on("pytest-order", "pytest_order", "--order-dependencies"),
    on("pytest-parallel", "parallel"),
    on("pytest-picked", "picked"),
    on("pytest-playwright", "playwright", "--tracing=on"),
    on("pytest-pretty", "pretty"),
    on("pytest-profiling", "profiling", "--profile"),
    on("pytest-randomly", "randomly", "-p randomly"),
    on("pytest-repeat", "repeat", "--count=3"),
    on("pytest-reportlog", "pytest_reportlog", "--report-log=log.jsonl"),
    on("pytest-rerunfailures", "rerunfailures", "--reruns=2"),
    on("pytest-retry", "pytest-retry", "--retries=2"),
    on("pytest-rich", "rich", "--rich"),
    on("pytest-run-parallel", "run-parallel", "--parallel-threads=2"),
    on("pytest-socket", "socket", "--disable-socket --allow-unix-socket"),
    on("pytest-split", "pytest-split", "--store-durations"),
    on("pytest-subtests", "subtests"),
    on("pytest-sugar", "sugar", "--force-sugar"),
    on("pytest-testmon", "pytest-testmon", "--testmon"),
    on("pytest-timeout", "timeout", "", "timeout = 1", "session_timeout = 1"),
    on("pytest-xvfb", "xvfb", "--no-xvfb"),
    on("syrupy", "syrupy"),
)


def run(root: Path, plugin: Plugin | None, mode: str, pipeline: str) -> list[str]:
    """What differs from what is expected, in one run."""
    shutil.rmtree(root / ".runs", ignore_errors=True)
    wanted = ["-p", "codex", "-p", "xdist"]
    ini: Sequence[str] = ()
    if plugin is not None:
        wanted += [word for entry in plugin.entries for word in ("-p", entry)]
        wanted += plugin.options
        ini = plugin.ini
    (root / "pytest.ini").write_text("\n".join(["[pytest]", *ini, ""]), encoding="utf-8")
    words = [sys.executable, "-m", "pytest", f"--codex-pipeline={pipeline}", *MODES[mode], *wanted]
    variables = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "MCP_RUNNER_TASK_ID": "among",
        "QT_QPA_PLATFORM": "offscreen",
    }
    done = subprocess.run(
        words, cwd=root, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    output = done.stdout + done.stderr
    return [f"{pipeline}: {what}" for what in differences(root, pipeline, done.returncode, output)]


def differences(root: Path, pipeline: str, code: int, output: str) -> Iterator[str]:
    """Compare a run with what its pipeline says."""
    if os.environ.get("SHOW"):
        print(output)
    for word in BROKEN:
        if word in output:
            yield f"{word}: {output.strip().splitlines()[-1]}"
    if code != EXIT_CODES[pipeline]:
        yield f"exit code {code}: {output.strip().splitlines()[-1] if output.strip() else ''}"
    manifests = list(root.glob(".runs/among/cli/*/manifest.json"))
    if len(manifests) != 1:
        yield f"{len(manifests)} runs"
        return
    statuses = {e["id"]: e["status"] for e in json.loads(manifests[0].read_text("utf-8"))["commands"]}
    expected = {"passing": "succeeded", "slow": "succeeded", "allowed": "skipped", "failing": "failed"}
    for name, status in statuses.items():
        if status != expected.get(name, "pending"):
            yield f"{name} {status}"
    words = [sys.executable, "-m", "codex_orchestrator", "validate", str(manifests[0])]
    checked = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if checked.returncode:
        yield f"not valid: {checked.stdout.strip()}"


def main(names: Sequence[str]) -> int:
    """Try those plugins, or all."""
    if list(names) == ["--names"]:
        print(*(each.name for each in PLUGINS))
        return 0
    chosen: list[Plugin | None] = [each for each in PLUGINS if not names or each.name in names]
    if names and len(chosen) != len(set(names)):
        sys.exit(f"There are {', '.join(each.name for each in PLUGINS)}.")
    failures = 0
    print(f"| Plugin | {' | '.join(MODES)} |\n| --- | {' | '.join('---' for _ in MODES)} |")
    with tempfile.TemporaryDirectory(prefix="among-") as folder:
        for number, plugin in enumerate([None, *chosen]):
            root = Path(folder) / str(number)
            (root / ".git").mkdir(parents=True)
            defined = [{"id": name, "title": name, "stages": stages} for name, stages in PIPELINES.items()]
            text = json.dumps({"pipelines": defined})
            (root / "codex.orchestrator.json").write_text(text, encoding="utf-8")
            cells = []
            for mode in MODES:
                found = [what for pipeline in PIPELINES for what in run(root, plugin, mode, pipeline)]
                failures += bool(found)
                cells.append("; ".join(found).replace("|", "\\|") or "as without")
            name = plugin.name if plugin else "none"
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
