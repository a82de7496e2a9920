"""The Node CLI's package, for the tests that hold us to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.npm import install

PACKAGE = "@kbediako/codex-orchestrator"
VERSION = "0.2.1"
# A folder whose node_modules has the package, for those who run this often.
INSTALLED = os.environ.get("CODEX_TEST_NODE_CLI")


@pytest.fixture(scope="session")
def node_package(tmp_path_factory) -> Path:
    """The Node CLI's package, installed once for all tests."""
    folder = Path(INSTALLED) if INSTALLED else tmp_path_factory.mktemp("node-cli")
    if not INSTALLED:
        install(folder, f"{PACKAGE}@{VERSION}")
    package = folder / "node_modules" / PACKAGE
    assert json.loads((package / "package.json").read_text())["version"] == VERSION
    return package
