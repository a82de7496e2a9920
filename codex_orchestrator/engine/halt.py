"""How a session ends early: a signal cancels it, or its evidence cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from codex_orchestrator.errors import OrchestratorError
from codex_orchestrator.execution.signals import Cancellation


class Halt:
    """What ended the session early, and the way to do it.

    Attributes:
        error: Why the evidence could not be written, or None.
        cancelled_by: The number of the signal that cancelled the session, or None; known once it is over.
        cancellation: Asks stages to end; None before the first run is opened and after the last is closed.
        running: Whether a command runs, which a signal ends.
        asking: Whether a person is being asked, whose answer a signal replaces.
        telling: Whether a plugin's hook is called, which a second signal ends.
    """

    def __init__(self, leave: Callable[[OrchestratorError], NoReturn]) -> None:
        """Nothing has ended anything.

        Args:
            leave: Ends the session for an error; it does not return.
        """
        self._leave = leave
        self.error: OrchestratorError | None = None
        self.cancelled_by: int | None = None
        self.cancellation: Cancellation | None = None
        self.running = False
        self.asking = False
        self.telling = False
        self._leaving: BaseException | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has cancelled the session, or it is over."""
        return self.cancellation is None or self.cancellation.requested

    @property
    def by(self) -> str | None:
        """The name of the signal that has cancelled the session, or None."""
        return self.cancellation.by or None if self.cancellation else None

    def signalled(self, stop: Callable[[str], object], number: int) -> None:
        """End the stages, then the session, which is told why by ``stop``."""
        cancellation = self.cancellation
        if cancellation is None:
            return
        cancellation.request(number)
        stop(f"cancelled by {cancellation.by}")
        # Nothing of ours is to be ended: someone's hook hangs, or a person is asked.
        hangs = self.telling or not self.running
        if self.asking or (cancellation.requests > 1 and hangs):
            raise KeyboardInterrupt

    def conclude(self) -> str | None:
        """From here on a signal changes nothing: runs end anyway, and their records must be whole.

        Returns:
            The name of the signal that cancelled the session, or None.
        """
        by, cancellation = self.by, self.cancellation
        self.cancellation = None
        if cancellation is not None:
            self.cancelled_by = cancellation.number
        return by

    def stop(self, error: OrchestratorError) -> NoReturn:
        """Evidence cannot be written: going on would be running without a record."""
        self.error = error
        self._leave(error)

    def leave(self, error: BaseException) -> None:
        """Raise what somebody ends the session with as soon as `recording` is done; the first counts."""
        self._leaving = self._leaving or error

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Evidence that cannot be written ends the session, and so does what wants to leave it.

        Raises:
            BaseException: What `leave` was given.
        """
        try:
            yield
        except OrchestratorError as error:
            self.stop(error)
        self.go_if_asked()

    def go_if_asked(self) -> None:
        """Raise what `leave` was given, now that everything is written down."""
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            raise leaving
