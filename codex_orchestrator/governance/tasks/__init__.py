"""Tasks: their index and registry, the files a task begins with, and the copies that are kept in step."""
