"""Other people's plugins that are made for runs: found and loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module, metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import pytest

from codex_orchestrator import sources
from codex_orchestrator.engine.preparation import Prepared
from codex_orchestrator.errors import ConfigurationError

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
    file = prepared.environment.config_path
    for name in prepared.definitions.configuration.plugins:
        yield name, f'{file.name}: plugins: "{name}"', partial(_module, name, file.parent)


def _module(name: str, folder: Path) -> Any:
    """A module that Python finds by itself, or one beside the definition file.

    Of that folder, nothing but what is named comes in: it is not put on Python's path, where any file of it
    could take the place of a module that is missing.
    """
    package = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        spec = PathFinder.find_spec(package, [str(folder)]) if error.name == package else None
        if spec is None:
            raise
    _load_beside(spec, folder)
    return import_module(name)


def _load_beside(spec: ModuleSpec, folder: Path) -> None:
    for place in filter(None, (spec.origin, *(spec.submodule_search_locations or ()))):
        sources.within(Path(place), folder)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    if spec.loader is not None:
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[spec.name]
            raise


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
