"""The platform always has an administrator who can log in: counted behind a lock, by whatever door one is removed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import accounts
from app.access.roles import ADMIN
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.models import User
from tests.conftest import csrf_token
from tests.people import found, post

REMOVALS: dict[str, Callable[[Session, User], None]] = {
    "disable": lambda session, user: accounts.set_active(session, user, active=False),
    "role": lambda session, user: accounts.change_roles(session, user, ["operator"]),
}


def admins(session: Session) -> set[str]:
    session.rollback()
    users = session.scalars(select(User).where(User.active.is_(True)).execution_options(populate_existing=True))
    return {user.username for user in users if ADMIN in user.role_names}


@pytest.mark.parametrize("first", REMOVALS)
@pytest.mark.parametrize("second", REMOVALS)
def test_of_two_who_are_removed_at_the_same_moment_one_stays(
    app: Flask, session: Session, user: Callable[..., str], first: str, second: str
) -> None:
    user("ann", ADMIN)
    user("ben", ADMIN)
    begun, answers = threading.Event(), []

    def remove_ben() -> None:
        with app_scope(app, PLATFORM) as own:
            begun.set()
            try:
                REMOVALS[second](own, own.scalars(select(User).where(User.username == "ben")).one())
                own.commit()
                answers.append("removed")
            except Refused as refused:
                answers.append(refused.message)

    other = threading.Thread(target=remove_ben)
    with app_scope(app, PLATFORM) as own:
        REMOVALS[first](own, own.scalars(select(User).where(User.username == "ann")).one())
        own.flush()
        other.start()
        begun.wait(10)
        other.join(0.7)
        assert answers == []  # it waits for what becomes of the other
        own.commit()
    other.join(20)
    assert len(answers) == 1
    assert "最后一个" in answers[0]
    assert admins(session) == {"ben"}


def test_one_whose_removal_is_taken_back_counts_again(app: Flask, session: Session, user: Callable[..., str]) -> None:
    user("ann", ADMIN)
    user("ben", ADMIN)
    with app_scope(app, PLATFORM) as own:
        accounts.set_active(own, own.scalars(select(User).where(User.username == "ann")).one(), active=False)
        own.rollback()
    accounts.set_active(session, found(session, "ben"), active=False)
    session.commit()
    assert admins(session) == {"ann"}


@pytest.mark.parametrize("change", [{"roles": "operator", "active": "y"}, {"roles": ADMIN}])
def test_two_forms_sent_at_once_leave_one(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient], change: dict[str, str]
) -> None:
    clients = [client_for(ADMIN), client_for(ADMIN)]
    names = [f"{ADMIN}0", f"{ADMIN}1"]
    paths = [f"/users/edit/{found(session, name).id}" for name in reversed(names)]
    tokens = [csrf_token(client, path) for client, path in zip(clients, paths, strict=True)]
    start = threading.Barrier(2)

    def send(number: int) -> Any:
        start.wait(10)
        return clients[number].post(
            paths[number], data={"full_name": "甲", "email": "", "csrf_token": tokens[number], **change}
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, range(2)))
    assert len(admins(session)) == 1


def test_an_administrator_who_has_not_set_a_password_yet_is_not_counted(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for(ADMIN)
    post(admin, "/users/add", username="ben", full_name="", email="", roles=ADMIN)
    with pytest.raises(Refused, match="最后一个"):
        accounts.set_active(session, found(session, f"{ADMIN}0"), active=False)


def test_of_two_who_reset_each_other_at_the_same_moment_one_keeps_a_password(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    ann, _ben = client_for(ADMIN), client_for(ADMIN)
    path = f"/users/reset/{found(session, f'{ADMIN}1').id}"
    token = csrf_token(ann, path)
    found(session, f"{ADMIN}0").password = None  # the other's reset of her, after it was looked who asks
    session.commit()
    answer = ann.post(path, data={"csrf_token": token})
    assert answer.status_code == 400 and "最后一个" in answer.get_data(as_text=True)
    assert found(session, f"{ADMIN}1").password


def test_others_are_removed_without_a_count(session: Session, user: Callable[..., str]) -> None:
    user("ann", ADMIN)
    user("bob", "operator")
    accounts.set_active(session, found(session, "bob"), active=False)
    session.commit()
    assert not found(session, "bob").active


def test_there_is_no_other_door(app: Flask) -> None:
    """No bulk edit, no cell, no deletion, no import of users: what changes them are the two functions above."""
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        if getattr(getattr(view, "datamodel", None), "obj", None) is not User:
            continue
        doors = {f"can_{name}" for name in ("bulk", "delete", "cell", "import", "merge", "put", "post")}
        assert not (view.bulk_columns or view.inline_columns or view.imported), view
        assert not doors & set(view.base_permissions), view
