"""Which tests are run again on PostgreSQL and MariaDB: those that ask for a database, unless it makes no difference which.

Who asks for none is told by the fixtures, not by a mark. A mark says why: what on the servers proves the same.
"""

from __future__ import annotations

import os

import pytest

DATABASES = frozenset({"database_url", "own_database"})  # the only two ways to one that DOUZHOU_TEST_SERVER names


def again(item: pytest.Item) -> bool:
    """Whether a test is run on a server, too; a mark without its reason is refused."""
    marks = list(item.iter_markers("any_database"))
    if not all(len(mark.args) == 1 and isinstance(mark.args[0], str) and mark.args[0] for mark in marks):
        raise pytest.UsageError(f"{item.nodeid}: any_database needs its reason, any_database('why')")
    return not marks and not DATABASES.isdisjoint(getattr(item, "fixturenames", ()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if again(item)]
    if os.environ.get("DOUZHOU_TEST_SERVER"):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
