"""Secrets at rest: bound to their row, rotated online, and a start refused on weak keys."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.keys import parse_key
from app.data.phones import SealedPhone
from app.data.secrets import HasSecrets, KeyRing, KeyRingError, SealBroken, Sealed, keyring, sealed_column
from app.factory import create_app
from app.models import AuditEntry, ThirdPartyApp
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


def test_a_sealed_attribute_without_its_columns_is_no_class() -> None:
    """What it is set to would be lost."""
    with pytest.raises(TypeError, match="Till.phone is sealed and lacks the columns phone_masked, phone_hash"):
        type("Till", (HasSecrets,), {"phone": SealedPhone(), "phone_sealed": sealed_column("电话")})
    with pytest.raises(TypeError, match="Till.key is sealed and lacks the columns key_sealed"):
        type("Till", (HasSecrets,), {"key": Sealed()})


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
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "a" * 40),
        ("DATA_KEYS", ""),
        ("INDEX_KEY", ""),
        ("FLASK_DEBUG", "1"),
        ("DATABASE_URL", "oracle://x"),
        ("DOUYIN_TIMEOUT", "soon"),
        ("DEMO", "maybe"),
    ],
)
def test_a_start_with_a_bad_setting_is_refused_in_one_sentence(name: str, value: str) -> None:
    env = test_environment("sqlite://", "http://127.0.0.1:1") | {name: value}
    with pytest.raises(SettingError) as refusal:
        Config(env)
    assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("k1:short", "DATA_KEYS 的 k1 应是 32 个随机字节"),
        ("nokey", "DATA_KEYS 的 nokey 应是 32 个随机字节"),
        ("", "DATA_KEYS 的 \\(无编号\\) 应是 32 个随机字节"),
        ("k1:" + "A" * 43 + "=", "DATA_KEYS 的 k1 有规律"),
        ("k1:%%%", "DATA_KEYS 的 k1 应是 32 个随机字节"),
        ("k1:{key}%", "DATA_KEYS 的 k1 应是 32 个随机字节"),  # what is no base64 is not skipped
        (":{key}", "编号应为 1 至 32 位"),
        ("k-1:{key}", "编号应为 1 至 32 位"),
        ("k" * 33 + ":{key}", "编号应为 1 至 32 位"),
        ("k1:{key},k1:{other}", "重复的编号"),
        ("k1:{key},old:short", "DATA_KEYS 的 old 应是 32 个随机字节"),
        ("k1:{index}", "DATA_KEYS 的 k1 与 INDEX_KEY 相同"),
    ],
)
def test_a_key_ring_that_cannot_be_used_is_refused_with_its_reason(value: str, why: str) -> None:
    index = key()
    with pytest.raises(KeyRingError, match=why):
        KeyRing(value.format(key=key(), other=key(), index=index), index)


def test_an_application_has_the_key_ring_of_its_settings(tmp_path: Path) -> None:
    app = create_app(test_environment(f"sqlite:///{tmp_path / 'own.db'}", "http://127.0.0.1:1"), TESTING=True)
    with app.app_context():
        other = KeyRing(app.config["DATA_KEYS"], app.config["INDEX_KEY"])
        assert keyring().open(other.seal("字", "t.c.1"), "t.c.1") == "字"


def test_a_start_with_a_bad_key_ring_is_refused() -> None:
    with pytest.raises(KeyRingError):
        create_app(test_environment("sqlite://", "http://127.0.0.1:1") | {"DATA_KEYS": "k1:short"})


def test_an_index_key_that_cannot_be_used_is_named() -> None:
    with pytest.raises(KeyRingError, match="INDEX_KEY 应是 32 个随机字节"):
        KeyRing(f"k1:{key()}", "short")


def test_an_older_key_may_be_a_weak_one_or_the_index_key_and_an_id_has_32_letters() -> None:
    index, weak = key(), "A" * 43 + "="
    ring = KeyRing(f"{'k' * 32}:{key()}, old:{weak} ,older:{index}", index)
    assert ring.newest == "k" * 32
    old = KeyRing.__new__(KeyRing)
    old._ciphers, old.newest = ring._ciphers, "old"
    assert ring.open(old.seal("字", "a.b.1"), "a.b.1") == "字"


@pytest.mark.parametrize("damaged", ["k1:%%%", "k1:", "k1:AAAA", "k9:AAAA", "plain"])
def test_what_does_not_open_says_where_it_stands_but_not_in_which_row(damaged: str) -> None:
    ring = KeyRing(f"k1:{key()}", key())
    with pytest.raises(SealBroken) as broken:
        ring.open(damaged, "third_party_app.secret_sealed.0a1b")
    known = damaged.startswith("k1:")
    assert str(broken.value) == (
        "third_party_app.secret_sealed 的密文无法解开"
        if known
        else f"密钥 {damaged.partition(':')[0]} 不在 DATA_KEYS 中"
    )


def test_a_seal_is_another_each_time_and_opens_to_the_same() -> None:
    ring = KeyRing(f"k1:{key()}", key())
    one, other = ring.seal("字", "t.c.1"), ring.seal("字", "t.c.1")
    assert one != other and {ring.open(sealed, "t.c.1") for sealed in (one, other)} == {"字"}
    assert len(base64.b64decode(one.partition(":")[2])) == 12 + len("字".encode()) + 16  # nonce, text, tag


def test_a_secret_that_is_none_stays_none(session: Session, third_party_app: ThirdPartyApp) -> None:
    third_party_app.ticket = None
    session.commit()
    assert (third_party_app.ticket, third_party_app.ticket_sealed) == (None, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), (7, 7), ("2147483647", 2147483647)]
    + [(text, None) for text in ("2147483648", "99999999999", "-1", "1 ", "", None, "１")],
)
def test_a_rows_number_is_what_an_integer_column_holds(text: object, number: int | None) -> None:
    assert parse_key(text) == number


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
