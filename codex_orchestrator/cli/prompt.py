"""Asking a person at the terminal (docs/reference/manifest.md, "Approvals")."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from codex_orchestrator.model.definitions import ManualStage
from codex_orchestrator.model.manifest import Manifest
from codex_orchestrator.rules.approvals import Actor, Answer, ApprovalDecision, Ask, actor_kind
from codex_orchestrator.text import flattened, printable

_DECISIONS: dict[str, ApprovalDecision] = {
    "a": "approved",
    "approve": "approved",
    "r": "rejected",
    "reject": "rejected",
}
_LATER = ("l", "later")
# What a terminal keeps of a line.
_LONGEST_LINE = 4096


def current_actor(name: str | None = None) -> Actor:
    """The actor of this command, by login name where no name is given."""
    login = name or os.environ.get("LOGNAME") or os.environ.get("USER") or ""
    return Actor(flattened(login) or _account(), actor_kind(os.environ, terminal=_on_terminal()))


def _account() -> str:
    """The name of the account that this process runs under, or its number where it has none."""
    import pwd  # Rarely needed: services and containers set no LOGNAME.

    try:
        return flattened(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return f"uid {os.getuid()}"


def asker(arguments: argparse.Namespace) -> Ask | None:
    """The function that asks about manual stages, or None where no person can be asked."""
    actor = current_actor()
    if arguments.no_interactive or arguments.format == "json" or actor.kind != "tty":
        return None

    def ask(manifest: Manifest, stage: ManualStage) -> Answer | None:
        try:
            return _ask(manifest, stage, actor) if _in_foreground() else None
        except OSError:
            return None  # The terminal has gone away, and the person with it.

    return ask


def ask_passphrase(key: str) -> str | None:
    """Ask for the passphrase of a key, which is not shown; None where no person can be asked."""
    if not (_on_terminal() and _in_foreground()):
        return None
    from getpass import getpass

    try:
        return getpass(f"Passphrase of {printable(key)}: ", stream=sys.stderr) or None
    except EOFError:
        return None


def _ask(manifest: Manifest, stage: ManualStage, actor: Actor) -> Answer | None:
    where = printable(f"{manifest.pipeline_id}::{stage.id}, run {manifest.run_id}")
    _say(f"\nApproval: {flattened(stage.title)} ({where})\n")
    for line in (stage.instructions or "").splitlines():
        _say(f"  |  {flattened(line)}\n")
    _forget_keys(sys.stdin.fileno())
    while True:
        word = _answer("Approve, reject or later? [a/r/l] ")
        if word is None or word.lower() in _LATER:
            return None
        decision = _DECISIONS.get(word.lower())
        if decision is not None:
            break
    reason = _answer("Reason (may be empty): ")
    # Whoever hangs up at the second question has not decided.
    return None if reason is None else Answer(decision, actor, reason or None)


def _forget_keys(terminal: int) -> None:
    """Drop what was typed before the question, while stages ran: it was no answer to it."""
    try:
        termios.tcflush(terminal, termios.TCIFLUSH)
    except termios.error as error:
        raise OSError(*error.args) from error


def _answer(question: str) -> str | None:
    """A line from the terminal without its blanks, or None at its end."""
    _say(question)
    line = _read_line(sys.stdin.fileno())
    if not line:
        _say("\n")
    # What is no text in this terminal's encoding must be no more than a wrong answer.
    return line.decode(sys.stdin.encoding, "replace").strip() if line else None


def _read_line(terminal: int) -> bytes:
    """A line with its end, or what there was before the end of all input.

    Raises:
        KeyboardInterrupt: A signal's handler raises it. Python calls handlers between two of its own
            steps, and so never for a signal that comes just before a read begins; hence the waiting.
    """
    line = b""
    with _woken_by_signals() as wake:
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([terminal, wake], [], [])
            if terminal in ready:
                piece = os.read(terminal, _LONGEST_LINE)
                if not piece:
                    break
                line += piece
            else:
                os.read(wake, 1)
    return line


@contextmanager
def _woken_by_signals() -> Iterator[int]:
    """A descriptor that can be read from once a signal has come."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _on_terminal() -> bool:
    return all(_is_terminal(stream) for stream in (sys.stdin, sys.stderr))


def _is_terminal(stream: TextIO | None) -> bool:
    # A program that is started without one of them has None in its place.
    return stream is not None and not stream.closed and stream.isatty()


def _in_foreground() -> bool:
    """Whether the terminal listens to us: a job in the background that reads is stopped."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return True  # Not the terminal that this session's jobs are controlled from.
