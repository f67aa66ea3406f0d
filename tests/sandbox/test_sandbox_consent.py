"""The consent page in a browser's eyes."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from fidelity.harness import REDIRECT, Provider
from fidelity.receiver import Receiver

from tests.waiting import wait_for


def _post(provider: Provider, link: str, **form: object) -> requests.Response:
    answer: requests.Response = provider.sandbox.http.post(link, data=form, allow_redirects=False, timeout=5)
    return answer


def test_page_lists_apps_and_ticks_the_two_basic_sets(provider: Provider) -> None:
    page = provider.sandbox.http.get(provider.link(redirect_uri=REDIRECT)).text
    assert "晨光书店" in page
    assert page.count(" checked") == 2
    assert "门店模板" not in page
    assert "https://" not in page.replace(REDIRECT, "")


def test_search_narrows_the_list(provider: Provider) -> None:
    page = provider.sandbox.http.get(provider.link(redirect_uri=REDIRECT) + "&q=茶舍").text
    assert "江南茶舍" in page
    assert "晨光书店" not in page


def test_confirmation_redirects_with_a_code_and_pushes_the_same(provider: Provider, console: Receiver) -> None:
    appid = provider.sandbox.shop()
    link = provider.link(redirect_uri=f"{REDIRECT}?keep=1")
    answer = _post(provider, link, decision="confirm", appid=appid, permissions=["1", "3"])
    assert answer.status_code == 302
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert query["keep"] == ["1"]
    assert query["expires_in"] == ["3600"]
    (code,) = query["authorization_code"]
    told = wait_for(lambda: [e for e in console.named("AUTHORIZED") if e["AppId"] == appid])
    assert told[0]["AuthorizationCode"] == code
    data = provider.exchange(code)
    assert data["authorizer_appid"] == appid
    assert [row["id"] for row in data["authorize_permission"]] == [1, 3]


def test_refusal_leads_back_and_changes_nothing(provider: Provider) -> None:
    link = provider.link(redirect_uri=REDIRECT)
    page = _post(provider, link, decision="refuse").text
    assert "已拒绝授权" in page
    assert "返回授权页" in page
    assert "确认授权" in provider.sandbox.http.get(link).text


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"subject_verified": False}, "尚未完成认证"), ({"authorized_to": "ttother"}, "40019")],
)
def test_apps_that_cannot_be_authorised(provider: Provider, fields: dict[str, object], words: str) -> None:
    provider.sandbox.control("thirdparty", appid="ttother", secret="s", token="t", aes_key="A" * 43)
    appid = provider.sandbox.shop(**fields)
    link = provider.link(redirect_uri=REDIRECT)
    assert words in _post(provider, link, decision="confirm", appid=appid).text
    assert "确认授权" in provider.sandbox.http.get(link).text


def test_link_without_redirect_ends_on_a_page(provider: Provider) -> None:
    answer = _post(provider, provider.link(), decision="confirm", appid=provider.sandbox.shop())
    assert "授权成功" in answer.text


def test_link_may_create_an_app(provider: Provider, console: Receiver) -> None:
    link = provider.link(link_type=2, app_name="新开的店", app_icon=provider.material(2), redirect_uri=REDIRECT)
    assert "新开的店" in provider.sandbox.http.get(link).text
    assert _post(provider, link, decision="confirm").status_code == 302
    told = wait_for(lambda: [e for e in console.named("AUTHORIZED") if e.get("AppName") == "新开的店"])
    assert told[0]["CompanyName"]


def test_more_sets_may_be_added_later(provider: Provider) -> None:
    merchant = provider.merchant(permissions=(1, 2))
    data = provider.exchange(provider.code(merchant.appid, (5,)))
    assert [row["id"] for row in data["authorize_permission"]] == [1, 2, 5]


def test_markup_in_a_name_is_shown_as_text(provider: Provider) -> None:
    provider.sandbox.shop(name="<script>alert(1)</script>")
    page = provider.sandbox.http.get(provider.link(redirect_uri=REDIRECT)).text
    assert "<script>" not in page
