"""Packages of the npm registry, for tests that need the real ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_WORDS = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0")


def install(folder: Path, *packages: str) -> Path:
    """Install packages into a folder, and return its ``node_modules``; where that cannot be, skip."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        ["npm", "install", *_WORDS, "--prefix", str(folder), *packages],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {', '.join(packages)}: {done.stderr.strip()[-300:]}")
    return folder / "node_modules"
