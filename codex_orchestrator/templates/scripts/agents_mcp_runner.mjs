#!/usr/bin/env node
// Hands what the MCP runner was asked for to codex-orchestrator, with this environment and its exit code:
//
//   node scripts/agents_mcp_runner.mjs start [PIPELINE] [OPTION …]
//   node scripts/agents_mcp_runner.mjs poll RUN [--watch] [--interval SECONDS]
//   node scripts/agents_mcp_runner.mjs resume --run-id RUN [--resume-token TOKEN]
//
// Its other commands can be called as well. Made by `codex-orchestrator init`.

// @delegate.js@

const TWINS = { '--run-id': '--run', '--resume-token': '--token' };

// The words of codex-orchestrator for those of the MCP runner.
function translate([command, ...rest]) {
  const words = rest.map((word) => word.replace(/^--[\w-]+/, (flag) => TWINS[flag] ?? flag));
  const names = ['poll', 'resume'].includes(command) && words.length > 0 && !words[0].startsWith('-');
  return [command === 'poll' ? 'status' : command, ...(names ? ['--run'] : []), ...words];
}

await delegate(process.argv.length > 2 ? translate(process.argv.slice(2)) : []);
