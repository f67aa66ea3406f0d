"""How to break each documented rule: (operation, code) -> what to do to its otherwise good call."""

from __future__ import annotations

import json
from collections.abc import Callable

from .examples import Bench, Prepared, prepare

Breaker = Callable[[Bench, Prepared], None]

# by code alone


def _unknown_parameter(bench: Bench, call: Prepared) -> None:
    call.query["unknown_parameter"] = "1"


def _unknown_thirdparty(bench: Bench, call: Prepared) -> None:
    if "component_appid" in call.query:
        call.query["component_appid"] = "tt0000000000000bad"
    else:
        bench.control("thirdparty", appid=bench.provider.appid, removed=True)


def _deleted_app(bench: Bench, call: Prepared) -> None:
    bench.app(deleted=True)


def _wrong_token(bench: Bench, call: Prepared) -> None:
    for name in ("component_access_token", "authorizer_access_token"):
        if name in call.query:
            call.query[name] = "0123456789abcdef"
    if "access-token" in call.headers:
        call.headers["access-token"] = "isvact.0123456789abcdef"


def _expired_token(bench: Bench, call: Prepared) -> None:
    bench.control("expire", kind="component")
    bench.control("expire", kind="authorizer")


def _no_permission(bench: Bench, call: Prepared) -> None:
    bench.app(permissions=[4])


def _blocked_address(bench: Bench, call: Prepared) -> None:
    bench.control("settings", ip_blocked=True)


def _system(code: int) -> Breaker:
    """The platform's own failure: the sandbox is told to answer it."""

    def breaker(bench: Bench, call: Prepared) -> None:
        bench.control("settings", error_rate=1, error_code=code)

    return breaker


def _app(**fields: object) -> Breaker:
    def breaker(bench: Bench, call: Prepared) -> None:
        bench.app(**fields)

    return breaker


BY_CODE: dict[int, Breaker] = {
    40001: _unknown_parameter,
    40003: _unknown_thirdparty,
    40004: _deleted_app,
    40006: _blocked_address,
    40009: _expired_token,
    40010: _wrong_token,
    40020: _wrong_token,
    40036: _no_permission,
    28001003: _wrong_token,
    28001008: _expired_token,
    28001018: _no_permission,
    10104: _app(subject_banned=True),
    10105: _app(subject="auditing"),
    10106: _app(subject="failed"),
    10107: _app(banned=True),
    10108: _app(template_of="ttsandbox000000001"),
    10109: _app(name_reset=True),
    11305: _app(subject_verified=False),
    11306: _app(has_category=False),
    11602: _app(processing=True),
    11401: _app(taken_down=True),
    **{code: _system(code) for code in (-1, 4, 40000, 40045, 11300, 11400, 11500, 11600)},
}


# by operation and code


def _bad_draft(bench: Bench, call: Prepared) -> None:
    call.body["draft_id"] = 999_999_999


def _bad_template(bench: Bench, call: Prepared) -> None:
    call.body["template_id"] = 999_999_999


def _full_list(bench: Bench, call: Prepared) -> None:
    while call.send(bench).json().get("err_no", 0) == 0:
        if (
            len(bench.sandbox.get("/api/tpapp/v2/template/get_tpl_list/", bench.provider.v2)["data"]["template_list"])
            >= 200
        ):
            return


def _used_code(bench: Bench, call: Prepared) -> None:
    call.send(bench)


def _refresh_with(bench: Bench, call: Prepared) -> None:
    call.query.pop("authorization_code")
    call.query |= {"grant_type": "app_to_tp_refresh_token", "authorizer_refresh_token": "isvrft.used"}


def _odd_grant(bench: Bench, call: Prepared) -> None:
    call.query["grant_type"] = "password"


def _no_code(bench: Bench, call: Prepared) -> None:
    call.query.pop("authorization_code")


def _revoked(bench: Bench, call: Prepared) -> None:
    bench.control("revoke", appid=bench.merchant.appid)


