"""Of every reply and every event: side fields of any type never refuse, and what must not be misread always does."""

from __future__ import annotations

import copy
import dataclasses
import logging
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.douyin import authorization as auth
from app.douyin import development as dev
from app.douyin import inbound, lenient, login, profile, safety, template
from app.douyin.answer import read, without_nulls
from app.douyin.contract import Call, Reply
from app.douyin.lenient import Unfit, fit, plan
from app.errors import DouyinError, NoAnswer

from .examples import SAMPLES
from .samples import Sample
from .test_inbound import examples

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
# What no field of any declared type may be, but a dictionary of anything.
NOTHING: list[Any] = [[[]], {"a": [{}]}, [{"b": 0}, 1.5], True, 1.5]
EVERY = settings(max_examples=80, deadline=None, derandomize=True)
READ = [sample for sample in SAMPLES if sample.call.reply_type not in {type(None), bytes}]
EVENTS = sorted(inbound.MESSAGES)
Spot = tuple[Any, ...]


def spots(kind: type[Reply], value: Any, *, vital: bool, path: Spot = (), chain: bool = True) -> Iterator[Spot]:
    """Where in `value` there is a side field, or one that is `vital`: its path."""
    for item in plan(kind):
        here = chain and (item.required or item.strict)
        found = value.get(item.name)
        if here is vital and (found is not None or not vital):
            yield (*path, item.name)
        inner = next((arm for arm in map(element, item.arms) if is_reply(arm)), None)
        for index, one in enumerate(found if isinstance(found, list) else [found]):
            if inner is not None and isinstance(one, Mapping):
                below = (*path, item.name, index) if isinstance(found, list) else (*path, item.name)
                yield from spots(inner, one, vital=vital, path=below, chain=here)


def element(arm: Any) -> Any:
    return typing.get_args(arm)[0] if typing.get_origin(arm) is tuple else arm


def is_reply(arm: Any) -> bool:
    return isinstance(arm, type) and issubclass(arm, Reply)


def put(whole: Any, path: Spot, value: Any) -> Any:
    changed = copy.deepcopy(whole)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def payload(sample: Sample) -> tuple[Any, Spot]:
    """The answer, and where in it the reply is."""
    name = sample.call.route.envelope.payload
    whole = without_nulls(sample.answer)
    return whole, (name,) if name and sample.call.route.envelope.payload == "data" else ()


def reply_of(sample: Sample, body: Any) -> Any:
    return read(sample.call, body, status=200, log_id="")


def inside(whole: Any, start: Spot) -> Any:
    return whole[start[0]] if start else whole


def event_of(name: str) -> dict[str, Any]:
    flat = inbound._flat(without_nulls(examples()[name]), inbound.MESSAGES[name].holder)
    return {"Event": flat.pop("event"), **flat}


@pytest.mark.parametrize("sample", READ, ids=lambda sample: sample.call.operation_id)
@given(data=st.data())
@EVERY
def test_a_side_field_of_any_type_never_refuses_an_answer(sample: Sample, data: st.DataObject) -> None:
    whole, start = payload(sample)
    kind = sample.call.reply_type
    found = list(spots(kind, inside(whole, start), vital=False))
    if not found:
        return
    path = data.draw(st.sampled_from(found))
    assert isinstance(reply_of(sample, put(whole, (*start, *path), data.draw(JSON))), kind)


@pytest.mark.parametrize("sample", READ, ids=lambda sample: sample.call.operation_id)
@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_a_field_that_must_not_be_misread_always_refuses_an_answer(sample: Sample, value: Any) -> None:
    whole, start = payload(sample)
    for path in spots(sample.call.reply_type, inside(whole, start), vital=True):
        if path[-1] == "hit" and value is True:
            continue
        with pytest.raises((DouyinError, NoAnswer)):
            reply_of(sample, put(whole, (*start, *path), value))


@pytest.mark.parametrize("name", EVENTS)
@given(data=st.data())
@EVERY
def test_a_side_field_of_any_type_never_refuses_an_event(name: str, data: st.DataObject) -> None:
    event, kind = event_of(name), inbound.MESSAGES[name]
    path = data.draw(st.sampled_from(list(spots(kind, event, vital=False))))
    assert type(inbound.parse(put(event, path, data.draw(JSON)))) is kind


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_a_field_that_must_not_be_misread_always_refuses_an_event(name: str, value: Any) -> None:
    event = event_of(name)
    for path in spots(inbound.MESSAGES[name], event, vital=True):
        with pytest.raises(inbound.MalformedEvent):
            inbound.parse(put(event, path, value))


