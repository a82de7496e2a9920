root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export CODEX_ORCHESTRATOR_ROOT="${CODEX_ORCHESTRATOR_ROOT:-$root}"

# Whether a file can be run and is not the command of the same name that comes with an npm package.
is_ours() {
  local first="" node='^#!.*[/ ]node([[:space:]]|$)'
  [[ -f $1 && -x $1 && $1 != */node_modules/* ]] || return 1
  IFS= read -r first < "$1" || true
  [[ ! $first =~ $node ]]
}

# Goes on as codex-orchestrator: the project's own, else the first on PATH, else a module of python3
# (-P: not one of the current folder's).
delegate() {
  local folder folders
  IFS=: read -r -a folders <<< "${VIRTUAL_ENV:-$root/.venv}/bin:$root/.venv/bin:${PATH:-}"
  for folder in "${folders[@]}"; do
    if is_ours "${folder:-.}/codex-orchestrator"; then
      exec "${folder:-.}/codex-orchestrator" "$@"
    fi
  done
  if python3 -P -c 'import codex_orchestrator' > /dev/null 2>&1; then
    exec python3 -P -m codex_orchestrator "$@"
  fi
  echo "error: codex-orchestrator was not found: install it, or put it on PATH." >&2
  exit 127
}
