"""Benchmarks: whole processes of this project side by side with those of a peer; see ``README.md`` here."""
