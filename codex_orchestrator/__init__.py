"""Runs pipelines of stages for a task and leaves auditable evidence on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load_manifest", "validate_manifest"]

if TYPE_CHECKING:
    from .manifests import load_manifest, validate_manifest


def __getattr__(name: str) -> object:
    """The helpers for other tools are loaded when first asked for."""
    if name in ("load_manifest", "validate_manifest"):
        from . import manifests

        return getattr(manifests, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