@given(data=st.data())
@EVERY
def test_a_side_field_never_changes_what_is_beside_it(data: st.DataObject) -> None:
    sample = next(item for item in READ if isinstance(item.call, dev.GetVersions))
    whole, start = payload(sample)
    path = data.draw(st.sampled_from([("audit", "attach_info"), ("current", "uid"), ("latest", "categories")]))
    found = reply_of(sample, put(whole, (*start, *path), data.draw(JSON)))
    assert found.audit.status == dev.AuditStatus.REJECTED
    assert [found.latest.version, found.current.version] == ["1.0.2", "1.0.1"]


TOKENS = {"authorizer_access_token": "a", "authorizer_refresh_token": "r", "authorizer_appid": "tt1"}
STAGE = {"version": "1.0.0", "status": 1}


def versions(**stages: Any) -> Any:
    return fit(dev.VersionsReply, stages, what="test")


@pytest.mark.parametrize("name", ["has_publish", "is_illegal_version"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0", False),
        ("false", False),
        ("False", False),
        ("", False),
        (0, False),
        (None, False),
        ([], False),
        ("1", True),
        ("true", True),
        (1, True),
        (True, True),
        ("no", False),
        ({"a": 1}, False),
    ],
)
def test_a_truth_is_read_in_each_spelling_and_nothing_else_is_true(name: str, written: Any, meant: Any) -> None:
    assert getattr(versions(audit=without_nulls({**STAGE, name: written})).audit, name) is meant


@pytest.mark.parametrize("written", ["0", "false", "", 0])
def test_no_spelling_of_false_says_submitted_or_taken_down(written: Any) -> None:
    found = versions(latest={"version": "1.0.0", "has_audit": written}, current={**STAGE, "has_down": written})
    assert (found.latest.has_audit, found.current.has_down) == (False, False)


@pytest.mark.parametrize("hit", ["", "unclear", None, 0.5, []])
def test_an_image_is_not_clean_because_the_verdict_is_unreadable(hit: Any) -> None:
    with pytest.raises(Unfit):
        fit(safety.Verdict, without_nulls({"predicts": [{"model_name": "porn", "hit": hit}]}), what="test")


def _kinds() -> set[Any]:
    return {type(value) for value in _values([sample.reply for sample in READ])} | set(inbound.MESSAGES.values())


def _values(holder: Any) -> Iterator[Any]:
    for one in holder if isinstance(holder, list | tuple) else [holder]:
        if isinstance(one, Reply):
            yield one
            fields: Any = one
            yield from (found for item in dataclasses.fields(fields) for found in _values(getattr(one, item.name)))


def test_every_truth_that_may_be_absent_is_false_then() -> None:
    truths = [item for kind in _kinds() for item in dataclasses.fields(kind) if item.type in {"bool", bool}]
    assert {item.default for item in truths} <= {False, dataclasses.MISSING}
    assert len(truths) >= 6


@pytest.mark.parametrize("status", ["1", True, 1.0, None, [], {}, "passed", [1]])
def test_the_audits_status_is_a_number_or_the_answer_is_refused(status: Any) -> None:
    with pytest.raises(Unfit, match=r"audit\.status"):
        versions(audit=without_nulls({"version": "1.0.0", "status": status}))


@pytest.mark.parametrize("number", ["1", "1.0", 1.0, "v1.0.0", "1.0.0.0", "1.0.0\n", "1.0.x", "１.0.0", "", 100])
def test_what_is_no_version_number_is_not_taken_as_one(number: Any) -> None:
    with pytest.raises(Unfit, match=r"latest\.version"):
        versions(latest={"version": number})
    assert fit(template.Template, {"template_id": 1, "user_version": number}, what="test").user_version == ""


@pytest.mark.parametrize("appid", ["", 5, ["tt1"], {}])
def test_tokens_of_an_app_that_is_named_unreadably_are_nobodys(appid: Any) -> None:
    with pytest.raises(Unfit):
        fit(auth.AuthorizerTokens, {**TOKENS, "authorizer_appid": appid or ["x"]}, what="test")


@pytest.mark.parametrize("token", ["a b", "a\n", "a\r\nb", "", 5, ["a"], "é"])
def test_a_token_with_other_characters_is_none(token: Any) -> None:
    with pytest.raises(Unfit):
        fit(auth.AuthorizerTokens, {**TOKENS, "authorizer_access_token": token}, what="test")
    found = fit(auth.AuthorizerTokens, {**TOKENS, "authorizer_refresh_token": token}, what="test")
    assert (found.authorizer_access_token, found.authorizer_refresh_token) == ("a", None)


