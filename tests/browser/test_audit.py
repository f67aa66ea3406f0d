"""The audit log in a browser: found by who and what, each entry's difference, and the file of what is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.test_transfer import export, rows_of
from tests.conftest import Actors

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
LIST = "/auditentryview/list/"
Enter = Callable[..., Page]


@pytest.fixture
def page(enter: Enter, live: str, actors: Actors) -> Page:
    """Somebody who has just changed a merchant."""
    shown = enter()
    shown.goto(f"{live}/merchantview/edit/{actors.alice.id}")
    shown.fill("#contact", "李四")
    shown.fill("#plan", "专业版")
    steps.save(shown)
    expect(shown.locator(".notice-success")).to_be_visible()
    return shown


def test_a_change_is_found_and_shown_before_and_after(page: Page, live: str) -> None:
    page.goto(f"{live}{LIST}")
    expect(page.locator(".chips")).to_contain_text("修改1")
    page.locator(".chip", has_text="修改").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.fill("input[name=q]", "爱丽丝")
    steps.press(page, "Enter")
    page.wait_for_url("**q=*")
    page.locator("tbody td a").first.click()
    lines = {row.locator("td").nth(0).inner_text(): row for row in page.locator(".diff tbody tr").all()}
    expect(lines["套餐"].locator(".past-after")).to_have_text("专业版")
    expect(lines["联系人"].locator(".past-after")).to_have_text("已更改（个人信息）")  # of people only that it changed
    expect(page.locator("main")).not_to_contain_text("李四")
    page.click("a:has-text('打开对象')")
    expect(page.locator(".past-item").first).to_contain_text("专业版")


def test_the_file_holds_what_is_shown_and_is_an_entry_itself(page: Page, live: str) -> None:
    page.goto(f"{live}{LIST}?action=update")
    heads, *rows = rows_of(export(page, "csv"))
    assert len(rows) == 1
    line = dict(zip(heads, rows[0], strict=True))
    assert "爱丽丝花店" in str(line)
    assert "联系人" in str(line)
    page.goto(f"{live}{LIST}?action=export")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody td a").first.click()
    expect(page.locator("main")).to_contain_text("update")


def test_a_merchants_people_have_no_such_screen(enter: Enter, live: str, actors: Actors) -> None:
    page = enter("owner", actors.alice)
    expect(page.locator(".side-menu")).not_to_contain_text("审计日志")
    answer = page.goto(f"{live}{LIST}")
    assert answer is not None
    assert answer.status == 403
