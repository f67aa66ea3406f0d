"""Recovery codes: ten, each once, also for many at once; guesses at them are counted like guesses at the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import two_factor
from app.access.throttle import PER_USER
from app.data.clock import utcnow
from app.models import TwoFactor
from tests.access.second import CODES, HALF, SECURITY, give_code, in_half, is_in, shown_once
from tests.conftest import csrf_token
from tests.people import audit, found, post, token


def stored(session: Session) -> TwoFactor:
    session.rollback()
    return session.scalars(select(TwoFactor).execution_options(populate_existing=True)).one()


def test_a_recovery_code_counts_once(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, _, codes = bob
    client = in_half(app, name)
    assert give_code(client, codes[3].upper()).status_code == 302
    assert is_in(client)
    assert "恢复码还剩 9 个" in client.get(SECURITY).get_data(as_text=True)
    assert give_code(in_half(app, name), codes[3]).status_code == 401
    [row] = audit(session, "recovery_code_used")
    assert row.after["left"] == 9


def test_new_recovery_codes_end_the_old_ones(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    name, _, codes = bob
    client = in_half(app, name)
    give_code(client, codes[0])
    fresh = shown_once(post(client, CODES))
    assert len(fresh) == 10
    assert not set(fresh) & set(codes)
    row = found(session, name)
    assert not two_factor.check(session, row, codes[1])
    assert two_factor.check(session, row, fresh[1])
    session.commit()
    assert len(audit(session, "recovery_codes_renew")) == 1


def test_recovery_codes_are_kept_as_keyed_hashes(app: Flask, session: Session, bob: tuple[str, str, list[str]]) -> None:
    row = stored(session)
    ring = app.extensions["keyring"]
    expected = [ring.fingerprint(f"recovery:{row.user_id}:{code.replace('-', '')}") for code in bob[2]]
    assert row.recovery_hashes == expected


def test_of_several_log_ins_at_once_with_one_recovery_code_one_gets_in(
    app: Flask, session: Session, bob: tuple[str, str, list[str]]
) -> None:
    name, _, codes = bob
    clients = [in_half(app, name) for _ in range(3)]
    forms = [{"code": codes[4], "csrf_token": csrf_token(client, HALF)} for client in clients]
    start = threading.Barrier(4)

    def by_page(number: int) -> bool:
        start.wait(10)
        return clients[number].post(HALF, data=forms[number]).status_code == 302

    def by_api() -> bool:
        start.wait(10)
        return bool(token(app.test_client(), name, otp=codes[4]).status_code == 200)

    with ThreadPoolExecutor(4) as pool:
        given = [*(pool.submit(by_page, number) for number in range(3)), pool.submit(by_api)]
        assert sorted(item.result() for item in given) == [False] * 3 + [True]
    assert len(audit(session, "recovery_code_used")) == 1
    assert two_factor.codes_left(session, found(session, name).id) == 9


def test_two_different_recovery_codes_at_once_are_both_used_up(
    app: Flask, session: Session, bob: tuple[str, str, list[str]]
) -> None:
    """The list is read and written behind a lock: neither use brings the other's code back."""
    start = threading.Barrier(2)

    def give(code: str) -> bool:
        start.wait(10)
        return bool(token(app.test_client(), bob[0], otp=code).status_code == 200)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(give, bob[2][:2])) == [True, True]
    assert two_factor.codes_left(session, found(session, bob[0]).id) == 8
    assert [give_code(in_half(app, bob[0]), code).status_code for code in bob[2][:2]] == [401, 401]


GUESSES: dict[str, Callable[[FlaskClient, str, str], int]] = {
    "page": lambda client, _name, code: int(give_code(client, code).status_code),
    "api": lambda client, name, code: int(token(client, name, otp=code).status_code),
}


@pytest.mark.parametrize("way", GUESSES)
def test_guesses_at_recovery_codes_are_counted(
    app: Flask, session: Session, bob: tuple[str, str, list[str]], way: str
) -> None:
    name, _, codes = bob
    client = in_half(app, name)  # one
    guesses = [f"{number:05d}-abcde".replace("0", "k").replace("1", "m") for number in range(PER_USER)]
    answers = [GUESSES[way](client, name, code) for code in guesses]
    assert answers == [401] * (PER_USER - 1) + [429]
    assert GUESSES[way](client, name, codes[0]) == 429  # and it is not used up by that
    assert two_factor.codes_left(session, found(session, name).id) == 10
    with time_machine.travel(utcnow() + timedelta(minutes=16)):
        fresh = in_half(app, name)
        assert give_code(fresh, codes[0]).status_code == 302
