#!/usr/bin/env bash
# Shows a run by codex-orchestrator, the latest where none is named, with this environment and its exit code:
#
#   scripts/mcp-runner-poll.sh [RUN] [--watch] [--interval SECONDS] [--format text|json]
#
# Made by `codex-orchestrator init`.
set -eu

# @delegate.sh@

if [[ $# -gt 0 && $1 != -* ]]; then
  delegate status --run "$@"
fi
delegate status "$@"
