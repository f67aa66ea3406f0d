"""Many rows at once in a browser: the same values for a few, an operation for all that match, and what failed again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from app.console.form import bulk
from app.models import Industry, Merchant, OperationRun, RunState
from tests.browser import steps
from tests.browser.conftest import work_off
from tests.conftest import Actors, Launch, SandboxServer, authorize, refresh

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
LIST = "/merchantview/list/"
USED_UP = 28003017  # the day's calls are: a failure that no retry by itself mends
Enter = Callable[..., Page]


@pytest.fixture
def shops(session: Session, actors: Actors) -> Actors:
    """Thirty more shops in another trade."""
    trade = Industry(name="鲜花")
    session.add_all(Merchant(name=f"小店{number:02}", industry=trade, contact="张") for number in range(30))
    session.commit()
    return actors


def plans(session: Session) -> dict[str, int]:
    refresh(session)
    found = session.execute(sa.select(Merchant.plan, sa.func.count(Merchant.id)).group_by(Merchant.plan))
    return {row.plan: row[1] for row in found}


@pytest.mark.parametrize("width", [375, 1366])
def test_a_few_ticked_rows_get_the_ticked_columns_at_once(
    enter: Enter, live: str, shops: Actors, session: Session, width: int
) -> None:
    page = enter(width=width)
    page.goto(f"{live}{LIST}?name=小店&order=name")
    boxes = page.locator("tbody input[name=ids]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    expect(page.locator("[data-picked-count]")).to_have_text("2")
    assert not steps.too_wide(page)
    page.get_by_role("button", name="批量修改").click()
    expect(page.locator(".targets")).to_contain_text("小店00")
    expect(page.locator(".targets li")).to_have_count(2)
    page.fill("#plan", "年度版")
    page.fill("#remarks", "没有勾选就不改")
    page.uncheck("input[name=columns][value=remarks]")
    assert not steps.too_wide(page)
    page.click("button:has-text('确认修改 2 条')")
    expect(page.locator(".notice-success")).to_contain_text("已修改 2 条")
    assert page.url.endswith("&order=name")  # the list as it was left
    expect(page.locator("tbody tr")).to_have_count(25)
    assert plans(session)["年度版"] == 2
    assert not session.scalar(sa.select(sa.func.count()).where(Merchant.remarks != ""))


def test_ticks_live_across_pages_orders_and_searches_until_they_are_used_up(
    enter: Enter, live: str, shops: Actors, session: Session
) -> None:
    page = enter()
    page.goto(f"{live}{LIST}?name=小店&order=name&size=10")
    page.locator("tbody input[name=ids]").nth(0).check()
    page.locator("tbody input[name=ids]").nth(1).check()
    page.click("a[rel=next]")
    page.locator("tbody input[name=ids]").nth(0).check()
    expect(page.locator(".pick-words")).to_have_text(re.compile("已选 3 条（含其他页 2 条）"))
    page.goto(f"{live}{LIST}?q=小店10")
    expect(page.locator("tbody input[name=ids]")).to_be_checked()
    page.click("[data-picked-show]")
    expect(page.locator("#picked-names li")).to_have_text(["小店00", "小店01", "小店10"])
    page.click("#picked-names li:has-text('小店01') button")
    page.keyboard.press("Escape")  # closes the small list, the ticks stay
    expect(page.locator("[data-picked-count]")).to_have_text("2")
    page.get_by_role("button", name="批量修改").click()
    expect(page.locator(".targets li")).to_have_text(["小店00", "小店10"])
    page.fill("#plan", "年度版")
    page.click("button:has-text('确认修改 2 条')")
    expect(page.locator(".notice-success")).to_contain_text("已修改 2 条")
    expect(page.locator("#picked")).to_be_hidden()
    assert plans(session)["年度版"] == 2


def test_a_cancelled_action_keeps_the_ticks_and_escape_takes_them_off(enter: Enter, live: str, shops: Actors) -> None:
    page = enter()
    page.goto(f"{live}{LIST}?name=小店&size=10")
    page.check("[data-tick-page]")
    page.get_by_role("button", name="批量修改").click()
    page.click(".form-buttons a:has-text('取消')")
    expect(page.locator("[data-picked-count]")).to_have_text("10")
    assert page.url.endswith("size=10")
    page.locator("#picked summary:has-text('导出')").click()
    page.keyboard.press("Escape")  # closes the menu only
    expect(page.locator("#picked details[open]")).to_have_count(0)
    expect(page.locator("[data-picked-count]")).to_have_text("10")
    page.locator("h1").click()
    page.keyboard.press("Escape")
    expect(page.locator("#picked")).to_be_hidden()
    page.reload()
    expect(page.locator("#picked")).to_be_hidden()


def test_no_more_rows_are_ticked_than_one_action_takes(
    enter: Enter, live: str, shops: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk.BulkPages, "most_picked", 12)
    page = enter()
    page.goto(f"{live}{LIST}?name=小店&size=10")
    page.check("[data-tick-page]")
    page.click("a[rel=next]")
    page.click("[data-tick-page]")
    expect(page.locator(".notice-toast")).to_contain_text("一次最多选择 12 条")
    expect(page.locator("[data-picked-count]")).to_have_text("12")
    expect(page.locator("tbody input[name=ids]:checked")).to_have_count(2)


@pytest.mark.parametrize("width", [375, 1366])
def test_ticked_rows_of_two_pages_are_one_file(enter: Enter, live: str, shops: Actors, width: int) -> None:
    page = enter(width=width)
    page.goto(f"{live}{LIST}?name=小店&order=name&size=10")
    page.locator("tbody input[name=ids]").nth(0).check()
    page.click("a[rel=next]")
    page.locator("tbody input[name=ids]").nth(0).check()
    page.click(".pick-actions summary:has-text('导出')")
    assert not steps.too_wide(page)
    with page.expect_download() as made:
        page.click(".pick-actions button:has-text('CSV')")
    lines = made.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["小店00", "小店10"]
    expect(page.locator("[data-picked-count]")).to_have_text("2")  # the list is where it was


def test_what_no_row_may_have_is_said_and_nothing_is_changed(
    enter: Enter, live: str, shops: Actors, session: Session
) -> None:
    page = enter()
    page.goto(f"{live}{LIST}?name=小店")
    page.check("[data-tick-page]")
    page.get_by_role("button", name="批量修改").click()
    page.click("button:has-text('确认修改 25 条')")
    expect(page.locator(".notice-danger")).to_contain_text("请勾选要修改的项目")
    page.fill("#commission_rate", "150")
    page.click("button:has-text('确认修改 25 条')")
    expect(page.locator(".bulk-line .wrong")).to_have_text("佣金比例应在 0 到 100 之间")
    expect(page.locator("#commission_rate")).to_have_value(re.compile("^150"))
    assert not session.scalar(sa.select(sa.func.count()).where(Merchant.commission_rate > 0))


def test_all_that_match_become_a_task_that_the_drawer_shows(
    enter: Enter, app: Flask, live: str, shops: Actors, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 10)
    page = enter()
    page.goto(f"{live}{LIST}?name=小店")
    page.check("[data-tick-page]")
    page.click("[data-pick-all]")
    page.get_by_role("button", name="批量修改").click()
    page.fill("#plan", "年度版")
    page.click("button:has-text('确认修改 30 条')")
    expect(page.locator(".notice-info")).to_contain_text("已开始在后台修改 30 条商户")
    page.click("[data-jobs]")
    job = page.locator("#jobs .job", has_text="批量修改商户：套餐")
    expect(job).to_contain_text("0 / 30")
    assert work_off(app) == 1
    expect(job).to_contain_text("已修改 30 条")
    assert plans(session)["年度版"] == 30


@pytest.fixture
def fleet(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> Launch:
    """Eleven authorised mini-programs: more than the smallest page holds. Made before the console has its address."""
    shop, owner = launch.merchant, launch.third_party_app
    for found in sandbox.post("apps", count=10)["apps"]:
        authorize(app, session, sandbox, shop, owner, found["appid"])
    return launch


def test_an_operation_for_all_that_match_is_followed_and_what_failed_is_done_again(
    fleet: Launch, enter: Enter, app: Flask, live: str, sandbox: SandboxServer, session: Session
) -> None:
    page = enter()
    page.goto(f"{live}/miniprogramview/list/?size=10")
    page.check("[data-tick-page]")
    expect(page.locator("[data-picked-count]")).to_have_text("10")
    page.click("[data-pick-all]")
    expect(page.locator(".pick-words")).to_contain_text("已选全部 11 条")
    page.click(".pick-actions summary:has-text('更多')")
    page.click(".pick-actions button:has-text('同步版本') >> visible=true")
    expect(page.locator(".targets")).to_contain_text("将对以下 11 个对象执行")
    page.click("button:has-text('确认')")
    page.wait_for_url("**/batch/*")
    first, counts = page.url, {state: page.locator(f"[data-count={state}]") for state in RunState}
    expect(counts[RunState.QUEUED]).to_have_text("11")
    page.click("[data-jobs]")
    expect(page.locator("#jobs .job").first).to_contain_text("0 / 11")
    page.keyboard.press("Escape")
    assert work_off(app, most=9) == 9
    expect(counts[RunState.SUCCEEDED]).to_have_text("9")  # by itself, without a reload
    sandbox.post("settings", error_rate=1.0, error_code=USED_UP)
    assert work_off(app) == 2
    sandbox.post("settings", error_rate=0.0)
    expect(page.locator("button:has-text('重试失败的 2 个')")).to_be_visible()
    page.click("a.tile:has-text('失败')")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.click("button:has-text('重试失败的 2 个')")
    page.wait_for_url(lambda url: "/batch/" in url and url.split("?")[0] != first)
    assert work_off(app) == 2
    expect(counts[RunState.SUCCEEDED]).to_have_text("2")
    refresh(session)
    assert session.scalar(sa.select(sa.func.count(OperationRun.id)).where(OperationRun.state == "failed")) == 2


@pytest.mark.parametrize("width", [375, 1366])
def test_a_rows_menu_shows_what_can_be_done_first_and_then_why_the_rest_cannot(
    launch: Launch, enter: Enter, live: str, width: int
) -> None:
    page = enter(width=width)
    page.goto(f"{live}/miniprogramview/list/")
    page.locator(".mini-dots").first.click()
    menu = page.locator("#row-menu")
    expect(menu.get_by_role("menuitem", name="上传代码")).to_be_visible()
    expect(menu.locator(".menu-off")).to_contain_text("还没有可提审的版本：请先上传代码")
    expect(menu.locator(".menu-off a")).to_have_count(0)
    assert not steps.too_wide(page)
    page.keyboard.press("Escape")
    page.goto(f"{live}/miniprogramview/show/{launch.mini_program.id}")
    page.click(".row-head-actions summary")
    expect(page.locator(".row-head-actions .menu-off")).to_contain_text("没有正在审核的版本")
    assert not steps.too_wide(page)


def test_what_still_waits_of_a_batch_is_cancelled(fleet: Launch, enter: Enter, app: Flask, live: str) -> None:
    page = enter()
    page.goto(f"{live}/miniprogramview/list/")
    page.check("[data-tick-page]")
    page.click(".pick-actions summary:has-text('更多')")
    page.click(".pick-actions button:has-text('同步版本') >> visible=true")
    page.click("button:has-text('确认')")
    page.click("button:has-text('取消排队的 11 个')")
    page.click("#confirm button[value=yes]")
    expect(page.locator(".notice-info")).to_contain_text("已取消 11 个")
    assert work_off(app) == 0
    expect(page.locator("button:has-text('取消排队')")).to_have_count(0)
