#!/usr/bin/env bash
# Starts a run by codex-orchestrator, or goes on with one, with this environment and its exit code:
#
#   scripts/mcp-runner-start.sh [PIPELINE] [OPTION …]
#   scripts/mcp-runner-start.sh --resume RUN [OPTION …]
#
# Made by `codex-orchestrator init`.
set -eu

# @delegate.sh@

if [[ ${1:-} == --resume ]]; then
  shift
  delegate resume --run "$@"
fi
delegate start "$@"
