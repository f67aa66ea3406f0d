"""Channels to the outside as their pages show them: who may have which, their secrets, and the log of what was sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.models import (
    AuditEntry,
    DeliveryState,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationRule,
)
from app.notices.channels import Address
from tests.conftest import Actors, refresh
from tests.console.frame.test_bell import SETTINGS, post, say, text, unread, user_id
from tests.notices.receivers import Receiver

TOKEN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FEISHU = f"https://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}"


def add(client: FlaskClient, kind: str = "feishu", **data: Any) -> Any:
    page = f"{SETTINGS}channels/add/{kind}"
    return post(client, page, page, **({"name": "值班群", "url": FEISHU} | data))


def only_channel(session: Session) -> NotificationChannel:
    refresh(session)
    return session.scalars(sa.select(NotificationChannel)).one()


def test_a_channel_is_kept_sealed_and_shown_masked(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    client = client_for("operator")
    assert add(client, secret="feishuSecret99", kinds=["audit_passed", "app_fault"]).status_code == 302
    row = only_channel(session)
    assert TOKEN not in (row.address_sealed or "") and Address.unpack(row.address or "") == Address(
        FEISHU, "feishuSecret99"
    )
    rules = {rule.kind: rule.channels for rule in session.scalars(sa.select(NotificationRule))}
    assert rules == {"audit_passed": [row.id], "app_fault": [row.id]}
    for address in (SETTINGS, f"{SETTINGS}channels/{row.id}"):
        page = text(client, address)
        assert "open.feishu.cn/…e8f9" in page and TOKEN not in page and "feishuSecret99" not in page
    written = "".join(str((entry.before, entry.after)) for entry in session.scalars(sa.select(AuditEntry)))
    assert TOKEN not in written and "feishuSecret99" not in written


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("feishu", {"url": "https://evil.example.com/hook"}, "open.feishu.cn"),
        ("feishu", {"url": ""}, "请填写"),
        ("feishu", {"name": ""}, "请填写"),
        ("webhook", {"url": "https://10.0.0.1/"}, "内部网络"),
        ("webhook", {"url": "https://169.254.169.254/latest/meta-data"}, "内部网络"),
        ("webhook", {"url": "ftp://example.com/"}, "https://"),
    ],
)
def test_a_wrong_channel_is_refused_beside_its_field(
    client_for: Callable[..., FlaskClient], session: Session, kind: str, data: dict[str, str], words: str
) -> None:
    answer = add(client_for("operator"), kind, **data)
    assert answer.status_code == 422 and words in answer.get_data(as_text=True)
    refresh(session)
    assert session.scalars(sa.select(NotificationChannel)).all() == []


def test_unknown_kinds_and_mail_without_a_server_are_not_offered(
    app: Flask, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for("operator")
    assert client.get(f"{SETTINGS}channels/add/mail").status_code == 404
    assert client.get(f"{SETTINGS}channels/add/pigeon").status_code == 404
    assert "channels/add/mail" not in text(client, SETTINGS)
    monkeypatch.setitem(app.config, "SMTP_URL", "smtp://127.0.0.1:25")
    assert "channels/add/mail" in text(client, SETTINGS)
    text(client, f"{SETTINGS}channels/add/mail")


def test_a_webhooks_key_is_made_here_and_shown_once(
    client_for: Callable[..., FlaskClient], session: Session, receiver: Receiver
) -> None:
    client = client_for("operator")
    page = add(client, "webhook", url=f"http://127.0.0.1:{receiver.port}/in").get_data(as_text=True)
    first = re.findall(r"whs_[\w-]{40,}", page)[0]
    row = only_channel(session)
    assert Address.unpack(row.address or "").secret == first and first not in text(client, SETTINGS)
    edit = f"{SETTINGS}channels/{row.id}"
    again = post(client, edit, edit, name="改名", url="", renew="y").get_data(as_text=True)
    second = re.findall(r"whs_[\w-]{40,}", again)[0]
    row = only_channel(session)
    held = Address.unpack(row.address or "")
    assert second != first and held == Address(f"http://127.0.0.1:{receiver.port}/in", second) and row.name == "改名"


def test_editing_keeps_the_address_that_is_left_blank(client_for: Callable[..., FlaskClient], session: Session) -> None:
    client = client_for("operator")
    add(client, secret="one")
    edit = f"{SETTINGS}channels/{only_channel(session).id}"
    post(client, edit, edit, name="新名", url="", secret="")
    assert Address.unpack(only_channel(session).address or "") == Address(FEISHU, "one")
    post(client, edit, edit, name="新名", url=FEISHU[:-1] + "0", secret="")
    row = only_channel(session)
    assert Address.unpack(row.address or "") == Address(FEISHU[:-1] + "0", "one") and row.hint.endswith("e8f0")


def test_the_test_button_sends_at_once_and_shows_what_the_service_said(
    client_for: Callable[..., FlaskClient], session: Session, receiver: Receiver
) -> None:
    client = client_for("operator")
    add(client, "webhook", url=f"http://127.0.0.1:{receiver.port}/in")
    address = f"{SETTINGS}channels/{only_channel(session).id}/test"
    receiver.status, receiver.answer = 403, b"no such key"
    post(client, address)
    page = text(client, SETTINGS)
    assert "测试失败" in page and "HTTP 403" in page and "no such key" in page
    assert receiver.got[0].json["title"] == "抖舟测试通知"
    post(client, address)
    assert "太频繁" in text(client, SETTINGS) and len(receiver.got) == 1
    with writing():
        refresh(session)
        session.scalars(sa.select(NotificationChannel)).one().tested_at = None
        session.commit()
    receiver.status = 200
    post(client, address)
    assert "测试消息已发送" in text(client, SETTINGS)
    assert only_channel(session).fault == ""


def test_a_new_channel_is_offered_a_test_at_once_until_it_had_one(
    client_for: Callable[..., FlaskClient], session: Session, receiver: Receiver
) -> None:
    client, other = client_for("operator"), client_for("auditor")
    answer = add(client)
    row = only_channel(session)
    offer = f'action="/notices/settings/channels/{row.id}/test"'
    assert answer.headers["Location"].endswith(f"added={row.id}")
    page = text(client, answer.headers["Location"])
    assert "发一条测试消息" in page and page.count(offer) == 2
    assert "发一条测试消息" not in text(other, f"{SETTINGS}?added={row.id}")
    with writing():
        refresh(session)
        session.scalars(sa.select(NotificationChannel)).one().tested_at = utcnow()
        session.commit()
    assert "发一条测试消息" not in text(client, f"{SETTINGS}?added={row.id}")
    assert offer in text(client, f"{SETTINGS}channels/{row.id}")


def test_a_channel_is_switched_off_and_deleted_with_its_rules(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    client = client_for("operator")
    add(client, kinds=["audit_passed"])
    key = only_channel(session).id
    post(client, f"{SETTINGS}channels/{key}/switch")
    assert only_channel(session).active is False
    assert "已停用" in text(client, SETTINGS)
    post(client, f"{SETTINGS}channels/{key}/delete")
    refresh(session)
    assert session.scalars(sa.select(NotificationChannel)).all() == []
    assert [rule.channels for rule in session.scalars(sa.select(NotificationRule))] == [[]]


def test_shared_channels_are_the_administrators_and_everybodys_to_see(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    admin, operator = client_for("platform_admin"), client_for("operator")
    add(admin, shared="y", kinds=["app_fault"], name="平台值班群")
    row = only_channel(session)
    assert row.user_id is None and row.merchant_id is None and row.kinds == ["app_fault"]
    assert "平台值班群" in text(operator, SETTINGS)
    assert 'name="shared"' not in text(operator, f"{SETTINGS}channels/add/feishu")
    for path in ("", "/test", "/switch", "/delete"):
        assert post(operator, f"{SETTINGS}channels/{row.id}{path}").status_code == 404
    post(operator, SETTINGS, **{f"channel.{row.id}.audit_passed": "on"})
    assert only_channel(session).kinds == ["app_fault"]
    post(admin, SETTINGS, **{f"channel.{row.id}.audit_passed": "on"})
    assert only_channel(session).kinds == ["audit_passed"]


def test_an_operator_who_claims_to_share_gets_a_channel_of_their_own(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    add(client_for("operator"), shared="y")
    assert only_channel(session).user_id is not None


def test_channels_of_others_do_not_exist(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    owner = client_for("owner", actors.alice)
    add(owner, name="爱丽丝的群")
    add(owner, name="爱丽丝的共用群", shared="y", kinds=["audit_passed"])
    refresh(session)
    rows = list(session.scalars(sa.select(NotificationChannel)))
    assert {row.merchant_id for row in rows} == {actors.alice.id}
    strangers = [client_for("platform_admin"), client_for("owner", actors.bob)]
    for client in [*strangers, client_for("staff", actors.alice)]:
        page = text(client, SETTINGS)
        assert "爱丽丝的群" not in page and ("爱丽丝的共用群" in page) == (client not in strangers)
        for row in rows:
            for path in ("", "/test", "/switch", "/delete"):
                assert post(client, f"{SETTINGS}channels/{row.id}{path}").status_code == 404
        post(client, SETTINGS, **{f"channel.{row.id}.transfer_done": "on" for row in rows})
    refresh(session)
    assert all(not rule.channels for rule in session.scalars(sa.select(NotificationRule)))
    assert session.scalar(sa.select(sa.func.count(NotificationChannel.id))) == 2


def test_settings_are_refused_while_working_as_a_merchant(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    client = client_for("operator")
    say(session, "operator0", title="平台的私事")
    begin = f"/loginas/{actors.alice.id}"
    answer = post(client, begin, begin, reason="排查工单 1234 的通知问题")
    assert answer.status_code == 302, answer.get_data(as_text=True)[:500]
    assert client.get(SETTINGS).status_code == 403
    assert client.get(f"{SETTINGS}channels/add/feishu").status_code == 403
    assert unread(client) == 0 and "平台的私事" not in text(client, "/notices/")
    refresh(session)
    assert session.scalars(sa.select(Notification.read_at)).all() == [None]


# What was sent


def sent(
    session: Session, channel_id: int, name: str | None, state: DeliveryState, merchant_id: int | None = None
) -> int:
    key = user_id(session, name) if name else None
    with writing():
        refresh(session)
        row = NotificationDelivery(
            channel_id=channel_id,
            user_id=key,
            merchant_id=merchant_id,
            kind="audit_passed",
            title="发给群的消息",
            dedup=f"{utcnow().timestamp()}",
            state=state,
            attempts=5,
            error="对方返回了 HTTP 500",
        )
        session.add(row)
        session.flush()
        made = row.id
        session.commit()
    return made


def test_the_log_shows_errors_and_lets_the_owner_send_again(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    client, other = client_for("operator"), client_for("platform_admin")
    add(client)
    key = sent(session, only_channel(session).id, "operator0", DeliveryState.FAILED)
    page = text(client, "/notices/deliveries")
    assert "发给群的消息" in page and "HTTP 500" in page and f"/notices/deliveries/{key}/retry" in page
    assert "发给群的消息" not in text(other, "/notices/deliveries")
    assert post(other, f"/notices/deliveries/{key}/retry").status_code == 404
    assert post(client, f"/notices/deliveries/{key}/retry").status_code == 302
    refresh(session)
    row = session.get_one(NotificationDelivery, key)
    assert (row.state, row.attempts) == (DeliveryState.QUEUED, 0)
    assert "发给群的消息" not in text(client, "/notices/deliveries?state=failed")
    assert "发给群的消息" in text(client, "/notices/deliveries?state=queued")


def test_what_was_sent_already_is_not_sent_again_by_hand(
    client_for: Callable[..., FlaskClient], session: Session
) -> None:
    client = client_for("operator")
    add(client)
    key = sent(session, only_channel(session).id, "operator0", DeliveryState.SENT)
    post(client, f"/notices/deliveries/{key}/retry")
    refresh(session)
    assert session.get_one(NotificationDelivery, key).state == DeliveryState.SENT


def test_a_merchants_shared_sendings_are_its_own_to_see(
    client_for: Callable[..., FlaskClient], session: Session, actors: Actors
) -> None:
    owner, staff = client_for("owner", actors.alice), client_for("staff", actors.alice)
    others = [client_for("owner", actors.bob), client_for("auditor")]
    add(owner, shared="y")
    key = sent(session, only_channel(session).id, None, DeliveryState.FAILED, actors.alice.id)
    for client in (owner, staff, *others):
        assert ("发给群的消息" in text(client, "/notices/deliveries")) == (client not in others)
    assert post(staff, f"/notices/deliveries/{key}/retry").status_code == 404
    assert post(owner, f"/notices/deliveries/{key}/retry").status_code == 302
