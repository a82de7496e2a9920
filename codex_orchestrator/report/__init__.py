"""What people read: status, plan, runs, logs and failures as text and as JSON values."""
