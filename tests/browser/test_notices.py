"""Notifications in a browser: the bell, the rules, channels that really send, and the hours in which they are quiet."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from app.data.clock import SHANGHAI, utcnow
from app.jobs import notices as jobs
from tests.browser import steps
from tests.conftest import Actors
from tests.notices.receivers import Receiver
from tests.notices.test_tell import say

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SETTINGS = "/notices/settings/"
Enter = Callable[..., Page]


@pytest.fixture
def page(enter: Enter, actors: Actors) -> Page:
    return enter()


def tell(session: Session, actors: Actors, kind: str, **given: Any) -> None:
    assert say(session, kind, subject=actors.alice_app, **given)


def add_channel(page: Page, live: str, receiver: Receiver) -> str:
    """A webhook of one's own that hears of everything; its signing key."""
    page.goto(f"{live}{SETTINGS}")
    page.click("summary:has-text('添加渠道')")
    page.click(".note-add a[href$=webhook]")
    page.fill("#name", "值班系统")
    page.fill("#url", f"http://127.0.0.1:{receiver.port}/hook")
    for box in page.locator("[name=kinds]").all():
        box.check()
    steps.save(page)
    secret = page.inner_text(".shown-once")
    page.click("a:has-text('已保存，返回')")
    return secret


def bell(page: Page) -> Any:
    return page.locator("#bell-count")


@pytest.mark.parametrize("width", [375, 1366])
def test_news_stand_on_the_bell_until_they_are_followed_or_ticked_off(
    enter: Enter, session: Session, actors: Actors, width: int
) -> None:
    page = enter(width=width)
    expect(bell(page)).to_be_hidden()
    tell(session, actors, "audit_rejected", title="审核被驳回：爱丽丝花店 1.0.0")
    tell(session, actors, "audit_passed", dedup="x")
    page.reload()
    expect(bell(page)).to_have_text("2")
    expect(page.locator("#bell summary")).to_have_accessible_name(re.compile(r"通知\s*2"))
    page.click("#bell summary")
    notes = page.locator("#bell-panel .bell-note")
    expect(notes).to_have_count(2)
    assert not steps.too_wide(page)
    notes.filter(has_text="1.0.0").locator("a").click()
    page.wait_for_url("**/miniprogramview/show/*")
    page.wait_for_function("async () => (await (await fetch('/notices/badge')).json()).unread === 1")
    page.reload()
    expect(bell(page)).to_have_text("1")
    page.click("#bell summary")
    page.click("#bell-panel button:has-text('全部已读')")
    expect(page.locator("#bell-panel .is-unread")).to_have_count(0)
    expect(bell(page)).to_be_hidden()


def test_the_list_is_narrowed_and_marked_one_by_one(page: Page, live: str, session: Session, actors: Actors) -> None:
    tell(session, actors, "audit_rejected")
    tell(session, actors, "authorization_lapsing")
    page.goto(f"{live}/notices/")
    expect(page.locator(".note.is-unread")).to_have_count(2)
    page.locator(".note", has_text="审核被驳回").get_by_role("button", name="标为已读").click()
    expect(page.locator(".note", has_text="审核被驳回").get_by_role("button", name="标为未读")).to_be_visible()
    expect(bell(page)).to_have_text("1")
    page.check("[name=unread]")
    page.wait_for_url("**unread=1*")
    expect(page.locator(".note")).to_have_count(1)
    page.select_option("[name=kind]", "audit_rejected")
    page.wait_for_url("**kind=audit_rejected*")
    expect(page.locator("main")).to_contain_text("没有符合条件的通知")


def test_what_is_ticked_off_is_not_heard_of_again(page: Page, live: str, session: Session, actors: Actors) -> None:
    page.goto(f"{live}{SETTINGS}")
    page.uncheck("[name='console.audit_passed']")
    steps.save(page)
    expect(page.locator(".notice-success")).to_contain_text("通知设置已保存")
    expect(page.locator("[name='console.audit_passed']")).not_to_be_checked()
    say(session, "audit_passed", subject=actors.alice_app)
    tell(session, actors, "audit_rejected")
    page.reload()
    expect(bell(page)).to_have_text("1")


def test_a_channel_is_tried_and_says_what_went_wrong(
    page: Page, app: Flask, live: str, receiver: Receiver, actors: Actors, session: Session
) -> None:
    secret = add_channel(page, live, receiver)
    assert secret.startswith("whs_")
    page.click("button:has-text('发送测试')")
    expect(page.locator(".notice-success")).to_contain_text("测试消息已发送到「值班系统」")
    [message] = receiver.got
    assert message.json["title"] == "抖舟测试通知"
    assert "v1=" in message.headers["X-Douzhou-Signature"]
    expect(page.locator("main")).not_to_contain_text(secret)
    receiver.status = 500
    tell(session, actors, "audit_passed")
    jobs.send(app)
    page.goto(f"{live}{SETTINGS}")
    expect(page.locator(".way-fault")).to_contain_text("500")
    page.click("button:has-text('停用')")
    expect(page.locator(".way")).to_contain_text("已停用")
    page.click("button:has-text('删除')")
    page.click("#confirm button[value=yes]")
    expect(page.locator(".way")).to_have_count(0)


def test_a_second_try_right_away_is_refused_and_an_address_inside_is_never_taken(
    page: Page, live: str, receiver: Receiver
) -> None:
    add_channel(page, live, receiver)
    page.click("button:has-text('发送测试')")
    expect(page.locator(".notice-success")).to_be_visible()
    page.click("button:has-text('发送测试')")
    expect(page.locator(".notice-danger")).to_contain_text("10 秒后再试")
    assert len(receiver.got) == 1
    page.goto(f"{live}{SETTINGS}channels/add/webhook")
    page.fill("#name", "里面")
    page.fill("#url", "https://169.254.169.254/latest/meta-data")
    steps.save(page)
    expect(page.locator(".field-bad #url")).to_be_visible()


def test_quiet_hours_hold_back_what_can_wait(
    page: Page, app: Flask, live: str, receiver: Receiver, session: Session, actors: Actors
) -> None:
    add_channel(page, live, receiver)
    now = utcnow().astimezone(SHANGHAI)
    page.fill("#quiet-from", f"{now - timedelta(hours=1):%H:%M}")
    page.fill("#quiet-to", f"{now + timedelta(hours=2):%H:%M}")
    page.check("[name=quiet_urgent]")
    steps.save(page)
    expect(page.locator("#quiet-from")).to_have_value(f"{now - timedelta(hours=1):%H:%M}")
    tell(session, actors, "audit_passed")
    tell(session, actors, "audit_rejected")
    jobs.send(app)
    assert [message.json["kind"] for message in receiver.got] == ["audit_rejected"]
    page.goto(f"{live}/notices/deliveries")
    waiting = page.locator("tbody tr", has_text="审核通过")
    expect(waiting).to_contain_text("待发送")
    expect(waiting).to_contain_text("发送")
    expect(page.locator("tbody tr", has_text="审核被驳回")).to_contain_text("送达")
    expect(bell(page)).to_have_text("2")  # the bell is never quiet


def test_quiet_hours_without_an_end_are_refused_and_said(page: Page, live: str) -> None:
    page.goto(f"{live}{SETTINGS}")
    page.fill("#quiet-from", "22:00")
    steps.save(page)
    expect(page.locator(".notice-danger")).to_contain_text("免打扰时段应填写开始和结束两个时间")
