"""Reads what an in-toto statement says of a run (docs/reference/files.md, "Signatures")."""

from __future__ import annotations

from typing import Any

from codex_orchestrator.evidence.manifests import object_in, read_manifest
from codex_orchestrator.evidence.sealed_files import sealed_file
from codex_orchestrator.evidence.sealing import NO_PLAN, read_seal
from codex_orchestrator.rules.layout import RunLayout
from codex_orchestrator.rules.statement import Attested, statement_of


def run_statement(layout: RunLayout) -> dict[str, Any]:
    """The statement of a run: by its seal, or, where it has none that counts, by its manifest as it is now.

    Raises:
        UnknownRun: Its manifest cannot be read.
    """
    manifest, seal = read_manifest(layout), read_seal(layout)
    if seal is not None and seal.status != manifest.get("status"):
        seal = None  # The run goes on.
    source, plan = object_in(layout.source, below=layout.base), object_in(layout.plan, below=layout.base)
    commit, tree = _of_source(source)
    digest = seal.plan_digest if seal is not None else plan.get("digest")
    as_it_is = sealed_file(layout, layout.manifest) if seal is None else None
    return statement_of(
        Attested(
            task_id=layout.task.task_id,
            run_id=layout.run_id,
            pipeline_id=str(manifest.get("pipeline_id")),
            status=str(manifest.get("status")),
            partial=seal is not None and seal.partial,
            plan_digest=digest if isinstance(digest, str) and digest != NO_PLAN else None,
            stages={str(each.get("id")): str(each.get("status")) for each in manifest["commands"]},
            evidence=seal.root if seal is not None else as_it_is.sha256 if as_it_is is not None else "",
            is_sealed=seal is not None,
            commit=commit,
            tree=tree,
        )
    )


def _of_source(source: dict[str, Any]) -> tuple[str | None, str | None]:
    """The commit and the tree that the run was of; none of a source that changed while it ran.

    Who trusts the statement believes it of whatever it names: a commit only where the work tree was its.
    """
    tree = source.get("end_tree")
    if not isinstance(tree, str) or source.get("start_tree") != tree:
        return None, None
    commit = source.get("commit")
    return (commit if isinstance(commit, str) and source.get("dirty") is False else None), tree
