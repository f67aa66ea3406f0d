"""Which pushes may be worked on: the rule written plainly, beside what is picked from random tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing
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
    monkeypatch.setattr(queues, "_IN_ORDER", queues._IN_ORDER.limit(2))
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


def test_a_long_queue_is_worked_off_in_order_by_one_pick(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = put(session, third_party_app.id, [waiting("tt1" if n % 2 else "tt2") for n in range(40)], utcnow())
    worked: list[tuple[str, int]] = []
    picks = []
    due, one = queues.due, process._one
    monkeypatch.setattr(queues, "due", lambda *asked: picks.append(found := due(*asked)) or found)

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
