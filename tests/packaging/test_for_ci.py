"""What other projects take into their CI: examples and action have the right shape, and do what they say.

There is no runner and no network here: what a runner does with such files is done as far as these need it;
where they install the orchestrator, the one that is installed stands in its place.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import clean_environment

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).resolve().parents[2]
ACTION, MANIFEST = ROOT / "action.yml", ROOT / ".pre-commit-hooks.yaml"
PAGE = (ROOT / "docs/how-to/ci.md").read_text(encoding="utf-8")
CLAIMS_PAGE = (ROOT / "docs/how-to/cite-evidence.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"Save as\s`(?P<name>[^`]+)`:\n\n```yaml\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")
SCRIPTS = Path(sys.executable).parent

EXAMPLES = {found["name"]: found["body"] for found in BLOCK.finditer(PAGE)}
WORKFLOW, WITH_ACTION = ".github/workflows/checks.yml", ".github/workflows/action.yml"
GITLAB, PRE_COMMIT = ".gitlab-ci.yml", ".pre-commit-config.yaml"

# What GitHub documents of each.
ACTION_KEYS = {"name", "author", "description", "inputs", "outputs", "runs", "branding"}
INPUT_KEYS = {"description", "required", "default", "deprecationMessage"}
STEP_KEYS = {
    "name",
    "id",
    "if",
    "env",
    "run",
    "shell",
    "working-directory",
    "uses",
    "with",
    "continue-on-error",
}
WORKFLOW_KEYS = {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"}


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, and leaves ``on`` a word."""


StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])


def _mapping(loader, node) -> dict:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(set(keys)) == len(keys), f"a key is repeated: {keys}"
    return {
        loader.construct_object(key): loader.construct_object(value, deep=True) for key, value in node.value
    }


StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load(text: str) -> Any:
    return yaml.load(text, Loader=StrictLoader)


ACTION_DOCUMENT = load(ACTION.read_text(encoding="utf-8"))
HOOKS = load(MANIFEST.read_text(encoding="utf-8"))


def values(document: Any) -> list[str]:
    """All texts in a document."""
    if isinstance(document, dict):
        return [text for each in document.values() for text in values(each)]
    if isinstance(document, list):
        return [text for each in document for text in values(each)]
    return [document] if isinstance(document, str) else []


def filled(text: Any, known: dict[str, str]) -> str:
    """A value with its expressions filled in: names, texts, and ``||``; what nobody knows is empty."""

    def fill(match: re.Match[str]) -> str:
        words = [word.strip() for word in match[1].split("||")]
        assert all(re.fullmatch(r"[\w.-]+", word) for word in words), f"too much for this test: {match[1]}"
        return next((known[word] for word in words if known.get(word)), "")

    return EXPRESSION.sub(fill, str(text))


# ---------------------------------------------------------------- a job


