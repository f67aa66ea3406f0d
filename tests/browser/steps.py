"""What a person does in the console, one function a deed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Page, expect

from tests import waiting
from tests.conftest import PASSWORD

if TYPE_CHECKING:
    from tests.browser.conftest import System


def log_in(page: Page, system: System, name: str = "boss", password: str = PASSWORD) -> None:
    page.goto(f"{system.url}/login/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)


def press(page: Page, *keys: str) -> None:
    """Keys on a page that has just come, as a person presses them: when it can be seen and has the focus.

    A key pressed before the first paint may be dropped, and no later wait brings it back.
    """
    page.wait_for_load_state()
    # Asked from outside: a condition that the page polls by itself is an eval, which its policy forbids.
    for _ in range(400):
        if page.evaluate("document.hasFocus() && performance.getEntriesByType('paint').length > 0"):
            break
        page.wait_for_timeout(25)
    for key in keys:
        page.keyboard.press(key)


def pick(page: Page, name: str, text: str) -> None:
    """Choose a related row: type, wait for the answer, take it."""
    page.click(f"#{name}-ts-control")
    page.fill(f"#{name}-ts-control", text)
    page.click(f".ts-dropdown .option:has-text('{text}')")


def save(page: Page) -> None:
    page.click("main form:not([hidden]) button.btn-primary[type=submit], main form button.btn-danger[type=submit]")


def add_industry(page: Page, system: System, name: str) -> None:
    page.goto(f"{system.url}/industryview/add")
    page.fill("[name=name]", name)
    save(page)
    expect(page.locator(".notice-success")).to_contain_text(f"已新建行业「{name}」")


def add_merchant(page: Page, system: System, name: str, industry: str) -> int:
    """The number of the new merchant."""
    page.goto(f"{system.url}/merchantview/add")
    page.fill("[name=name]", name)
    pick(page, "industry", industry)
    save(page)
    expect(page.locator(".notice-success")).to_contain_text(f"已新建商户「{name}」")
    return number_in(page.url)


def number_in(url: str) -> int:
    found = re.search(r"/show/(\d+)", url)
    assert found, url
    return int(found[1])


def make_link(page: Page, system: System, merchant_id: int) -> str:
    """A new authorisation link, from the merchant's page; the console then shows it."""
    page.goto(f"{system.url}/merchantview/show/{merchant_id}")
    page.click("a.btn:has-text('授权链接')")
    save(page)
    expect(page.locator(".share-code svg")).to_be_visible()
    return page.input_value("[aria-label=授权链接]")


def consent(page: Page, link: str, appid: str, *permissions: str) -> None:
    """Give a mini-program on the sandbox's page, with exactly these permission sets; the browser is sent back."""
    page.goto(link)
    page.fill("[name=q]", appid)
    page.click("text=搜索 >> nth=-1")
    page.check(f"[name=appid][value={appid}]")
    for box in page.locator("[name=permissions]").all():
        box.set_checked(box.get_attribute("value") in permissions)
    page.click("text=确认授权")


def authorize(page: Page, system: System, merchant_id: int, name: str) -> str:
    """A new mini-program, given to a merchant; its appid."""
    appid = system.new_app(name)
    consent(page, make_link(page, system, merchant_id), appid, "1", "2")
    expect(page.locator("h1")).to_have_text("授权成功")
    return appid


def open_app(page: Page, system: System, appid: str) -> None:
    page.goto(f"{system.url}/miniprogramview/list/?q={appid}")
    page.click(".list-grid tbody td.n a")
    expect(page.locator("h1")).to_be_visible()


def begin(page: Page, title: str) -> None:
    """Open an operation: by the page's primary button where it is the next thing to do, else from the menu."""
    primary = page.locator(f".row-head a.btn-primary:has-text('{title}')")
    if primary.count():
        primary.click()
    else:
        page.click("details.menu summary:has-text('操作')")
        page.click(f".menu-items a:has-text('{title}')")
    expect(page.locator("h1")).to_have_text(title)


def operate(page: Page, title: str, **given: str) -> None:
    """An operation of the page: open, fill, confirm."""
    begin(page, title)
    for name, value in given.items():
        page.fill(f"[name={name}]", value)
    confirm(page, title)


def confirm(page: Page, title: str) -> None:
    """Confirm, and come back to the mini-program's page once the run is over, slow runs by way of their own page."""
    page.click(f"button:has-text('确认{title}')")
    page.wait_for_url(lambda url: "/operate/" not in url)
    if "/operationrunview/show/" in page.url:
        expect(page.locator(".outcome .state")).to_have_text("成功", timeout=60_000)
        page.click("dl.facts a[href*=miniprogramview]")
    page.wait_for_url("**/miniprogramview/show/*")


def wait_for(page: Page, text: str, *, inside: str = "main", seconds: float = 60) -> None:
    """Look again until the page says it."""

    def says() -> bool:
        if text in page.inner_text(inside):
            return True
        page.reload()
        return False

    waiting.wait_for(says, seconds, pause=0.5, said=lambda: page.inner_text(inside))


def stages(page: Page) -> dict[str, str]:
    """授权, 上传, 审核, 上线 of a mini-program's page."""
    expect(page.locator(".stepper li")).to_have_count(4)
    found: list[Any] = page.locator(".stepper li").all()
    return {step.locator("b").inner_text(): step.locator(".stepper-text").inner_text() for step in found}


def sync_templates(page: Page, system: System) -> None:
    page.goto(f"{system.url}/jobs/")
    row = page.locator("tr", has_text="同步模板")
    row.locator("button[type=submit]").click()
    expect(page.locator(".notice").first).to_be_visible()


def too_wide(page: Page) -> str:
    """Whatever makes the page scroll sideways; empty when nothing does."""
    return page.evaluate("""() => {
        const wide = document.documentElement.scrollWidth;
        if (wide <= window.innerWidth) return '';
        const culprits = [...document.querySelectorAll('main *')]
            .filter(element => element.getBoundingClientRect().right > window.innerWidth + 1)
            .slice(0, 5).map(element => element.tagName + '.' + element.className);
        return wide + ' ' + culprits.join(' ');
    }""")
