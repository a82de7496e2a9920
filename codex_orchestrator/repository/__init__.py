"""The commands with which a repository builds, lints and tests, and which of them can run here."""
