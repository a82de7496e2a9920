"""What reaches the disk, and how: files, locks, the coordinator, and the records of finished runs."""
