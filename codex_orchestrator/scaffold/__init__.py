"""What ``init`` writes into a repository (docs/reference/command-line.md, "init")."""
