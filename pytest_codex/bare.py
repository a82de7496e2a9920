"""A pytest with only what runs need: the session that ``start`` is, and that of each worker.

Other people's plugins see a run's stages in the process that owns the runs, and nowhere else.
"""

from __future__ import annotations

import os

# Builtin plugins that serve tests; leaving them out saves a tenth of the start.
_NOT_NEEDED = (
    "assertion",
    "cacheprovider",
    "debugging",
    "doctest",
    "faulthandler",
    "junitxml",
    "logging",
    "monkeypatch",
    "nose",
    "pastebin",
    "recwarn",
    "setuponly",
    "setupplan",
    "skipping",
    "stepwise",
    "terminal",
    "threadexception",
    "tmpdir",
    "unittest",
    "unraisableexception",
    "warnings",
)
# In one word each: xdist takes a word that is called as a folder is for a path.
BARE = (
    f"--config-file={os.devnull}",
    "--disable-plugin-autoload",
    "--noconftest",
    *(f"-pno:{name}" for name in _NOT_NEEDED),
)
# What a worker's pytest is started with, besides what distributes to it.
WORKER = ("--rootdir=.", *BARE, "-ppytest_codex.worker")
# With these, the environment has a say in it.
VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
