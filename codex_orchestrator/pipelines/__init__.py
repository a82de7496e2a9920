"""What may run: definitions, their validation, and plans. Pure but for reading the definitions."""
