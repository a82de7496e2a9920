"""A plugin that writes down every call of a hook, with what can be known only then: a line of JSON each.

Not a test: `test_hooks.py` copies it into projects. The file is the one that HOOKS names.
"""

import json
import os
import threading
from pathlib import Path

from codex_orchestrator.model.codec import to_json
from codex_orchestrator.model.events import encode

inside = []


def note(hook, manifest, nodeid, **told):
    alone = not inside
    inside.append(hook)
    line = {
        "hook": hook.removeprefix("pytest_codex_"),
        "run": manifest.run_id,
        "nodeid": nodeid,
        "alone": alone,
        "main": threading.current_thread() is threading.main_thread(),
        "pid": os.getpid(),
        **told,
    }
    with Path(os.environ["HOOKS"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    inside.pop()


def folder(config, manifest):
    return Path(os.environ["PROJECT"]) / manifest.artifact_root


def pytest_codex_run_started(config, manifest, nodeid):
    note("pytest_codex_run_started", manifest, nodeid, status=manifest.status)


def pytest_codex_stage_started(config, manifest, entry, nodeid):
    note("pytest_codex_stage_started", manifest, nodeid, entry=to_json(entry))


def pytest_codex_event(config, manifest, event, nodeid):
    line = encode(event)
    log = (folder(config, manifest) / "runner.ndjson").read_bytes()
    note("pytest_codex_event", manifest, nodeid, line=line.decode(), is_last=log.endswith(line))


def pytest_codex_stage_completed(config, manifest, entry, nodeid, chunks):
    lines = [encode(chunk).decode() for chunk in chunks]
    note("pytest_codex_stage_completed", manifest, nodeid, entry=to_json(entry), chunks=lines)


def pytest_codex_run_completed(config, manifest, nodeid):
    on_disk = json.loads((folder(config, manifest) / "manifest.json").read_text(encoding="utf-8"))
    note("pytest_codex_run_completed", manifest, nodeid, final=to_json(manifest), on_disk=on_disk)
