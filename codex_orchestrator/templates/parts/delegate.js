// Ends as codex-orchestrator does: the project's own, else the first on PATH, else a module of python3.
async function delegate(words) {
  const { spawn, spawnSync } = await import('node:child_process');
  const { accessSync, constants, readFileSync } = await import('node:fs');
  const { constants: system } = await import('node:os');
  const { delimiter, dirname, join, resolve } = await import('node:path');
  const { isatty } = await import('node:tty');

  // Whether a file can be run and is not the command of the same name that comes with an npm package.
  function isOurs(file) {
    try {
      accessSync(file, constants.X_OK);
      const [first] = readFileSync(file, 'latin1').split('\n', 1);
      return !file.includes('/node_modules/') && !/^#!.*[/ ]node(\s|$)/.test(first);
    } catch {
      return false;
    }
  }

  function find(root) {
    const own = join(root, '.venv');
    const searched = (process.env.PATH || '').split(delimiter);
    const folders = [join(process.env.VIRTUAL_ENV || own, 'bin'), join(own, 'bin'), ...searched];
    const found = folders.map((folder) => resolve(folder, 'codex-orchestrator')).find(isOurs);
    if (found !== undefined) {
      return [found];
    }
    const asked = spawnSync('python3', ['-P', '-c', 'import codex_orchestrator'], { stdio: 'ignore' });
    return asked.status === 0 ? ['python3', '-P', '-m', 'codex_orchestrator'] : null;
  }

  function end(code, message) {
    console.error(`error: ${message}`);
    process.exitCode = code;
  }

  const root = resolve(dirname(process.argv[1]), '..');
  const command = find(root);
  if (command === null) {
    end(127, 'codex-orchestrator was not found: install it, or put it on PATH.');
    return;
  }
  const [program, ...given] = command;
  const env = { ...process.env, CODEX_ORCHESTRATOR_ROOT: process.env.CODEX_ORCHESTRATOR_ROOT || root };
  const child = spawn(program, [...given, ...words], { stdio: 'inherit', env });
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      // Ctrl-C on a terminal reaches the child by itself, and a second one would cut its farewell short.
      if (signal !== 'SIGINT' || !isatty(0)) {
        child.kill(signal);
      }
    });
  }
  child.on('error', (error) => end(126, `${program} could not be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + system.signals[signal];
  });
}
