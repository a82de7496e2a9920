"""The hash of what agents of this repo are told (docs/reference/manifest.md, "Instructions")."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from codex_orchestrator import sources
from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.errors import Misplaced

SOURCES = ("AGENTS.md", "docs/AGENTS.md", ".agent/AGENTS.md")

# A tool may stamp the file with a digest of the rest of it, as its first line.
_STAMP = re.compile(r"\A\ufeff?<!--\s*codex:instruction-stamp\s+([0-9a-fA-F]{64})\s*-->(?:\r?\n)?")


@dataclass(frozen=True)
class Instructions:
    """The hash (None without sources), the files it covers, and warnings."""

    digest: str | None
    sources: tuple[str, ...]
    warnings: tuple[str, ...]


def read_instructions(root: Path) -> Instructions:
    """Read the repo's instruction files; they never stop a run."""
    texts, names, warnings = [], [], []
    for name in SOURCES:
        try:
            text = sources.read(root / name, root=root).decode("utf-8-sig", "replace")
        except FileNotFoundError:
            continue
        except Misplaced as error:
            warnings.append(f"Instructions {name} could not be read: {error.message}")
            continue
        except OSError as error:
            warnings.append(f"Instructions {name} could not be read: {error.strerror or error}.")
            continue
        stamp = _STAMP.match(text)
        body = text[stamp.end() :] if stamp else text
        if not body.strip():
            continue
        if stamp and stamp[1].lower() != _digest(body):
            warnings.append(f"Instructions {name}: the stamp does not match the text.")
        texts.append(body.strip())
        names.append(name)
    digest = _digest("\n\n".join(texts)) if texts else None
    return Instructions(digest, tuple(names), tuple(warnings))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
