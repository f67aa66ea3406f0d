"""Pages of rows and their forms in a browser: tabs, fields that others call for, the guard, the merge of two edits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import steps
from tests.browser.conftest import System

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
OpenPage = Callable[..., Page]


def test_a_tab_is_read_when_it_is_opened_and_stays_after_a_reload(page: Page, system: System, shop: int) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/tab/" in request.url else None)
    page.goto(f"{system.url}/merchantview/show/{shop}")
    assert asked == []
    page.click("[data-tab=history]")
    expect(page.locator(".past-item")).to_contain_text("新建")
    expect(page.locator("[data-tab-panel=overview]")).to_be_hidden()
    page.click("[data-tab=overview]")
    page.click("[data-tab=history]")
    assert len(asked) == 1
    page.reload()
    expect(page.locator(".past-item")).to_contain_text("新建")
    expect(page.locator("[data-tab=history]")).to_have_attribute("aria-current", "page")


def test_the_arrows_go_from_tab_to_tab(page: Page, system: System, shop: int) -> None:
    page.goto(f"{system.url}/merchantview/show/{shop}")
    page.focus("[data-tab=overview]")
    steps.press(page, "ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("[data-tab=apps]")).to_have_attribute("aria-current", "page")
    expect(page.locator("[data-tab-panel=apps]")).to_contain_text("还没有小程序")


def test_the_open_tab_is_in_sight_on_a_phone(open_page: OpenPage, system: System, shop: int) -> None:
    page = open_page(width=375)
    steps.log_in(page, system)
    page.goto(f"{system.url}/merchantview/show/{shop}?tab=history")
    expect(page.locator("[data-tab=history]")).to_be_in_viewport(ratio=1)


def test_an_expiry_is_asked_for_once_there_is_a_plan(page: Page, system: System, shop: int) -> None:
    page.goto(f"{system.url}/merchantview/edit/{shop}")
    expect(page.locator("#expires_on")).to_be_hidden()
    page.fill("#plan", "专业版")
    expect(page.locator("#expires_on")).to_be_visible()
    page.fill("#plan", "")
    expect(page.locator("#expires_on")).to_be_hidden()


def test_an_answer_that_comes_late_neither_shows_other_rows_nor_opens_the_choice_again(
    page: Page, system: System, shop: int
) -> None:
    steps.add_industry(page, system, f"别的行业{shop}")
    steps.add_industry(page, system, f"要的行业{shop}")
    page.goto(f"{system.url}/merchantview/add")
    held: list[Route] = []
    page.route("**/*q=", lambda route: held.append(route))  # noqa: PLW0108 playwright marks what it is given
    with page.expect_request("**/*q="):
        page.click("#industry-ts-control")
    expect(page.locator(".ts-dropdown")).to_contain_text("正在读取")
    page.fill("#industry-ts-control", f"要的行业{shop}")
    options = page.locator(".ts-dropdown .option")
    expect(options).to_have_text([f"要的行业{shop}"])
    with page.expect_response("**/*q="):
        held.pop().continue_()
    options.click()
    expect(page.locator("#industry + .ts-wrapper .item")).to_contain_text(f"要的行业{shop}")
    expect(page.locator(".ts-dropdown")).to_be_hidden()


def test_leaving_a_changed_form_is_asked_about(page: Page, system: System, shop: int) -> None:
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.goto(f"{system.url}/merchantview/edit/{shop}")
    page.fill("#remarks", "还没有保存")
    with page.expect_event("dialog") as asked:
        page.click(".form-bar a")
    assert asked.value.type == "beforeunload"
    assert page.url.endswith(f"/merchantview/edit/{shop}")
    expect(page.locator("#remarks")).to_have_value("还没有保存")


def test_the_first_wrong_field_is_where_one_types_next(page: Page, system: System, shop: int) -> None:
    page.goto(f"{system.url}/merchantview/edit/{shop}")
    page.fill("#name", "")
    steps.save(page)
    expect(page.locator(".form-wrong")).to_contain_text("有 1 处需要修改")
    expect(page.locator("#name")).to_be_focused()
    page.focus("#remarks")
    page.click(".form-wrong a:has-text('商户名称')")
    expect(page.locator("#name")).to_be_focused()


def test_two_edits_at_once_are_merged_without_loss(page: Page, open_page: OpenPage, system: System, shop: int) -> None:
    other = open_page(width=375, height=760)
    steps.log_in(other, system)
    for visitor in (page, other):
        visitor.goto(f"{system.url}/merchantview/edit/{shop}")
    page.fill("#remarks", "先到的备注")
    page.fill("#plan", "专业版")
    steps.save(page)
    other.fill("#remarks", "后到的备注")
    other.fill("#contact", "张三")
    steps.save(other)
    expect(other.locator(".merge")).to_contain_text("先到的备注")
    expect(other.locator(".merge")).to_contain_text("boss")
    expect(other.locator("#remarks")).to_have_value("后到的备注")
    assert other.evaluate("document.documentElement.scrollWidth") <= 375
    other.click(".merge-asked label:has-text('用现在的')")
    other.click(".form-bar .btn-primary")
    facts = other.locator("dl.facts")
    expect(other.locator(".row-page")).to_contain_text("先到的备注")
    assert "张三" in "".join(facts.all_inner_texts())
    assert "专业版" in "".join(facts.all_inner_texts())


def test_an_edit_is_taken_back_from_the_timeline(page: Page, system: System, shop: int) -> None:
    page.goto(f"{system.url}/merchantview/edit/{shop}")
    page.fill("#contact", "李四")
    page.fill("#remarks", "写错了")
    steps.save(page)
    page.click("[data-tab=history]")
    expect(page.locator(".past-item").first).to_contain_text("写错了")
    page.locator(".past-revert button").first.click()
    page.click("dialog[open] button[value=yes]")
    expect(page.locator(".notice-success")).to_contain_text("已恢复为修改前的内容：备注")
    page.goto(f"{system.url}/merchantview/show/{shop}")
    expect(page.locator(".row-page")).not_to_contain_text("写错了")
