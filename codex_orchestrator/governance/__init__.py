"""Governance: the rules a change is held to, apart from the running of it."""
