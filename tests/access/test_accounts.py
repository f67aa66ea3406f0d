"""Accounts as functions: what is stored of what was typed, and which field a refusal belongs to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import segno
import time_machine
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import accounts, api_keys, passwords, sessions, two_factor
from app.data.clock import utcnow
from app.errors import Refused
from app.models import ApiKey, AuditEntry, User, WebSession
from app.models.api_key import KeyScope
from tests.conftest import PASSWORD, Actors


def made(session: Session, name: str = "Dora", roles: tuple[str, ...] = ("operator",), **more: Any) -> User:
    user = accounts.create_user(session, name, roles, **more)
    session.commit()
    return user


@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"name": "x"}, "username", "用户名应为"),
        ({"name": "x" * 65}, "username", "用户名应为"),
        ({"name": "dora@abcdefgh"}, "username", "只用于商户用户"),
        ({"full_name": "长" * 65}, "full_name", "姓名最多 64 个字"),
        ({"full_name": "a\x07b"}, "full_name", "姓名"),
        ({"email": "nobody"}, "email", "邮箱的格式不正确"),
        ({"email": "a\u202e@b.cn"}, "email", "邮箱的格式不正确"),
        ({"roles": ()}, "roles", "请至少选择一个角色"),
        ({"roles": ("owner",)}, "roles", "所选角色不适用于此账号"),
        ({"roles": ("operator", "owner")}, "roles", "所选角色不适用于此账号"),
        ({"password": "short"}, "password", "密码至少要"),
        ({"name": "taken"}, "username", "用户名「taken」已被使用"),
    ],
)
def test_what_is_wrong_with_a_new_user_is_said_at_its_field(
    app: Flask, session: Session, values: dict[str, Any], field: str, why: str
) -> None:
    made(session, "taken")
    with pytest.raises(Refused, match=why) as refused:
        made(session, **values)
    assert refused.value.field == field


def test_staff_is_refused_the_roles_and_the_names_of_the_platform(app: Flask, session: Session, actors: Actors) -> None:
    for values, field in (
        ({"roles": ("operator",)}, "roles"),
        ({"name": "a@b"}, "username"),
        ({"name": "x" * 56}, "username"),
    ):
        with pytest.raises(Refused) as refused:
            made(session, **{"roles": ("owner",), "merchant": actors.alice, **values})  # type: ignore[arg-type]
        assert refused.value.field == field


def test_a_new_user_is_stored_as_it_was_meant(app: Flask, session: Session, actors: Actors) -> None:
    bare = made(session)
    assert (bare.username, bare.first_name, bare.last_name, bare.email, bare.active) == ("dora", "dora", "", "", True)
    assert (bare.password, bare.password_changed_at, bare.must_change_password, bare.merchant_id) == (
        None,
        None,
        True,
        None,
    )
    full = made(session, "eve", full_name=" 伊芙 ", email=" e@b.cn ", password=PASSWORD)
    assert (full.first_name, full.email, full.must_change_password) == ("伊芙", "e@b.cn", False)
    assert passwords.matches(PASSWORD, full.password) and full.password_changed_at is not None
    assert made(session, "fay", password=PASSWORD, must_change=True).must_change_password
    staff = made(session, "Ann", ("owner", "clerk"), merchant=actors.alice)
    assert (staff.username, staff.first_name) == (f"ann{actors.alice.user_suffix}", "ann")
    assert (staff.merchant_id, set(staff.role_names)) == (actors.alice.id, {"owner", "clerk"})


def test_made_up_passwords_are_sixteen_of_the_letters_that_do_not_look_alike() -> None:
    drawn = [passwords.new_password() for _ in range(200)]
    letters = set("".join(drawn))
    assert {len(one) for one in drawn} == {16} and len(set(drawn)) == 200
    assert not letters & set("ilo01IO") and letters >= set("abcxyzABCXYZ239") and all(one.isalnum() for one in drawn)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("a\tb" * 8, "不能输入的字符"),
        ("ab\0" * 8, "不能输入的字符"),
        ("x" * 5000, "密码最多"),
        ("my-dora-pass-39x", "不能含有用户名"),
    ],
)
def test_a_password_is_refused_with_its_reason_at_its_field(password: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        passwords.check_password_strength(password, "Dora", field="again")
    assert refused.value.field == "again"


def test_a_key_and_a_session_end_at_the_moment_that_was_said(app: Flask, session: Session) -> None:
    user, now = made(session), utcnow().replace(microsecond=0)
    session.add(ApiKey(user_id=user.id, name="k", key_hash="h", start="dz_1", expires_at=now + timedelta(hours=1)))
    session.add(WebSession(id_hash="s" * 64, user_id=user.id, data=b"", expires_at=now + timedelta(hours=1)))
    session.commit()
    for seconds, live in ((-1, 1), (0, 0), (1, 0)):
        with time_machine.travel(now + timedelta(hours=1, seconds=seconds), tick=False):
            assert api_keys.live_count(session, user.id) == len(sessions.sessions_of(session, user.id)) == live


def test_the_picture_of_the_second_factor_is_dark_on_light_with_its_margin() -> None:
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    drawn = segno.make(two_factor.address(secret, "dora"), error="m").svg_data_uri(
        scale=5, border=2, dark="black", light="white"
    )
    assert two_factor.picture(secret, "dora") == drawn


def test_turning_the_second_factor_on_is_written_down_and_a_wrong_code_belongs_to_its_field(
    app: Flask, session: Session
) -> None:
    user = made(session, password=PASSWORD)
    two_factor.begin(session, user)
    session.commit()
    secret = two_factor.waiting_secret(session, user.id)
    assert secret is not None
    with pytest.raises(Refused) as refused:
        two_factor.confirm(session, user, "000000")
    assert refused.value.field == "code"
    session.rollback()
    two_factor.confirm(session, user, two_factor.pyotp.TOTP(secret).now())
    session.commit()
    entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None and (entry.action, entry.subject_id) == ("two_factor_on", str(user.id))


@pytest.mark.parametrize("name", ["", "甲" * 65])
def test_a_key_is_refused_at_the_field_of_its_name(app: Flask, session: Session, name: str) -> None:
    with pytest.raises(Refused) as refused:
        api_keys.create(session, made(session), name, KeyScope.READ, 30)
    assert refused.value.field == "name"
