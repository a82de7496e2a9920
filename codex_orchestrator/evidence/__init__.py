"""All that is on disk of runs: its one writer, its readers, and the records of finished runs."""
