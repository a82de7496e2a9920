"""The commands that are tried on each trap; ``{p}``, ``{waits}`` … stand for the ids of runs."""

from __future__ import annotations

# They write nothing, so one world serves them all.
READERS = [
    *("status --run latest", "status --format json", "status --run {p}", "status --run {waits}"),
    *("status --run {nests} --format json", "runs", "runs --format json"),
    *("logs", "logs --format json", "logs --run {p} --stage a", "metrics", "metrics --format json", "doctor"),
    *("plan", "plan nests --format json", "version", "schema manifest"),
    *("validate .runs out codex.orchestrator.json", "validate --format json ."),
    *("export --format in-toto", "export --format in-toto --run {p}"),
    *("review", "review --run {p} --format json"),
    *("guard spec", "guard docs", "guard evidence", "guard diff-budget"),
    *("verify", "verify --all --format json", "verify --run {nests}", "cite", "cite --run {p} --format json"),
    *("gate", "gate p nests --format json", "check codex.orchestrator.json", "tree HEAD"),
    *("gc --dry-run", "gc --dry-run --keep 0", "task sync --check"),
]
WRITERS = [
    *("tree", "gate p --tree worktree"),
    *("gc", "gc --keep 0", "task sync", "task new 0042-x", "init"),
    *("bundle -o x.zip", "bundle --run {nests} --logs failed", "bundle --run {waits} -o .runs/x.zip"),
    *("cancel --run latest --wait 1", "cancel --run {p} --wait 1", "cancel --run {waits} --wait 1"),
    *("approve --run {waits} --stage ok", "reject --run {waits} --stage ok"),
    "approve --run {waits} --stage ok --resume",
    *("start p -q", "start nests --jobs 2", "start implementation-gate --only spec-guard -q"),
    *("resume --run {fails}", "resume --run latest", "resume --run {p}", "resume --run {waits}"),
]
COMMANDS = [*READERS, *WRITERS]
# docs/reference/command-line.md, "Exit codes"
CODES = {0, 1, 2, 3, 75}
