"""From what is written to what may run: read, checked, ordered, planned."""
