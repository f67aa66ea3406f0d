"""登录商户: a reason, one merchant, half an hour, all of it written down, and no way back up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import Model
from flask_appbuilder.security.sqla.models import Role
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.models import MerchantState
from tests.conftest import Actors, csrf_token
from tests.people import audit, found, post

REASON = "工单 1024：查看驳回原因"


@pytest.fixture
def operator(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("operator")


def enter(client: FlaskClient, actors: Actors, reason: str = REASON) -> int:
    return int(post(client, f"/loginas/{actors.alice.id}", reason=reason).status_code)


def cookie(client: FlaskClient) -> str:
    held = client.get_cookie("douzhou")
    assert held is not None
    return held.value


def test_it_begins_under_a_new_id_and_the_old_session_is_gone(
    app: Flask, operator: FlaskClient, actors: Actors
) -> None:
    before = cookie(operator)
    assert enter(operator, actors) == 302
    assert cookie(operator) != before
    other = app.test_client()
    other.set_cookie("douzhou", before)
    assert other.get("/account/").status_code == 302


@pytest.mark.parametrize("reason", ["", "   ", "abc", "  ab  ", "长" * 201])
def test_without_a_reason_it_does_not_begin(operator: FlaskClient, actors: Actors, reason: str) -> None:
    assert enter(operator, actors, reason) == 422
    assert operator.get("/account/").status_code == 200


def test_a_suspended_merchant_is_not_entered(session: Session, operator: FlaskClient, actors: Actors) -> None:
    actors.alice.state = MerchantState.SUSPENDED
    session.commit()
    assert enter(operator, actors) == 422


def test_the_platform_and_the_account_are_out_of_reach(operator: FlaskClient, actors: Actors) -> None:
    enter(operator, actors)
    for path in (
        "/merchantview/list/",
        "/users/list/",
        "/account/",
        "/account/password",
        f"/loginas/{actors.bob.id}",
    ):
        assert operator.get(path).status_code in {403, 404}, path


def test_there_is_no_way_back_up(operator: FlaskClient, actors: Actors) -> None:
    enter(operator, actors)
    token = csrf_token(operator, "/logout/")
    assert operator.post("/account/password", data={"csrf_token": token}).status_code == 403
    assert operator.post(f"/loginas/{actors.bob.id}", data={"csrf_token": token, "reason": REASON}).status_code == 403
    assert operator.post("/logout/", data={"csrf_token": token}).headers["Location"] == "/login/"
    assert operator.get("/account/").status_code == 302


def test_it_sees_the_merchants_rows_only(app: Flask, operator: FlaskClient, actors: Actors) -> None:
    enter(operator, actors)
    page = operator.get("/myminiprogramview/list/").get_data(as_text=True)
    assert "爱丽丝花店" in page
    assert "鲍勃面馆" not in page


def test_it_ends_after_half_an_hour(session: Session, operator: FlaskClient, actors: Actors) -> None:
    enter(operator, actors)
    with time_machine.travel(utcnow() + timedelta(minutes=31)):
        answer = operator.get("/", follow_redirects=True)
        assert "时限已到" in answer.get_data(as_text=True)
        assert operator.get("/account/").status_code == 302
    assert len(audit(session, "log_in_as_end")) == 1


def test_both_names_are_on_every_audit_row(session: Session, operator: FlaskClient, actors: Actors) -> None:
    enter(operator, actors)
    post(operator, "/logout/")
    [begun], [ended] = audit(session, "log_in_as"), audit(session, "log_in_as_end")
    for row in (begun, ended):
        assert (row.actor_name, row.on_behalf_of, row.merchant_id) == (
            "operator0",
            "爱丽丝花店",
            actors.alice.id,
        )
        assert row.after["reason"] == REASON
    assert begun.at < datetime.fromisoformat(begun.after["until"]) <= begun.at + timedelta(minutes=30, seconds=5)


def test_it_ends_with_the_right_to_it(session: Session, operator: FlaskClient, actors: Actors) -> None:
    enter(operator, actors)
    found(session, "operator0").active = False
    session.commit()
    assert operator.get("/").status_code == 302
    assert operator.get("/").headers["Location"].startswith("/login/")


def test_one_who_may_no_longer_log_in_as_others_is_out_of_it(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    enter(operator, actors)
    assert operator.get("/").status_code == 200
    user = found(session, "operator0")
    user.roles = [role for role in session.scalars(sa.select(Role)) if role.name == "auditor"]
    session.commit()
    assert operator.get("/").headers["Location"].startswith("/login/")


@pytest.mark.parametrize("role", ["auditor", "owner"])
def test_others_may_not(client_for: Callable[..., FlaskClient], actors: Actors, role: str) -> None:
    client = client_for(role, actors.alice if role == "owner" else None)
    assert client.get(f"/loginas/{actors.alice.id}").status_code == 403


def test_an_absent_merchant_is_not_found(operator: FlaskClient) -> None:
    assert operator.get("/loginas/999999").status_code == 404


def test_it_leaves_nothing_of_the_operators_in_the_merchants_space(
    session: Session, operator: FlaskClient, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    """Whatever has an owner and a merchant: tried through the pages, none of it is made."""
    enter(operator, actors)
    sent = {"csrf_token": csrf_token(operator, "/logout/")}
    refused = {
        "/account/keys/add": {"name": "x", "scope": "read", "days": "90"},
        "/account/two-factor/": {"step": "begin"},
        "/notices/settings/": {"quiet_from": "22:00", "quiet_to": "08:00"},
        "/notices/settings/channels/add/feishu": {
            "name": "群",
            "url": "https://open.feishu.cn/open-apis/bot/v2/hook/x",
        },
        "/myversionview/export": {"format": "csv"},
        "/myminiprogramview/export": {"format": "csv"},
    }
    for path, data in refused.items():
        assert operator.post(path, data=sent | data).status_code in {403, 404, 405}, path
    shared = {"view": "MyVersionView", "name": "x", "query": "state=approved", "shared": "1"}
    operator.post("/savedviews/save", data=sent | shared)
    session.rollback()
    number = found(session, "operator0").id
    for mapper in Model.registry.mappers:
        columns = mapper.local_table.columns
        if {"user_id", "merchant_id"} <= set(columns.keys()):
            left = session.scalar(sa.select(sa.func.count()).where(columns.user_id == number))
            assert left == 0, mapper.class_
    offers = "/myversionview/export"
    assert offers in client_for("owner", actors.alice).get("/myversionview/list/").get_data(as_text=True)
    assert offers not in operator.get("/myversionview/list/").get_data(as_text=True)
