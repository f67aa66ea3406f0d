"""Log-in names and mail addresses: each merchant's people in a space of its own, so that nobody learns of others'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.access import accounts
from app.cli import setup as setting_up
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.models import Merchant, User
from app.models import merchant as merchant_model
from app.models.merchant import SHORT, SPACE, new_merchant_key
from tests.conftest import Actors, log_in
from tests.people import attempt, found, post, token


def add(operator: FlaskClient, merchant: Merchant, **values: Any) -> Any:
    return post(operator, f"/staff/add?merchant={merchant.id}", roles="staff", **values)


def test_two_merchants_have_an_anna_each_and_one_of_them_only_one(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator = client_for("operator")
    for merchant in (actors.alice, actors.bob):
        assert add(operator, merchant, username="Anna").status_code == 200
        again = add(operator, merchant, username=f"anna{merchant.user_suffix}")
        assert again.status_code == 422
        assert f"用户名「anna{merchant.user_suffix}」已被使用" in again.get_data(as_text=True)
    names = session.scalars(sa.select(User.username).where(User.username.startswith("anna"))).all()
    assert sorted(names) == sorted(f"anna{merchant.user_suffix}" for merchant in (actors.alice, actors.bob))


def test_the_page_says_before_and_after_what_to_log_in_with(
    app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator, suffix = client_for("operator"), actors.alice.user_suffix
    page = operator.get(f"/staff/add?merchant={actors.alice.id}").get_data(as_text=True)
    assert f'<span class="input-group-text">{suffix}</span>' in page
    assert f"zhangsan{suffix}" in page
    assert f"anna{suffix}" in add(operator, actors.alice, username="anna").get_data(as_text=True)
    assert "input-group-text" not in client_for("platform_admin").get("/users/add").get_data(as_text=True)


def test_a_name_in_its_space_logs_in_at_both_doors_and_the_bare_one_does_not(
    app: Flask, actors: Actors, user: Callable[..., str]
) -> None:
    name = user("anna", "owner", actors.alice)
    assert attempt(app.test_client(), name).status_code == 302
    assert token(app.test_client(), name.upper()).status_code == 200
    assert attempt(app.test_client(), "anna").status_code == 401


def test_a_name_of_the_time_before_goes_on_working(
    app: Flask, session: Session, actors: Actors, user: Callable[..., str], client_for: Callable[..., FlaskClient]
) -> None:
    found(session, user("anna", "owner", actors.alice)).username = "anna"
    session.commit()
    client = app.test_client()
    log_in(client, "anna")
    assert client.get("/account/").status_code == 200
    assert add(client_for("operator"), actors.bob, username="anna").status_code == 200
    number = session.scalars(sa.select(User.id).where(User.username == "anna")).one()
    edited = post(client_for("operator"), f"/staff/edit/{number}", full_name="安", roles="owner", active="y")
    assert edited.status_code == 302
    session.expire_all()
    assert session.get_one(User, number).username == "anna"


@pytest.mark.parametrize("name", ["anna@", "anna@other", "an@na", "@anna", "a", "安娜", "x" * 56, "anna\n", "an\tna"])
def test_names_that_are_none_of_a_merchants_are_refused(actors: Actors, name: str) -> None:
    if name == "anna\n":  # blanks around it are not part of it
        assert accounts.login_name(name, actors.alice) == f"anna{actors.alice.user_suffix}"
        return
    with pytest.raises(Refused) as refused:
        accounts.login_name(name, actors.alice)
    assert refused.value.field == "username"


def test_the_longest_name_fits_the_logs(actors: Actors) -> None:
    assert len(accounts.login_name("x" * 55, actors.alice)) == 64


def test_the_platforms_people_take_no_name_of_a_merchants_space(actors: Actors) -> None:
    for key in (actors.alice.key, new_merchant_key()):
        with pytest.raises(Refused, match="只用于商户用户"):
            accounts.login_name(f"Anna@{key[2 : 2 + SHORT]}", None)
    for name in ("anna", "anna@example.cn", "anna@abcdefg", "anna@abcdefghi", "an.na@x-1", "abcdefgh"):
        assert accounts.login_name(name, None) == name
    assert SPACE.fullmatch(actors.alice.user_suffix)


def test_a_name_is_taken_by_ones_own_people_only(app: Flask, actors: Actors, user: Callable[..., str]) -> None:
    user("anna", "owner", actors.bob)
    user("anna", "operator")
    assert user("anna", "owner", actors.alice) == f"anna{actors.alice.user_suffix}"
    with pytest.raises(Refused, match="已被使用"):
        user("anna", "clerk", actors.alice)


def test_a_name_taken_between_the_look_and_the_writing_is_refused_beside_its_field(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient], monkeypatch: Any
) -> None:
    """The other's row is written in the same transaction, just before: what was looked at is true no more."""
    from app.extensions import db

    operator, name = client_for("operator"), f"anna{actors.alice.user_suffix}"
    table = User.__table__
    other = {"username": name, "first_name": "甲", "last_name": "", "email": "", "active": True}

    def hurry(made: Session, _context: Any, _instances: Any) -> None:
        if any(isinstance(row, User) for row in made.new):
            made.connection().execute(sa.insert(table).values(**other, merchant_id=actors.alice.id))

    sa.event.listen(db.session.session_factory.class_, "before_flush", hurry)
    try:
        answer = add(operator, actors.alice, username="anna")
    finally:
        sa.event.remove(db.session.session_factory.class_, "before_flush", hurry)
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert f"用户名「{name}」已被使用" in page and 'id="username-wrong"' in page


