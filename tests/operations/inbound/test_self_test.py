"""The self-test: by the public address or in the process, and which; never an event; the token once a minute."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.douyin.crypto import seal_push
from app.errors import Refused
from app.models import InboundEvent, RefusedPushCount, ThirdPartyApp
from app.operations.inbound import refusals, self_mark, self_test
from app.operations.inbound.receive import receive
from tests.conftest import COMPONENT, SandboxServer, change, fresh_ticket, refresh

PATH = f"/douyin/callback/{COMPONENT['appid']}/authorization"


class Other(BaseHTTPRequestHandler):
    """Somebody else's server at our address."""

    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b"success"
    seen: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.seen.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def elsewhere(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Other]]:
    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setitem(app.config, "PUBLIC_URL", f"http://127.0.0.1:{server.server_port}")
    Other.status, Other.body, Other.seen = 200, b"success", []
    yield Other
    server.shutdown()
    thread.join()


@pytest.fixture
def nowhere(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "PUBLIC_URL", "http://127.0.0.1:1")


def run(app: Flask, row: ThirdPartyApp) -> dict[str, Any]:
    return self_test.run(app, row.id, PATH)


def events(session: Session) -> list[str]:
    refresh(session)
    return list(session.scalars(sa.select(InboundEvent.event)))


def test_the_push_comes_back_through_the_public_address(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, live: str
) -> None:
    session.rollback()
    found = run(app, third_party_app)
    assert (found["way"], found["public"], found["push"]) == ("public", "ok", "ok")
    assert found["token"] == {"state": "no_ticket"}
    assert events(session) == []
    refusals.flush(app)
    assert session.scalars(sa.select(RefusedPushCount)).all() == []


def test_it_is_kept_in_the_row_without_a_mark_that_could_be_used(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, live: str
) -> None:
    before = third_party_app.changed_at
    session.rollback()
    found = run(app, third_party_app)
    refresh(session)
    row = session.get_one(ThirdPartyApp, third_party_app.id)
    assert row.self_test is not None
    assert (row.self_test["outcome"], row.self_test["marks"]) == (found, [])
    assert row.changed_at == before, "who has the form open would be told of a change"


def test_an_address_that_leads_nowhere_is_said_and_the_process_tests_itself(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, nowhere: None
) -> None:
    session.rollback()
    found = run(app, third_party_app)
    assert (found["way"], found["push"]) == ("process", "ok")
    assert "连接不上" in found["public"]
    assert events(session) == []


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(404, b"", "HTTP 404"), (403, b"", "HTTP 403"), (200, b"<html>", "elsewhere"), (200, b"success", "elsewhere")],
)
def test_who_answers_in_our_place_is_not_taken_for_us(
    app: Flask,
    session: Session,
    third_party_app: ThirdPartyApp,
    elsewhere: type[Other],
    status: int,
    body: bytes,
    said: str,
) -> None:
    elsewhere.status, elsewhere.body = status, body
    session.rollback()
    found = run(app, third_party_app)
    assert (found["way"], found["public"], found["push"]) == ("process", said, "ok")


def test_a_push_that_comes_after_its_test_has_given_it_up_is_no_event_either(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, elsewhere: type[Other]
) -> None:
    session.rollback()
    run(app, third_party_app)
    run(app, third_party_app)
    for late in elsewhere.seen:
        assert receive(app, COMPONENT["appid"], "message", late, "127.0.0.1")
    assert events(session) == []
    assert receive(app, COMPONENT["appid"], "message", elsewhere.seen[0], "127.0.0.1")
    assert events(session) == [self_mark.EVENT], "a mark is used up"


def test_tests_of_one_app_at_once_do_not_cross(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, live: str
) -> None:
    session.rollback()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: run(app, third_party_app), range(4)))
    assert {item["public"] for item in found} == {"ok"}
    assert events(session) == []


