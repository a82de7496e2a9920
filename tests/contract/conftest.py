"""The Node CLI's package, for the tests that hold us to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = "@kbediako/codex-orchestrator"
VERSION = "0.2.1"
# A folder whose node_modules has the package, for those who run this often.
INSTALLED = os.environ.get("CODEX_TEST_NODE_CLI")


@pytest.fixture(scope="session")
def node_package(tmp_path_factory) -> Path:
    """The Node CLI's package, installed once for all tests."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = Path(INSTALLED) if INSTALLED else tmp_path_factory.mktemp("node-cli")
    if not INSTALLED:
        words = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--fetch-retries=0",
            "--prefix",
            str(folder),
        ]
        done = subprocess.run(
            [*words, f"{PACKAGE}@{VERSION}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot install {PACKAGE}@{VERSION}: {done.stderr.strip()[-300:]}")
    package = folder / "node_modules" / PACKAGE
    assert json.loads((package / "package.json").read_text())["version"] == VERSION
    return package
