"""The workbench, the merchant's first page and the system page in a browser: drawn, linked, and renewed by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.models import Version, VersionEvent
from tests import fixtures as rows
from tests.browser import steps
from tests.browser.test_frame import barriers
from tests.conftest import Actors, change
from tests.views import test_dashboard as fleets

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
busy, full, _nothing_kept = fleets.busy, rows.full, fleets._nothing_kept
INKED = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let ink = 0;
  for (let at = 3; at < data.length; at += 4) ink += data[at] > 0;
  return ink;
}"""
Enter = Callable[..., Page]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def rows_at(page: Page, url: str) -> int:
    """How many rows the list at an address says it has."""
    page.goto(url)
    if "/jobs/" in url:
        return page.locator("main button:has-text('立即执行')").count()
    paging = page.locator(".list-paging")
    found = re.search(r"共 ([\d,]+) 条", paging.inner_text()) if paging.count() else None
    return number(found[1]) if found else 0


def test_every_number_leads_to_a_list_of_so_many(enter: Enter, live: str, busy: Actors) -> None:
    page = enter()
    links = page.locator("a.need, a.stages-row").all()
    shown = {live + (link.get_attribute("href") or ""): number(link.locator("b").inner_text()) for link in links}
    assert len(shown) == len(links) > 10
    assert min(shown.values()) > 0
    assert {url: rows_at(page, url) for url in shown} == shown


def test_the_trend_and_the_ring_are_drawn_and_their_numbers_lead_on(
    enter: Enter, live: str, busy: Actors, session: Session
) -> None:
    app, now = busy.alice_app, utcnow()
    for days, kind in ((0, "approved"), (0, "approved"), (3, "rejected"), (3, "auditing"), (40, "released")):
        at = now - timedelta(days=days)
        session.add(VersionEvent(merchant_id=app.merchant_id, mini_program_id=app.id, kind=kind, at=at))
    session.commit()
    page = enter()
    for place in ("#trends canvas", ".chart-ring canvas"):
        expect(page.locator(place)).to_have_count(1)
        page.wait_for_function(f"({INKED})(document.querySelector('{place}')) > 500")
    totals = {item.inner_text().split("\n")[0]: item for item in page.locator("a.trend-total").all()}
    assert {name: item.locator("b").inner_text() for name, item in totals.items()} == {
        "提交审核": "1",
        "审核通过": "2",
        "审核驳回": "1",
        "发布上线": "0",
    }
    page.click("text=用表格查看")
    passed = live + (page.locator("#trends tbody tr").first.locator("a").get_attribute("href") or "")
    page.locator(".trend-lengths").get_by_text("90 天").click()
    expect(page.locator(".trend-lengths [aria-current]")).to_have_text("90 天")
    expect(page.locator("a.trend-total", has_text="发布上线").locator("b")).to_have_text("1")
    assert rows_at(page, passed) == 2


def test_a_new_platform_is_told_where_to_begin(enter: Enter) -> None:
    page = enter(width=375)
    expect(page.locator("main")).to_contain_text("还没有小程序")
    expect(page.locator("#trends")).to_contain_text("这段时间没有审核或发布")
    assert not steps.too_wide(page)
    assert not barriers(page)


@pytest.mark.parametrize("width", [375, 1366])
def test_a_merchant_sees_its_own_stage_verdict_and_next_step(
    enter: Enter, full: Actors, session: Session, width: int
) -> None:
    change(session, session.scalars(sa.select(Version)).one(), decided_at=utcnow())
    page = enter("owner", full.alice, width=width)
    expect(page.locator("main .own")).to_have_count(1)
    expect(page.locator(".stepper li")).to_have_count(4)
    expect(page.locator(".own-reasons")).to_contain_text("页面空白")
    expect(page.locator("main")).not_to_contain_text("鲍勃")
    expect(page.locator("a.need, #trends")).to_have_count(0)
    assert not barriers(page)
    assert not steps.too_wide(page)
    page.click(".own .card-title a")
    page.wait_for_url("**/show/*")
    expect(page.locator("h1")).to_contain_text("爱丽丝花店")


def test_the_system_page_renews_its_upper_part_by_itself(enter: Enter, live: str, full: Actors) -> None:
    page = enter()
    page.clock.install()
    page.goto(f"{live}/system/")
    expect(page.locator(".vital")).to_have_count(7)
    page.wait_for_function("window.htmx")
    page.evaluate(
        "document.querySelector('#live').dataset.kept = document.querySelector('.vital b').textContent = '旧'"
    )
    with page.expect_response("**/system/live") as renewed:
        page.clock.fast_forward(10_500)
    assert renewed.value.ok
    expect(page.locator(".vital b").first).to_have_text("数据库")
    expect(page.locator("#live")).to_have_attribute("data-kept", "旧")  # the page itself is the same
    expect(page.locator(".chart-bars canvas, .blank").first).to_be_visible()
