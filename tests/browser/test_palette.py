"""The search over everything, single keys and charts, in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.models import AuthorizationState, VersionEvent
from tests.browser import steps
from tests.conftest import PASSWORD, Actors

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
CARDS = "#palette [role=option]"


@pytest.fixture
def world(session: Session, actors: Actors) -> Actors:
    """Two merchants, one with a mini-program that runs a template, and an audit today."""
    app = actors.alice_app
    app.state, app.permissions, app.live_version = AuthorizationState.AUTHORIZED, [1, 2], "1.0.0"
    app.live_template_id = "7301234567890123456"
    session.add(VersionEvent(merchant_id=app.merchant_id, mini_program_id=app.id, kind="approved", at=utcnow()))
    session.commit()
    return actors


@pytest.fixture
def desk(app: Flask, world: Actors, live: str, open_page: Callable[..., Page]) -> Callable[..., Page]:
    """`desk(width=375)`: the workbench with an administrator signed in."""
    with app_scope(app, PLATFORM) as own:
        setting_up.add_user(own, "boss", "platform_admin", password=PASSWORD)

    def enter(**size: int) -> Page:
        page = open_page(**size)
        page.goto(f"{live}/login/")
        page.fill("input[name=username]", "boss")
        page.fill("input[name=password]", PASSWORD)
        steps.press(page, "Enter")
        expect(page.locator("#palette")).to_be_attached()
        page.wait_for_load_state()  # its scripts have run
        return page

    return enter


def look_for(page: Page, text: str) -> None:
    steps.press(page, "Control+k")
    expect(page.locator("#palette")).to_be_visible()
    page.keyboard.type(text)


def test_a_merchant_is_found_and_opened_by_keys_alone(desk: Callable[..., Page], world: Actors) -> None:
    page = desk()
    look_for(page, "鲍勃")
    expect(page.locator(CARDS).first).to_contain_text("鲍勃面馆")
    expect(page.locator(CARDS).first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/merchantview/show/{world.bob.id}")


def test_what_was_opened_is_offered_again_until_the_log_out(desk: Callable[..., Page], world: Actors) -> None:
    page = desk()
    look_for(page, "鲍勃")
    expect(page.locator(CARDS).first).to_contain_text("鲍勃面馆")
    page.keyboard.press("Enter")
    page.wait_for_url("**/merchantview/show/*")
    page.goto(page.url.split("/merchantview")[0])
    page.wait_for_load_state()
    steps.press(page, "Control+k")
    expect(page.locator(CARDS).first).to_contain_text("鲍勃面馆")
    kept = json.loads(page.evaluate("localStorage.getItem('douzhou.recent')"))
    assert [sorted(item) for item in kept["items"]] == [["icon", "kind", "title", "url"]]
    page.keyboard.type("退出")
    expect(page.locator(CARDS).first).to_contain_text("退出登录")
    page.keyboard.press("Enter")
    page.wait_for_url("**/login/**")
    assert page.evaluate("localStorage.getItem('douzhou.recent')") is None


def test_the_operations_of_a_mini_program_are_a_tab_away(desk: Callable[..., Page], world: Actors) -> None:
    page = desk()
    look_for(page, "tta000000000000001")
    expect(page.locator(CARDS).first).to_contain_text("爱丽丝花店")
    page.keyboard.press("Tab")
    expect(page.locator("#palette")).to_contain_text("提交审核")
    page.keyboard.press("Escape")
    expect(page.locator(CARDS).first).to_contain_text("爱丽丝花店")
    page.keyboard.press("ArrowRight")
    page.locator(CARDS, has_text="提交审核").click()
    page.wait_for_url(f"**/operate/submit_audit?ids={world.alice_app.id}")


def test_a_page_that_was_looked_at_is_offered_first(desk: Callable[..., Page], world: Actors, live: str) -> None:
    page = desk()
    page.goto(f"{live}/merchantview/show/{world.alice.id}")
    page.goto(f"{live}/merchantview/show/{world.bob.id}")
    steps.press(page, "Control+k")
    expect(page.locator(CARDS).first).to_contain_text("爱丽丝花店")  # not the page that one is on
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/merchantview/show/{world.alice.id}")


def test_other_lists_stand_behind_one_line(desk: Callable[..., Page], world: Actors, live: str) -> None:
    page = desk()
    page.goto(f"{live}/versionview/list/")
    look_for(page, "鲍勃")
    lines = page.locator(CARDS, has_text="列表中搜索")
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("在版本列表中搜索")
    lines.last.click()
    page.locator(CARDS, has_text="在模板列表中搜索").click()
    page.wait_for_url("**/templateview/list/?q=*")


def test_wide_letters_find_pages_and_rows_too(desk: Callable[..., Page]) -> None:
    page = desk()
    look_for(page, "ＡＰＩ")
    expect(page.locator(CARDS).first).to_contain_text("API")
    expect(page.locator(f"{CARDS} mark").first).to_have_text("API")
    page.fill("#palette input", "ＴＴＡ０００")
    expect(page.locator(CARDS).first).to_contain_text("爱丽丝花店")


def test_screens_are_found_at_once_and_escape_closes(desk: Callable[..., Page]) -> None:
    page = desk()
    look_for(page, "审计")
    expect(page.locator(CARDS).first).to_contain_text("审计日志")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_a_name_full_of_markup_is_shown_as_text(desk: Callable[..., Page], world: Actors, session: Session) -> None:
    page = desk()
    world.bob.name = "<img src=x onerror=alert(1)>"
    session.commit()
    look_for(page, "<img")
    expect(page.locator(CARDS).first).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#palette img").count() == 0


def test_single_keys_lead_somewhere_but_not_while_one_types(desk: Callable[..., Page]) -> None:
    page = desk()
    steps.press(page, "?")
    expect(page.locator("#keys")).to_be_visible()
    expect(page.locator("#keys [data-go]")).to_contain_text("商户列表")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/merchantview/list/**")
    steps.press(page, "/")
    page.keyboard.type("gp?n")
    assert page.evaluate("document.activeElement.value") == "gp?n"
    expect(page.locator("#keys")).to_be_hidden()
    page.locator("main h1").click()
    page.keyboard.press("n")
    page.wait_for_url("**/merchantview/add**")


def drawn(page: Page) -> str:
    """The chart's picture once its first drawing has ended: two looks in a row see the same."""
    page.wait_for_function(
        """() => {
        const now = document.querySelector('#trends canvas').toDataURL(), same = now === window.seenBefore;
        window.seenBefore = now;
        return same;
    }""",
        polling=200,
    )
    return str(page.evaluate("window.seenBefore"))


def test_the_charts_are_drawn_and_follow_the_theme(desk: Callable[..., Page]) -> None:
    page = desk()
    expect(page.locator("#trends canvas")).to_have_count(1)
    expect(page.locator(".chart-ring canvas")).to_have_count(1)
    before = drawn(page)
    page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
    page.wait_for_function("before => document.querySelector('#trends canvas').toDataURL() !== before", arg=before)
    expect(page.locator("#trends canvas")).to_have_count(1)
    page.locator(".trend-lengths").get_by_text("7 天").click()
    expect(page.locator(".trend-lengths [aria-current]")).to_have_text("7 天")
    expect(page.locator("#trends canvas")).to_have_count(1)
    page.get_by_text("用表格查看").click()
    expect(page.locator("#trends tbody tr")).to_have_count(7)


def test_on_a_phone_the_search_fills_the_screen_and_nothing_overflows(desk: Callable[..., Page]) -> None:
    page = desk(width=375, height=812)
    expect(page.locator("#trends canvas")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.locator("[data-palette]").click()
    box = page.locator("#palette").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (375, 812)
    page.locator("#palette .palette-close").click()
    expect(page.locator("#palette")).to_be_hidden()
