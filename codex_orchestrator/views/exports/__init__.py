"""Runs in formats of other tools, a module each: its ``export`` gives the content of a file.

From the evidence alone, at any instant, and also of a run that was killed.
"""

from __future__ import annotations

from importlib import import_module

from codex_orchestrator.rules.layout import RunLayout

FORMATS = {"in-toto": "in_toto"}
"""The module of each format, by the name that users know it by."""


def exported(layout: RunLayout, name: str) -> bytes:
    """A run in the format of a name.

    Raises:
        UnknownRun: Its manifest cannot be read.
        StorageError: A file of it cannot be read.
    """
    content: bytes = import_module(f"{__name__}.{FORMATS[name]}").export(layout)
    return content
