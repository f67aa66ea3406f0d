"""Every screen of the menu, at a desk and on a phone, in light and dark: nobody kept out, nothing complained about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from app.models import Merchant
from tests.browser import steps
from tests.browser.test_frame import AXE
from tests.conftest import Actors

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
LOOK = """async rules => {
  const found = await axe.run(document, { resultTypes: ['violations'], ...(rules ? { runOnly: rules } : {}) });
  return found.violations.filter(item => ['serious', 'critical'].includes(item.impact))
    .map(item => `${item.id}: ${item.nodes.slice(0, 3).map(node => node.target).join(' ')}`);
}"""
CALM = "() => !document.getAnimations().some(item => item instanceof CSSTransition)"  # colours have changed
# What each role's menu leads to at least; the walk takes the addresses from the menu itself.
LEAST = {"platform_admin": 20, "owner": 3}
Enter = Callable[..., Page]


def screens(page: Page) -> list[str]:
    found: list[str] = page.locator(".side-menu a").evaluate_all("links => [...new Set(links.map(link => link.href))]")
    return found


def barriers(page: Page) -> list[str]:
    """What axe finds in light; and of what depends on colours, in dark."""
    page.evaluate(AXE)
    found: dict[str, list[str]] = {}
    looks: tuple[tuple[Literal["light", "dark"], Any], ...] = (("light", None), ("dark", ["color-contrast"]))
    for scheme, rules in looks:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.wait_for_function("scheme => document.documentElement.dataset.bsTheme === scheme", arg=scheme)
        page.wait_for_function(CALM)
        found[scheme] = page.evaluate(LOOK, rules)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return [f"{scheme} {item}" for scheme, items in found.items() for item in items]


@pytest.mark.parametrize("width", [375, 1366])
@pytest.mark.parametrize("role", ["platform_admin", "owner"])
def test_every_screen_of_the_menu_keeps_nobody_out(enter: Enter, world: Merchant, role: str, width: int) -> None:
    page = enter(role, world if role == "owner" else None, width=width)
    found, urls = {}, screens(page)
    assert len(urls) >= LEAST[role]
    for url in urls:
        answer = page.goto(url)
        assert answer is not None
        assert answer.status == 200, url
        page.wait_for_load_state("networkidle")
        found[url] = barriers(page)
        if wide := steps.too_wide(page):
            found[url].append(f"sideways: {wide}")
    assert not {url: items for url, items in found.items() if items}


# The frame, where no other test looks.


def test_head_and_action_bar_stay_while_one_scrolls(enter: Enter, live: str, actors: Actors, session: Session) -> None:
    trade = actors.alice.industry_id
    session.add_all(Merchant(name=f"小店{number:02}", industry_id=trade) for number in range(40))
    session.commit()
    page = enter(height=600)
    page.goto(f"{live}/merchantview/list/?size=50")
    page.locator("tbody input[name=ids]").first.check()
    page.evaluate("window.scrollTo(0, 900)")
    for place in (".bar", "thead th:nth-child(2)", "#picked"):
        expect(page.locator(place).first).to_be_in_viewport()
    page.goto(f"{live}/merchantview/edit/{actors.alice.id}")
    expect(page.locator(".form-bar .btn-primary")).to_be_in_viewport()


def test_the_way_says_where_one_is_and_leads_back(enter: Enter, live: str, actors: Actors) -> None:
    page = enter()
    page.goto(f"{live}/merchantview/edit/{actors.alice.id}")
    way = page.locator(".bar-way")
    assert [text.strip() for text in way.locator("li").all_inner_texts()][:2] == ["商户", "商户列表"]
    way.get_by_text("商户列表").click()
    page.wait_for_url("**/merchantview/list/")
    expect(page.locator(".side [aria-current=page]")).to_contain_text("商户列表")


def test_paper_holds_the_rows_and_no_buttons(enter: Enter, live: str, actors: Actors) -> None:
    page = enter()
    page.goto(f"{live}/merchantview/list/")
    page.emulate_media(media="print")
    expect(page.locator("tbody")).to_contain_text("爱丽丝花店")
    for place in (".side", ".bar", ".head-actions", "td.acts", "td.tick"):
        expect(page.locator(place).first).to_be_hidden()
    page.goto(f"{live}/merchantview/show/{actors.alice.id}")
    expect(page.locator("h1")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("/nowhere", 404, "没有找到"), ("/merchantview/show/999", 404, "没有找到"), ("/system/", 403, "没有权限")],
)
def test_what_is_not_there_or_not_allowed_is_said_with_a_way_back(
    enter: Enter, live: str, actors: Actors, path: str, status: int, words: str
) -> None:
    page = enter("operator", width=375)
    answer = page.goto(f"{live}{path}")
    assert answer is not None
    assert answer.status == status
    expect(page.locator("main")).to_contain_text(words)
    expect(page.locator(".bar")).to_be_visible()
    assert not steps.too_wide(page)
    page.locator("main a").first.click()
    expect(page.locator("h1")).to_be_visible()
