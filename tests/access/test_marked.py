"""What a session may not do whose password was set by another's link: whatever would outlast the next reset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.access import accounts
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.models import ApiKey, NotificationChannel
from tests.access.second import ADD_KEY, enrol, make_key
from tests.conftest import Actors, csrf_token, log_in
from tests.people import NEW, found, post, set_password

LATER = "24 小时内不能"
CHANNEL = "/notices/settings/channels/add/feishu"
HOOK = {"name": "群", "url": "https://open.feishu.cn/open-apis/bot/v2/hook/0a1b2c3d4e5f60718293a4b5c6d7e8f9"}


@pytest.fixture
def by_link(app: Flask, user: Callable[..., str]) -> Callable[..., FlaskClient]:
    """A browser of a user whose password was set by a link of this kind."""

    def enter(kind: str, role: str = "platform_admin") -> FlaskClient:
        name, client = user("bob", role), app.test_client()
        with app_scope(app, PLATFORM, actor={"name": "root"}) as own:
            make = accounts.reset_password if kind == "reset" else accounts.invite
            token = make(own, found(own, name))
            own.commit()
        set_password(client, token, NEW)
        return client

    return enter


@pytest.mark.parametrize("kind", ["reset", "invite"])
def test_it_makes_no_api_key(app: Flask, session: Session, by_link: Callable[..., FlaskClient], kind: str) -> None:
    client = by_link(kind)
    sent = {"name": "脚本", "scope": "write", "days": "never", "csrf_token": csrf_token(client, "/account/")}
    for answer in (client.get(ADD_KEY), client.post(ADD_KEY, data=sent)):
        assert answer.status_code == 400 and LATER in answer.get_data(as_text=True)
    assert session.scalars(sa.select(ApiKey)).all() == []
    with time_machine.travel(utcnow() + timedelta(hours=24, minutes=1)):
        log_in(client, "bob", NEW)
        assert make_key(client)


@pytest.mark.parametrize("path", ["/users/add", CHANNEL])
def test_after_a_reset_it_makes_no_colleague_and_no_channel(
    session: Session, by_link: Callable[..., FlaskClient], path: str
) -> None:
    client = by_link("reset")
    sent = {"username": "carol", "roles": "platform_admin", "csrf_token": csrf_token(client, "/account/"), **HOOK}
    for answer in (client.get(path), client.post(path, data=sent)):
        assert answer.status_code == 400 and LATER in answer.get_data(as_text=True)
    assert session.scalars(sa.select(NotificationChannel)).all() == []


@pytest.mark.parametrize("path", ["/users/add", CHANNEL])
def test_who_is_new_may(by_link: Callable[..., FlaskClient], path: str) -> None:
    assert by_link("invite").get(path).status_code == 200


def test_after_a_reset_no_channel_is_turned_to_another_address(
    session: Session, by_link: Callable[..., FlaskClient]
) -> None:
    client = by_link("invite")
    assert post(client, CHANNEL, **HOOK).status_code == 302
    user = found(session, "bob")
    user.link_kind = "reset"
    session.commit()
    channel = session.scalars(sa.select(NotificationChannel)).one()
    answer = client.get(f"/notices/settings/channels/{channel.id}")
    assert answer.status_code == 400 and LATER in answer.get_data(as_text=True)


def test_what_the_next_reset_ends_or_its_owner_must_do_is_open(
    session: Session, actors: Actors, by_link: Callable[..., FlaskClient]
) -> None:
    client = by_link("reset")
    answer = post(client, f"/staff/add?merchant={actors.alice.id}", username="ann", roles="staff")
    assert answer.status_code == 200
    assert enrol(client)
