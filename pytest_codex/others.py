"""Other people's plugins: those made for tests kept away from stages, those the definitions name."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from codex_orchestrator.errors import ConfigurationError
from codex_orchestrator.preparation import Prepared


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


def unusable_plugin(prepared: Prepared, name: str, error: Exception) -> ConfigurationError:
    """The words for a plugin of the definitions that cannot be imported."""
    cause = error.__cause__ or error
    return ConfigurationError(
        f'{prepared.environment.config_path.name}: plugins: "{name}" cannot be imported: '
        f"{type(cause).__name__}: {cause}"
    )


def _is_of_pytest(plugin: Any) -> bool:
    name = getattr(plugin, "__name__", None) or type(plugin).__module__
    return name == "pytest" or name.startswith("_pytest.")
