"""A heartbeat never sets ``updated_at`` back."""

from __future__ import annotations


def test_a_finished_manifest_is_not_older_than_its_end(project):
    project.pipeline("true", "true")
    manifest = project.start("work").manifest
    assert manifest["updated_at"] >= manifest["completed_at"] >= manifest["started_at"]
    assert manifest["updated_at"] >= manifest["heartbeat_at"]
