"""Tickets and events at the console."""

from __future__ import annotations

from fidelity.harness import COMPONENT, Merchant, Provider, Sandbox
from fidelity.receiver import Receiver

from tests.waiting import wait_for


def test_ticket_arrives_and_opens_a_token(sandbox: Sandbox, console: Receiver) -> None:
    sandbox.control("thirdparty", appid=COMPONENT)
    ticket = sandbox.control("ticket")["tickets"][COMPONENT]
    event = wait_for(lambda: [e for e in console.named("PUSH") if e["Ticket"] == ticket])[0]
    assert event["_tail"] == COMPONENT
    assert event["_path"] == f"/douyin/callback/{COMPONENT}/authorization"
    assert "AppId" not in event
    assert Provider(sandbox, ticket=event["Ticket"]).v2.startswith("clt.")


def test_ticket_comes_every_ten_minutes(sandbox: Sandbox, console: Receiver) -> None:
    sandbox.control("ticket")
    console.events.clear()
    sandbox.control("advance", seconds=590)
    assert console.named("PUSH") == [] or wait_for(lambda: len(console.named("PUSH")) <= 2)
    before = len(console.named("PUSH"))
    sandbox.control("advance", seconds=15)
    wait_for(lambda: len(console.named("PUSH")) > before)


def test_authorized_goes_to_the_one_address_and_audits_to_the_other(merchant: Merchant, console: Receiver) -> None:
    merchant.upload()
    merchant.submit()
    merchant.decide("reject", "页面空白")
    event = wait_for(lambda: [e for e in console.named("PACKAGE_AUDIT") if e["AppId"] == merchant.appid])[0]
    assert event["_path"].endswith("/message")
    (detail,) = event["AuditResults"][0]["auditDetail"]
    assert detail["reason"] == "页面空白"
    assert merchant.sandbox.http.get(detail["detailFile"]).content.startswith(b"\x89PNG")
    event = wait_for(lambda: [e for e in console.named("AUTHORIZED") if e["AppId"] == merchant.appid])[0]
    assert event["_path"].endswith("/authorization")


def test_audit_decides_by_itself_in_its_time(merchant: Merchant, console: Receiver) -> None:
    merchant.sandbox.control("settings", audit_seconds=30, verdict="reject", reason="类目不符")
    merchant.upload()
    merchant.submit()
    merchant.sandbox.control("advance", seconds=29)
    assert merchant.versions()["audit"]["status"] == 0
    merchant.sandbox.control("advance", seconds=2)
    audit = merchant.versions()["audit"]
    assert (audit["status"], audit["reason"]) == (2, "抖音: 类目不符")
    wait_for(lambda: [e for e in console.named("PACKAGE_AUDIT") if e["AppId"] == merchant.appid])


def test_app_has_its_own_verdict(merchant: Merchant) -> None:
    merchant.sandbox.control(f"apps/{merchant.appid}", verdict="reject", reason="资质不全")
    merchant.upload()
    merchant.submit()
    merchant.sandbox.control("advance", seconds=21)
    assert merchant.versions()["audit"]["reason_detail"] == {"抖音": ["资质不全"]}


def test_revoke_kills_tokens_and_is_pushed(merchant: Merchant, console: Receiver) -> None:
    merchant.sandbox.control("revoke", appid=merchant.appid)
    wait_for(lambda: [e for e in console.named("UNAUTHORIZED") if e["AppId"] == merchant.appid])
    answer = merchant.sandbox.get("/api/apps/v1/package_version/versions/", merchant.v2)
    assert answer["err_no"] == 28001003


def test_lost_and_doubled_pushes(merchant: Merchant, console: Receiver) -> None:
    sandbox = merchant.sandbox
    sandbox.control("settings", push_loss_rate=1)
    merchant.retrieve()
    sandbox.control("settings", push_loss_rate=0, push_duplicate_rate=1)
    code = merchant.retrieve()
    wait_for(lambda: len([e for e in console.named("UPDATE_AUTHORIZED") if e["AuthorizationCode"] == code]) == 2)
    assert "lost" in [push["result"] for push in sandbox.read("pushes")["pushes"]]


def test_any_event_any_number_and_forged(merchant: Merchant, console: Receiver) -> None:
    sandbox, event = merchant.sandbox, {"Event": "NOBODY_KNOWS", "X": 1}
    sandbox.control("push", appid=merchant.appid, event=event, copies=3)
    wait_for(lambda: len([e for e in console.named("NOBODY_KNOWS") if e["AppId"] == merchant.appid]) == 3)
    console.refused.clear()
    sandbox.control("push", appid=merchant.appid, event=event, forge="signature")
    wait_for(lambda: len(console.refused) == 1)
    sandbox.control("push", appid=merchant.appid, event=event, forge="tail")
    wait_for(lambda: [e for e in console.named("NOBODY_KNOWS") if e["_tail"] == "tt0000000000000bad"])


def test_push_is_tried_again_when_the_console_does_not_say_success(merchant: Merchant, console: Receiver) -> None:
    console.reply = b"busy"
    code = merchant.retrieve()
    wait_for(lambda: [e for e in console.named("UPDATE_AUTHORIZED") if e["AuthorizationCode"] == code])
    console.reply = b"success"
    wait_for(lambda: len([e for e in console.named("UPDATE_AUTHORIZED") if e["AuthorizationCode"] == code]) == 2)
