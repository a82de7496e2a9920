"""How Sphinx builds these pages: furo for the looks, MyST for Markdown, nothing from the network."""

project = "codex-orchestrator"
author = "the codex-orchestrator authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]

# Headings down to this level can be linked to, as `page.md#heading`.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "codex-orchestrator"
html_copy_source = False
html_show_sourcelink = False
