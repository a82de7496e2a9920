"""Collection without paths: in the controller and in workers, the nodes are known beforehand."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest


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
