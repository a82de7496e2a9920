#!/usr/bin/env node
// Sums up the runs of a task by codex-orchestrator, with this environment and its exit code:
//
//   node scripts/mcp-runner-metrics.js [--task ID] [--format text|json]
//
// Runs as CommonJS and as an ES module. Made by `codex-orchestrator init`.

// @delegate.js@

delegate(['metrics', ...process.argv.slice(2)]);