def _nameless(bench: Bench, call: Prepared) -> None:
    call.body = {"pre_auth_code_type": 2} if "pre_auth_code" in call.operation.id else {"link_type": 2}


def _no_version(bench: Bench, call: Prepared) -> None:
    """Another mini-program, which has no version yet."""
    fresh = bench.provider.merchant()
    bench.merchant = fresh
    if "access-token" in call.headers:
        call.headers["access-token"] = fresh.v2
    else:
        call.query["authorizer_access_token"] = fresh.v1


def _in_audit(bench: Bench, call: Prepared) -> None:
    assert bench.merchant.submit()["err_no"] == 0


def _too_soon(bench: Bench, call: Prepared) -> None:
    _in_audit(bench, call)
    assert bench.merchant.revoke_audit()["err_no"] == 0


def _foreign_host(bench: Bench, call: Prepared) -> None:
    """The oldest call has no choice of hosts: there the app's own list is empty."""
    if call.body is None:
        bench.app(hosts=[])
        return
    call.body["host_names" if "host_names" in call.body else "hostNames"] = ["huoshan"]


def _revoked_audit(bench: Bench, call: Prepared) -> None:
    assert bench.merchant.revoke_audit()["err_no"] == 0


def _decided(bench: Bench, call: Prepared) -> None:
    bench.merchant.decide()


def _still_in_audit(bench: Bench, call: Prepared) -> None:
    bench.control("advance", seconds=11)
    _in_audit(bench, call)


def _rolled_back_long_ago(bench: Bench, call: Prepared) -> None:
    assert bench.merchant.rollback()["err_no"] == 0
    bench.control("advance", seconds=700)


def _just_rolled_back(bench: Bench, call: Prepared) -> None:
    assert bench.merchant.rollback()["err_no"] == 0


def _field(name: str, value: object) -> Breaker:
    def breaker(bench: Bench, call: Prepared) -> None:
        call.body[name] = value

    return breaker


def _page_query(name: str, value: str) -> Breaker:
    def breaker(bench: Bench, call: Prepared) -> None:
        call.query[name] = value

    return breaker


def _no_domain(bench: Bench, call: Prepared) -> None:
    bench.control("thirdparty", appid=bench.provider.appid, auth_domain="")


def _no_referer(bench: Bench, call: Prepared) -> None:
    call.headers.pop("Referer")


def _choose_linked_app(bench: Bench, call: Prepared) -> None:
    """40019 comes when the merchant confirms an app of another third-party app."""
    other = {"appid": "ttother", "secret": "s", "token": "t", "aes_key": "A" * 43}
    bench.control("thirdparty", **other)
    taken = bench.sandbox.shop(authorized_to="ttother")
    bench.notes["form"] = {"decision": "confirm", "appid": taken, "permissions": "1"}


def _bodyless(bench: Bench, call: Prepared) -> None:
    call.body, call.headers = {}, {**call.headers, "Content-Type": "application/json"}


def _unknown_query(bench: Bench, call: Prepared) -> None:
    call.query["unknown_parameter"] = "1"


def _missing_header_field(bench: Bench, call: Prepared) -> None:
    """28001007 where the call has no field at all to leave out: the platform's general code, injected."""
    bench.control("settings", error_rate=1, error_code=28001007)


def _no_secret(bench: Bench, call: Prepared) -> None:
    fresh = bench.provider.merchant()
    call.headers["access-token"] = fresh.v2


def _secret_only(bench: Bench, call: Prepared) -> None:
    _no_secret(bench, call)
    bench.sandbox.get("/api/platform/v1/webhook/reset_secret/", call.headers["access-token"])


def _silent_console(bench: Bench, call: Prepared) -> None:
    bench.receiver.echo_challenge = False


def _events(event: str, status: int) -> Breaker:
    return _field("event_list", [{"event": event, "status": status}])


