"""A run driven to its end: prepared, opened, its stages run and decided on, closed, and taken up again."""
