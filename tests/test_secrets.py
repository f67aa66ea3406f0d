"""Secrets at rest: bound to their row, rotated online, and a start refused on weak keys."""

from __future__ import annotations

import base64
import os

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app import create_app
from app import setup as setting_up
from app.models import AuditEntry, ThirdPartyApp
from app.secrets import KeyRing, KeyRingError, SealBroken, keyring
from config import Config, SettingError
from tests.conftest import COMPONENT, test_environment


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def test_a_secret_is_not_in_the_database_in_any_form(session: Session, third_party_app: ThirdPartyApp) -> None:
    raw = session.connection().exec_driver_sql("select * from third_party_app").one()
    text = " ".join(map(str, raw))
    for secret in (COMPONENT["secret"], COMPONENT["token"]):
        for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
            assert form not in text
    assert third_party_app.secret == COMPONENT["secret"]


def test_a_ciphertext_moved_to_another_row_or_column_does_not_open(
    session: Session, third_party_app: ThirdPartyApp
) -> None:
    other = ThirdPartyApp(appid="tt-other")
    session.add(other)
    other.secret_sealed = third_party_app.secret_sealed
    third_party_app.token_sealed = third_party_app.secret_sealed
    session.commit()
    for row, name in ((other, "secret"), (third_party_app, "token")):
        with pytest.raises(SealBroken):
            getattr(row, name)


def test_rotation_seals_everything_with_the_newest_key(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    before = app.extensions["keyring"]
    app.extensions["keyring"] = KeyRing(f"k2:{key()},{app.config['DATA_KEYS']}", app.config["INDEX_KEY"])
    try:
        counts = dict(setting_up.rotate_keys(app))
        assert counts["third_party_app"] == 1
        session.expire_all()
        assert (third_party_app.secret_sealed or "").startswith("k2:")
        assert third_party_app.secret == COMPONENT["secret"]
        assert dict(setting_up.rotate_keys(app))["third_party_app"] == 0
    finally:
        app.extensions["keyring"] = before


def test_a_fingerprint_does_not_depend_on_the_data_keys(app: Flask) -> None:
    with app.app_context():
        index = app.config["INDEX_KEY"]
        assert keyring().fingerprint("13800138000") == KeyRing(f"x:{key()}", index).fingerprint("13800138000")


@pytest.mark.parametrize(
    ("name", "value"),
    [("SECRET_KEY", ""), ("SECRET_KEY", "short"), ("SECRET_KEY", "a" * 40), ("DATA_KEYS", ""), ("INDEX_KEY", ""),
     ("FLASK_DEBUG", "1"), ("DATABASE_URL", "oracle://x"), ("DOUYIN_TIMEOUT", "soon"), ("DEMO", "maybe")],
)  # fmt: skip
def test_a_start_with_a_bad_setting_is_refused_in_one_sentence(name: str, value: str) -> None:
    env = test_environment("sqlite://", "http://127.0.0.1:1") | {name: value}
    with pytest.raises(SettingError) as refusal:
        Config(env)
    assert name in str(refusal.value)


@pytest.mark.parametrize("value", ["k1:short", "nokey", "k1:" + "A" * 43 + "=", "k1:%%%"])
def test_a_start_with_a_bad_key_ring_is_refused(value: str) -> None:
    with pytest.raises(KeyRingError):
        create_app(test_environment("sqlite://", "http://127.0.0.1:1") | {"DATA_KEYS": value})


def test_the_audit_log_says_that_a_secret_changed_but_not_what(
    session: Session, third_party_app: ThirdPartyApp
) -> None:
    entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.subject_type == "third_party_app")).all()
    assert entries and entries[0].after["secret_sealed"] == "已更改"
    assert COMPONENT["secret"] not in str([entry.after for entry in entries])


@pytest.mark.parametrize("statement", ["update audit_entry set action='x'", "delete from audit_entry"])
def test_the_audit_log_is_append_only(session: Session, third_party_app: ThirdPartyApp, statement: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        session.connection().exec_driver_sql(statement)
    session.rollback()