class Job:
    """A folder with a repository, and steps run in it as a runner does."""

    def __init__(self, folder: Path) -> None:
        self.root, self.temporary, self.bin = folder / "work", folder / "temporary", folder / "bin"
        for each in (self.root, self.temporary, self.bin):
            each.mkdir()
        self.calls = folder / "calls"
        self.calls.touch()
        self.environment = {
            **clean_environment(),
            "HOME": str(folder),
            "PATH": f"{self.bin}:{SCRIPTS}:/usr/bin:/bin",
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "RUNNER_TEMP": str(self.temporary),
            "GITHUB_ACTION_PATH": str(ROOT),
            **{name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")},
        }
        self.known: dict[str, str] = {}
        self._git("init", "--quiet")
        self.define("true")
        self._git("add", ".")
        self._git("commit", "--quiet", "--message=one")
        self.base = self._git("rev-parse", "HEAD")

    def commit(self) -> None:
        self._git("add", ".")
        self._git("commit", "--quiet", "--message=another")

    def define(self, command: str, *more: str) -> None:
        stage = {"kind": "command", "id": "a", "title": "A", "command": command}
        pipelines = [
            {"id": name, "title": name, "stages": [stage]} for name in ("diagnostics", "other", *more)
        ]
        document = {"taskId": "shop", "defaultPipeline": "other", "pipelines": pipelines}
        (self.root / "codex.orchestrator.json").write_text(json.dumps(document))

    def stand_in(self, name: str, script: str) -> Path:
        """A program that writes down how it is called, in the place of one that needs the network."""
        path = self.bin / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "{self.calls}"\n{script}\n')
        path.chmod(0o755)
        return path

    def run(self, script: str, *, folder: str = ".", **variables: str) -> subprocess.CompletedProcess[str]:
        """A script by bash, as GitHub calls it."""
        return subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.root / folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def step(self, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        folder = filled(step.get("working-directory", "."), self.known)
        variables = {name: filled(text, self.known) for name, text in step.get("env", {}).items()}
        return self.run(filled(step["run"], self.known), folder=folder, **variables)

    def outputs(self) -> dict[str, str]:
        text = Path(self.environment["GITHUB_OUTPUT"]).read_text()
        return dict(re.findall(r"^(\w+)<<(?:\S+)\n(.*)\n\S+$", text, re.MULTILINE))

    def manifests(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted(self.root.glob("**/cli/*/manifest.json"))]

    def _git(self, *words: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(
            ["git", *who, *words], cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


# ---------------------------------------------------------------- shapes


def test_the_page_has_an_example_of_each():
    assert set(EXAMPLES) == {WORKFLOW, WITH_ACTION, GITLAB, PRE_COMMIT}


@pytest.mark.parametrize("name", [WORKFLOW, WITH_ACTION])
def test_a_workflow_has_the_shape_that_is_documented(name):
    document = load(EXAMPLES[name])
    assert set(document) <= WORKFLOW_KEYS
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert job["runs-on"]
        for step in job["steps"]:
            assert set(step) <= STEP_KEYS - {"shell"}
            assert ("run" in step) != ("uses" in step)
        first = job["steps"][0]
        assert first["uses"].startswith("actions/checkout@")
        assert first["with"]["fetch-depth"] == 0


def test_the_action_has_the_shape_that_is_documented():
    assert set(ACTION_DOCUMENT) <= ACTION_KEYS
    assert {"name", "description", "runs"} <= set(ACTION_DOCUMENT)
    assert set(ACTION_DOCUMENT["runs"]) == {"using", "steps"}
    assert ACTION_DOCUMENT["runs"]["using"] == "composite"
    for name, each in ACTION_DOCUMENT["inputs"].items():
        assert re.fullmatch(r"[a-z_][a-z0-9_-]*", name)
        assert set(each) <= INPUT_KEYS
        assert each["description"]
        assert each.get("required") or isinstance(each["default"], str)
    ids = [step["id"] for step in ACTION_DOCUMENT["runs"]["steps"] if "id" in step]
    assert len(set(ids)) == len(ids)
    for step in ACTION_DOCUMENT["runs"]["steps"]:
        assert set(step) <= STEP_KEYS
        assert ("run" in step) != ("uses" in step)
        assert ("run" in step) == ("shell" in step)
        # An input in a script would be a part of the script.
        assert not EXPRESSION.search(step.get("run", ""))


def test_inputs_and_outputs_of_the_action_are_declared_used_and_documented():
    texts = values(ACTION_DOCUMENT["runs"])
    used = {name for text in texts for name in re.findall(r"inputs\.([\w-]+)", text)}
    assert used == set(ACTION_DOCUMENT["inputs"])
    rows = re.findall(r"^\| `([a-z-]+)` \| (?!the run succeeded)", PAGE, re.MULTILINE)
    assert set(rows) == used
    for name, each in ACTION_DOCUMENT["outputs"].items():
        assert each["description"]
        assert each["value"] == f"${{{{ steps.run.outputs.{name} }}}}"
        assert f"`{name}`" in PAGE


def test_the_workflow_gives_the_action_what_it_takes():
    (job,) = load(EXAMPLES[WITH_ACTION])["jobs"].values()
    action = next(step for step in job["steps"] if step.get("uses", "").startswith("OWNER/"))
    assert set(action["with"]) <= set(ACTION_DOCUMENT["inputs"])
    taken = {
        name for text in values(job) for name in re.findall(rf"steps\.{action['id']}\.outputs\.(\w+)", text)
    }
    assert taken <= set(ACTION_DOCUMENT["outputs"])


def kept(upload: dict[str, Any], known: dict[str, str]) -> list[str]:
    return filled(upload["with"]["path"], known).split()


# ---------------------------------------------------------------- the workflow, run


@pytest.mark.parametrize(
    ("command", "code", "status"), [("echo fine", 0, "succeeded"), ("exit 3", 1, "failed")]
)
def test_the_workflow_runs_and_keeps_the_evidence(job, command, code, status):
    job.define(command)
    document = load(EXAMPLES[WORKFLOW])
    job.stand_in("pipx", "exit 0")
    job.environment.update(document["env"])
    job.known = {"github.event.pull_request.base.sha": job.base}
    *_, install, run, upload = document["jobs"]["checks"]["steps"]
    assert job.step(install).returncode == 0
    assert job.calls.read_text() == f"pipx install --python python {document['env']['ORCHESTRATOR']}\n"
    done = job.step(run)
    assert done.returncode == code, done.stdout + done.stderr
    (manifest,) = job.manifests()
    assert (manifest["pipeline_id"], manifest["status"], manifest["task_id"]) == (
        "diagnostics",
        status,
        "shop",
    )
    assert job.outputs()["status"] == status
    assert "| a |" in Path(job.environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert upload["if"] == "${{ always() }}"
    assert upload["with"]["include-hidden-files"] is True
    assert all((job.root / path).is_dir() for path in kept(upload, {}))


# ---------------------------------------------------------------- claims, checked


@pytest.fixture
def claims(job):
    """The steps of the workflow that holds descriptions to evidence, in what they are called by."""
    (found,) = (each for each in BLOCK.finditer(CLAIMS_PAGE) if each["name"].endswith(".yml"))
    document = load(found["body"])
    assert set(document) <= WORKFLOW_KEYS
    assert document["permissions"] == {"contents": "read"}
    assert "edited" in document["on"]["pull_request"]["types"]
    job.environment.update(document["env"])
    job.stand_in("pipx", '[ "$1 $2 $4" = "run --spec codex-orchestrator" ] && exec "${@:4}"')
    steps = document["jobs"]["claims"]["steps"]
    for step in steps:
        assert set(step) <= STEP_KEYS - {"shell"}
        assert ("run" in step) != ("uses" in step)
        # What somebody writes in a description is never a part of a script.
        assert not EXPRESSION.search(step.get("run", ""))
    return steps


def test_a_description_is_held_to_the_evidence_of_its_commit(job, claims):
    checkout, restore, run, save, cite, check = claims
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.head.sha }}"
    assert (restore["id"], restore["with"]) == ("evidence", save["with"])
    assert run["if"] in save["if"]
    job.define("true", "checks")
    job.commit()
    assert job.step(run).returncode == 0
    assert all((job.root / path).is_dir() for path in kept(save, {}))
    assert job.step(cite).returncode == 0
    cited = Path(job.environment["GITHUB_STEP_SUMMARY"]).read_text()

    def checked(text: str) -> tuple[int, list[str]]:
        job.known["github.event.pull_request.body"] = text
        done = job.step(check)
        return done.returncode, [
            line.partition(":")[0] for line in done.stdout.splitlines() if "codex:" in line
        ]

    assert checked("It works.") == (1, [])
    assert checked(f"It works: $(touch owned) `touch owned`\n{cited}") == (0, ["SUPPORTED"] * 2)
    assert not (job.root / "owned").exists()
    assert checked(cited[:-6])[0] == 1
    # The next commit has evidence of its own.
    job.define("echo other", "checks")
    job.commit()
    assert checked(cited) == (1, ["STALE"] * 2)


# ---------------------------------------------------------------- the action, run


def act(job: Job, **inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the action's scripts: how the run ended, and the step that keeps its evidence."""
    defaults = {name: each.get("default", "") for name, each in ACTION_DOCUMENT["inputs"].items()}
    given = {**defaults, **{name.replace("_", "-"): text for name, text in inputs.items()}}
    job.known.update({f"inputs.{name}": text for name, text in given.items()})
    # It makes an environment with the orchestrator in it, without the network.
    script = f"""
        [ "$1 $2" = "-m venv" ] || exit 9
        mkdir -p "$3/bin"
        ln -s "{SCRIPTS}/codex-orchestrator" "$3/bin/"
        printf '#!/bin/sh\\necho "python $*" >> "{job.calls}"\\n' > "$3/bin/python"
        chmod +x "$3/bin/python"
    """
    job.stand_in(given["python"], script)
    install, run, upload = ACTION_DOCUMENT["runs"]["steps"]
    done = job.step(install)
    assert done.returncode == 0, done.stderr
    return job.step(run), upload


def test_the_action_installs_itself_into_an_environment_of_its_own(job):
    done, _ = act(job, python="python3.12")
    assert done.returncode == 0, done.stdout + done.stderr
    assert job.calls.read_text().splitlines() == [
        f"python3.12 -m venv {job.temporary}/codex-orchestrator",
        f"python -m pip install --quiet {ROOT}",
    ]
    assert (ROOT / "pyproject.toml").is_file(), "what is installed is the folder of the action"
    assert not Path(job.environment["GITHUB_PATH"]).exists()


@pytest.mark.parametrize(
    ("inputs", "pipeline", "task"),
    [
        ({}, "other", "shop"),
        ({"pipeline": "diagnostics"}, "diagnostics", "shop"),
        (
            {"pipeline": "diagnostics", "task": "pr-7", "arguments": "--jobs 2  --quiet"},
            "diagnostics",
            "pr-7",
        ),
        ({"arguments": "--task=pr-8"}, "other", "pr-8"),
    ],
)
def test_the_action_runs_what_it_is_told(job, inputs, pipeline, task):
    done, upload = act(job, **inputs)
    assert done.returncode == 0, done.stdout + done.stderr
    (manifest,) = job.manifests()
    assert (manifest["pipeline_id"], manifest["task_id"]) == (pipeline, task)
    assert job.outputs() == {
        "run_id": manifest["run_id"],
        "manifest": f".runs/{task}/cli/{manifest['run_id']}/manifest.json",
        "status": "succeeded",
    }
    assert all((job.root / path).is_dir() for path in kept(upload, job.known))
    assert filled(upload["with"]["name"], job.known) == "runs"


def test_the_action_fails_with_the_run_and_keeps_its_evidence(job):
    job.define("exit 3")
    done, upload = act(job)
    assert done.returncode == 1
    assert job.outputs()["status"] == "failed"
    assert upload["if"] == "${{ always() && inputs.artifact != '' }}"
    assert upload["with"]["include-hidden-files"] is True


def test_the_action_works_in_a_folder_of_the_workspace(job):
    (job.root / "packages/web").mkdir(parents=True)
    shutil.move(job.root / "codex.orchestrator.json", job.root / "packages/web")
    done, upload = act(job, working_directory="packages/web")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (job.root / "packages/web/.runs/shop").is_dir()
    assert kept(upload, job.known) == ["packages/web/.runs", "packages/web/out"]


@pytest.mark.parametrize(
    ("known", "base"),
    [
        ({}, ""),
        ({"github.event.pull_request.base.sha": "c3"}, "c3"),
        ({"github.event.pull_request.base.sha": "c3", "env.BASE_SHA": "b2"}, "b2"),
        ({"github.event.pull_request.base.sha": "c3", "env.BASE_SHA": "b2", "inputs.base": "a1"}, "a1"),
    ],
)
def test_stages_get_the_base_and_none_of_the_actions_own_variables(job, known, base):
    job.define('printf "%s" "$BASE_SHA/$PIPELINE$ARGUMENTS" > told')
    job.known.update(known)
    done, _ = act(
        job, pipeline="diagnostics", **({"base": known["inputs.base"]} if "inputs.base" in known else {})
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (job.root / "told").read_text() == f"{base}/"


@pytest.mark.parametrize(
    "text", ["$(touch forged)", "`touch forged`", "; touch forged", "'", '"; touch forged; "']
)
def test_what_an_input_says_is_no_script(job, text):
    done, _ = act(job, pipeline=text, arguments=text)
    assert done.returncode == 2
    assert not (job.root / "forged").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_action_takes_a_checkout_of_another_user(job):
    for path in (job.root, job.root / "codex.orchestrator.json"):
        os.chown(path, 65534, 65534)
    done, _ = act(job)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- GitLab


@pytest.mark.parametrize(("command", "code"), [("echo fine", 0), ("exit 3", 1)])
@pytest.mark.parametrize("request_base", [True, False])
def test_the_gitlab_job_runs_and_keeps_the_evidence(job, command, code, request_base):
    job.define(f'printf "%s" "$BASE_SHA" > told; {command}')
    (document,) = load(EXAMPLES[GITLAB]).values()
    assert set(document) <= {"image", "rules", "variables", "script", "artifacts"}
    assert document["variables"]["GIT_DEPTH"] == "0"
    del job.environment["GITHUB_ACTIONS"]
    job.environment.update(document["variables"], CI_PROJECT_DIR=str(job.root))
    if request_base:
        job.environment["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = job.base
    job.stand_in("python", f'[ "$2" = pip ] || exec "{sys.executable}" "$@"')
    done = job.run("\n".join(document["script"]))
    assert done.returncode == code, done.stdout + done.stderr
    assert f"python -m pip install {document['variables']['ORCHESTRATOR']}\n" in job.calls.read_text()
    assert (job.root / "told").read_text() == (job.base if request_base else "")
    artifacts = document["artifacts"]
    assert artifacts["when"] == "always"
    assert all((job.root / path).is_dir() for path in artifacts["paths"])
    assert "<testcase" in (job.root / artifacts["reports"]["junit"]).read_text()


# ---------------------------------------------------------------- pre-commit

PRE_COMMIT_PROGRAM = SCRIPTS / "pre-commit"
needs_pre_commit = pytest.mark.skipif(not PRE_COMMIT_PROGRAM.exists(), reason="pre-commit is not installed")


def pre_commit(job: Job, *words: str) -> subprocess.CompletedProcess[str]:
    job.environment.pop("GITHUB_ACTIONS", None)
    job.environment["PRE_COMMIT_HOME"] = str(job.temporary)
    return job.run(" ".join([f'"{PRE_COMMIT_PROGRAM}"', *words]))


def test_each_guard_is_a_hook():
    from codex_orchestrator.cli.guard import GUARDS

    assert {hook["id"]: (hook["entry"], hook["name"]) for hook in HOOKS if hook["id"] != "gate"} == {
        f"guard-{name}": (f"codex-orchestrator guard {name}", says) for name, says in GUARDS.items()
    }
    for hook in HOOKS:
        assert (hook["language"], hook["pass_filenames"], hook["always_run"]) == ("python", False, True)
    (gate,) = (hook for hook in HOOKS if hook["id"] == "gate")
    # What a commit is about to hold need not have run yet.
    assert (gate["entry"], gate["stages"]) == ("codex-orchestrator gate", ["pre-push", "manual"])
    (source,) = load(EXAMPLES[PRE_COMMIT])["repos"]
    assert {hook["id"] for hook in source["hooks"]} <= {hook["id"] for hook in HOOKS}


@needs_pre_commit
def test_pre_commit_takes_manifest_and_example(job):
    assert pre_commit(job, "validate-manifest", str(MANIFEST)).returncode == 0
    (job.root / PRE_COMMIT).write_text(EXAMPLES[PRE_COMMIT])
    done = pre_commit(job, "validate-config", PRE_COMMIT)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_pre_commit
def test_the_hooks_run_at_a_commit(job):
    # By what is installed: an environment of its own would need the network.
    hooks = [{**hook, "language": "system"} for hook in HOOKS]
    (job.root / PRE_COMMIT).write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": hooks}]}))
    assert pre_commit(job, "install").returncode == 0
    (job.root / "src").mkdir()
    (job.root / "src/a.py").write_text("x = 1\n")
    (job.root / "README.md").write_text("See `src/gone.py`.\n")
    commit = "git add . && git -c user.name=Ada -c user.email=ada@example.org commit --message=two"
    done = job.run(commit)
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "README.md:1: There is no src/gone.py. [docs-path]" in told
    assert "Code changed without a change under tasks/specs/" in told
    assert re.search(r"a change is small enough to be reviewed\.+Passed", told)
    (job.root / "README.md").write_text("See `src/a.py`.\n")
    spec = job.root / "tasks/specs/0001-a.md"
    spec.parent.mkdir(parents=True)
    spec.write_text("---\nid: 0001\ntitle: A\nlast_review: 2026-11-01\n---\n")
    done = job.run(commit, SKIP="guard-spec")
    assert done.returncode == 0, done.stdout + done.stderr
