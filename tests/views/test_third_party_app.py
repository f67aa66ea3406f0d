"""Third-party apps: the form's checks, mending and deleting a row, addresses before saving, the self-test's page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.link import connection
from app.models import AuditEntry, Credential, InboundEvent, RefusedPush, ThirdPartyApp
from app.operations.inbound import refusals
from app.operations.inbound.receive import LIMIT, receive
from tests.conftest import COMPONENT, Actors, change, csrf_token, fresh_ticket, refresh
from tests.pages import submit, text_of, visible

VIEW = "/thirdpartyappview"
SECRETS = {name: COMPONENT[name] for name in ("secret", "token", "aes_key")}


@pytest.fixture
def admin(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("platform_admin")


def rows(session: Session) -> list[ThirdPartyApp]:
    refresh(session)
    return list(session.scalars(sa.select(ThirdPartyApp)))


def test_everything_wrong_is_said_in_one_round_beside_its_field(session: Session, admin: FlaskClient) -> None:
    typed = {"appid": "wx1", "secret": "a b", "token": "令牌", "aes_key": "A" * 42, "name": "新应用"}
    answer = submit(admin, f"{VIEW}/add", **typed)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "有 4 处需要修改" in text
    for name, said in (("appid", "应以 tt 开头"), ("secret", "空格"), ("token", "不允许的字符"), ("aes_key", "42 个")):
        beside = text.split(f'id="{name}-wrong"', 1)[1].split("</p>", 1)[0]
        assert said in beside
    assert 'value="wx1"' in text
    assert 'value="新应用"' in text
    assert rows(session) == []


def test_a_secret_that_was_right_is_asked_for_again_when_another_is_wrong(
    session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp
) -> None:
    answer = submit(admin, f"{VIEW}/edit/{third_party_app.id}", secret="brand-new-secret", aes_key="short")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "brand-new-secret" not in text
    assert "密钥不会回填" in text.split('id="secret-wrong"', 1)[1].split("</p>", 1)[0]
    assert "token-wrong" not in text
    assert rows(session)[0].secret == COMPONENT["secret"]


def test_what_is_pasted_with_blanks_is_saved_without_them(session: Session, admin: FlaskClient) -> None:
    padded = {name: f" {value} " for name, value in SECRETS.items()}
    assert submit(admin, f"{VIEW}/add", appid=" ttnew1 ", name="新应用", **padded).status_code == 302
    row = rows(session)[0]
    assert (row.appid, row.token, row.aes_key) == ("ttnew1", COMPONENT["token"], COMPONENT["aes_key"])


def test_the_addresses_are_there_before_anything_is_saved(app: Flask, admin: FlaskClient) -> None:
    text = text_of(admin, f"{VIEW}/add")
    for path in ("authorization", "message"):
        assert f"{app.config['PUBLIC_URL']}/douyin/callback/&lt;AppID&gt;/{path}" in text
        assert f'data-pattern="{app.config["PUBLIC_URL"]}/douyin/callback/{{}}/{path}"' in text


def test_an_appid_is_mended_while_nothing_names_it(
    app: Flask, session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp
) -> None:
    receive(app, COMPONENT["appid"], "message", b"{}", "")  # refused pushes hold nothing
    answer = submit(admin, f"{VIEW}/edit/{third_party_app.id}", appid="ttmended1")
    assert answer.status_code == 302
    assert rows(session)[0].appid == "ttmended1"


def test_an_appid_that_is_used_is_shown_and_not_changed(session: Session, admin: FlaskClient, actors: Actors) -> None:
    page = f"{VIEW}/edit/{actors.alice_app.third_party_app_id}"
    text = text_of(admin, page)
    assert "已有2 个小程序属于它" in text
    assert "readonly" in text.split('id="appid"', 1)[1].split(">", 1)[0]
    answer = submit(admin, page, appid="ttmended1")
    assert answer.status_code == 422
    assert "AppID 不能再改" in answer.get_data(as_text=True)
    assert rows(session)[0].appid == COMPONENT["appid"]


def test_saving_something_else_keeps_the_ticket(session: Session, admin: FlaskClient, actors: Actors) -> None:
    row = rows(session)[0]
    change(session, row, ticket="t")
    assert submit(admin, f"{VIEW}/edit/{row.id}", name="改名").status_code == 302
    assert (rows(session)[0].ticket, rows(session)[0].name) == ("t", "改名")


def test_a_new_appid_can_be_taken_back(session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp) -> None:
    submit(admin, f"{VIEW}/edit/{third_party_app.id}", appid="ttmended1")
    entry = session.scalars(sa.select(AuditEntry.id).where(AuditEntry.action == "update")).one()
    page = f"{VIEW}/show/{third_party_app.id}?tab=history"
    token = {"csrf_token": csrf_token(admin, page)}
    admin.post(f"{VIEW}/revert/{third_party_app.id}/{entry}", data=token)
    assert rows(session)[0].appid == COMPONENT["appid"]


def test_a_row_is_deleted_with_its_credentials_after_one_question(
    app: Flask, session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp, sandbox: object
) -> None:
    fresh_ticket(session, third_party_app, sandbox)  # type: ignore[arg-type]
    connection.bind_app(app, third_party_app.id).tokens.get("component")  # type: ignore[arg-type]
    page = f"{VIEW}/delete/{third_party_app.id}"
    asked = visible(text_of(admin, page))
    assert "会一并删除： 已获取的凭据 1 条" in asked
    assert "需要先处理" not in asked
    assert submit(admin, page).status_code == 302
    assert rows(session) == []
    assert session.scalars(sa.select(Credential)).all() == []


def test_a_row_that_is_used_says_what_holds_it(session: Session, admin: FlaskClient, actors: Actors) -> None:
    page = f"{VIEW}/delete/{actors.alice_app.third_party_app_id}"
    assert "需要先处理： 小程序 2 条" in visible(text_of(admin, page))
    answer = submit(admin, page)
    assert answer.status_code == 422
    assert "不能删除：还有2 个小程序属于它" in answer.get_data(as_text=True)
    assert len(rows(session)) == 1


def test_secrets_from_before_the_checks_are_said_to_be_malformed(
    session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp
) -> None:
    change(session, third_party_app, aes_key="A" * 42, token=None)
    text = visible(text_of(admin, f"{VIEW}/show/{third_party_app.id}"))
    assert "应用密钥已设置" in text
    assert "令牌未设置" in text
    assert "加解密密钥格式不对" in text


# The self-test


def test_the_button_tests_and_the_page_says_what_came_of_it(
    session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp, live: str
) -> None:
    page = f"{VIEW}/show/{third_party_app.id}"
    assert "最近一次自检" not in text_of(admin, page)
    token = {"csrf_token": csrf_token(admin, page)}
    assert admin.post(f"{VIEW}/self_test/{third_party_app.id}", data=token).status_code == 302
    text = visible(text_of(admin, page))
    assert "自检完成：推送正常，凭据这次没有尝试" in text
    assert "经公网地址推送 正常 测试推送经 PUBLIC_URL 回到了本系统" in text
    assert "获取凭据 未尝试 还没有收到过票据" in text
    refresh(session)
    assert session.scalars(sa.select(InboundEvent)).all() == []
    written = session.scalars(sa.select(AuditEntry.action).where(AuditEntry.subject_type == "third_party_app"))
    assert "self_test" in written.all()


def test_the_page_says_that_it_was_tested_in_the_process(
    app: Flask, admin: FlaskClient, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "PUBLIC_URL", "http://127.0.0.1:1")
    page = f"{VIEW}/show/{third_party_app.id}"
    admin.post(f"{VIEW}/self_test/{third_party_app.id}", data={"csrf_token": csrf_token(admin, page)})
    text = visible(text_of(admin, page))
    assert "经公网地址推送 不可达 连接不上对方服务器" in text
    assert "在本进程内推送 正常 改在本进程内自检" in text


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_who_may_not_edit_may_not_test(
    client_for: Callable[..., FlaskClient], third_party_app: ThirdPartyApp, role: str
) -> None:
    client = client_for(role)
    page = f"{VIEW}/show/{third_party_app.id}"
    assert "self_test" not in text_of(client, page)
    token = {"csrf_token": csrf_token(client, "/profile/")}
    answer = client.post(f"{VIEW}/self_test/{third_party_app.id}", data=token)
    assert answer.status_code in {302, 403}
    assert "最近一次自检" not in text_of(client, page)


# Refused pushes


def test_refused_pushes_say_why_how_often_and_what_to_do(app: Flask, session: Session, admin: FlaskClient) -> None:
    for body in (b"{}", b"{}", b"x" * (LIMIT + 1)):
        app.test_client().post("/douyin/callback/tt1/message", data=body)
    text = text_of(admin, "/refusedpushview/list/")
    seen = visible(text)
    assert "累计 3 条" in seen
    assert "不是推送的格式 缺少签名、时间或密文，多半是扫描或误访问，可以忽略。 2" in seen
    assert "内容过大 超过 64 KB" in seen
    assert "envelope" not in seen
    assert "size" not in seen
    narrowed = visible(text_of(admin, "/refusedpushview/list/?reason=size"))
    assert "共 1 条" in narrowed
    assert "累计 3 条" in narrowed


def test_the_page_shows_the_newest_first(app: Flask, session: Session, admin: FlaskClient) -> None:
    for number in range(103):
        app.test_client().post(f"/douyin/callback/tt{number}/message", data=b"{}")
    refusals.flush(app)
    refresh(session)
    newest = session.scalars(sa.select(RefusedPush.number).order_by(RefusedPush.number.desc()).limit(1)).one()
    assert newest == 103
    text = text_of(admin, "/refusedpushview/list/")
    assert text.index("tt102") < text.index("tt101") < text.index("tt99")
