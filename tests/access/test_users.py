"""The screens of users and of merchants' staff."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from tests.conftest import Actors
from tests.people import NEW, attempt, audit, found, post, set_password, token_of


def test_an_administrator_makes_a_user_who_sets_a_password_by_a_link(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for("platform_admin")
    page = post(admin, "/users/add", username="Dora", full_name="朵拉", email="", roles="operator")
    dora = found(session, "dora")
    assert (set(dora.role_names), dora.merchant_id, dora.password) == ({"operator"}, None, None)
    token = token_of(page)
    assert set_password(app.test_client(), token, NEW).headers["Location"] == "/"
    assert attempt(app.test_client(), "dora", NEW).status_code == 302
    assert token not in admin.get(f"/users/show/{dora.id}").get_data(as_text=True)
    assert found(session, "dora").via == "invite:platform_admin0"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"username": "operator0", "roles": "operator"}, "已被使用"),
        ({"username": "两个字", "roles": "operator"}, "用户名应为"),
        ({"username": "dora", "roles": "owner"}, ""),
        ({"username": "", "roles": "operator"}, "请填写用户名"),
    ],
)
def test_bad_input_is_answered_beside_its_field(
    client_for: Callable[..., FlaskClient], data: dict[str, str], why: str
) -> None:
    client_for("operator")
    answer = post(client_for("platform_admin"), "/users/add", **data)
    assert answer.status_code == 422
    assert why in answer.get_data(as_text=True)


def test_staff_belongs_to_the_merchant_it_was_added_from(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator = client_for("operator")
    answer = post(operator, f"/staff/add?merchant={actors.alice.id}", username="ann", roles="clerk")
    assert answer.status_code == 200
    assert (found(session, "ann").merchant_id, set(found(session, "ann").role_names)) == (
        actors.alice.id,
        {"clerk"},
    )


@pytest.mark.parametrize("query", ["", "?merchant=", "?merchant=abc", "?merchant=999999"])
def test_staff_without_a_merchant_is_not_found(client_for: Callable[..., FlaskClient], query: str) -> None:
    assert client_for("operator").get(f"/staff/add{query}").status_code in {403, 404}


def test_staff_gets_no_platform_role(actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    answer = post(client_for("operator"), f"/staff/add?merchant={actors.alice.id}", username="ann", roles="operator")
    assert answer.status_code == 422


def test_each_screen_shows_its_own_people_only(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for("platform_admin")
    client_for("owner", actors.alice)
    platforms, staff = (
        admin.get("/users/list/").get_data(as_text=True),
        admin.get("/staff/list/").get_data(as_text=True),
    )
    assert "owner1" not in platforms
    assert "owner1" in staff
    assert admin.get(f"/users/show/{found(session, 'owner1').id}").status_code == 404
    assert admin.get(f"/users/reset/{found(session, 'owner1').id}").status_code == 404


def test_disabling_by_the_form_ends_the_session(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    admin, ann = client_for("platform_admin"), client_for("owner", actors.alice)
    number = found(session, "owner1").id
    answer = post(admin, f"/staff/edit/{number}", full_name="安", email="", roles="owner")
    assert answer.status_code == 302
    assert not found(session, "owner1").active
    assert ann.get("/account/").status_code == 302


def test_a_new_role_is_in_the_audit_log(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    client_for("auditor")
    number = found(session, "auditor1").id
    assert (
        post(admin, f"/users/edit/{number}", full_name="甲", email="", roles="operator", active="y").status_code == 302
    )
    changed = [row for row in audit(session, "update") if row.after.get("roles")]
    assert [(row.before["roles"], row.after["roles"]) for row in changed] == [(["auditor"], ["operator"])]


def test_a_new_role_ends_the_link_of_who_has_no_password_yet_and_says_so(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for("platform_admin")
    client_for("auditor")
    number = found(session, "auditor1").id
    post(admin, f"/users/reset/{number}")
    post(admin, f"/users/edit/{number}", full_name="甲", email="", roles="operator", active="y")
    assert "之前的链接已失效" in admin.get(f"/users/show/{number}").get_data(as_text=True)


def test_nobody_disables_or_resets_themselves(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    number = found(session, "platform_admin0").id
    assert post(admin, f"/users/edit/{number}", full_name="甲", email="", roles="platform_admin").status_code == 422
    assert admin.get(f"/users/reset/{number}").status_code == 400


def test_switching_somebody_off_may_be_taken_back_but_no_other_edit(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client_for("operator")
    admin, row = client_for("platform_admin"), found(session, "operator0")
    post(admin, f"/users/edit/{row.id}", full_name="欧文", roles="auditor")
    page = admin.get(f"/users/tab/{row.id}/history").get_data(as_text=True)
    [back] = set(re.findall(r'action="(/users/revert/[^"]+)"', page))
    assert post(admin, back, "/account/").status_code == 302
    row = found(session, "operator0")
    assert (row.active, set(row.role_names), row.first_name) == (True, {"auditor"}, "欧文")


def test_nobody_is_switched_off_by_taking_their_own_return_back(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    first, second = client_for("platform_admin"), client_for("platform_admin")
    row = found(session, "platform_admin1")
    post(first, f"/users/edit/{row.id}", full_name="二", roles="platform_admin")
    post(first, f"/users/edit/{row.id}", full_name="二", roles="platform_admin", active="y")
    assert attempt(second, "platform_admin1").status_code == 302
    newest = max(audit(session, "update"), key=lambda entry: entry.id)
    answer = post(second, f"/users/revert/{row.id}/{newest.id}", "/account/")
    assert answer.status_code == 302
    assert found(session, "platform_admin1").active


def test_a_new_users_role_is_the_usual_one_unless_another_is_chosen(
    actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for("platform_admin")
    for path, role in (("/users/add", "operator"), (f"/staff/add?merchant={actors.alice.id}", "staff")):
        page = admin.get(path).get_data(as_text=True)
        assert re.findall(r'<option selected value="(\w+)"', page) == [role]
