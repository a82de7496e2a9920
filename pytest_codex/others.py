"""Keeping plugins that are made for tests from repeating stages."""

from __future__ import annotations

from typing import Any

import pytest


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


def _is_of_pytest(plugin: Any) -> bool:
    name = getattr(plugin, "__name__", None) or type(plugin).__module__
    return name == "pytest" or name.startswith("_pytest.")
