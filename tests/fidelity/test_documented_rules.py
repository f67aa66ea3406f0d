"""The contract's prose preconditions: each is proved by a test here, or stands below with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import wait_for

from .examples import Bench, prepare
from .harness import COMPONENT, REDIRECT, Provider
from .validator import Validator

_PROVED: set[tuple[str, str]] = set()
_V1_GONE = "an SDK marks the V1 template calls as gone since 2024-01-23; the doc site still lists them"
_TEMPLATE_V1 = (
    "list_template_apps_v1",
    "list_drafts_v1",
    "list_templates_v1",
    "add_template_v1",
    "delete_template_v1",
)
_INFERRED = "codes taken over from the V2 page: INFERRED"

NOT_A_RULE = {
    **dict.fromkeys([(name, _V1_GONE) for name in _TEMPLATE_V1], "news about the platform, not a rule"),
    ("list_drafts_v1", "listed as 废弃 in the doc site's menu"): "news about the platform, not a rule",
    ("revoke_audit_v1", _INFERRED): "says where the codes are from",
    ("release_version_v1", _INFERRED): "says where the codes are from",
    ("rollback_version_v1", _INFERRED): "says where the codes are from",
    (
        "get_webview_check_file",
        "the segment is spelt 'doamin' by the platform itself (its page: table and curl line)",
    ): "the path itself, which every test of this call uses",
    (
        "get_webview_check_file",
        "serve the content at https://<domain>/<file_name> before adding the webview domain in the console",
    ): "what the caller does elsewhere; the sandbox fetches nothing from the internet",
    (
        "gen_auth_link",
        "an unpublished third-party app can only be authorised by apps on its 授权测试小程序列表",
    ): "the sandbox's third-party apps count as published",
    ("code_to_session", "never log session_key"): "a duty of the caller",
    ("submit_audit", "call get_audit_hosts first"): "advice: the platform gives no code for leaving it out",
}


def proves(*pairs: tuple[str, str]) -> Callable[[Any], Any]:
    """The test proves these (operation, text) pairs."""

    def mark(test: Any) -> Any:
        _PROVED.update(pairs)
        return test

    return mark


def test_every_precondition_is_proved_or_explained() -> None:
    documented = {
        (operation.id, text)
        for operation in Validator().operations.values()
        if operation.core
        for text in operation.entry.get("x-preconditions", [])
    }
    assert documented - _PROVED - NOT_A_RULE.keys() == set()
    assert (_PROVED | NOT_A_RULE.keys()) - documented == set()


def _ok(answer: Any) -> bool:
    return bool(answer.get("err_no", answer.get("errno", 0)) == 0)


def _hosts(bench: Bench, token: str) -> int:
    code: int = bench.sandbox.get("/api/apps/v1/package_version/get_audit_hosts/", token)["err_no"]
    return code


# tokens


@proves(("get_component_access_token", "a component_ticket not older than 3 h"))
@pytest.mark.parametrize(("seconds", "works"), [(10_700, True), (10_900, False)])
def test_ticket_lives_three_hours(bench: Bench, seconds: int, works: bool) -> None:
    call = prepare(bench, "get_component_access_token")
    bench.control("advance", seconds=seconds)
    assert ("component_access_token" in call.send(bench).json()) is works


_SUPERSEDE = (
    "lifetime 2 h; a new token shortens the previous one to a 5-minute grace; "
    "only the newest two stay valid: fetch from one place and share"
)


@proves(("get_component_access_token", _SUPERSEDE), ("get_component_access_token_v1", "2 h"))
def test_component_tokens_supersede_each_other(bench: Bench) -> None:
    provider, sandbox = bench.provider, bench.sandbox
    path = "/openapi/v2/auth/tp/token/"
    first, second = provider.v2, provider.component(path)

    def state(token: str) -> int:
        code: int = sandbox.get("/api/tpapp/v2/template/get_tpl_list/", token)["err_no"]
        return code

    assert (state(first), state(second)) == (0, 0)
    bench.control("advance", seconds=301)
    assert (state(first), state(second)) == (28001008, 0)
    third = provider.component(path)
    provider.component(path)
    assert (state(second), state(third)) == (28001003, 0)
    bench.control("advance", seconds=7200)
    old = sandbox.get("/openapi/v1/tp/template/get_tpl_list", **provider.old())
    assert old["errno"] == 40009


@proves(("get_component_access_token", "V1 and V2 tokens are not interchangeable"))
def test_generations_do_not_mix(bench: Bench) -> None:
    sandbox, provider, merchant = bench.sandbox, bench.provider, bench.merchant
    assert sandbox.get("/api/tpapp/v2/template/get_tpl_list/", provider.v1)["err_no"] == 28001003
    assert _hosts(bench, merchant.v1) == 28001003
    old = provider.old(component_access_token=provider.v2)
    assert sandbox.get("/openapi/v1/tp/template/get_tpl_list", **old)["errno"] == 40010
    hosts = merchant.old(authorizer_access_token=merchant.v2)
    assert sandbox.get("/openapi/v1/microapp/package/audit_hosts", **hosts)["errno"] == 40020


@proves(("get_component_access_token", "the path works without the trailing slash in the official curl sample"))
def test_path_without_last_slash(bench: Bench) -> None:
    assert bench.provider.component("/openapi/v2/auth/tp/token").startswith("clt.")


_PAIR = (
    "access token 2 h; refresh token 30 days, single use, a new one comes back on every call: "
    "store it in the same transaction"
)


def _refresh(bench: Bench, token: str) -> Any:
    path, query = "/api/tpapp/v2/auth/get_auth_token/", {"grant_type": "app_to_tp_refresh_token"}
    return bench.sandbox.get(path, bench.provider.v2, **query, authorizer_refresh_token=token)


@proves(("get_authorizer_access_token", _PAIR), ("get_authorizer_access_token", "one endpoint serves both grants"))
def test_refresh_token_is_single_use(bench: Bench) -> None:
    first = bench.merchant.refresh_v2
    data = _refresh(bench, first)["data"]
    assert data["authorizer_refresh_token"] != first
    assert _refresh(bench, first)["err_no"] == 40021
    assert _hosts(bench, data["authorizer_access_token"]) == 0
    bench.control("advance", seconds=7201)
    assert _hosts(bench, data["authorizer_access_token"]) == 28001008


def test_refresh_token_ends_after_thirty_days(bench: Bench) -> None:
    bench.control("advance", seconds=2_592_001)
    ticket = bench.control("ticket")["tickets"][COMPONENT]
    bench.merchant.provider = Provider(bench.sandbox, ticket=ticket)
    assert _refresh(bench, bench.merchant.refresh_v2)["err_no"] == 40021


@proves(
    (
        "get_authorizer_access_token_v1",
        "refresh token: 1 month, single use; on success both old tokens are wiped",
    ),
    (
        "get_authorizer_access_token_v1",
        "the refresh answer has no authorizer_appid and no authorize_permission",
    ),
    ("get_authorizer_access_token_v1", "lost refresh token: use retrieve_auth_code"),
)
def test_old_refresh_wipes_both_tokens(bench: Bench) -> None:
    sandbox, provider, merchant = bench.sandbox, bench.provider, bench.merchant
    old = provider.old(grant_type="app_to_tp_refresh_token", authorizer_refresh_token=merchant.refresh_v1)
    answer = sandbox.get("/openapi/v1/oauth/token", **old)
    assert "authorizer_appid" not in answer
    assert "authorize_permission" not in answer
    assert sandbox.get("/openapi/v1/oauth/token", **old)["errno"] == 40021
    hosts = sandbox.get("/openapi/v1/microapp/package/audit_hosts", **merchant.old())
    assert hosts["errno"] == 40020
    again = provider.exchange_v1(merchant.retrieve())
    merchant.v1 = again["authorizer_access_token"]
    assert _ok(sandbox.get("/openapi/v1/microapp/package/audit_hosts", **merchant.old()))


@proves(
    ("retrieve_auth_code", "only while the authorisation exists"),
    ("retrieve_auth_code", "UPDATE_AUTHORIZED carrying the code is pushed as well"),
)
def test_retrieved_code_is_pushed_too_and_needs_an_authorisation(bench: Bench) -> None:
    code = bench.merchant.retrieve()
    told = wait_for(lambda: [e for e in bench.receiver.named("UPDATE_AUTHORIZED") if e["AuthorizationCode"] == code])
    assert bench.validator.event({k: v for k, v in told[0].items() if not k.startswith("_")}) == []
    bench.control("revoke", appid=bench.merchant.appid)
    answer = prepare(bench, "retrieve_auth_code").send(bench).json()
    assert answer["err_no"] == 40022


# links


def _pre_auth(bench: Bench, **body: Any) -> Any:
    return bench.sandbox.post("/api/tpapp/v3/auth/get_pre_auth_code/", bench.provider.v2, body)


@proves(
    ("get_pre_auth_code", "type 1 lives 10 minutes, type 2 lives 24 hours"),
    ("get_pre_auth_code_v1", "as get_pre_auth_code (V1 token, V1 host, path says v2)"),
)
@pytest.mark.parametrize(("kind", "lifetime"), [(1, 600), (2, 86_400)])
def test_pre_auth_code_lives_so_long(bench: Bench, kind: int, lifetime: int) -> None:
    call = prepare(bench, "open_authorize_page")
    data = _pre_auth(bench, pre_auth_code_type=kind, app_name="新店")["data"]
    assert data["expires_in"] == lifetime
    call.query["pre_auth_code"] = data["pre_auth_code"]
    bench.control("advance", seconds=lifetime - 5)
    assert "确认授权" in call.send(bench).text
    bench.control("advance", seconds=10)
    assert "40012" in call.send(bench).text
    old = prepare(bench, "get_pre_auth_code_v1").send(bench)
    assert old.json().get("expires_in", 600) == 600


@proves(
    ("get_pre_auth_code", "type-2 codes and links together: 50 a day"),
    ("gen_auth_link", "link_type 2: 50 a day together with type-2 pre-auth codes"),
)
def test_fifty_new_apps_a_day(bench: Bench) -> None:
    for _ in range(25):
        assert _ok(_pre_auth(bench, pre_auth_code_type=2, app_name="新店"))
        bench.provider.link(link_type=2, app_name="新店")
    assert _pre_auth(bench, pre_auth_code_type=2, app_name="新店")["err_no"] == 28003017
    assert _ok(_pre_auth(bench, pre_auth_code_type=1))


@proves(("gen_auth_link", "the link lives 24 hours and dies once authorised"))
def test_link_ends(bench: Bench) -> None:
    bench.control("advance", seconds=0)
    link = bench.provider.link(redirect_uri=REDIRECT)
    bench.control("consent", link=link, appid=bench.sandbox.shop(), permissions=[1])
    assert "40012" in bench.sandbox.http.get(link).text
    late = bench.provider.link(redirect_uri=REDIRECT)
    assert "确认授权" in bench.sandbox.http.get(late).text
    bench.control("advance", seconds=86_401)
    assert "40012" in bench.sandbox.http.get(late).text


_DOMAIN = "redirect_uri domain = 授权域名"


@proves(("gen_auth_link", _DOMAIN), ("open_authorize_page", _DOMAIN))
def test_redirect_must_stay_on_the_domain(bench: Bench) -> None:
    link = bench.provider.link(redirect_uri="https://evil.example.com/")
    assert "40016" in bench.sandbox.http.get(link).text
    call = prepare(bench, "open_authorize_page")
    call.query["redirect_uri"] = "https://evil.example.com/"
    assert "40016" in call.send(bench).text


@proves(
    ("open_authorize_page", "must be opened from a page on the 授权域名"),
    (
        "open_authorize_page",
        "an already authorised app, or a development app, cannot be authorised; "
        "one app belongs to one third-party app at a time",
    ),
)
def test_hand_made_link(bench: Bench) -> None:
    call = prepare(bench, "open_authorize_page")
    template = bench.sandbox.read("state")["thirdparties"][0]["template_apps"][0]
    url = bench.sandbox.base + call.operation.path
    form = {"decision": "confirm", "appid": template}
    assert "40019" in bench.sandbox.http.post(url, params=call.query, data=form).text
    form["appid"] = bench.sandbox.shop()
    answer = bench.sandbox.http.post(url, params=call.query, data=form, allow_redirects=False)
    assert answer.headers["Location"].startswith("https://admin.example.com/back?authorization_code=")
    call.headers["Referer"] = "https://elsewhere.example.com/"
    assert "40014" in call.send(bench).text


@proves(("list_auth_apps", "size at most 50 (the official sample call uses 100)"))
@pytest.mark.parametrize(("size", "works"), [(50, True), (51, False)])
def test_page_size(bench: Bench, size: int, works: bool) -> None:
    answer = bench.sandbox.get("/api/tpapp/v2/auth/get_auth_app_list/", bench.provider.v2, page=1, size=size)
    assert _ok(answer) is works


# templates


@proves(
    ("list_template_apps", "replaces the draft list: each bound template app carries at most one draft"),
    ("add_template", "200 templates per third-party app"),
    ("add_template", "the answer does not name the new template_id: list again"),
)
def test_templates(bench: Bench) -> None:
    sandbox, token = bench.sandbox, bench.provider.v2
    apps = sandbox.get("/api/tpapp/v2/template/get_tpl_app_list/", token)["data"]["tpl_app_list"]
    assert [isinstance(app["draft_id"], int) for app in apps] == [True, True]
    body, path = {"draft_id": apps[1]["draft_id"]}, "/api/tpapp/v2/template/add_tpl/"
    answers = [sandbox.post(path, token, body) for _ in range(199)]
    assert "data" not in answers[0]
    assert [answer["err_no"] for answer in answers[-2:]] == [0, 40035]
    listed = sandbox.get("/api/tpapp/v2/template/get_tpl_list/", token)["data"]["template_list"]
    assert len({row["template_id"] for row in listed}) == 200
    assert max(row["template_id"] for row in listed) > 2**53


# versions


@proves(
    ("upload_code", "afterwards the app has a test version (versions.latest)"),
    ("upload_code", "two test channels (tag)"),
)
def test_upload_makes_a_test_version_per_channel(bench: Bench) -> None:
    merchant = bench.merchant
    assert "latest" not in merchant.versions()
    merchant.upload("1.0.0")
    merchant.upload("2.0.0", tag="1")
    assert merchant.versions()["latest"]["version"] == "2.0.0"
    merchant.submit(tag="")
    assert merchant.versions()["audit"]["version"] == "1.0.0"


@proves(
    ("submit_audit", "one version in audit at a time; 10 s between tries"),
    ("submit_audit", "the result arrives as PACKAGE_AUDIT per host, and in versions.audit"),
    ("submit_audit_v1", "path says v2, tokens and envelope are V1"),
    ("release_version", "versions.audit.status = 1 and not is_illegal_version"),
)
def test_audit_from_submit_to_result(bench: Bench) -> None:
    merchant = bench.merchant
    merchant.upload()
    assert _ok(merchant.submit(host_names=["douyin", "toutiao"]))
    assert merchant.submit()["err_no"] == 11303
    assert merchant.release()["err_no"] == 11403
    merchant.decide({"toutiao": "reject"}, "页面空白")
    (event,) = wait_for(lambda: [e for e in bench.receiver.named("PACKAGE_AUDIT") if e["AppId"] == merchant.appid])
    assert [row["status"] for row in event["AuditResults"]] == [1, 0]
    assert bench.validator.event({k: v for k, v in event.items() if not k.startswith("_")}) == []
    audit = merchant.versions()["audit"]
    assert (audit["status"], audit["approved_apps"]) == (1, ["抖音"])
    assert audit["reason_detail"] == {"今日头条": ["页面空白"]}
    assert merchant.submit()["err_no"] == 11301
    bench.control("advance", seconds=11)
    old = bench.sandbox.post("/openapi/v2/microapp/package/audit", "", {"hostNames": ["douyin"]}, **merchant.old())
    assert old == {"errno": 0, "message": "success"}


@proves(("revoke_audit", "a version is in audit; afterwards versions.audit.status = 3"))
def test_revoked_audit(bench: Bench) -> None:
    bench.merchant.upload()
    bench.merchant.submit()
    assert _ok(bench.merchant.revoke_audit())
    assert bench.merchant.versions()["audit"]["status"] == 3
    assert bench.merchant.revoke_audit()["err_no"] == 11601


_NO_BODY = [
    *(f"{name}{end}" for name in ("revoke_audit", "release_version", "rollback_version") for end in ("", "_v1"))
]


@proves(*((name, "no body") for name in _NO_BODY))
@pytest.mark.parametrize("operation_id", _NO_BODY)
def test_a_body_is_refused(bench: Bench, operation_id: str) -> None:
    call = prepare(bench, operation_id)
    call.body = {"version": "1.0.0"}
    answer = call.send(bench).json()
    assert answer.get("err_no", answer.get("errno")) == 40001


@proves(
    ("rollback_version", "not on the first online version"),
    ("rollback_version", "once per release, never twice in a row"),
    ("rollback_version", "takes effect after 3 to 5 minutes"),
)
def test_roll_back(bench: Bench) -> None:
    merchant = bench.merchant
    merchant.publish("1.0.0")
    assert merchant.rollback()["err_no"] == 10003
    merchant.publish("1.0.1")
    assert merchant.versions()["current"]["rollback"] == {"can_rollback": True, "last_version": "1.0.0"}
    assert _ok(merchant.rollback())
    bench.control("advance", seconds=179)
    assert merchant.versions()["current"]["version"] == "1.0.1"
    bench.control("advance", seconds=121)
    assert merchant.versions()["current"]["version"] == "1.0.0"
    assert merchant.rollback()["err_no"] == 11501
    bench.control("advance", seconds=600)
    assert merchant.rollback()["err_no"] == 10003
    merchant.publish("1.0.2")
    assert _ok(merchant.rollback())


@proves(("rollback_version", "not when the current or the previous version was taken down"))
def test_no_roll_back_from_a_version_taken_down(bench: Bench) -> None:
    bench.merchant.publish("1.0.0")
    bench.merchant.publish("1.0.1")
    bench.app(taken_down=True)
    assert bench.merchant.rollback()["err_no"] == 10003


# tools


@proves(("censor_image_v1", "image or image_data must be there"))
def test_an_image_is_needed(bench: Bench) -> None:
    call = prepare(bench, "censor_image_v1")
    call.body.pop("image")
    assert call.send(bench).json()["error"] == 1
    call.body["image_data"] = "aGVsbG8="
    assert call.send(bench).json()["error"] == 0


@proves(("censor_image", "documented for an ordinary app's clt token; use with isvact is INFERRED"))
def test_image_check_takes_both_tokens(bench: Bench) -> None:
    call = prepare(bench, "censor_image")
    assert _ok(call.send(bench).json())
    call.headers["access-token"] = bench.merchant.client_token()
    assert _ok(call.send(bench).json())


@proves(("code_to_session", "the table marks code as required, yet a live client sends anonymous_code alone"))
def test_anonymous_code_alone(bench: Bench) -> None:
    path, body = "/api/apps/v1/microapp/code2session/", {"anonymous_code": str(time.monotonic_ns())}
    answer = bench.sandbox.post(path, bench.merchant.v2, body)
    assert answer["data"]["open_id"] == ""
    assert answer["data"]["anonymous_open_id"]
    assert bench.sandbox.post(path, bench.merchant.v2, body)["err_no"] == 28001007


@proves(
    (
        "webhook_reset_secret",
        "every call replaces the secret (a GET with a side effect): never retry blindly, never prefetch",
    ),
    ("webhook_save_callback_url", "the platform posts verify_webhook to the address first"),
)
def test_webhook(bench: Bench) -> None:
    secrets = [prepare(bench, "webhook_reset_secret").send(bench).json()["data"]["secret"] for _ in range(2)]
    assert secrets[0] != secrets[1]
    bench.receiver.paths.clear()
    assert _ok(prepare(bench, "webhook_save_callback_url").send(bench).json())
    assert "/hook" in bench.receiver.paths


# settle


@proves(
    ("settle_pre_check", "optional, answers at once"),
    ("settle_apply", "10 new phone numbers a day per third-party app"),
    ("settle_apply", "refused while that number is in progress or settled"),
    ("settle_apply", "result within 10 working days by SETTLE_APPLY"),
)
def test_settle(bench: Bench) -> None:
    assert _ok(prepare(bench, "settle_pre_check").send(bench).json())
    call = prepare(bench, "settle_apply")
    number = call.send(bench).json()["data"]["apply_id"]
    assert call.send(bench).json()["errno"] == 40001
    for last in range(1, 10):
        call.body["mobile"] = f"1390000000{last}"
        assert _ok(call.send(bench).json())
    call.body["mobile"] = "13700000000"
    assert call.send(bench).json()["errno"] == 40001
    bench.control("advance", seconds=21)
    told = wait_for(lambda: [e for e in bench.receiver.named("SETTLE_APPLY") if e["ApplyId"] == number])
    assert bench.validator.event({k: v for k, v in told[0].items() if not k.startswith("_")}) == []
