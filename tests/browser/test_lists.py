"""Lists in a browser: conditions, columns, saved views, cells, ticks, order and the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import System

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
OpenPage = Callable[..., Page]
SHOPS = 230  # more than are changed at once
LIST = "/merchantview/list/"
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO merchant (row_uid, key, name, industry_id, contact, phone_masked, subject_type, commission_rate, plan,
                      state, remarks, created_at, changed_at)
SELECT 'list' || i, 'm_list' || printf('%08d', i), '小店' || printf('%03d', i), (SELECT MIN(id) FROM industry), '张',
       '', 'company', 0, '基础版', CASE WHEN i % 10 = 0 THEN 'suspended' ELSE 'active' END, '', '2025-01-01 00:00:00.000000',
       '2025-01-01 00:00:00.000000' FROM n
"""


@pytest.fixture(scope="module")
def filled(system: System) -> System:
    for name in ("鲜花", "餐饮", "美容"):
        system.flask("merchant", "add", f"{name}总店", "--industry", name)
    system.execute(FILL, SHOPS)
    return system


@pytest.fixture
def page(open_page: OpenPage, filled: System) -> Page:
    shown = open_page()
    steps.log_in(shown, filled)
    return shown


def opened(page: Page, system: System, query: str = "", path: str = LIST) -> Page:
    page.goto(f"{system.url}{path}{query}")
    return page


def test_states_get_their_numbers_after_the_page(page: Page, system: System) -> None:
    opened(page, system)
    expect(page.locator(".chips")).to_contain_text("停用23")
    page.locator(".chip", has_text="停用").click()
    expect(page.locator("tbody tr")).to_have_count(23)


def test_a_condition_is_put_on_in_the_panel_and_taken_off_by_its_chip(page: Page, system: System) -> None:
    opened(page, system)
    page.click("[data-panel=panel]")
    page.locator("[data-ask=state]").get_by_label("停用").check()
    page.locator("[data-ask=name] input").fill("小店01")
    page.locator("[data-ask=industry] .ts-control").click()
    page.locator(".ts-dropdown .option").first.click()
    with page.expect_navigation():
        page.click("#panel button[type=submit]")
    assert "state=suspended" in page.url
    assert "industry=" in page.url
    expect(page.locator(".condition")).to_have_count(2)  # the state is a chip of its own
    with page.expect_navigation():
        page.click(".conditions-clear")
    assert "state" not in page.url


def test_columns_are_left_out_and_moved(page: Page, system: System) -> None:
    opened(page, system, "?state=active")
    page.click("[data-panel=columns]")
    page.locator("#panel input[value=contact]").uncheck()
    page.locator("#panel li:has(input[value=plan]) [data-shift='-1']").click()
    with page.expect_navigation():
        page.click("#panel button[type=submit]")
    heads = page.locator("th[scope=col]").all_inner_texts()
    assert [head.strip() for head in heads] == ["商户名称", "行业", "套餐", "手机号", "套餐到期日", "状态", "创建时间"]
    assert "state=active" in page.url


def test_a_view_is_kept_and_the_list_opens_with_it(open_page: OpenPage, filled: System) -> None:
    page, system = open_page(), filled
    steps.log_in(page, system, system.new_user())
    opened(page, system, "?state=suspended")
    page.click("#views summary")
    page.click("[data-open=view-save]")
    page.fill("#view-name", "停用的商户")
    page.click("#view-save button[type=submit]")
    expect(page.locator("[data-view-name]")).to_have_text("停用的商户")
    page.click("#views summary")
    page.click("#views [data-fold]")
    page.get_by_role("button", name="设为默认").click()
    page.goto(f"{system.url}{LIST}")
    assert "state=suspended" in page.url
    page.click("#views summary")
    page.click("#views [data-fold]")
    page.get_by_role("button", name="取消默认").click()
    page.goto(f"{system.url}{LIST}")
    assert "state=suspended" not in page.url


def test_a_cell_is_edited_where_it_stands(page: Page, system: System) -> None:
    opened(page, system, "?name==小店001")
    plan, contact = page.locator("td[data-edit=plan]"), page.locator("td[data-edit=contact]")
    plan.click()
    plan.locator("input[name=plan]").fill("旗舰版")
    page.keyboard.press("Enter")
    expect(plan).to_have_text("旗舰版")
    contact.focus()
    page.keyboard.press("Enter")
    contact.locator("input[name=contact]").fill("不要这个")
    page.keyboard.press("Escape")
    expect(contact).to_have_text("张")
    page.reload()
    expect(plan).to_have_text("旗舰版")


