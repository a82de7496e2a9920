"""Guards: checks of a work tree that answer with findings, for people, agents and pipelines alike."""
