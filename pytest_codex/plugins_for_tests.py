"""What is made for tests, and kept away from stages, whichever way they run: all of it is here.

Plugins and settings that time out, repeat, reorder or select tests, measure their coverage or write their
reports are in most repositories; none of them says anything about a pipeline
(docs/reference/pytest-options.md, "Plugins and settings for tests"). `start` and workers do without most of
pytest's own, and without anybody else's: these see a run's stages in the process that owns the runs.
"""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codex_orchestrator import named

# Plugins. The first, for workers, makes a folder, and removes those of earlier sessions; the next two look
# for garbage; then one that ends the process after `faulthandler_timeout`. Of the last three, two repeat
# functions, and break on any other item; one leaves out what it has seen to import nothing that was changed.
_PLUGINS = (
    *("tmpdir", "unraisableexception", "threadexception", "faulthandler"),
    *("flakefinder", "pytest-retry", "pytest-testmon"),
)
# Options that count only where the command line has them: reports, which would replace those that the repo's
# tests have written in a stage, and thresholds. In `addopts` they are meant for tests.
_OPTIONS = (
    *("xmlpath", "htmlpath", "report_log", "md_report_output", "allure_report_dir"),
    *("json_report", "json_report_file", "cov_source", "cov_fail_under", "max_warnings", "session_timeout"),
)
# What keeps a threshold that stands in a file away, by option.
_NO_LIMIT = {"cov_fail_under": 0, "max_warnings": sys.maxsize, "session_timeout": float("inf")}
_WITHOUT_PATHS = "ignore:No files were found in testpaths:pytest.PytestConfigWarning"
_SECTIONS = (("tool", "pytest", "ini_options"), ("tool", "pytest"), ("pytest",), ("tool:pytest",))
# Plugins of pytest's that remember which tests failed, and which there were; the first belongs to the second.
_REMEMBERING = ("lfplugin-collwrapper", "lfplugin", "nfplugin", "stepwiseplugin")