def test_the_keyboard_moves_ticks_and_looks(page: Page, system: System) -> None:
    opened(page, system, "?name=小店00&order=name")
    steps.press(page, *"jjx")
    expect(page.locator("[data-picked-count]")).to_have_text("1")
    page.keyboard.press("o")
    expect(page.locator("#drawer h1")).to_contain_text("小店002")
    page.keyboard.press("j")
    expect(page.locator("#drawer h1")).to_contain_text("小店003")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    steps.press(page, "/")
    expect(page.locator(".list-search input[name=q]")).to_be_focused()
    page.keyboard.type("小店007")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    steps.press(page, "j")
    expect(page.locator("tbody tr")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/merchantview/show/*")


def test_the_menu_of_a_row_comes_when_it_is_opened(page: Page, system: System) -> None:
    opened(page, system, "?name=小店00")
    page.locator("td .mini-dots").first.click()
    expect(page.locator("#row-menu")).to_contain_text("编辑")
    page.keyboard.press("Escape")
    expect(page.locator("#row-menu")).to_be_hidden()


def test_all_that_match_are_changed_in_the_background(page: Page, system: System) -> None:
    opened(page, system, "?name=小店")
    page.check("[data-tick-page]")
    expect(page.locator("[data-picked-count]")).to_have_text("25")
    page.click("[data-pick-all]")
    expect(page.locator(".pick-words")).to_contain_text(f"已选全部 {SHOPS} 条")
    page.get_by_role("button", name="批量修改").click()
    page.fill("#plan", "年度版")
    expect(page.locator("input[name=columns][value=plan]")).to_be_checked()
    page.get_by_role("button", name=f"确认修改 {SHOPS} 条").click()
    expect(page.locator("main")).to_contain_text("后台")
    opened(page, system, "?plan==年度版")
    steps.wait_for(page, f"共 {SHOPS} 条")


@pytest.mark.parametrize("how", ["keyboard", "mouse"])
def test_rows_are_put_in_order_by_hand(page: Page, system: System, how: str) -> None:
    names: Any = page.locator("tbody td.n").all_inner_texts
    opened(page, system, path="/industryview/list/")
    before = names()
    grip = page.locator(".mini-grip").nth(2)
    with page.expect_response(lambda answer: "/move/" in answer.url):
        if how == "keyboard":
            grip.focus()
            steps.press(page, "ArrowUp")
        else:
            grip.drag_to(page.locator("tbody tr").nth(1), target_position={"x": 200, "y": 4})
    page.reload()
    assert names()[:3] == [before[0], before[2], before[1]]


def test_a_finger_drags_a_row_by_its_handle_and_a_list_longer_than_the_window_scrolls(
    open_page: OpenPage, filled: System
) -> None:
    for number in range(30):
        filled.execute(
            "INSERT INTO industry (name, position, created_at, changed_at) VALUES (?, ?, '2025-01-01 00:00:00.000000', "
            "'2025-01-01 00:00:00.000000')",
            f"手动{number:02}",
            1000 + number,
        )
    page = open_page(width=375, height=600)
    steps.log_in(page, filled)
    opened(page, filled, "?name=手动&size=50", path="/industryview/list/")
    expect(page.locator(".mini-grip")).to_have_count(0)  # of a part of the list there is no order to make
    opened(page, filled, "?size=100", path="/industryview/list/")
    names: Any = page.locator("tbody td.n").all_inner_texts
    first = names().index("手动00")
    grip = page.locator(".mini-grip").nth(first)
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    finger = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind: str, *at: float) -> None:
        points = [{"x": at[0], "y": at[1]}] if at else []
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    scrolled = page.evaluate("scrollY")
    touch("touchStart", x, y)
    touch("touchMove", x, y + 20)
    assert page.evaluate("scrollY") == scrolled  # the page does not go with the finger
    touch("touchMove", x, 590)
    for _ in range(100):
        if page.evaluate("scrollY") > scrolled + 300:
            break
        page.wait_for_timeout(100)
    assert page.evaluate("scrollY") > scrolled + 300
    with page.expect_response(lambda answer: "/move/" in answer.url):
        touch("touchEnd")
    page.reload()
    assert names().index("手动00") > first + 2
    assert sorted(names()[first:]) == [f"手动{number:02}" for number in range(30)]


@pytest.mark.parametrize("path", [LIST, "/miniprogramview/list/", "/industryview/list/", f"{LIST}?name=小店&q=店"])
def test_nothing_but_search_and_one_button_stands_before_the_rows_on_a_phone(
    open_page: OpenPage, filled: System, path: str
) -> None:
    page = open_page(width=375, height=740)
    steps.log_in(page, filled)
    opened(page, filled, path=path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    top = page.locator(".list-card").bounding_box()
    assert top is not None
    assert top["y"] < 330
    page.click("[data-panel=panel]")
    expect(page.locator("#panel")).to_be_visible()
    sheet = page.locator("#panel").bounding_box()
    assert sheet is not None
    assert sheet["y"] + sheet["height"] == pytest.approx(740, abs=2)  # a sheet from below


def test_a_card_of_a_phone_says_name_and_state_in_one_line_and_the_rest_in_another(
    open_page: OpenPage, filled: System
) -> None:
    page = open_page(width=375)
    steps.log_in(page, filled)
    opened(page, filled)
    card = page.locator("tbody tr").first
    boxes = [card.locator(cell).bounding_box() for cell in (":scope", "td.n", "td:has(> .state)")]
    row, name, state = (box or {"y": 0, "height": 0} for box in boxes)
    assert abs(name["y"] + name["height"] / 2 - state["y"] - state["height"] / 2) < 6
    assert 0 < row["height"] < 100


def test_the_search_and_the_menus_of_a_lists_head_have_room_on_a_phone(open_page: OpenPage, filled: System) -> None:
    page = open_page(width=375)
    steps.log_in(page, filled)
    opened(page, filled)
    page.click("#views summary")
    expect(page.locator("#views .views-link").first).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    expect(page.locator(".list-card")).to_be_in_viewport()
    page.click(".list-search")
    box = page.locator(".list-search").bounding_box()
    assert box is not None
    assert box["width"] > 200
    page.keyboard.type("小店01")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(10)
    expect(page.locator(".chips")).to_be_visible()