def _old_permission(bench: Bench, call: Prepared) -> None:
    bench.app(permissions=[4])


def _bad_body_token(bench: Bench, call: Prepared) -> None:
    call.body["access_token"] = "0123456789abcdef"


def _no_image(bench: Bench, call: Prepared) -> None:
    call.body.pop("image")


_RELEASE = ("release_version", "release_version_v1")
_REVOKE = ("revoke_audit", "revoke_audit_v1")
_ROLLBACK = ("rollback_version", "rollback_version_v1")
_SUBMIT = ("submit_audit", "submit_audit_v2_old", "submit_audit_v1", "submit_audit_v1_old")
_AUTHORIZER = ("get_authorizer_access_token", "get_authorizer_access_token_v1")
_WEBHOOK = (
    "webhook_reset_secret",
    "webhook_save_callback_url",
    "webhook_list_events",
    "webhook_update_events",
)
_ADD = ("add_template", "add_template_v1")
_NO_TEMPLATE = ("delete_template", "delete_template_v1", "upload_code", "upload_code_v1")

_GROUPS: tuple[tuple[tuple[str, ...], dict[int, Breaker]], ...] = (
    (_ADD, {40034: _bad_draft, 40035: _full_list}),
    (_NO_TEMPLATE, {40029: _bad_template}),
    (_AUTHORIZER, {40018: _used_code, 40021: _refresh_with, 40040: _odd_grant, 40002: _no_code}),
    (("get_pre_auth_code", "gen_auth_link"), {40059: _nameless}),
    (("retrieve_auth_code", "retrieve_auth_code_v1"), {40022: _revoked}),
    (_SUBMIT, {11301: _too_soon, 11302: _no_version, 11303: _in_audit, 11307: _foreign_host}),
    (("submit_audit_v1",), {10100: _deleted_app, 10003: _old_permission}),
    (_REVOKE, {11601: _revoked_audit, 11603: _decided}),
    (_RELEASE, {11402: _no_version, 11403: _still_in_audit}),
    (_ROLLBACK, {10003: _rolled_back_long_ago, 11501: _just_rolled_back}),
    (
        ("censor_image_v1",),
        {1: _no_image, 2: _bad_body_token, 3: _field("image", "https://example.com/missing.png")},
    ),
    (
        _WEBHOOK,
        {11009: _unknown_query, 28001007: _missing_header_field, 15006: _no_secret, 15002: _secret_only},
    ),
    (("webhook_save_callback_url",), {28001007: _bodyless, 15001: _silent_console}),
    (("webhook_update_events",), {28001007: _bodyless}),
    (
        ("webhook_update_events",),
        {15003: _events("", 1), 15004: _events("nobody_knows", 1), 15005: _events("example_event", 7)},
    ),
    (
        ("open_authorize_page",),
        {
            40011: _no_domain,
            40012: _page_query("pre_auth_code", "pre-gone"),
            40013: _page_query("redirect_uri", "no-address"),
            40014: _no_referer,
            40016: _page_query("redirect_uri", "https://elsewhere.example.com/back"),
            40019: _choose_linked_app,
        },
    ),
)
BY_OPERATION: dict[tuple[str, int], Breaker] = {
    (name, code): breaker for names, table in _GROUPS for name in names for code, breaker in table.items()
}

# (operation, code) that no caller can bring about, with the reason
CANNOT: dict[tuple[str, int], str] = {}


def breaker_of(operation_id: str, code: int) -> Breaker | None:
    return BY_OPERATION.get((operation_id, code)) or BY_CODE.get(code)


def ready(bench: Bench, operation_id: str) -> Prepared:
    """The good call; what its example publishes lies long enough back for a next audit."""
    call = prepare(bench, operation_id)
    if isinstance(call.body, dict) and "ext_json" in call.body:
        assert json.loads(call.body["ext_json"])["extAppid"] == bench.merchant.appid
    return call
