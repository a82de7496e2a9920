"""Whoever reads what a command prints, while there is anyone."""

from __future__ import annotations

import errno


def is_gone(error: OSError) -> bool:
    """Whether printing failed because nobody reads any more: a closed pipe, or a terminal that hung up."""
    return error.errno in (errno.EPIPE, errno.EIO)
