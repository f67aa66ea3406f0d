"""Addresses in Douyin's answers and pushes: https, or absent, wherever one may stand."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from app import addresses
from app.douyin import authorization, development, inbound, lenient, profile
from app.douyin.contract import ADDRESS, Reply
from app.douyin.lenient import Unfit, fit

NAMES = re.compile(r"(^|_)(icon|url|link|avatar|file|image|picture|qrcode)s?$")
# Bad ones; none is good for a page, a fetch or a store.
OTHERS = [
    "javascript:alert(document.cookie)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>1</script>",
    "vbscript:x",
    "http://p3.example.com/a.png",
    "ftp://p3.example.com/a",
    "file:///etc/passwd",
    "//p3.example.com/a",
    "/a.png",
    "https://",
    "https://a b/",
    'https://p3.example.com/"onerror="alert(1)',
    "blob:https://p3.example.com/1",
]
GOOD = "https://p3.example.com/a.png?x-expires=1&x-signature=a%2Bb"


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_loopback", False)
    monkeypatch.setattr(lenient, "_told", set())


def kinds(kind: type[Any]) -> Iterator[type[Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from kinds(one)


def hints() -> Iterator[tuple[str, Any]]:
    for kind in set(kinds(Reply)):
        found = get_type_hints(kind, include_extras=True)
        yield from ((f"{kind.__name__}.{item.name}", found[item.name]) for item in dataclasses.fields(kind))


def marked(hint: Any) -> bool:
    return ADDRESS in get_args(hint) or any(ADDRESS in get_args(arm) for arm in get_args(hint))


def test_every_field_that_is_an_address_by_its_name_is_one_by_its_type() -> None:
    assert sorted(name for name, hint in hints() if NAMES.search(name.split(".")[1]) and not marked(hint)) == []
    assert sum(marked(hint) for _, hint in hints()) >= 10


@pytest.mark.parametrize("bad", OTHERS)
def test_another_address_is_absent_and_told(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = fit(profile.AppInfo, {"app_state": 1, "app_name": "花店", "app_icon": bad}, what="get_app_info")
    assert (found.app_name, found.app_icon) == ("花店", "")
    assert "app_icon" in caplog.text
    assert bad not in caplog.text


def test_a_good_address_is_taken_as_it_is_written() -> None:
    assert fit(profile.AppInfo, {"app_state": 1, "app_icon": GOOD}, what="x").app_icon == GOOD


@pytest.mark.parametrize("bad", OTHERS)
def test_a_link_that_we_would_pass_on_refuses_the_answer(bad: str) -> None:
    with pytest.raises(Unfit):
        fit(authorization.AuthLink, {"link": bad}, what="gen_link")


@pytest.mark.parametrize("bad", OTHERS)
def test_in_a_push_too(bad: str) -> None:
    detail = {"reason": "页面空白", "modifyGuide": {"name": "规范", "link": bad}, "detailFile": bad}
    results = [{"hostName": "douyin", "status": 0, "reason": ["空白"], "auditDetail": [detail]}]
    event = {"Event": "PACKAGE_AUDIT", "AppId": "tt1", "TpAppId": "tt0", "EventTime": "2025-01-01 09:00:00"}
    message: Any = inbound.parse({**event, "AuditResults": results})
    (told,) = message.audit_results[0].audit_detail
    assert (told.reason, told.modify_guide.name, told.modify_guide.link, told.detail_file) == (
        "页面空白",
        "规范",
        "",
        "",
    )


def test_what_stands_anywhere_in_reasons_and_attachments_is_left_out() -> None:
    detail = {
        "抖音": [{"reason": "见 http://a.example/ 的说明", "link": "javascript:alert(1)", "guide": {"link": GOOD}}],
        "list": ["data:text/html,x", GOOD, "http://p3.example.com/a.png"],
    }
    audit = {"version": "1.0.0", "status": 2, "reason_detail": detail, "attachInfo": {"a": "file:///etc/passwd"}}
    found = fit(development.AuditVersion, audit, what="versions")
    assert found.reason_detail == {
        "抖音": [{"reason": "见 http://a.example/ 的说明", "guide": {"link": GOOD}}],
        "list": [GOOD],
    }
    assert found.attach_info == {}


def test_screenshots_are_addresses_or_paths() -> None:
    shots = [GOOD, "shots/1.png", "javascript:alert(1)", "http://p3.example.com/2.png"]
    found = fit(development.LatestVersion, {"version": "1.0.0", "screenshot": shots}, what="versions")
    assert found.screenshots == [GOOD, "shots/1.png"]
