"""State machines as data: every state has its row, its words and a way to it; a move that the table has not is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from app.data.types import State, Words, words_of
from app.errors import Refused
from app.models.kit.base import Model, StateMachine
from app.models.mini_program import AuthorizationState, MiniProgram
from app.models.version import Version, VersionState

pytestmark = pytest.mark.any_database("asks the tables of states, no database")
MACHINES = sorted(
    (kind for mapper in Model.registry.mappers if issubclass(kind := mapper.class_, StateMachine)),
    key=lambda kind: kind.__name__,
)
A, V = AuthorizationState, VersionState
# What may never be, whatever else changes.
NEVER = [
    (Version, V.UPLOADED, V.RELEASED),
    (Version, V.UPLOADED, V.APPROVED),
    (Version, V.AUDITING, V.RELEASED),
    (Version, V.REJECTED, V.RELEASED),
    (Version, V.WITHDRAWN, V.RELEASED),
    *((Version, V.ROLLED_BACK, state) for state in V),
]


def states(kind: Any) -> list[Any]:
    column: State = kind.__table__.c.state.type
    return list(column.enum)


def words(kind: Any) -> Words:
    return words_of(kind.__table__.c.state.type.enum)


def moves() -> Iterator[tuple[Any, Any, Any]]:
    for kind in MACHINES:
        yield from ((kind, *pair) for pair in itertools.product(states(kind), repeat=2))


def test_the_machines_are_found() -> None:
    assert {MiniProgram, Version} <= set(MACHINES)


@pytest.mark.parametrize("kind", MACHINES)
def test_every_state_has_its_row_its_words_and_a_way_to_it(kind: Any) -> None:
    assert set(kind.NEXT) == set(states(kind)) == set(words(kind))
    begun, more = set[Any](), {kind.__table__.c.state.default.arg}
    while more - begun:
        begun |= more
        more = {target for state in begun for target in kind.NEXT[state]}
    assert begun == set(states(kind))


@pytest.mark.parametrize(("kind", "state", "target"), list(moves()))
def test_a_row_moves_as_its_table_has_it_and_no_further(kind: Any, state: Any, target: Any) -> None:
    row = kind(state=state)
    if target in kind.NEXT[state]:
        assert row.move_to(target).state == target
        return
    with pytest.raises(Refused, match=f"「{words(kind)[state]}」不能变为「{words(kind)[target]}」"):
        row.move_to(target)
    assert row.state == state


@pytest.mark.parametrize(("kind", "state", "target"), NEVER)
def test_nothing_goes_live_that_was_not_approved_and_nothing_comes_back(kind: Any, state: Any, target: Any) -> None:
    assert target not in kind.NEXT[state]