def body_of(mark: object) -> bytes:
    event = {"Event": self_mark.EVENT, "TpAppId": COMPONENT["appid"], "Mark": mark}
    settings = {name: COMPONENT[name] for name in ("token", "aes_key", "appid")}
    return seal_push(event, now=utcnow(), **settings)


def arrive(app: Flask, mark: object) -> None:
    assert receive(app, COMPONENT["appid"], "message", body_of(mark), "127.0.0.1")


@pytest.mark.parametrize("mark", ["", "guess", None, 7, "签" * 300])
def test_only_the_mark_keeps_a_push_out_of_the_list(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, mark: object
) -> None:
    session.rollback()
    arrive(app, mark)
    assert events(session) == [self_mark.EVENT]
    self_mark.issue(app, third_party_app.id)
    receive(app, COMPONENT["appid"], "message", body_of(mark), "127.0.0.1")
    refresh(session)
    assert session.scalars(sa.select(InboundEvent.copies)).all() == [2]


def test_a_mark_is_good_once(app: Flask, session: Session, third_party_app: ThirdPartyApp) -> None:
    session.rollback()
    mark = self_mark.issue(app, third_party_app.id)
    arrive(app, mark)
    assert events(session) == []
    arrive(app, mark)
    assert events(session) == [self_mark.EVENT]


def test_a_mark_is_good_for_a_while(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.rollback()
    monkeypatch.setattr(self_mark, "LIFE", timedelta(seconds=-1))
    arrive(app, self_mark.issue(app, third_party_app.id))
    assert events(session) == [self_mark.EVENT]


def test_a_key_that_can_never_work_is_named(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, live: str
) -> None:
    change(session, third_party_app, aes_key="A" * 42)
    session.rollback()
    assert run(app, third_party_app)["push"] == "key"


def test_without_settings_there_is_nothing_to_test(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    change(session, third_party_app, token=None)
    session.rollback()
    with pytest.raises(Refused, match="请先在编辑页填写"):
        run(app, third_party_app)


# The token


def token(app: Flask, session: Session, row: ThirdPartyApp) -> dict[str, Any]:
    session.rollback()
    found: dict[str, Any] = run(app, row)["token"]
    return found


def test_a_token_is_had_once_a_minute(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer, nowhere: None
) -> None:
    fresh_ticket(session, third_party_app, sandbox)
    assert token(app, session, third_party_app) == {"state": "ok"}
    assert token(app, session, third_party_app) == {"state": "too_soon"}
    ago = (utcnow() - timedelta(seconds=61)).isoformat()
    refresh(session)
    change(session, third_party_app, self_test={**(third_party_app.self_test or {}), "token_at": ago})
    assert token(app, session, third_party_app) == {"state": "ok"}


def test_a_secret_that_became_wrong_is_found_although_a_token_still_lives(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer, nowhere: None
) -> None:
    fresh_ticket(session, third_party_app, sandbox)
    assert token(app, session, third_party_app) == {"state": "ok"}
    refresh(session)
    ago = (utcnow() - timedelta(seconds=61)).isoformat()
    known = {**(third_party_app.self_test or {}), "token_at": ago}
    change(session, third_party_app, secret="another-secret", self_test=known)
    assert token(app, session, third_party_app)["state"] == "refused"


def test_a_wrong_secret_is_said_in_douyins_words(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer, nowhere: None
) -> None:
    fresh_ticket(session, third_party_app, sandbox)
    change(session, third_party_app, secret="another-secret")
    found = token(app, session, third_party_app)
    assert found["state"] == "refused"
    assert found["text"]
    assert "another-secret" not in str(found["text"])


def test_a_ticket_of_three_hours_ago_is_not_tried(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, nowhere: None
) -> None:
    change(session, third_party_app, ticket="t", ticket_at=utcnow() - timedelta(hours=3))
    assert token(app, session, third_party_app) == {"state": "old_ticket"}


def test_one_that_is_not_in_use_is_not_tried(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, nowhere: None
) -> None:
    change(session, third_party_app, active=False)
    assert token(app, session, third_party_app) == {"state": "inactive"}
