"""ext.json: what is no JSON, what is too much, names of secrets, and secrets by their value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Refused
from app.models import Credential, OperationRun, RunState
from app.operations.release import ext
from tests.conftest import COMPONENT, Launch, SandboxServer, operate, refresh


def text(**values: Any) -> str:
    return json.dumps({"extEnable": True, "extAppid": "tt1", "ext": values}, ensure_ascii=False)


def around(raw: str) -> str:
    return f'{{"extEnable": true, "extAppid": "tt1", "ext": {{"x": {raw}}}}}'


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (around("[" * 2000 + "]" * 2000), "嵌套"),
        (around("[" * 40 + "]" * 40), "嵌套"),
        (around('{"a":' * 100_000), "32 KB"),
        ("[" * 30_000, "嵌套"),
        (around("NaN"), "有效的 JSON"),
        (around("-Infinity"), "有效的 JSON"),
        (around("1e999"), "有效的 JSON"),
        (around("1" * 5000), "有效的 JSON"),
        (around('"' + "花" * 11_000 + '"'), "32 KB"),
        (around(r'"\ud800"'), "不能使用的字符"),
        (around(r'"\u0000"'), "不能使用的字符"),
        (around(r'{"\ud800": 1}'), "不能使用的字符"),
        ("{", "有效的 JSON"),
        ("[]", "extEnable"),
        ('{"extEnable": 1, "extAppid": "x"}', "extEnable"),
        ('{"extEnable": true}', "extAppid"),
    ],
)
def test_what_is_no_ext_json_is_refused_beside_its_field(raw: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refusal:
        ext.check_ext(raw)
    assert refusal.value.field == "ext"


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "access_token",
        "accessToken",
        "password",
        "app_secret",
        "appSecret",
        "APP-SECRET",
        "支付密钥",
        "aes_key",
    ],
)
def test_a_name_of_a_secret_is_refused_at_any_depth(name: str) -> None:
    for value in (text(**{name: "x"}), text(deep=[{"er": {name: ["x"]}}])):
        with pytest.raises(Refused, match="不能包含密钥或令牌"):
            ext.check_ext(value)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "Secret Garden"},
        {"shop": "The Secret of Passwords, access_token included"},
        {"Secret Garden": "花园街 1 号"},
        {"secretGardenId": 7},
        {"needsPassword": True},
        {"password": ""},
        {"token_color": "#fff"},
        {"ratio": 1.5, "more": None, "list": [1, "二", {"三": 3}]},
    ],
)
def test_a_shop_named_secret_garden_is_welcome(values: dict[str, Any]) -> None:
    assert ext.check_ext(text(**values)) == text(**values)


@given(st.text())
def test_no_text_at_all_is_more_than_refused(raw: str) -> None:
    for typed in (raw, around(raw)):
        try:
            checked = ext.check_ext(typed)
        except Refused as refused:
            assert refused.field == "ext"
        else:
            assert checked == typed


def upload(app: Flask, session: Session, launch: Launch, **values: Any) -> OperationRun:
    sent = {"extEnable": True, "extAppid": launch.mini_program.appid, "ext": values}
    params = {"template_id": launch.template_id, "version": "1.0.0", "description": "首版"}
    return operate(app, session, "upload_code", launch.mini_program, ext=json.dumps(sent, ensure_ascii=False), **params)


def refused(run: OperationRun) -> bool:
    return run.state == RunState.FAILED and "本系统的密钥" in run.message


def token_of(session: Session, launch: Launch, name: str) -> str:
    rows = session.scalars(select(Credential).where(Credential.appid == launch.mini_program.appid))
    return str(next(getattr(row, name) for row in rows if getattr(row, name)))


@pytest.mark.parametrize("name", ["secret", "token", "aes_key"])
def test_a_secret_of_our_third_party_app_does_not_go_out(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, name: str
) -> None:
    run = upload(app, session, launch, note=f"see {COMPONENT[name]} here")
    assert refused(run), run.message
    assert COMPONENT[name] not in run.message
    assert sandbox.effects(launch.mini_program.appid)["upload"] == 0


@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_of_the_app_does_not_go_out(app: Flask, session: Session, launch: Launch, name: str) -> None:
    held = token_of(session, launch, name)
    assert refused(upload(app, session, launch, list=[{"x": held}]))
    assert refused(upload(app, session, launch, **{held: 1}))


@pytest.mark.parametrize("name", ["SECRET_KEY", "INDEX_KEY", "DATA_KEYS"])
def test_a_key_of_the_settings_does_not_go_out(app: Flask, session: Session, launch: Launch, name: str) -> None:
    held = str(app.config[name]).rpartition(":")[2]
    assert refused(upload(app, session, launch, x=held))


def test_a_secret_that_is_a_common_word_is_no_reason(app: Flask, session: Session, launch: Launch) -> None:
    refresh(session)
    launch.third_party_app.token = "garden"
    session.commit()
    run = upload(app, session, launch, name="Secret garden")
    assert run.state == RunState.SUCCEEDED, run.message


def test_passwords_within_addresses_are_looked_for(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "SMTP_URL", "smtps://me:long%2Fpassword@mail.example.com:465?from=a@b.c")
    with app.app_context():
        assert "long/password" in list(ext._settings())
