"""The guards, the hand-off of a run, and the git that they ask."""
