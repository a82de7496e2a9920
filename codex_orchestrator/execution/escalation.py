"""When a signal that asks a process to end is followed by SIGKILL."""

from __future__ import annotations


class Escalation:
    """A grace period by the monotonic clock, given again while somebody who ends others needs it.

    Attributes:
        due: When the grace is over; None while nobody was asked to end, and once SIGKILL is due.
    """

    def __init__(self, grace_seconds: float, *, extensions: int) -> None:
        """Nobody was asked yet.

        Args:
            grace_seconds: How long whoever was asked to end has for it.
            extensions: How often the grace is given once more to those that need it.
        """
        self.due: float | None = None
        self._grace = grace_seconds
        self._extensions = extensions

    def begin(self, now: float) -> None:
        """Somebody was asked to end."""
        self.due = now + self._grace

    def is_over(self, now: float) -> bool:
        """Whether the grace is over, so that `kills` has to be asked."""
        return self.due is not None and now >= self.due

    def kills(self, now: float, *, needs_longer: bool) -> bool:
        """Whether it is time for SIGKILL, which is said once.

        Args:
            now: By the clock that `begin` was told.
            needs_longer: Whether somebody is among them who may be about to do the same to others.
        """
        if not self.is_over(now):
            return False
        if self._extensions and needs_longer:
            self._extensions -= 1
            self.due = now + self._grace
            return False
        self.due = None
        return True
