"""Loads pytester for the tests; the plugin under test comes in by its own entry point."""

pytest_plugins = ["pytester"]
