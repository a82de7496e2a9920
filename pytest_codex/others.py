"""Other people's plugins: those made for runs are loaded, those made for tests kept away from stages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib import import_module, metadata
from typing import Any

import pytest

from codex_orchestrator.errors import ConfigurationError
from codex_orchestrator.preparation import Prepared

ENTRY_POINTS = "codex_orchestrator"
# What names a plugin, where a message says that it comes from, and how to come by it.
Found = tuple[str, str, Callable[[], Any]]


def load_plugins(manager: pytest.PytestPluginManager, prepared: Prepared, *, installed: bool = True) -> None:
    """Load the plugins that are installed for runs, and those that the definitions name, each once.

    Args:
        manager: The session's.
        prepared: What will run.
        installed: Whether to look for installed ones.

    Raises:
        ConfigurationError: One cannot be imported, or has a hook that there is not.
    """
    found = [*(_installed() if installed else ()), *_named(prepared)]
    line = prepared.options.guard.line
    loaded = [(where, _load(manager, name, where, imported, line)) for name, where, imported in found]
    # Only now, as a plugin may bring hooks that another implements.
    for where, plugin in loaded:
        for unknown in _unknown_hooks(manager, plugin):
            raise ConfigurationError(f"{where} implements {unknown}, and there is no such hook.")


def _installed() -> Iterator[Found]:
    """Plugins by their entry points, in the order of their names."""
    # Most distributions have none of ours, and to find that out needs no parser.
    marked = [
        distribution
        for distribution in metadata.distributions()
        if f"[{ENTRY_POINTS}]" in (distribution.read_text("entry_points.txt") or "")
    ]
    points = {
        point.name: (point, distribution)
        for distribution in reversed(marked)  # As in an import, the first on the path counts.
        for point in distribution.entry_points.select(group=ENTRY_POINTS)
    }
    for name, (point, distribution) in sorted(points.items()):
        yield name, f'Installed plugin "{name}" ({distribution.name} {distribution.version})', point.load


def _named(prepared: Prepared) -> Iterator[Found]:
    file = prepared.environment.config_path.name
    for name in prepared.definitions.configuration.plugins:
        yield name, f'{file}: plugins: "{name}"', partial(import_module, name)


def _load(
    manager: pytest.PytestPluginManager,
    name: str,
    where: str,
    imported: Callable[[], Any],
    line: Callable[[str], str],
) -> Any:
    """The plugin, registered by now; None where the user has blocked it. ``line`` makes errors fit."""
    if manager.is_blocked(name):
        return None
    try:
        plugin = imported()
    except (Exception, pytest.skip.Exception) as error:
        told = line(f"{where} cannot be imported: {type(error).__name__}: {error}")
        raise ConfigurationError(told) from error
    # It may be there by another name: from -p, or as a plugin that pytest has found itself.
    if not manager.is_registered(plugin):
        try:
            manager.register(plugin, name)
        except Exception as error:
            told = line(f"{where} cannot be used: {type(error).__name__}: {error}")
            raise ConfigurationError(told) from error
    return plugin


def _unknown_hooks(manager: pytest.PytestPluginManager, plugin: Any) -> Iterator[str]:
    for caller in manager.get_hookcallers(plugin) or ():
        optional = any(each.optionalhook for each in caller.get_hookimpls() if each.plugin is plugin)
        if not caller.has_spec() and not optional:
            yield caller.name


def run_by_pytest_alone(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    """Run an item once, by pytest's own protocol, whatever other plugins would make of it."""
    hook = item.config.hook.pytest_runtest_protocol
    left_out = [
        implementation.plugin
        for implementation in hook.get_hookimpls()
        # The wrappers around the call that brought us here are active already.
        if implementation.wrapper or implementation.hookwrapper or not _is_of_pytest(implementation.plugin)
    ]
    manager = item.config.pluginmanager
    return manager.subset_hook_caller("pytest_runtest_protocol", left_out)(item=item, nextitem=nextitem)


class KeysOfTests:
    """Has pytest accept keys of the ini file that it does not know.

    It checks them once it has collected. Those that a repo defines in its conftest are unknown where
    no conftest is loaded, and a pipeline run needs none of them.
    """

    def __init__(self, config: pytest.Config) -> None:
        config.addinivalue_line("filterwarnings", "ignore:Unknown config option:pytest.PytestConfigWarning")
        self._collected = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Let the check after collecting pass where it is an error; as a warning it is filtered out."""
        try:
            return (yield)
        except pytest.UsageError:
            if not self._collected:
                raise
            return True

    def pytest_collection_finish(self) -> None:
        """From here on only checks are left."""
        self._collected = True


def _is_of_pytest(plugin: Any) -> bool:
    name = getattr(plugin, "__name__", None) or type(plugin).__module__
    return name == "pytest" or name.startswith("_pytest.")
