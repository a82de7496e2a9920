"""The pytest plugin: stages as items, hooks into events. Public pytest API only."""
