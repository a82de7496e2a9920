"""From the definition file to a plan: read, checked, ordered, planned."""
