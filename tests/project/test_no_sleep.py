"""No test waits for a guess of time: it waits for what it waits for (tests.waiting), on a slow machine, too.

A sleep stands only where the slowness is itself what is asked about.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.project.test_no_wall_time import functions, sources

pytestmark = pytest.mark.any_database("reads the tests themselves")
SLEEPS = frozenset({"sleep", "wait_for_timeout"})
# By the name of the function around it: why it sleeps.
ALLOWED = {
    "wait_for": "the one loop that looks again",
    "press": "the same in a browser, which stands still unless it is told to wait",
    "test_a_finger_drags_a_row_by_its_handle_and_a_list_longer_than_the_window_scrolls": "the same",
    "script": "a peer that drips",
    "slow_reader": "a peer that is slow to read",
    "take": "a pace that is slow",
    "in_pieces": "a client whose pieces must not be sent as one",
    "do_POST": "a receiver that drips",
    "visit": "a person who loads a page again",
    "commit": "a turn of the other, whom the explorer lets go on",
}


def sleeps(tree: ast.AST) -> Iterator[str]:
    """The functions that sleep, each by the name of the innermost."""
    inside = {id(inner): node.name for node in functions(tree) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in SLEEPS:
            yield inside.get(id(node), "")


def test_no_test_sleeps_for_a_guess_of_time() -> None:
    texts = {path.name: text for path in sources() if re.search("|".join(SLEEPS), text := path.read_text())}
    found = {(file, name) for file, text in texts.items() for name in sleeps(ast.parse(text))}
    assert [where for where in found if where[1] not in ALLOWED] == []
    assert {name for _, name in found} == set(ALLOWED)  # none is allowed that does not need it


@pytest.mark.parametrize("code", ["time.sleep(1)", "sleep(0.1)", "page.wait_for_timeout(50)", "(lambda: sleep(1))()"])
def test_it_would_be_seen(code: str) -> None:
    assert list(sleeps(ast.parse(f"def test_x():\n def inner():\n  {code}"))) == ["inner"]
