"""What a repository uses to build, lint and test, and what of it is there on this machine."""
