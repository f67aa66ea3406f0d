"""The frame of the pages in a browser: readable by everybody, on a phone and at a desk, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import System

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text()
PAGES = ("/", "/merchantview/list/", "/merchantview/add", "/jobs/", "/account/", "/loginas/1", "/nowhere")
OpenPage = Callable[..., Page]


def barriers(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using a page: serious and critical only."""
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{item['id']}: {[node['target'] for node in item['nodes'][:3]]}"
        for item in found["violations"]
        if item["impact"] in {"serious", "critical"}
    ]


@pytest.fixture(scope="module")
def furnished(system: System) -> System:
    """The system with a merchant in it."""
    system.flask("merchant", "add", "云溪花坊", "--industry", "鲜花")
    return system


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1366])
def test_no_page_keeps_anybody_out(open_page: OpenPage, furnished: System, width: int, scheme: Any) -> None:
    page = open_page(width=width)
    page.context.add_cookies([{"name": "theme", "value": "system", "url": furnished.url}])
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{furnished.url}/login/")
    found = {"/login/": barriers(page)}
    steps.log_in(page, furnished)
    for path in PAGES:
        page.goto(f"{furnished.url}{path}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.dataset.bsTheme") == scheme, path
        found[path] = barriers(page)
        if too_wide := steps.too_wide(page):
            found[path].append(f"sideways: {too_wide}")
    assert not {path: items for path, items in found.items() if items}


def test_the_chosen_theme_is_there_before_the_first_paint(open_page: OpenPage, furnished: System) -> None:
    page = open_page()
    steps.log_in(page, furnished, furnished.new_user())  # the choice is kept in the account
    page.click(".menu:has(.look) > summary")
    page.click("[data-set=theme][data-value=dark]")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    answer = page.reload()
    assert answer is not None
    assert 'data-bs-theme="dark"' in answer.text().split("<head>")[0]
    page.click(".menu:has(.look) > summary")
    page.click("[data-set=density][data-value=compact]")
    page.goto(f"{furnished.url}/jobs/")
    expect(page.locator("html")).to_have_attribute("data-density", "compact")


def test_the_sidebar_is_a_drawer_on_a_phone_that_holds_the_focus(open_page: OpenPage, furnished: System) -> None:
    page = open_page(width=375)
    steps.log_in(page, furnished)
    expect(page.locator(".side")).to_be_hidden()
    page.click(".bar-burger")
    expect(page.locator(".side-close")).to_be_focused()
    assert page.evaluate("document.querySelector('.stage').inert")
    page.keyboard.press("Escape")
    expect(page.locator(".side")).to_be_hidden()
    expect(page.locator(".bar-burger")).to_be_focused()
    page.click(".bar-burger")
    page.click(".side a:has-text('商户列表')")
    page.wait_for_url("**/merchantview/list/")
    expect(page.locator(".side")).to_be_hidden()


def test_the_sidebar_stays_as_it_was_left_at_a_desk(open_page: OpenPage, furnished: System) -> None:
    page = open_page()
    steps.log_in(page, furnished, furnished.new_user())
    page.click(".side-group summary:has-text('运行')")
    page.click("[data-fold-side]")
    page.goto(f"{furnished.url}/account/")
    expect(page.locator("html")).to_have_attribute("data-side", "mini")
    assert (page.locator(".side").bounding_box() or {})["width"] < 80
    expect(page.locator(".side a[title='商户列表']")).to_be_visible()
    page.click("[data-fold-side]")
    expect(page.locator(".side-group:has-text('运行')")).not_to_have_attribute("open", "")


def test_a_keyboard_reaches_the_content_and_closes_menus(open_page: OpenPage, furnished: System) -> None:
    page = open_page()
    steps.log_in(page, furnished)
    page.goto(f"{furnished.url}/jobs/")
    steps.press(page, "Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    page.locator(".menu:has(.bar-person) > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".menu-items a:has-text('我的账号')")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".menu:has(.bar-person)")).not_to_have_attribute("open", "")
    expect(page.locator(".menu:has(.bar-person) > summary")).to_be_focused()


def test_what_destroys_is_asked_first_and_a_no_changes_nothing(open_page: OpenPage, furnished: System) -> None:
    page = open_page()
    steps.log_in(page, furnished)
    page.goto(f"{furnished.url}/authorizationview/add?merchant=1")
    steps.save(page)
    link = page.url
    page.click("button:has-text('作废')")
    expect(page.locator("#confirm")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(link)
    expect(page.locator(".share-code svg")).to_be_visible()
    page.click("button:has-text('作废') >> visible=true")
    page.click("#confirm button[value=yes]")
    expect(page.locator(".notice-success, .notice-info")).to_be_visible()
    page.goto(link)
    expect(page.locator(".share-code")).to_have_count(0)


def test_a_field_found_by_typing_loads_its_script_only_where_it_is_seen(open_page: OpenPage, furnished: System) -> None:
    page = open_page()
    steps.log_in(page, furnished)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{furnished.url}/merchantview/list/")
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "tom-select" in url]
    page.goto(f"{furnished.url}/merchantview/add")
    steps.pick(page, "industry", "鲜花")
    assert [url for url in asked if "vendor/tom-select.js" in url]
    assert page.input_value("#industry")
