"""The bell, one's own list, the settings and the channels: what each person sees and may change, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.data.engine import writing
from app.models import (
    ChannelKind,
    Merchant,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationRule,
    User,
)
from app.notices.kinds import KINDS
from app.notices.tell import tell
from tests.conftest import Actors, csrf_token, refresh

SETTINGS = "/notices/settings/"
TOKEN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FEISHU = f"https://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}"
EVIL = "<img src=x onerror=alert(1)>\"'{{7*7}}"


def user_id(session: Session, name: str) -> int:
    refresh(session)
    return session.scalars(sa.select(User.id).where(User.first_name == name)).one()


def say(session: Session, *people: str, title: str = "导出完成", subject: Any = None, count: int = 1) -> None:
    """News for these people by name."""
    ids = [user_id(session, name) for name in people]
    with writing():
        refresh(session)
        start = session.scalar(sa.select(sa.func.count(Notification.id))) or 0
        for number in range(start, start + count):
            tell(session, "transfer_done", title=title, subject=subject, users=ids, dedup=f"n{number}")
        session.commit()


def post(client: FlaskClient, address: str, page: str = SETTINGS, **data: Any) -> Any:
    return client.post(address, data={"csrf_token": csrf_token(client, page), **data})


def text(client: FlaskClient, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.get_data(as_text=True)[:800]
    return answer.get_data(as_text=True)


def unread(client: FlaskClient) -> int:
    return int(client.get("/notices/badge").json["unread"])


# The bell and the list


def test_the_bell_counts_ones_own_unread_and_the_page_itself_asks_nothing(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    operator, admin = client_for("operator"), client_for("platform_admin")
    say(session, "operator0", count=3)
    say(session, "platform_admin1")
    assert (unread(operator), unread(admin)) == (3, 1)
    page = text(operator, "/")
    assert "/notices/badge" in page and 'id="bell-count"' in page and "导出完成" not in page


def test_the_panel_shows_the_newest_twenty_unread_ones_marked(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    client = client_for("operator")
    say(session, "operator0", count=25, subject=actors.alice_app)
    panel = text(client, "/notices/panel")
    assert panel.count("is-unread") == 20 and 'data-unread="25"' in panel
    assert f"/miniprogramview/show/{actors.alice_app.id}" in panel


def test_one_is_read_and_unread_again_and_all_are_read_at_once(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    client = client_for("operator")
    say(session, "operator0", count=3)
    first = session.scalars(sa.select(Notification.id)).first()
    assert post(client, f"/notices/{first}/read").status_code == 302
    assert unread(client) == 2
    post(client, f"/notices/{first}/unread")
    assert unread(client) == 3
    post(client, "/notices/read")
    assert unread(client) == 0


def test_the_list_is_paged_and_narrowed_by_kind_and_unread(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    client = client_for("operator")
    say(session, "operator0", count=30)
    assert text(client, "/notices/").count('class="note ') == 25
    assert text(client, "/notices/?page=2").count('class="note ') == 5
    assert text(client, "/notices/?kind=audit_passed").count('class="note ') == 0
    assert text(client, "/notices/?kind=transfer_done").count('class="note ') == 25
    post(client, "/notices/read")
    assert text(client, "/notices/?unread=1").count('class="note ') == 0
    for odd in ("?page=0", "?page=x", "?page=99999999999999999999", "?kind=%00", "?unread=%F0"):
        assert client.get(f"/notices/{odd}").status_code in {200, 400}


def test_nobody_sees_or_marks_somebody_elses(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    client_for("owner", actors.alice)
    others = [client_for("platform_admin"), client_for("owner", actors.bob), client_for("staff", actors.alice)]
    say(session, "owner0", title="爱丽丝的私事")
    key = session.scalars(sa.select(Notification.id)).one()
    for client in others:
        assert "爱丽丝的私事" not in text(client, "/notices/") + text(client, "/notices/panel")
        for address in (f"/notices/{key}/read", f"/notices/{key}/unread", "/notices/999999/read"):
            assert post(client, address).status_code == 404
        post(client, "/notices/read")
    refresh(session)
    assert session.get_one(Notification, key).read_at is None


def test_marking_needs_the_forms_token_and_a_post(client_for: Callable[..., FlaskClient], session: Session) -> None:
    client = client_for("operator")
    say(session, "operator0")
    key = session.scalars(sa.select(Notification.id)).one()
    assert client.post(f"/notices/{key}/read").status_code == 400
    assert client.get(f"/notices/{key}/read").status_code == 405
    assert unread(client) == 1


def test_a_title_is_text_wherever_it_is_shown(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    client = client_for("operator")
    with writing():
        refresh(session)
        owner = session.scalars(sa.select(User).where(User.username == "operator0")).one()
        way = NotificationChannel(user_id=owner.id, kind=ChannelKind.WEBHOOK, name=EVIL, hint=EVIL, fault=EVIL)
        session.add(way)
        session.add(NotificationRule(user_id=owner.id, kind="audit_stuck", channels=[]))
        session.flush()
        session.add(
            NotificationDelivery(channel_id=way.id, user_id=owner.id, kind="x", title=EVIL, dedup="x", error=EVIL)
        )
        tell(session, "audit_stuck", subject=actors.alice_app, title=EVIL, body=EVIL)
        session.commit()
    for address in ("/notices/", "/notices/panel", "/notices/deliveries", SETTINGS):
        page = text(client, address)
        assert "<img src=x" not in page and "&lt;img src=x" in page and "7*7" in page


def test_a_link_from_outside_leads_to_the_page_that_its_reader_may_open(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    key = actors.alice_app.id
    operator, owner, clerk = (
        client_for("operator"),
        client_for("owner", actors.alice),
        client_for("clerk", actors.alice),
    )
    assert operator.get(f"/notices/to/mini_program/{key}").headers["Location"].endswith(f"/miniprogramview/show/{key}")
    assert owner.get(f"/notices/to/mini_program/{key}").headers["Location"].endswith(f"/myminiprogramview/show/{key}")
    assert clerk.get(f"/notices/to/mini_program/{key}").status_code == 404
    assert operator.get("/notices/to/ab_user/1").status_code == 404


def test_every_role_has_the_pages_and_a_visitor_has_none(
    app: Flask, client_for: Callable[..., FlaskClient], actors: Actors
) -> None:
    roles: list[tuple[str, Merchant | None]] = [(role, None) for role in ("platform_admin", "operator", "auditor")]
    roles += [(role, actors.alice) for role in ("owner", "staff", "clerk")]
    for role, merchant in roles:
        client = client_for(role, merchant)
        for address in ("/notices/", "/notices/deliveries", SETTINGS, "/notices/panel"):
            text(client, address)
    assert app.test_client().get("/notices/badge").status_code in {302, 401}


# Settings


def test_the_table_shows_a_person_only_the_kinds_that_concern_them(
    client_for: Callable[..., FlaskClient], actors: Actors
) -> None:
    def kinds(client: FlaskClient) -> set[str]:
        return set(re.findall(r'name="console\.(\w+)"', text(client, SETTINGS)))

    assert kinds(client_for("operator")) == set(KINDS)
    assert kinds(client_for("owner", actors.alice)) == {n for n, k in KINDS.items() if "owner" in k.roles}
    assert kinds(client_for("clerk", actors.alice)) == {"account_security", "transfer_done"}


def test_rules_and_quiet_hours_are_saved_and_hold(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    client = client_for("operator")
    answer = post(client, SETTINGS, **{"console.audit_passed": "on", "quiet_from": "22:00", "quiet_to": "08:00"})
    assert answer.status_code == 302
    with writing():
        refresh(session)
        tell(session, "audit_stuck", subject=actors.alice_app)
        tell(session, "audit_passed", subject=actors.alice_app)
        session.commit()
    assert unread(client) == 1
    user = session.scalars(sa.select(User).where(User.username == "operator0")).one()
    assert user.preferences["quiet"] == {"from": "22:00", "to": "08:00", "urgent": False}
    page = text(client, SETTINGS)
    assert 'value="22:00"' in page and len(re.findall(r'name="console\.\w+"[^>]*checked', page)) == 1


@pytest.mark.parametrize(("begin", "end"), [("22:00", ""), ("x", "08:00"), ("25:00", "08:00"), ("08:00", "08:00")])
def test_broken_quiet_hours_are_refused_and_change_nothing(
    client_for: Callable[..., FlaskClient], session: Session, begin: str, end: str
) -> None:
    client = client_for("operator")
    answer = post(client, SETTINGS, quiet_from=begin, quiet_to=end)
    assert answer.status_code == 422 and "免打扰" in answer.get_data(as_text=True)
    refresh(session)
    assert session.scalars(sa.select(NotificationRule)).all() == []


def test_other_preferences_stay_when_the_quiet_hours_change(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    client = client_for("operator")
    key = user_id(session, "operator0")
    with writing():
        refresh(session)
        session.get_one(User, key).preferences = {"theme": "dark"}
        session.commit()
    post(client, SETTINGS, quiet_from="22:00", quiet_to="08:00")
    refresh(session)
    assert session.get_one(User, key).preferences["theme"] == "dark"
