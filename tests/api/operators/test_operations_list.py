"""The list of operations by REST: order, pages, conditions, whose runs, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.models import Door, MiniProgram, OperationRun, RunState
from bench.console_site import counted
from tests.api.operators.test_operations_api import Rest
from tests.conftest import Actors

LIST = "/api/v1/operations/"


def run_of(row: MiniProgram, **given: Any) -> OperationRun:
    told = {"operation": "sync_versions", "door": Door.ROW, "state": RunState.SUCCEEDED, "result": {}} | given
    return OperationRun(
        merchant_id=row.merchant_id,
        subject_type="mini_program",
        subject_id=row.id,
        mini_program_id=row.id,
        appid=row.appid,
        lock_key=f"mini_program:{row.id}",
        **told,
    )


@pytest.fixture
def held(session: Session, actors: Actors) -> list[int]:
    """The numbers of seven runs, oldest first: five of alice's, then two of bob's."""
    made = [
        run_of(actors.alice_app),
        run_of(actors.alice_app, state=RunState.FAILED),
        run_of(actors.alice_app, operation="release"),
        run_of(actors.alice_app, batch_id="b" * 32, door=Door.BATCH),
        run_of(actors.alice_app, state=RunState.UNKNOWN, door=Door.REST),
        run_of(actors.bob_app),
        run_of(actors.bob_app, batch_id="b" * 32, door=Door.BATCH),
    ]
    for run in made:
        session.add(run)
        session.flush()
    session.commit()
    return [run.id for run in made]


def ids(rest: Rest, query: str = "") -> list[int]:
    answer = rest.get(f"{LIST}{query}")
    assert answer.status_code == 200, answer.json
    return [run["id"] for run in answer.json["result"]]


def test_the_newest_come_first_and_read_as_each_alone_does(app: Flask, held: list[int]) -> None:
    rest = Rest(app, "auditor")
    answer = rest.get(LIST).json
    assert (set(answer), answer["next"]) == ({"result", "next"}, None)
    assert [run["id"] for run in answer["result"]] == held[::-1]
    assert answer["result"] == [rest.get(f"{LIST}{run}").json for run in reversed(held)]


def test_pages_follow_one_another_by_key_while_new_runs_come(
    app: Flask, session: Session, actors: Actors, held: list[int]
) -> None:
    rest, found, query = Rest(app, "operator"), [], "?page_size=3"
    for _page in range(len(held)):
        answer = rest.get(f"{LIST}{query}").json
        found += [run["id"] for run in answer["result"]]
        session.add(run_of(actors.bob_app))
        session.commit()
        if answer["next"] is None:
            break
        query = f"?page_size=3&before={answer['next']}"
    assert found == held[::-1]


def test_a_last_page_that_is_full_has_none_after_it(app: Flask, held: list[int]) -> None:
    assert Rest(app, "operator").get(f"{LIST}?page_size={len(held)}").json["next"] is None


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("state=failed", [1]),
        ("state=unknown", [4]),
        ("operation=release", [2]),
        ("door=rest", [4]),
        (f"batch_id={'b' * 32}", [6, 3]),
        ("appid=ALICE", [4, 3, 2, 1, 0]),
        (f"appid=ALICE&batch_id={'b' * 32}", [3]),
        ("appid=nobody", []),
    ],
)
def test_each_condition_is_followed(app: Flask, actors: Actors, held: list[int], query: str, places: list[int]) -> None:
    asked = query.replace("ALICE", actors.alice_app.appid)
    assert ids(Rest(app, "operator"), f"?{asked}") == [held[place] for place in places]


def test_an_owner_sees_its_own_runs_only(app: Flask, actors: Actors, held: list[int]) -> None:
    rest = Rest(app, "owner", actors.alice)
    assert ids(rest) == held[4::-1]
    assert ids(rest, f"?appid={actors.bob_app.appid}") == []
    assert ids(rest, f"?batch_id={'b' * 32}") == [held[3]]
    assert ids(rest, f"?before={held[6]}&page_size=1") == [held[4]]


@pytest.mark.parametrize("role", ["staff", "clerk"])
def test_who_may_not_look_is_refused(app: Flask, actors: Actors, role: str) -> None:
    assert Rest(app, role, actors.alice).get(LIST).status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        *(f"page_size={text}" for text in ("", "0", "-1", "101", "x", "1.5", "９", "1" * 30)),
        *(f"before={text}" for text in ("", "0", "-1", "x", str(2**63), "1" * 30)),
        "state=",
        "state=done",
        "state=SUCCEEDED",
        "door=window",
        "operation=nothing",
        "operation=",
        "appid=",
        "batch_id=",
        "status=failed",
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(app: Flask, query: str) -> None:
    answer = Rest(app, "operator").get(f"{LIST}?{query}")
    name = query.partition("=")[0]
    assert (answer.status_code, answer.json["field"]) == (400, name)
    assert name in answer.json["message"] or name == "operation"


def test_a_long_list_takes_no_more_statements_than_a_short_one(app: Flask, session: Session, held: list[int]) -> None:
    rest, taken = Rest(app, "operator"), []
    for size in (1, len(held)):
        with counted(session.get_bind()) as sent:
            assert len(ids(rest, f"?page_size={size}")) == size
        taken.append(len(sent))
    assert taken[0] == taken[1] <= 3
