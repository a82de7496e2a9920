"""Whether pytest-xdist distributes this session, and what of it we rely on.

Together with `scheduling` this is all of ours that touches xdist, and execnet below it: their options, what
they hand to workers, and the names that have to be there.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import pytest

# Where xdist hands a worker what its controller has for it.
_INPUT = "codex_orchestrator"
# What xdist has without a user's saying, and what it would make of --tx.
_PLAIN = ("load", "no")
# What brings xdist into a worker that loads nothing by itself.
PLUGIN = "xdist.plugin"

_KNOWN = "pytest-xdist 3.8"

# What has to be there, by where it is: functions and properties that are called, and errors that are caught.
_NAMES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("xdist.workermanage", "WorkerController", ("send_runtest_some", "notify_inproc", "shutting_down")),
    # Its loop calls `worker_…` for what `notify_inproc` names.
    ("xdist.dsession", "DSession", ("worker_runtest_protocol_complete",)),
    ("execnet", "Gateway", ("newchannel", "remote_exec", "exit")),
    ("execnet.gateway_base", "Channel", ("send", "receive", "setcallback", "waitclose")),
    ("execnet", "HostNotFound", ()),
    ("execnet", "RemoteError", ()),
)
# The hooks that we implement, with the arguments that they take of it.
HOOKS: dict[str, tuple[str, ...]] = {
    "pytest_xdist_setupnodes": ("specs",),
    "pytest_xdist_newgateway": ("gateway",),
    "pytest_configure_node": ("node",),
    "pytest_testnodedown": ("node", "error"),
    "pytest_xdist_make_scheduler": (),
}
_OF_NODES = ("gateway", "workerinput")


def is_distributed(config: pytest.Config) -> bool:
    """Whether xdist is there and is to run this session."""
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


def workers_of(config: pytest.Config) -> int:
    """How many workers a session is distributed over; 0 where it is not."""
    return len(config.getoption("tx")) if is_distributed(config) else 0


def unheeded(config: pytest.Config) -> str | None:
    """The way to distribute tests that was asked for, and that stages do not go by; None where none was."""
    way: str = config.getoption("dist")
    return None if way in _PLAIN else way


def settle(option: Namespace) -> None:
    """Have xdist take ``--tx`` alone for a wish to distribute, and not replace dying workers for ever."""
    if getattr(option, "tx", None):
        if option.dist == "no":
            option.dist = "load"
        if option.maxworkerrestart is None:
            option.maxworkerrestart = 4 * len(option.tx)


# ------------------------------------------------------------------ what a worker is handed


def hand_over(node: Any, given: Mapping[str, Any]) -> None:
    """Have a worker that is about to be started find something: plain values, and a channel."""
    node.workerinput[_INPUT] = dict(given)


def handed_over(config: pytest.Config) -> Mapping[str, Any]:
    """What `hand_over` has left for this worker."""
    given: Mapping[str, Any] = config.workerinput[_INPUT]  # type: ignore[attr-defined]
    return given


# ------------------------------------------------------------------ what has to be there


def require(config: pytest.Config, scheduler: type) -> None:
    """Refuse an xdist that has not what we rely on, before anything is written.

    Args:
        config: The session's.
        scheduler: What is to schedule stages, and has to have all that xdist asks of that.

    Raises:
        pytest.UsageError: Something is not there; it says what.
    """
    hooks = config.pluginmanager.hook
    _refuse([*_missing_names(), *_missing_hooks(hooks), *_unknown_to(scheduler)])


def require_of_node(node: Any) -> None:
    """The same of a worker as xdist has it, which is known only when there is one.

    Raises:
        pytest.UsageError: Something is not there; it says what.
    """
    _refuse([f"{type(node).__name__}.{name}" for name in _OF_NODES if not hasattr(node, name)])


def _refuse(missing: Iterable[str]) -> None:
    if names := ", ".join(missing):
        raise pytest.UsageError(
            f"pytest-xdist {_release('pytest-xdist')} with execnet {_release('execnet')} lacks what stages "
            f"on workers need: {names}. Install another release ({_KNOWN} is known to work), or run stages "
            "at once in this process (--codex-jobs)."
        )


def _release(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of an unknown version"


def _missing_names() -> Iterator[str]:
    for module, name, parts in _NAMES:
        found = _found(module, name)
        if found is None:
            yield f"{module}.{name}"
            continue
        yield from (f"{module}.{name}.{part}" for part in parts if not hasattr(found, part))


def _missing_hooks(hooks: Any) -> Iterator[str]:
    for name, arguments in HOOKS.items():
        spec = getattr(getattr(hooks, name, None), "spec", None)
        if spec is None or not set(arguments) <= set(spec.argnames):
            yield f"hook {name}({', '.join(arguments)})"


def _unknown_to(scheduler: type) -> Iterator[str]:
    """What xdist asks of a scheduler, and ours does not have."""
    asked = _found("xdist.scheduler.protocol", "Scheduling")
    if asked is None:
        yield "xdist.scheduler.protocol.Scheduling"
        return
    for name in vars(asked):
        if not name.startswith("_") and not hasattr(scheduler, name):
            yield f"schedulers without {name}"


def _found(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None
