"""A repository that a stranger made, and beside it what it must not reach.

    world/home    folders and files of the user's, all with a word that must turn up nowhere
    world/repo    the repository: definitions, and the evidence of some runs

In ``home/mirror`` lies a copy of the repository: whatever a link in the repository stands for, its
counterpart there is as good a target as can be.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CANARY = "CANARY-5b1f0c"
# What the stages of the template print; in the mirror the canary stands for it.
_PRINTED = "printed-by-a-stage"
TASK = "T"
_GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
_DEFINITIONS = {
    "taskId": TASK,
    "defaultPipeline": "p",
    "pipelines": [
        {
            "id": "p",
            "title": "P",
            "stages": [
                {"kind": "command", "id": "a", "title": "A", "command": f"echo {_PRINTED}"},
                {"kind": "command", "id": "spec-guard", "title": "G", "command": "true"},
            ],
        },
        {
            "id": "fails",
            "title": "F",
            "stages": [{"kind": "command", "id": "f", "title": "F", "command": f"echo {_PRINTED}; exit 3"}],
        },
        {
            "id": "waits",
            "title": "W",
            "stages": [
                {"kind": "command", "id": "a", "title": "A", "command": f"echo {_PRINTED}"},
                {"kind": "manual", "id": "ok", "title": "OK"},
            ],
        },
        {
            "id": "nests",
            "title": "N",
            "stages": [{"kind": "subpipeline", "id": "n", "title": "N", "pipeline": "p"}],
        },
    ],
}
_SECRET_FILES = {
    ".bashrc": f"alias l=ls # {CANARY}",  # No newline at its end: the last line is the one that is cut.
    ".profile": f"# {CANARY}\n",
    "docs/thesis.txt": f"{CANARY}\n",
    "docs/x.json": f'{{"{CANARY}": 1}}\n',
    "bin/spec-guard.sh": f"#!/bin/sh\necho {CANARY}\n",
    "creds": f'{{"type":"exec:chunk","index":1,"data":"{CANARY}\\n"}}\n',
    "alias.json": json.dumps({"taskId": TASK, "pipelines": [], "review": {"command": f"echo {CANARY}"}}),
}


@dataclass(frozen=True)
class World:
    """One copy of it, and the runs in it.

    Attributes:
        folder: Where it lies.
        runs: By pipeline, the id of the run of it in the template.
        victim: A process of the user's that has nothing to do with any run.
    """

    folder: Path
    runs: dict[str, str]
    victim: int = 0

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def task(self) -> Path:
        return self.repo / ".runs" / TASK

    def run(self, pipeline: str = "p") -> Path:
        return self.task / "cli" / self.runs[pipeline]

    def edit(self, path: Path, **changes: object) -> None:
        """Change keys of a JSON document."""
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def owner(self, process: int, /, **changes: object) -> str:
        """What a lock says that is held by that process on this machine."""
        try:
            start = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
        except OSError:
            start = None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        named = {"pid": process, "start_token": start, "host": os.uname().nodename, "boot_id": boot}
        return json.dumps({**named, **changes})


def make_template(folder: Path) -> World:
    """Make a world without traps, by what the commands really write."""
    repo, home = folder / "repo", folder / "home"
    repo.mkdir(parents=True)
    (folder / "tmp").mkdir()
    (repo / "codex.orchestrator.json").write_text(json.dumps(_DEFINITIONS))
    (repo / "AGENTS.md").write_text("Be careful.\n")
    (repo / "scripts").mkdir()
    (repo / "tasks").mkdir()
    (repo / "docs").mkdir()
    (repo / "docs" / "AGENTS.md").write_text("Be careful with docs.\n")
    (repo / "tasks" / "tasks-0001-x.md").write_text("# Task List\n- [ ] something\n")
    (repo / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    (repo / ".gitignore").write_text("*.pyc\n")
    environment = environment_of(folder)
    for pipeline, code in (("waits", 3), ("fails", 1), ("nests", 0), ("p", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "codex_orchestrator", "start", pipeline, "-q"],
            cwd=repo,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
    for words in (("init", "-q", "--template="), ("add", "-Af"), ("commit", "-qm", "all"), ("gc", "-q")):
        subprocess.run(["git", *words], cwd=repo, env=environment, check=True)
    shutil.copytree(repo, home / "mirror", symlinks=True, ignore=shutil.ignore_patterns(".git"))
    for path in (home / "mirror").rglob("*"):
        if path.is_file():
            text = path.read_text()
            path.write_text(text.replace(_PRINTED, CANARY) if _PRINTED in text else text)
    for name, text in _SECRET_FILES.items():
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (home / "bin" / "spec-guard.sh").chmod(0o755)
    found = sorted((repo / ".runs" / TASK / "cli").iterdir())
    by_pipeline: dict[str, str] = {}
    for run in found:
        document = json.loads((run / "manifest.json").read_text())
        if document["parent_run_id"] is None:
            by_pipeline[document["pipeline_id"]] = run.name
    return World(folder, by_pipeline)


def environment_of(folder: Path) -> dict[str, str]:
    """What commands in a world know of the machine; their own home is an empty folder."""
    nobody = {
        f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "TERM": "dumb",
        "TMPDIR": str(folder / "tmp"),
        **_GIT,
        **nobody,
    }


# What is outside.


def listing(folder: Path) -> dict[str, tuple]:
    """Everything below a folder: kind and rights, time of the last change, and what is in it."""
    found = {}
    for path in _below(folder):
        entry = path.lstat()
        text: object = None
        if stat.S_ISLNK(entry.st_mode):
            text = path.readlink()
        elif stat.S_ISREG(entry.st_mode):
            text = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (oct(entry.st_mode), entry.st_mtime_ns, entry.st_size, text)
    return found


def _below(folder: Path, *, but: str = "") -> Iterator[Path]:
    """A folder and all in it, links among it, which are not followed."""
    if not folder.is_dir():
        return  # It is gone, which is a difference.
    yield folder
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != but]
        for name in [*folders, *files]:
            yield Path(here, name)


def differences(before: dict[str, tuple], after: dict[str, tuple]) -> list[str]:
    """What has changed between two listings."""
    names = sorted(before.keys() | after.keys())
    return [
        f"{'changed' if name in before and name in after else 'gone' if name in before else 'new'} {name}"
        for name in names
        if before.get(name) != after.get(name)
    ]


class Watch:
    """Tells which files and folders below a folder are opened, whoever does it."""

    _OPENED = 0x20

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names: dict[int, Path] = {}
        # All first: walking opens folders too.
        for path in list(_below(folder)):
            if path.is_dir() and not path.is_symlink():
                number = libc.inotify_add_watch(self._descriptor, os.fsencode(path), self._OPENED)
                self._names[number] = path.relative_to(folder)

    def opened(self) -> list[str]:
        """What was opened; afterwards nothing is watched any more."""
        found: set[str] = set()
        try:
            while data := os.read(self._descriptor, 1 << 16):
                place = 0
                while place < len(data):
                    number, _, _, size = struct.unpack_from("iIII", data, place)
                    name = data[place + 16 : place + 16 + size].rstrip(b"\0")
                    found.add(str(self._names[number] / os.fsdecode(name)))
                    place += 16 + size
        except BlockingIOError:
            pass
        finally:
            os.close(self._descriptor)
        return sorted(found)


def betrayed(repo: Path) -> list[str]:
    """The files of the repository that hold the word which is outside only; links are not followed."""
    found = []
    for path in _below(repo, but=".git"):
        is_small = not path.is_symlink() and path.is_file() and path.stat().st_size < 1 << 20
        if is_small and CANARY.encode() in path.read_bytes():
            found.append(str(path.relative_to(repo)))
    return found