@pytest.mark.parametrize("email", ["x", "x@y", "a@b.cn\r\nBcc: c@d.cn", "a@b.cn\x07"])
@pytest.mark.parametrize("door", ["/users/add", "edit", "/account/"])
def test_what_is_no_mail_address_is_refused_at_every_door(
    session: Session, client_for: Callable[..., FlaskClient], door: str, email: str
) -> None:
    admin = client_for("platform_admin")
    client_for("operator")
    path = f"/users/edit/{found(session, 'operator1').id}" if door == "edit" else door
    answer = post(admin, path, username="dora", full_name="甲", roles="operator", active="y", email=email)
    assert answer.status_code == 422
    assert 'id="email-wrong"' in answer.get_data(as_text=True)


@pytest.mark.parametrize("door", ["/users/add", "/account/"])
def test_a_wrong_name_does_not_hide_a_wrong_mail(client_for: Callable[..., FlaskClient], door: str) -> None:
    page = post(client_for("platform_admin"), door, username="dora", full_name="甲\x07", roles="operator", email="x")
    assert all(f'id="{field}-wrong"' in page.get_data(as_text=True) for field in ("full_name", "email"))


@pytest.mark.parametrize("email", ["a\x07@b.cn", "a@b\u202e.cn", "a@b.cn\x9f", "a@b.c\x00n"])
def test_no_mail_address_holds_what_cannot_be_seen(email: str) -> None:
    with pytest.raises(Refused, match="邮箱"):
        accounts.checked_mail(email)


def test_nobody_is_found_by_a_mail_address(app: Flask, session: Session, user: Callable[..., str]) -> None:
    found(session, user("bob", "operator")).email = "bob@example.cn"
    session.commit()
    manager = app.appbuilder.sm  # type: ignore[attr-defined]
    assert attempt(app.test_client(), "bob@example.cn").status_code == 401
    assert token(app.test_client(), "bob@example.cn").status_code == 401
    with app_scope(app, PLATFORM):
        assert manager.find_user(email="bob@example.cn") is None
        assert manager.find_user(username="x", email="bob@example.cn") is None
        assert manager.find_user(username="bob").username == "bob"


def test_without_a_mail_address_there_is_none(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient], user: Callable[..., str]
) -> None:
    """Nothing is made up, so nothing made up is shown, searched, exported or written to."""
    admin = client_for("platform_admin")
    with app_scope(app, PLATFORM) as own:
        setting_up.add_user(own, "dora", "operator")
    dora = found(session, "dora")
    assert dora.email == ""
    for page in ("/users/list/", f"/users/show/{dora.id}", f"/users/edit/{dora.id}", f"/users/tab/{dora.id}/history"):
        assert "invalid" not in admin.get(page).get_data(as_text=True).replace("is-invalid", "")
    assert session.scalars(sa.select(User.email).distinct()).all() == [""]


def test_no_two_merchants_share_a_space(session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a name that is taken would tell one of whom the other employs."""
    first = Merchant(name="花店甲", industry_id=actors.alice.industry_id)
    session.add(first)
    session.flush()
    begin = first.key[: len("m_") + SHORT]
    drawn = iter([f"{begin}2222", f"{begin}zzzz", f"{begin}{first.key[-4:]}", "m_qqqqqqqq2345"])
    monkeypatch.setattr(merchant_model, "new_merchant_key", lambda: next(drawn))
    second = Merchant(name="花店乙", industry_id=actors.alice.industry_id)
    session.add(second)
    session.commit()
    assert (second.key, second.user_suffix) == ("m_qqqqqqqq2345", "@qqqqqqqq")
    assert first.user_suffix == f"@{begin[2:]}"


def test_a_key_that_is_given_stays(session: Session, actors: Actors) -> None:
    given = Merchant(key="m_abcdefgh2345", name="花店甲", industry_id=actors.alice.industry_id)
    session.add(given)
    session.commit()
    assert given.key == "m_abcdefgh2345"
