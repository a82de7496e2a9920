"""Runs a dozen pipelines with two builds, and compares all that they leave: only ids and times may differ.

``python tests/among/compare_builds.py OLD NEW``, each a checkout; both run on this interpreter. Output may
come in pieces of any size, so that each stage prints once, or in one piece.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = {
    "succeeds": [{"command": "echo out"}, {"command": "echo err >&2"}],
    "fails": [{"command": "echo before; exit 3"}, {"command": "true"}],
    "is allowed to fail": [{"command": "exit 4", "allowFailure": True}, {"command": "true"}],
    "dies by a signal": [{"command": "kill -TERM $$"}],
    "runs out of time": [{"command": "sleep 30", "timeoutSeconds": 0.3}],
    "is tried again": [{"command": "test -e again || { touch again; exit 1; }", "retries": 1}],
    "cannot be started": [{"command": "true", "cwd": "nowhere"}],
    "is a graph": [
        {"command": "true"},
        {"command": "exit 1", "needs": []},
        {"command": "true", "needs": ["s1", "s2"]},
        {"command": "true", "needs": ["s1"]},
    ],
    "waits": [{"kind": "manual"}, {"command": "true"}],
    "has secrets": [
        {"command": "echo token=abcdef123456"},
        {"command": "echo $MY_SECRET", "env": {"MY_SECRET": "kelp-harbour"}},
    ],
    "has a guard": [{"id": "spec-guard", "command": "true"}],
    "prints more than a summary holds": [{"command": "printf %0300d 7"}],
    "has a child": [{"kind": "subpipeline", "pipeline": "child"}, {"command": "true"}],
}
ENFORCED = {"CODEX_PRIVACY_GUARD_MODE": "enforce"}
# Times, ids, digests of what has them, and what the machine says of itself.
VARYING = (
    (re.compile(r"\bin \d+\.\d+ s\b"), "in <seconds>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d[.-]\d{3}Z?(?:-[0-9a-f]{8})?"), "<moment>"),
    (re.compile(r"(?:sha256:)?\b[0-9a-f]{64}\b"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b|\b[0-9a-f]{16,32}\b"), "<id>"),
    (
        re.compile(
            r'"(duration_ms|duration_seconds|average_duration_seconds|covered_bytes|delay_ms)": ?[\d.]+'
        ),
        r'"\1": 0',
    ),
    (re.compile(r'"(pid|start|start_token|boot|boot_id|host|heartbeat_writes)": ?[^,\n}]+'), r'"\1": 0'),
)


def main(old: str, new: str) -> int:
    """Print what differs; 1 where anything does."""
    different = 0
    for name, stages in COMMANDS.items():
        for variables in ({}, ENFORCED) if name == "has secrets" else ({},):
            left, right = (left_behind(Path(build).resolve(), stages, variables) for build in (old, new))
            lines = list(difflib.unified_diff(left, right, "old", "new", lineterm="", n=1))
            what = f"{name}{' (enforced)' if variables else ''}, {len(left)} lines"
            print(f"{'differs' if lines else 'same'}: {what}")
            print("\n".join(line[:160] for line in lines[:40]))
            different += bool(lines)
    return 1 if different else 0


def left_behind(build: Path, stages: list[dict], variables: dict[str, str]) -> list[str]:
    """Every line of every file that a run leaves, and what it printed, without what may differ."""
    root = Path(tempfile.mkdtemp(prefix="builds-"))
    project = root / "project"
    project.mkdir()
    named = [
        {"kind": "command", "id": f"s{number}", "title": f"S{number}", **stage}
        for number, stage in enumerate(stages, start=1)
    ]
    child = {"kind": "command", "id": "c", "title": "C", "command": "echo child"}
    pipelines = [
        {"id": "work", "title": "Work", "stages": named},
        {"id": "child", "title": "Child", "stages": [child]},
    ]
    (project / "codex.orchestrator.json").write_text(json.dumps({"taskId": "t", "pipelines": pipelines}))
    environ = {"PATH": os.defpath, "HOME": str(root), "PYTHONPATH": str(build), "USER": "u", **variables}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "codex_orchestrator", "start", "work", "--format", "json"],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [f"exit code {done.returncode}", *done.stdout.splitlines(), *done.stderr.splitlines()]
    # Runs by their ids, which begin with when they began.
    for path in sorted(path for path in project.rglob("*") if path.is_file()):
        if path.name not in (".heartbeat", "run.lock"):
            lines.append(f"## {path.relative_to(project)} {oct(path.stat().st_mode)}")
            lines += path.read_text(encoding="utf-8").splitlines()
    shutil.rmtree(root)
    return [plain(line, root) for line in lines]


def plain(line: str, root: Path) -> str:
    """A line without what differs from run to run."""
    line = line.replace(str(root), "<root>")
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
