"""Benchmarks: whole processes of this project side by side with the Node CLI; see ``README.md`` here."""
