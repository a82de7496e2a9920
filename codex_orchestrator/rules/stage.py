"""What execution is given and what it returns: a StageRequest in, a StageOutcome out."""

# No postponed annotations: `codec` reads both by the types that stand here, where they come from elsewhere.

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from codex_orchestrator.dataclass import dataclass
from codex_orchestrator.model.codec import Mismatch, from_json, to_json
from codex_orchestrator.privacy.policy import PrivacyPolicy


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What each attempt of a command has to show beside its exit code, and where.

    Attributes:
        root: The folder that patterns start from, absolute.
        closed: Folders of evidence, absolute: nothing in them counts.
        junit: A pattern of JUnit files, or None.
        tests: How many tests they must have, at least.
        pattern: A text of its output, or None.
        files: Patterns, each of which must name a file that it has written.
    """

    root: str
    closed: tuple[str, ...] = ()
    junit: str | None = None
    tests: int = 1
    pattern: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageRequest:
    """All that execution needs to know to run one command, wherever it runs.

    Attributes:
        index: The stage's 1-based place in the pipeline.
        stage_id: The stage's id.
        command: The shell command line.
        cwd: Absolute working folder.
        environ: The process's whole environment.
        timeout_seconds: When to end it, or None.
        stream_bytes: How much of the end of each stream to keep in memory.
        attempt: The number of the first attempt, from 1.
        retries: How many more attempts may follow a failed one.
        session_id: The session label for the log, or None for one of its own.
        persisted: Whether the session is labelled as persisted.
        privacy: What must not come out of it as it is.
        mark: What all that it starts has in its environment, as variables with a NUL between; empty where
            process groups alone are known.
        run_dir: The folder of its run, absolute.
        expected: What an attempt has to show beside its exit code, or None.
    """

    index: int
    stage_id: str
    command: str
    cwd: str
    environ: Mapping[str, str]
    timeout_seconds: float | None
    stream_bytes: int
    attempt: int = 1
    retries: int = 0
    session_id: str | None = None
    persisted: bool = False
    privacy: PrivacyPolicy = field(default_factory=PrivacyPolicy)
    mark: str = ""
    run_dir: str = ""
    expected: Expected | None = None

    def plain(self) -> dict[str, Any]:
        """The request as plain values; of secrets in its environment, only the names."""
        names = {value: name for name, value in self.environ.items()}
        policy = self.privacy
        privacy = {
            "mode": policy.mode,
            "rules": [vars(rule) for rule in policy.rules],
            "secrets": [{"variable": names[each]} if each in names else each for each in policy.secrets],
        }
        expected = self.expected and to_json(self.expected)
        return {**vars(self), "privacy": privacy, "expected": expected}

    @classmethod
    def of(cls, values: Any) -> "StageRequest":
        """The request that came as `plain` values, in which lists are lists, and not tuples.

        Raises:
            Mismatch: They are none.
        """
        try:
            privacy, environ = values["privacy"], values["environ"]
            secrets = privacy["secrets"]
            if not isinstance(secrets, list):
                raise Mismatch
            secrets = [environ[each["variable"]] if isinstance(each, dict) else each for each in secrets]
            values = {**values, "privacy": {**privacy, "secrets": secrets}}
        except (KeyError, TypeError):
            raise Mismatch from None
        return from_json(cls, values)


@dataclass(frozen=True)
class StageOutcome:
    """How a command ended, at its last attempt.

    Attributes:
        status: What the end means.
        exit_code: 0…255; 128 + n after signal n; 127 or 126 where it could not be started; None
            where it is not known.
        signal: The name of the signal that ended it, or None.
        duration_ms: From spawn to end, monotonic.
        stdout: The end of the output, decoded.
        stderr: The end of the error output, decoded.
        stdout_truncated: Whether there was more output than was kept.
        stderr_truncated: Likewise for the error output.
        cause: Why it could not be started or watched, or None.
        missing: What its stage expected and it has not shown, where it has failed for nothing else; or None.
        cancelled_by: The signal that cancelled it, or None.
        timeout_seconds: The limit that it ran into, or None.
        correlation_id: The id of the attempt in the log.
        frames: Events logged of the attempt.
        attempt: The number of the attempt.
        retried: Whether others failed before it.
    """

    status: Literal["succeeded", "failed", "timeout", "cancelled"]
    exit_code: int | None
    signal: str | None = None
    duration_ms: int = 0
    stdout: str = ""
    stderr: str = ""
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    cause: str | None = None
    missing: str | None = None
    cancelled_by: str | None = None
    timeout_seconds: float | None = None
    correlation_id: str | None = None
    frames: int = 0
    attempt: int = 1
    retried: bool = False


# What cancels a command where no signal does.
END_OF_SESSION = "the end of the session"
LOSS_OF_EVIDENCE = "a loss of evidence"


def interruption(outcome: StageOutcome) -> str | None:
    """``Timed out after 2 s``, ``Cancelled by SIGINT``, or None where the command ended by itself."""
    if outcome.status == "timeout":
        return f"Timed out after {outcome.timeout_seconds:.12g} s"
    if outcome.status == "cancelled":
        return f"Cancelled by {outcome.cancelled_by}"
    return None


def failure_words(outcome: StageOutcome) -> str:
    """How a command failed, in a few words: what `interruption` says, or ``Exited with code 1``.

    With code 0, what was missing is said.
    """
    words = interruption(outcome)
    if words is not None:
        return words
    if outcome.missing:
        return f"Exited with code {outcome.exit_code}, but {outcome.missing}"
    if outcome.signal:
        return f"Terminated with signal {outcome.signal}"
    return f"Exited with code {outcome.exit_code}"
