"""The console in English, in a browser: chosen in the bar, and then nothing Chinese is seen but what was typed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.models import Merchant
from tests.browser import steps
from tests.browser.test_screens import screens
from tests.conftest import Actors
from tests.world import ALICE

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
# Every text that has a box on the page, and what is read out or hinted at; names in their own language and examples stay.
SEEN = """() => {
  const chinese = /[\\u4e00-\\u9fff]/;
  const found = new Set();
  const walk = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const place = walk.currentNode.parentElement;
    if (place.closest('[lang=zh], code, script, style, noscript, template') || !chinese.test(walk.currentNode.data)) continue;
    if (place.tagName === 'TITLE' || place.getClientRects().length) found.add(walk.currentNode.data.trim());
  }
  for (const name of ['title', 'aria-label', 'placeholder', 'data-hint', 'data-confirm', 'alt'])
    for (const place of document.querySelectorAll(`[${name}]`))
      if (!place.closest('[lang=zh]') && chinese.test(place.getAttribute(name))) found.add(place.getAttribute(name));
  return [...found];
}"""
Enter = Callable[..., Page]


def choose_english(page: Page) -> None:
    page.click(".menu:has(.look) > summary")
    page.click(".look button:has-text('English')")
    expect(page.locator("html")).to_have_attribute("lang", "en")


def pages(page: Page, live: str, role: str) -> list[str]:
    """The screens of the menu, and of rows and forms one of each."""
    row = f"/show/{ALICE}"
    more = {
        "platform_admin": [
            f"/merchantview{row}",
            f"/merchantview/edit/{ALICE}",
            "/merchantview/add",
            "/merchantview/import",
            f"/miniprogramview{row}",
            f"/versionview{row}",
            f"/operationrunview{row}",
            f"/auditentryview{row}",
            "/operate/submit_audit?ids=" + str(ALICE),
            "/tasks/",
            "/notices/",
            "/notices/settings/",
            "/account/",
            "/account/security",
            "/account/keys/",
            "/nowhere",
        ],
        "owner": ["/account/", "/notices/settings/", "/tasks/"],
    }[role]
    return [*screens(page), *(live + path for path in more)]


@pytest.mark.parametrize("role", ["platform_admin", "owner"])
def test_every_page_is_english_once_it_is_chosen_in_the_bar(
    enter: Enter, live: str, world: Merchant, role: str
) -> None:
    page = enter(role, world if role == "owner" else None)
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    choose_english(page)
    left = {}
    for url in pages(page, live, role):
        page.goto(url)
        page.wait_for_load_state("networkidle")
        assert page.get_attribute("html", "lang") == "en", url
        if found := page.evaluate(SEEN):
            left[url.removeprefix(live)] = found
    assert not left


def test_what_opens_and_what_scripts_say_is_english_too(enter: Enter, live: str, world: Merchant) -> None:
    page = enter()
    choose_english(page)
    left = {}

    def look(name: str) -> None:
        page.wait_for_load_state("networkidle")
        if found := page.evaluate(SEEN):
            left[name] = found

    page.goto(f"{live}/merchantview/list/")
    for name, opener in (
        ("views", "#views summary"),
        ("conditions", "[data-panel=panel]"),
        ("columns", "[data-panel=columns]"),
        ("row menu", "td .mini-dots"),
        ("drawer", "td .mini-eye"),
        ("jobs", "[data-jobs]"),
        ("bell", "#bell summary"),
    ):
        page.goto(f"{live}/merchantview/list/")
        page.locator(opener).first.click()
        look(name)
    page.goto(f"{live}/merchantview/list/")
    for name, key in (("palette", "Control+k"), ("keys", "?")):
        steps.press(page, key)
        expect(page.locator("#palette" if name == "palette" else "#keys")).to_be_visible()
        look(name)
        page.keyboard.press("Escape")
    page.goto(f"{live}/merchantview/show/{ALICE}")
    for tab in page.locator("[data-tab]").all():
        tab.click()
        look(f"tab {tab.get_attribute('data-tab')}")
    words = page.evaluate("Object.values(window.DouzhouWords).filter(text => /[\\u4e00-\\u9fff]/.test(text))")
    assert words == []
    assert not left


def test_a_message_after_a_deed_is_english_and_data_stay_as_typed(enter: Enter, live: str, actors: Actors) -> None:
    page = enter()
    page.goto(f"{live}/merchantview/edit/{actors.alice.id}")
    choose_english(page)
    assert page.url.endswith(f"/merchantview/edit/{actors.alice.id}")
    page.fill("#name", "")
    steps.save(page)
    expect(page.locator(".field-bad")).to_contain_text("Enter: Merchant name")
    page.fill("#name", "爱丽丝花店")
    page.fill("#contact", "王女士")
    steps.save(page)
    expect(page.locator(".notice-success")).to_contain_text("爱丽丝花店")
    seen = set(page.evaluate(SEEN))
    assert {text for text in seen if "爱丽丝花店" not in text} <= {"王女士", "餐饮"}
    choose_chinese(page)


def choose_chinese(page: Page) -> None:
    page.click(".menu:has(.look) > summary")
    page.click(".look button:has-text('中文')")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator(".side-menu")).to_contain_text("商户列表")