@pytest.mark.parametrize(
    ("kind", "content", "name", "value"),
    [
        (auth.AuthorizerTokens, {**TOKENS, "expires_in": "7200"}, "expires_in", 7200),
        (auth.AuthorizerTokens, {**TOKENS, "expires_in": 3600.0}, "expires_in", 3600),
        (auth.AuthorizerTokens, {**TOKENS, "expires_in": "soon"}, "expires_in", 7200),
        (auth.AuthorizerTokens, {**TOKENS, "authorize_permission": "1,2"}, "permissions", None),
        (auth.AuthorizerTokens, {**TOKENS, "authorize_permission": [{"id": "1"}]}, "permissions", frozenset({1})),
        (dev.LatestVersion, {"version": "1.0.0", "screenshot": ["a.png", "b.png"]}, "screenshots", ["a.png", "b.png"]),
        (dev.CurrentVersion, {"version": "1.0.0", "uid": "123"}, "uid", 123),
        (dev.CurrentVersion, {"version": "1.0.0", "developer_id": 123}, "developer_id", "123"),
        (dev.CurrentVersion, {"version": "1.0.0", "attachInfo": ""}, "attach_info", None),
        (dev.CurrentVersion, {"version": "1.0.0", "attach_info": []}, "attach_info", None),
        (dev.CurrentVersion, {"version": "1.0.0", "reason": ["a", "b"]}, "reason", "a；b"),
        (inbound.AuditResult, {"status": 0, "reason": "页面空白"}, "reason", ("页面空白",)),
        (template.Template, {"template_id": "1152921504606846977"}, "template_id", 2**60 + 1),
        (profile.AppInfo, {"app_state": "1"}, "app_state", profile.AppState.PUBLISHED),
        (login.Session, {"open_id": "o-1"}, "session_key", ""),
    ],
)
def test_what_varies_is_read_as_meant(kind: Any, content: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(fit(kind, content, what="test"), name) == value


def test_a_state_of_review_that_is_unreadable_does_not_verify_the_subject() -> None:
    subject = {"subject_name": "图书公司", "subject_audit_state": "passing"}
    assert fit(profile.AppInfo, {"app_state": 1, "subject_audit_info": subject}, what="test").subject_audit_info is None


@pytest.mark.parametrize("name", ["auth_app_list", "template_list", "tpl_app_list"])
@pytest.mark.parametrize("value", ["none", {"a": 1}, [1], [{"a": 1}]])
def test_a_list_that_is_unreadable_is_not_an_empty_one(name: str, value: Any) -> None:
    """Else everything we know would be gone at Douyin."""
    kinds: dict[str, Any] = {
        "auth_app_list": auth.AuthAppList,
        "template_list": template.TemplateList,
        "tpl_app_list": template.TemplateAppList,
    }
    with pytest.raises(Unfit):
        fit(kinds[name], {name: value, "total": 1}, what="test")


def test_the_log_has_names_and_no_value(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenient, "_told", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            versions(audit={**STAGE, "attach_info": "13812345678"})
    assert [record.getMessage() for record in caplog.records] == [
        "test: audit.attach_info has another shape than documented and was read as absent"
    ]


def test_what_is_empty_is_absent_without_a_word(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lenient, "_told", set())
    with caplog.at_level(logging.WARNING):
        found = versions(latest=[], audit="", current={}, gray={})
    assert (found.latest, found.audit, found.current, found.gray, caplog.records) == (None, None, None, None, [])


@pytest.mark.parametrize(
    ("written", "hour"), [(1735689600, 0), ("1735689600", 0), (1735689600000, 0), ("2025-01-01 09:00:00", 1)]
)
def test_a_time_is_read_as_a_number_too(written: Any, hour: int) -> None:
    message = inbound.parse({"Event": "UNAUTHORIZED", "AppId": "tt1", "EventTime": written})
    assert message.at is not None
    assert (message.at.year, message.at.hour) == (2025, hour)


def test_a_code_that_expires_in_text_is_a_code() -> None:
    event = {**examples()["AUTHORIZED"], "AuthorizationCodeExpiresIn": "1800"}
    message = inbound.parse(event)
    assert isinstance(message, inbound.Authorized)
    assert message.authorization_code_expires_in == 1800


def test_content_as_the_text_of_its_json_is_read() -> None:
    text = '{"status": "2", "capacity_key": "pay"}'
    message = inbound.parse({"Event": "APPLY_CAPACITY", "AppId": "tt1", "EventContent": text})
    assert isinstance(message, inbound.ApplyCapacity)
    assert (message.status, message.capacity_key) == (inbound.CapacityState.GRANTED, "pay")


def test_no_call_is_left_out_of_these() -> None:
    calls: list[Call[Any]] = [sample.call for sample in READ]
    assert len(calls) > 15
