"""Attempts to log in, counted: by user, by address, and by a device that is known."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import throttle
from app.access.throttle import PER_ADDRESS, PER_USER, Attempt, TooManyAttempts, begin, begin_again
from app.data.clock import utcnow
from app.models import LoginAttempt


def fill(session: Session, times: int, name: str = "ann", address: str = "192.0.2.1", *, device: str = "") -> Attempt:
    return [begin(session, name, address, device=device) for _ in range(times)][-1]


def test_the_sixth_of_a_user_is_refused_wherever_it_comes_from_and_not_counted(app: Flask, session: Session) -> None:
    fill(session, PER_USER)
    for address in ("192.0.2.1", "192.0.2.2"):
        with pytest.raises(TooManyAttempts):
            begin(session, " ANN ", address)
    begin(session, "bob", "192.0.2.1")
    assert len(session.scalars(select(LoginAttempt.id)).all()) == PER_USER + 1


def test_the_thirty_first_of_an_address_is_refused_whoever_is_named(app: Flask, session: Session) -> None:
    for number in range(PER_ADDRESS):
        begin(session, f"user{number}", "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        begin(session, "ann", "192.0.2.1")
    begin(session, "ann", "192.0.2.2")


def test_a_known_device_and_strangers_count_apart(app: Flask, session: Session) -> None:
    fill(session, PER_USER)
    fill(session, PER_USER, device="a")
    for device in ("a", ""):
        with pytest.raises(TooManyAttempts):
            begin(session, "ann", "192.0.2.9", device=device)
    fill(session, PER_USER, device="b")
    assert {row.address for row in session.scalars(select(LoginAttempt))} == {"192.0.2.1", "device:a", "device:b"}


def test_asking_again_counts_for_the_user_alone(app: Flask, session: Session) -> None:
    fill(session, PER_USER)
    for _ in range(PER_USER):
        begin_again(session, "ann")
    with pytest.raises(TooManyAttempts):
        begin_again(session, "ann")
    begin_again(session, "bob")


def test_one_who_was_right_is_forgiven_and_nobody_else(app: Flask, session: Session) -> None:
    fill(session, PER_USER, "bob")
    right = fill(session, PER_USER)
    throttle.forgive(session, right)
    session.commit()
    fill(session, PER_USER)
    with pytest.raises(TooManyAttempts):
        begin(session, "bob", "192.0.2.3")
    throttle.forgive_user(session, "BOB")
    session.commit()
    begin(session, "bob", "192.0.2.3")


def test_how_long_to_wait_is_said_in_whole_minutes_and_then_it_is_over(app: Flask, session: Session) -> None:
    began = utcnow()
    for after, minutes in ((timedelta(seconds=1), 15), (timedelta(minutes=14, seconds=30), 1)):
        with time_machine.travel(began, tick=False):
            if minutes == 15:
                fill(session, PER_USER)
        with time_machine.travel(began + after, tick=False), pytest.raises(TooManyAttempts) as refused:
            begin(session, "ann", "192.0.2.1")
        assert refused.value.minutes == minutes and f"请 {minutes} 分钟后" in refused.value.message
    with time_machine.travel(began + throttle.WINDOW, tick=False):
        begin(session, "ann", "192.0.2.1")


def test_a_long_device_is_cut_to_its_column(app: Flask, session: Session) -> None:
    begin(session, "ann", "", device="d" * 100)
    assert len(session.scalars(select(LoginAttempt.address)).one()) == 64
