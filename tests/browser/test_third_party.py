"""A third-party app's form and page in a browser: addresses as the AppID is typed, errors in view, the self-test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from app.models import ThirdPartyApp
from app.operations.inbound import receive
from tests.conftest import COMPONENT

VIEW = "/thirdpartyappview"


@pytest.mark.parametrize("width", [1366, 375])
def test_the_addresses_follow_the_appid_as_it_is_typed(
    live: str, third_party_app: ThirdPartyApp, enter: Callable[..., Page], width: int
) -> None:
    page = enter("platform_admin", width=width)
    page.goto(f"{live}{VIEW}/add")
    address = page.locator("#part-addresses").locator("xpath=ancestor::section").locator("code").first
    expect(address).to_have_text(f"{live}/douyin/callback/<AppID>/authorization")
    expect(page.locator(".row-addresses .copy-button").first).to_be_hidden()
    page.fill("#appid", " tt0123456789abcdef ")
    expect(address).to_have_text(f"{live}/douyin/callback/tt0123456789abcdef/authorization")
    expect(page.locator(".row-addresses .copy-button").first).to_be_visible()
    page.fill("#appid", "ｔt1")
    expect(address).to_have_text(f"{live}/douyin/callback/<AppID>/authorization")
    page.fill("#name", "新应用")
    page.fill("#secret", "a b")
    page.fill("#token", COMPONENT["token"])
    page.fill("#aes_key", COMPONENT["aes_key"] + "=")
    page.click("form.form-page button[type=submit]")
    expect(page.locator("#aes_key-wrong")).to_contain_text("不含末尾的「=」")
    expect(page.locator("#token-wrong")).to_contain_text("密钥不会回填")
    expect(page.locator("#appid")).to_have_value("ｔt1")
    expect(page.locator("#appid")).to_be_focused()


@pytest.mark.parametrize("width", [1366, 375])
def test_the_self_test_shows_its_outcome(
    live: str, third_party_app: ThirdPartyApp, enter: Callable[..., Page], width: int
) -> None:
    page = enter("platform_admin", width=width)
    page.goto(f"{live}{VIEW}/list/")
    page.locator(".list-grid tbody a").first.click()
    page.get_by_role("button", name="自检").click()
    expect(page.locator("#self-test")).to_contain_text("回到了本系统")
    page.goto(page.url.replace("/show/", "/edit/"))
    expect(page.locator("#appid")).to_be_editable()
    page.goto(page.url.replace("/edit/", "/delete/"))


@pytest.mark.parametrize("width", [1366, 375])
def test_refused_pushes_are_told_apart(
    app: Flask, live: str, third_party_app: ThirdPartyApp, enter: Callable[..., Page], width: int
) -> None:
    for number in range(7):
        body = b"{}" if number % 3 else b"x" * (receive.LIMIT + 1)
        app.test_client().post(f"/douyin/callback/tt{number}/message", data=body)
    page = enter("platform_admin", width=width)
    page.goto(f"{live}/refusedpushview/list/")
    expect(page.locator(".reasons")).to_contain_text("累计 7 条")
    page.locator(".reasons a").first.click()
    expect(page.locator(".conditions")).to_contain_text("不是推送的格式")
