"""Zip files as bundles are (docs/reference/files.md, "Bundles")."""
