"""Which pushes may be worked on: the rule written plainly, beside what is picked from random tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing
from app.extensions import db
from app.models import InboundEvent, InboundState, ThirdPartyApp
from app.operations.inbound import process, queues
from app.operations.inbound.events import URGENT

S = InboundState
OPEN = {S.RECEIVED, S.PROCESSING}
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Row:
    """What the rule looks at; `seconds` from now is when it may be worked on, or its lease ends."""

    appid: str
    event: str
    state: InboundState
    seconds: int | None
    other: bool = False  # of another third-party app: its queue is another, whatever the appid


ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(["", "tt1", "tt1", "tt2", "tt3"]),
        st.sampled_from(["MODIFY_APP_NAME", "MESSAGE:text", *URGENT]),
        st.sampled_from([S.RECEIVED, S.RECEIVED, S.PROCESSING, S.DONE, S.FAILED]),
        st.sampled_from([-60, -60, 60, None]),
        st.booleans(),
    ),
    max_size=14,
)


def plainly(rows: dict[int, Row]) -> list[int]:
    """The rule, row by row."""

    def ready(row: Row) -> bool:
        return row.state in OPEN and row.seconds is not None and row.seconds < 0

    def waits(number: int, row: Row) -> bool:
        queue = (row.other, row.appid)
        return any(n < number and (one.other, one.appid) == queue and one.state in OPEN for n, one in rows.items())

    urgent = [number for number, row in rows.items() if ready(row) and row.event in URGENT]
    others = [
        number
        for number, row in rows.items()
        if ready(row) and row.event not in URGENT and (not row.appid or not waits(number, row))
    ]
    return urgent + others


def put(session: Session, owner_id: int, rows: list[Row], now: datetime) -> dict[int, Row]:
    """The rows by their numbers."""
    session.execute(sa.delete(InboundEvent))
    second = insert_missing(session, ThirdPartyApp, {"appid": "ttsecond"})[0]
    found = {}
    for number, row in enumerate(rows):
        at = None if row.seconds is None else now + row.seconds * SECOND
        waiting = row.state == S.RECEIVED
        event = InboundEvent(
            unique_key=f"{number}",
            third_party_app_id=second.id if row.other else owner_id,
            receiver="message",
            event=row.event,
            appid=row.appid,
            state=row.state,
            lease_until=None if waiting else at,
            not_before=at if waiting and at is not None else now + 60 * SECOND,
        )
        session.add(event)
        session.flush()
        found[event.id] = row
    session.commit()
    return found


@pytest.fixture
def one_row_a_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Windows so small that the rule has to hold across them."""
    monkeypatch.setattr(queues, "A_WINDOW", 2)
    after = queues.TABLE.c.id > sa.bindparam("after")
    monkeypatch.setattr(queues, "_OPEN", queues._both(after, waiting=2, at_work=None))
    yield


@pytest.mark.usefixtures("one_row_a_window")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, most=st.integers(1, 16))
def test_what_is_picked_is_what_the_rule_says(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, rows: list[Row], most: int
) -> None:
    stands = put(session, third_party_app.id, rows, utcnow())
    assert queues.due(app, most) == plainly(stands)[:most]


def waiting(appid: str = "tt1", seconds: int = -60, state: InboundState = S.RECEIVED) -> Row:
    return Row(appid, "MESSAGE:text", state, seconds)


@pytest.mark.parametrize(
    ("rows", "follows"),
    [
        ([waiting(), waiting("tt2"), waiting()], None),  # the first is open still
        ([waiting(state=S.DONE), waiting("tt2"), waiting()], 2),
        ([waiting(state=S.DONE), waiting("tt2")], None),
        ([waiting(state=S.DONE), waiting(seconds=60), waiting()], None),
        ([waiting(state=S.DONE), waiting(state=S.PROCESSING, seconds=60), waiting()], None),
        ([waiting(state=S.DONE), waiting(), waiting(state=S.PROCESSING, seconds=60)], 1),
        ([waiting("", state=S.DONE), waiting("")], None),
    ],
)
def test_the_next_of_an_app_follows_once_the_one_before_is_over(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, rows: list[Row], follows: int | None
) -> None:
    numbers = list(put(session, third_party_app.id, rows, utcnow()))
    found = queues.behind(app, third_party_app.id, rows[0].appid, numbers[0])
    assert found == (None if follows is None else numbers[follows])


@pytest.fixture
def restless(app: Flask) -> Iterator[Callable[[int], None]]:
    """Takes a queue's first event up, or lays it back, after every statement that asks for what is open."""
    with app.app_context():
        engine = db.engine
    first: list[int] = []

    def turn(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not first or not statement.lstrip("(").startswith("SELECT") or "inbound_event" not in statement:
            return
        table, number = queues.TABLE, first.pop()
        other = sa.case((table.c.state == S.RECEIVED, S.PROCESSING), else_=S.RECEIVED)
        with engine.begin() as elsewhere:
            elsewhere.execute(sa.update(table).where(table.c.id == number).values(state=other))
        first.append(number)

    sa.event.listen(engine, "after_cursor_execute", turn)
    yield first.append
    sa.event.remove(engine, "after_cursor_execute", turn)


@pytest.mark.parametrize("state", [S.RECEIVED, S.PROCESSING])
def test_what_passes_from_waiting_to_work_while_one_looks_is_not_overtaken(
    app: Flask,
    session: Session,
    third_party_app: ThirdPartyApp,
    restless: Callable[[int], None],
    state: InboundState,
) -> None:
    rows = [waiting(state=S.DONE), waiting(seconds=60, state=state), waiting()]
    before, first, second = put(session, third_party_app.id, rows, utcnow())
    restless(first)
    assert second not in queues.due(app, 10)
    assert queues.behind(app, third_party_app.id, "tt1", before) != second


def watch_picks(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What each look into the queues gives from now on."""
    picks: list[list[int]] = []
    due = queues.due
    monkeypatch.setattr(queues, "due", lambda *asked: picks.append(found := due(*asked)) or found)
    return picks


def test_others_are_looked_for_again_before_a_long_queue_is_over(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(session, third_party_app.id, [waiting()] * 4, utcnow())
    monkeypatch.setattr(process, "A_MOMENT", 0.0)
    picks = watch_picks(monkeypatch)
    assert process.process_due(app, 4) == 4
    assert [len(found) for found in picks] == [1, 1, 1, 1]


def test_a_long_queue_is_worked_off_in_order_by_one_pick(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = put(session, third_party_app.id, [waiting("tt1" if n % 2 else "tt2") for n in range(40)], utcnow())
    monkeypatch.setattr(process, "A_MOMENT", 60.0)
    worked: list[tuple[str, int]] = []
    picks = watch_picks(monkeypatch)
    one = process._one

    def watched(app: Flask, push: process.Push) -> None:
        worked.append((push.appid, push.id))
        one(app, push)

    monkeypatch.setattr(process, "_one", watched)
    assert process.process_due(app, 40) == 40
    assert len(picks) == 1
    for appid in ("tt1", "tt2"):
        assert [number for at, number in worked if at == appid] == [
            n for n, row in stands.items() if row.appid == appid
        ]
