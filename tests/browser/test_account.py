"""One's own account in a browser: the second factor and keys as a person uses them, and pages that keep nobody out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import System
from tests.browser.test_frame import barriers
from tests.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
OpenPage = Callable[..., Page]
PAGES = (
    "/account/",
    "/account/security",
    "/account/password",
    "/account/confirm",
    "/account/keys/",
    "/account/keys/add",
    "/account/preferences",
    "/account/two-factor/",
    "/swagger/v1",
    "/notices/",
    "/notices/deliveries",
    "/notices/settings/",
    "/notices/settings/channels/add/webhook",
    "/jobs/sync_audits/history",
    "/users/add",
    "/logout/",
    "/nowhere",
)


def make_key(page: Page, system: System) -> str:
    page.goto(f"{system.url}/account/keys/add")
    page.fill("#name", "发布脚本")
    page.select_option("#scope", "operate")
    steps.save(page)
    return page.inner_text(".shown-once")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1366])
def test_no_page_of_the_account_keeps_anybody_out(open_page: OpenPage, system: System, width: int, scheme: Any) -> None:
    page = open_page(width=width)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    steps.log_in(page, system)
    found = {}
    for path in PAGES:
        page.goto(f"{system.url}{path}")
        page.wait_for_load_state("networkidle")
        page.evaluate("document.querySelectorAll('main details').forEach((item) => { item.open = true; })")
        found[path] = barriers(page)
        if too_wide := steps.too_wide(page):
            found[path].append(f"sideways: {too_wide}")
    assert not {path: items for path, items in found.items() if items}


def test_the_second_factor_from_setting_up_to_a_recovery_code(open_page: OpenPage, system: System) -> None:
    name, page = system.new_user("operator"), open_page()
    steps.log_in(page, system, name)
    page.goto(f"{system.url}/account/security")
    page.click("text=开启两步验证")
    page.click("main button[type=submit]")
    expect(page.locator("main img")).to_have_js_property("complete", True)
    page.click("text=不能扫码")
    secret = page.inner_text(".totp-secret")
    page.fill("#code", pyotp.TOTP(secret).now())
    steps.save(page)
    codes = page.locator(".recovery-codes code").all_inner_texts()
    assert len(set(codes)) == 10
    assert not barriers(page)
    with page.expect_download() as kept:
        page.click("text=下载")
    assert Path(kept.value.path()).read_text().split() == codes
    page.goto(f"{system.url}/account/security")
    expect(page.locator("main")).to_contain_text("恢复码还剩 10 个")

    phone = open_page(width=375)
    phone.goto(f"{system.url}/login/")
    phone.fill("[name=username]", name)
    phone.fill("[name=password]", PASSWORD)
    phone.click("button[type=submit]")
    expect(phone.locator("[name=code]")).to_be_focused()
    assert not barriers(phone)
    assert not steps.too_wide(phone)
    phone.fill("[name=code]", codes[0])
    phone.click("main button[type=submit]")
    phone.wait_for_url(lambda url: "/login" not in url)
    phone.goto(f"{system.url}/account/security")
    expect(phone.locator("main")).to_contain_text("恢复码还剩 9 个")


def test_a_key_is_made_tried_and_revoked(open_page: OpenPage, system: System) -> None:
    page = open_page()
    steps.log_in(page, system, system.new_user("operator"))
    text = make_key(page, system)
    assert re.fullmatch(r"dz_[0-9A-Za-z]{40}", text)
    page.goto(f"{system.url}/swagger/v1")
    call = page.locator("#get-api-v1-merchants")
    call.locator("summary").first.click()
    call.locator("button[type=submit]").click()
    expect(page.locator("#api-key")).to_be_focused()  # nothing is sent without a key
    page.fill("#api-key", text)
    call.locator("button[type=submit]").click()
    expect(call.locator("[data-status]")).to_have_text(re.compile("^200"))
    expect(call.locator("[data-text]")).to_contain_text('"count"')
    assert text not in call.locator("[data-curl]").inner_text()
    assert text not in page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    page.goto(f"{system.url}/account/keys/")
    page.click("text=撤销")
    page.click("dialog[open] .btn-danger, dialog[open] .btn-primary")
    expect(page.locator("main")).to_contain_text("已撤销")


def test_the_operation_that_is_chosen_fills_the_body(open_page: OpenPage, system: System) -> None:
    page = open_page(width=375)
    steps.log_in(page, system)
    page.goto(f"{system.url}/swagger/v1#post-api-v1-operations")
    call = page.locator("#post-api-v1-operations")
    expect(call).to_have_js_property("open", True)
    call.locator("select").select_option("post-api-v1-operations-upload_code")
    expect(call.locator("textarea")).to_have_value(re.compile('"template_id"'))
    expect(call.locator("[data-fields]:visible")).to_contain_text("params.template_id")


def test_preferences_hold_on_another_device(open_page: OpenPage, system: System) -> None:
    name, page = system.new_user("operator"), open_page()
    steps.log_in(page, system, name)
    page.goto(f"{system.url}/account/preferences")
    page.check("input[name=theme][value=dark]")
    page.check("input[name=density][value=compact]")
    page.check("input[name=locale][value=en]")
    steps.save(page)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    other = open_page(width=375)
    steps.log_in(other, system, name)
    for attribute, value in (("data-bs-theme", "dark"), ("data-density", "compact"), ("lang", "en")):
        expect(other.locator("html")).to_have_attribute(attribute, value)


def test_a_password_is_shown_on_request_and_sent_as_one(open_page: OpenPage, system: System) -> None:
    page = open_page(width=375)
    page.goto(f"{system.url}/login/")
    field, eye = page.locator("#password"), page.get_by_role("button", name="显示密码")
    page.fill("#username", "boss")
    field.fill(PASSWORD)
    eye.click()
    expect(field).to_have_attribute("type", "text")
    assert not barriers(page)
    eye.click()
    expect(field).to_have_attribute("type", "password")
    eye.click()
    page.evaluate("""document.addEventListener('submit', () => {
        sessionStorage.sentAs = document.getElementById('password').type;
    })""")
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)
    assert page.evaluate("sessionStorage.sentAs") == "password"


def test_a_page_that_waited_too_long_leads_back_to_its_form(open_page: OpenPage, system: System) -> None:
    page = open_page()
    steps.log_in(page, system)
    page.goto(f"{system.url}/account/")
    page.evaluate("document.querySelector('main [name=csrf_token]').value = 'old'")
    steps.save(page)
    expect(page.locator("h1")).to_have_text("页面已过期")
    expect(page.locator(".side-menu")).to_contain_text("商户列表")
    assert not barriers(page)
    page.click("a:has-text('返回上一页')")
    expect(page.locator("[name=full_name]")).to_be_visible()
