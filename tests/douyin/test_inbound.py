"""Every pushed event of the contract becomes its typed message."""

from __future__ import annotations

import copy
import dataclasses
import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from app.douyin import inbound
from app.douyin.inbound import (
    MESSAGES,
    MalformedEvent,
    UnknownEvent,
    Verdict,
    beijing_time,
    parse,
    webhook_challenge,
)

from .contract_files import contract
from .test_mutations import WEIRD


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Event name -> the contract's decrypted example."""
    hooks = [item["post"] for item in contract("core")["webhooks"].values()]
    return {hook["x-event"]: hook["x-decrypted"]["example"] for hook in hooks if "x-decrypted" in hook}


def test_every_event_of_the_contract_has_a_message_and_the_reverse() -> None:
    assert set(examples()) == set(MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_the_contracts_example_is_read(name: str) -> None:
    event = examples()[name]
    message = parse(event)
    assert type(message) is MESSAGES[name]
    assert (message.event, message.app_id) == (name, event.get("AppId"))
    assert message.at == datetime(2025, 1, 1, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_nothing_of_the_example_is_lost(name: str) -> None:
    """Every text and number in it is found in the message again."""
    found = repr(dataclasses.asdict(parse(examples()[name])))
    missing = [leaf for leaf in _leaves(examples()[name]) if leaf not in found]
    assert not missing or name == "PUSH"


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None else [repr(value)]


def test_an_audit_result_tells_each_host() -> None:
    message = parse(examples()["PACKAGE_AUDIT"])
    assert isinstance(message, inbound.PackageAudit)
    first, second = message.audit_results
    assert (first.host_name, first.status, first.reason) == ("douyin", Verdict.REJECTED, ("页面空白",))
    assert first.audit_detail[0].modify_guide == inbound.ModifyGuide(name="页面规范", link="https://example.com/g")
    assert (second.status, second.audit_detail) == (Verdict.PASSED, ())


def test_an_unknown_event_is_kept_as_such() -> None:
    message = parse({"Event": "BRAND_NEW", "AppId": "tt1", "Whatever": {"x": 1}})
    assert isinstance(message, UnknownEvent)
    assert (message.event, message.app_id) == ("BRAND_NEW", "tt1")


def test_content_cannot_speak_for_another_app() -> None:
    event = copy.deepcopy(examples()["ALIAS_AUDIT_RESULT"])
    event["EventContent"] |= {"app_id": "tt9", "event": "UNAUTHORIZED"}
    assert parse(event).app_id == event["AppId"]


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - {"APP_NAME_RESET_NOTIFICATION", "UNAUTHORIZED"}))
def test_a_known_event_without_its_content_is_malformed(name: str) -> None:
    bare = {key: value for key, value in examples()[name].items() if key in {"Event", "AppId", "TpAppId"}}
    with pytest.raises(MalformedEvent):
        parse(bare)


def test_no_value_of_a_malformed_event_is_in_the_error() -> None:
    with pytest.raises(MalformedEvent) as caught:
        parse({"Event": "AUTHORIZED", "AppId": "tt1", "AuthorizationCode": ["code-77"]})
    assert "code-77" not in str(caught.value)
    assert "code-77" not in str(caught.value.__context__)


def test_secrets_of_a_message_are_not_in_its_repr() -> None:
    shown = repr(parse(examples()["AUTHORIZED"])) + repr(parse(examples()["PUSH"]))
    assert "code-example" not in shown
    assert "8f1e0000" not in shown


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_damaged_events_are_malformed_or_read_and_nothing_else(name: str) -> None:
    dice = random.Random(name)
    for _ in range(60):
        event = copy.deepcopy(examples()[name])
        spot = dice.choice([key for key in event if key != "Event"] or ["Event"])
        event[spot] = copy.deepcopy(dice.choice(WEIRD))
        try:
            assert isinstance(parse(event), inbound.InboundMessage)
        except MalformedEvent:
            continue


def test_beijing_time_becomes_utc() -> None:
    assert beijing_time("2025-01-01 08:30:00") == datetime(2025, 1, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01 00:00:00", "0001-01-01 00:00:00"])
def test_an_unreadable_time_is_none_in_a_message(text: str) -> None:
    assert parse({"Event": "UNAUTHORIZED", "AppId": "tt1", "EventTime": text}).at is None


def test_the_webhook_challenge_is_found() -> None:
    assert webhook_challenge({"event": "verify_webhook", "content": {"challenge": 12345}}) == 12345


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event": "verify_webhook"},
        {"event": "verify_webhook", "content": {"challenge": True}},
        {"event": "x"},
    ],
)
def test_anything_else_is_no_challenge(body: dict[str, Any]) -> None:
    assert webhook_challenge(body) is None


@pytest.mark.parametrize("name", ["AUTHORIZED", "UNAUTHORIZED", "PACKAGE_AUDIT"])
@pytest.mark.parametrize("appid", [{}, {"AppId": None}, {"AppId": 7}])
def test_an_event_about_an_app_must_name_it(name: str, appid: dict[str, object]) -> None:
    event = {key: value for key, value in examples()[name].items() if key != "AppId"} | appid
    with pytest.raises(MalformedEvent):
        parse(event)
