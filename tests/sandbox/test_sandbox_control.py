"""The control API and page, and the first world."""

from __future__ import annotations

import pytest
from fidelity.harness import Merchant, Sandbox


def _refused(sandbox: Sandbox, action: str, **body: object) -> str:
    answer = sandbox.http.post(f"{sandbox.base}/_sandbox/api/{action}", json=body, timeout=5)
    assert answer.status_code == 400
    text: str = answer.json()["error"]
    return text


def test_first_world(sandbox: Sandbox) -> None:
    state = sandbox.read("state")
    shops = [app for app in state["apps"] if not app["template_of"]]
    assert len(shops) == 12
    assert [app["authorized_to"] for app in shops] == [""] * 12
    assert sum(not app["subject_verified"] for app in shops) == 1
    assert sum(not app["categories"] for app in shops) == 1
    assert sum(app["banned"] for app in shops) == 1
    assert sum(app["personal"] for app in shops) == 1
    templates = [app for app in state["apps"] if app["template_of"]]
    assert [bool(app["draft"]) for app in templates] == [True, True]
    numbers = [int(row["template_id"]) for row in state["thirdparties"][0]["templates"]]
    drafts = [int(app["draft"]["draft_id"]) for app in templates]
    assert max(numbers) > 2**53 > min(numbers)
    assert max(drafts) > 2**53 > min(drafts)


def test_many_apps_at_once_already_authorised(sandbox: Sandbox) -> None:
    apps = sandbox.control("apps", count=300, authorized_to="ttsandbox000000001", permissions=[1, 2])["apps"]
    assert len({app["appid"] for app in apps}) == 300
    assert {tuple(app["permissions"]) for app in apps} == {(1, 2)}


def test_app_with_a_given_id(sandbox: Sandbox) -> None:
    sandbox.control("apps", appid="tt1111111111111111", name="指定的店")
    assert "exists" in _refused(sandbox, "apps", appid="tt1111111111111111")


@pytest.mark.parametrize(
    ("action", "body", "words"),
    [
        ("settings", {"verdict": "maybe"}, "verdict"),
        ("settings", {"outage": "fire"}, "outage"),
        ("settings", {"nonsense": 1}, "unknown setting"),
        ("settings", {"latency_ms": "long"}, "latency_ms"),
        ("apps/tt-none", {}, "unknown mini-program"),
        ("apps", {"count": 0}, "count"),
        ("expire", {"kind": "milk"}, "kind"),
        ("advance", {"seconds": -1}, "forward"),
        ("revoke", {"appid": "tt-none"}, "unknown mini-program"),
        ("nonsense", {}, "unknown action"),
        ("thirdparty", {"appid": "ttnew"}, "secret"),
    ],
)
def test_nonsense_is_refused(sandbox: Sandbox, action: str, body: dict[str, object], words: str) -> None:
    assert words in _refused(sandbox, action, **body)


def test_form_of_the_page_works_and_returns_to_it(sandbox: Sandbox) -> None:
    url = f"{sandbox.base}/_sandbox/api/settings"
    answer = sandbox.http.post(url, data={"latency_ms": "0", "verdict": "reject", "ip_blocked": "false"}, timeout=5)
    assert answer.url.endswith("/_sandbox/")
    assert "抖音沙箱" in answer.text
    assert sandbox.read("state")["settings"]["verdict"] == "reject"


def test_page_needs_nothing_from_outside(sandbox: Sandbox, merchant: Merchant) -> None:
    merchant.upload()
    merchant.submit()
    page = sandbox.http.get(f"{sandbox.base}/_sandbox/").text
    assert "http://" not in page.replace(sandbox.base, "").replace("http://127.0.0.1", "")
    assert "https://" not in page
    assert "审核中" in page
    assert 'name="viewport"' in page


def test_page_of_another_site_cannot_turn_switches(sandbox: Sandbox) -> None:
    url = f"{sandbox.base}/_sandbox/api/settings"
    answer = sandbox.http.post(url, data={"outage": "500"}, headers={"Origin": "https://evil.example.com"})
    assert answer.status_code == 403
    assert sandbox.read("state")["settings"]["outage"] == "off"


def test_journal_tells_what_passed(sandbox: Sandbox, merchant: Merchant) -> None:
    number = sandbox.journal()[-1]["n"]
    merchant.upload("3.2.1")
    (_, row) = sandbox.journal(number)
    assert row["operation_id"] == "upload_code"
    assert row["headers"]["access-token"] == merchant.v2
    assert row["body"]["user_version"] == "3.2.1"
    assert row["answer"]["err_no"] == 0


def test_effects_list_uploads_and_releases_in_order(merchant: Merchant) -> None:
    merchant.publish("1.0.0")
    merchant.publish("1.0.1")
    effects = merchant.effects()
    assert effects["released"] == ["1.0.0", "1.0.1"]
    assert [one["version"] for one in effects["uploads"]] == ["1.0.0", "1.0.1"]
    assert [effects[name] for name in ("upload", "audit", "release")] == [2, 2, 2]


def test_unknown_path_is_not_found_and_written_down(sandbox: Sandbox) -> None:
    assert sandbox.http.get(f"{sandbox.base}/api/nothing/").status_code == 404
    assert sandbox.http.post(f"{sandbox.base}/openapi/v1/auth/tp/token/").status_code == 404
    assert sandbox.journal()[-1]["operation_id"] is None


def test_client_token(merchant: Merchant) -> None:
    answer = merchant.sandbox.post(
        "/oauth/client_token/",
        body={"client_key": merchant.appid, "client_secret": merchant.v2, "grant_type": "client_credential"},
    )
    assert answer["message"] == "success"
    assert answer["data"]["access_token"].startswith("clt.")
    assert answer["data"]["expires_in"] == 7200
    bad = {"client_key": merchant.appid, "client_secret": merchant.v1, "grant_type": "client_credential"}
    refused = merchant.sandbox.post("/oauth/client_token/", body=bad)
    assert refused["data"]["error_code"] != 0


def test_app_info_follows_the_app(merchant: Merchant) -> None:
    merchant.sandbox.control(f"apps/{merchant.appid}", name="改名的店", banned=False)
    path = "/api/apps/v2/basic_info/get_info/"
    data = merchant.sandbox.get(path, merchant.v2)["data"]
    assert (data["app_name"], data["app_state"]) == ("改名的店", 0)
    merchant.publish()
    assert merchant.sandbox.get(path, merchant.v2)["data"]["app_state"] == 1
    old = merchant.sandbox.get("/openapi/v1/microapp/app/info", **merchant.old())
    assert (old["errno"], old["data"]["app_name"]) == (0, "改名的店")


def test_named_person_keeps_the_open_id(merchant: Merchant) -> None:
    def log_in(code: str) -> str:
        answer = merchant.sandbox.post("/api/apps/v1/microapp/code2session/", merchant.v2, {"code": code})
        found: str = answer["data"]["open_id"]
        return found

    assert log_in("user-li-1") == log_in("user-li-2") != log_in("user-wang-1")
