"""Running one command: processes, capture, and the events of both. It knows no store."""