_PARSER = pytest.StashKey[pytest.Parser]()
_COMMAND_LINE = pytest.StashKey[Namespace]()
# Builtin plugins that serve tests; leaving them out saves a tenth of the start.
_NOT_NEEDED = (
    "assertion",
    "cacheprovider",
    "debugging",
    "doctest",
    "faulthandler",
    "junitxml",
    "logging",
    "monkeypatch",
    "nose",
    "pastebin",
    "recwarn",
    "setuponly",
    "setupplan",
    "skipping",
    "stepwise",
    "terminal",
    "threadexception",
    "tmpdir",
    "unittest",
    "unraisableexception",
    "warnings",
)
# In one word each: xdist takes a word that is called as a folder is for a path.
BARE = (
    f"--config-file={os.devnull}",
    "--disable-plugin-autoload",
    "--noconftest",
    *(f"-pno:{name}" for name in _NOT_NEEDED),
)
# What a worker's pytest is started with, besides what distributes to it.
WORKER = ("--rootdir=.", *BARE, "-ppytest_codex.worker")
# With these, the environment has a say in it.
VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def keep_away(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Leave out what would be in the way, before other plugins look at the options.

    Args:
        early_config: The session's.
        parser: Knows all options.
        args: ``addopts`` and the command line, which pytest takes up from here.
    """
    known = early_config.known_args_namespace
    known.noconftest = True
    for name in _PLUGINS:
        early_config.pluginmanager.set_blocked(name)
    # For assertions it would compile each of our modules, anew where it cannot keep the result.
    rewriter: object = early_config.pluginmanager.rewrite_hook
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not rewriter]
    typed = list(map(str, early_config.invocation_params.args))
    early_config.stash[_PARSER] = parser
    early_config.stash[_COMMAND_LINE] = parser.parse_known_args(typed)
    added = len(args) - len(typed)
    # A conftest that is not loaded may have defined them.
    unknown = parser.parse_known_and_unknown_args(args[:added])[1]
    args[:added] = [word for word in args[:added] if word not in unknown]
    known.pythonwarnings = [*(known.pythonwarnings or ()), _WITHOUT_PATHS]
    heed_command_line(early_config, known)


def heed_command_line(config: pytest.Config, options: Namespace) -> None:
    """Take options that are about tests as the command line alone has them."""
    typed = config.stash.get(_COMMAND_LINE, None)
    for name in _OPTIONS if typed is not None else ():
        if hasattr(options, name):
            value = getattr(typed, name)
            setattr(options, name, _NO_LIMIT[name] if value is None and _is_limited(config, name) else value)


def _is_limited(config: pytest.Config, name: str) -> bool:
    """Whether a file of the repo may have set a threshold."""
    if name not in _NO_LIMIT:
        return False
    try:
        return config.getini(name) not in (None, "")
    except ValueError:
        return True  # Another file than pytest's.


def paths_asked_for(config: pytest.Config) -> list[str]:
    """The paths on the command line; those of ``addopts`` are where the repo's tests are."""
    typed = config.stash.get(_COMMAND_LINE, None)
    return list(typed.file_or_dir) if typed is not None else []


def make_names_known(config: pytest.Config) -> None:
    """Have pytest know the ini keys and markers that a conftest may define, where none is loaded.

    It takes unknown ones for mistakes, which end a strict session after collection.
    """
    parser = config.stash.get(_PARSER, None)
    if parser is not None and config.inipath is not None:
        for key in _keys(config.inipath):
            try:
                config.getini(key)
            except ValueError:
                parser.addini(key, "for tests")
    for name in re.findall(r"[^\s()=,]+", config.getoption("markexpr", "") or ""):
        config.addinivalue_line("markers", f"{name}: for tests")


def _keys(path: Path) -> Iterator[str]:
    """The keys of pytest's section in a file that pytest has read; the null device has none."""
    if named.kind(path) != "file":
        return
    text = named.read(path).decode("utf-8")
    if path.suffix == ".toml":
        import tomllib

        tables: dict[str, Any] = tomllib.loads(text)
    else:
        from configparser import RawConfigParser

        ini = RawConfigParser(strict=False, allow_no_value=True)
        ini.optionxform = str  # type: ignore[assignment,method-assign]
        ini.read_string(text)
        tables = {name: dict(section) for name, section in ini.items()}
    for section in _SECTIONS:
        table: Any = tables
        for name in section:
            table = table.get(name, {})
        yield from table


def keep_cache_apart(config: pytest.Config) -> None:
    """Have pytest remember stages beside the repo's tests, and not in their place: stages may run these."""
    cache = getattr(config, "cache", None)
    if cache is None:
        return
    config.cache = _StagesCache(cache)  # type: ignore[assignment]
    manager = config.pluginmanager
    for name in _REMEMBERING:
        plugin = manager.unregister(name=name) if manager.has_plugin(name) else None
        if plugin is not None and name != _REMEMBERING[0]:
            # It has read what there was when it was made.
            manager.register(type(plugin)(config), name)


class _StagesCache:
    """pytest's cache, with keys of our own."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: str, default: object) -> object:
        """What is there by that key, or the default."""
        return self._cache.get(f"codex-orchestrator/{key}", default)

    def set(self, key: str, value: object) -> None:
        """Keep a value."""
        self._cache.set(f"codex-orchestrator/{key}", value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


def run_by_pytest_alone(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    """Run an item once, by pytest's own protocol, whatever other plugins would make of it."""
    hook = item.config.hook.pytest_runtest_protocol
    left_out = [
        implementation.plugin
        for implementation in hook.get_hookimpls()
        # The wrappers around the call that brought us here are active already.
        if _is_wrapper(implementation) or not is_of_pytest(implementation.plugin)
    ]
    manager = item.config.pluginmanager
    return manager.subset_hook_caller("pytest_runtest_protocol", left_out)(item=item, nextitem=nextitem)


def setup_hooks(item: pytest.Item) -> tuple[Callable[..., object], Callable[..., object]]:
    """Two callers of ``pytest_runtest_setup``: of hooks that may keep an item from running, and of the rest.

    The rest is pytest's own setting up, and wrappers, which need the protocol around them.
    """
    manager = item.config.pluginmanager
    hooks = item.config.hook.pytest_runtest_setup.get_hookimpls()
    runner = manager.get_plugin("runner")
    rest = [hook.plugin for hook in hooks if _is_wrapper(hook) or hook.plugin is runner]
    deciding = [hook.plugin for hook in hooks if hook.plugin not in rest]
    return (
        manager.subset_hook_caller("pytest_runtest_setup", rest),
        manager.subset_hook_caller("pytest_runtest_setup", deciding),
    )


def is_of_pytest(plugin: Any) -> bool:
    """Whether a plugin comes with pytest."""
    name = getattr(plugin, "__name__", None) or type(plugin).__module__
    return name == "pytest" or name.startswith("_pytest.")


def _is_wrapper(implementation: Any) -> bool:
    return bool(implementation.wrapper or implementation.hookwrapper)


class PathlessCollection(ABC):
    """Hooks of collection, so that the repo's tests are never looked at."""

    @abstractmethod
    def collected(self, session: pytest.Session) -> list[pytest.Item | pytest.Collector]:
        """The nodes right below the session."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect here, also where xdist would leave that to its workers."""
        session.perform_collect(args=[])
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        """Answer for the session."""
        if not isinstance(collector, pytest.Session):
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, self.collected(collector))
