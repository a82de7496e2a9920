"""Small git repositories, made by tests and apart from this machine's settings."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

FRESH_SPEC = "---\nid: 1\nlast_review: 2026-03-30\n---\n# A spec\n"


@dataclass
class Repo:
    """A folder, and git in it."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env=self.environ,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def write(self, path: str, text: str = "x\n") -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def commit(self, *paths: str) -> str:
        """Write each of `paths` anew, commit all there is, and return the commit's hash."""
        for path in paths:
            self.write(path, FRESH_SPEC if path.endswith(".md") else f"{path} {os.urandom(8).hex()}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD")


def repository_of(root: Path, environment: dict[str, str], home: Path) -> Repo:
    """Make a folder a repository with a commit, and have commands of that environment see only its settings.

    Args:
        root: The folder.
        environment: Of those commands; changed.
        home: Where git finds nothing.
    """
    found = Repo(root, {**git_variables(home), "LC_ALL": "C"})
    environment |= {name: value for name, value in found.environ.items() if name.startswith("GIT_")}
    found.git("init", "--quiet", "--initial-branch", "main")
    found.write("src/a.txt", "a\n")
    found.write("src/b.txt", "b\n")
    found.commit()
    return found


def git_variables(home: Path) -> dict[str, str]:
    """An environment in which git knows nothing but what is in the repository."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": str(home),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
