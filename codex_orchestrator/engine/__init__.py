"""A run driven to its end: prepared, opened, its stages run and decided on, closed, and taken up again."""

MESSAGES = 2
"""The version of all in `messages`; here, where a worker can look it up before it imports anything else.

Raised with any change that a worker of the version before would not understand.
"""
