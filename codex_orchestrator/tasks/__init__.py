"""The records of tasks, and the pages that mirror them."""
