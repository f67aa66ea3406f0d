"""What is run again on the servers is told by what a test asks for; a mark against it says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.servers import DATABASES, again


class Item:
    """As much of a test as is asked for."""

    nodeid = "x"

    def __init__(self, *fixtures: str, marks: tuple[pytest.MarkDecorator, ...] = ()) -> None:
        self.fixturenames, self.marks = fixtures, marks

    def iter_markers(self, _name: str) -> list[pytest.Mark]:
        return [mark.mark for mark in self.marks]


def asked(*fixtures: str, marks: tuple[pytest.MarkDecorator, ...] = ()) -> bool:
    item: Any = Item(*fixtures, marks=marks)
    return again(item)


def test_who_asks_for_a_database_is_run_again_unless_marked() -> None:
    assert asked("app", "database_url") and asked("own_database")
    assert not asked("tmp_path")
    assert not asked("app", "database_url", marks=(pytest.mark.any_database("why"),))


@pytest.mark.parametrize("mark", [pytest.mark.any_database, pytest.mark.any_database("")])
def test_a_mark_without_its_reason_is_refused(mark: pytest.MarkDecorator) -> None:
    with pytest.raises(pytest.UsageError, match="reason"):
        asked("database_url", marks=(mark,))


def test_no_test_comes_to_a_servers_database_another_way() -> None:
    """Else it would be left out on the servers by its fixtures, and nobody would see it."""
    named = [path for path in Path(ROOT / "tests").rglob("*.py") if "new_database(" in path.read_text()]
    ways = [path.relative_to(ROOT).as_posix() for path in named if path.name != Path(__file__).name]
    assert ways == ["tests/conftest.py"]
    text = (ROOT / "tests" / "conftest.py").read_text()
    assert text.count("return new_database(") == len(DATABASES) and text.count("new_database(") == len(DATABASES) + 1
