"""Pushes: the published vectors, messages of our own making, and every way to be refused."""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from app.douyin.crypto import PushRefused, Reason, sign, verify_and_decrypt, webhook_signature_matches

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "contract" / "callback-vectors.json").read_text("utf-8"))
VECTOR = VECTORS[0]
KEY, TOKEN, APPID = VECTOR["encoding_aes_key"], VECTOR["token"], VECTOR["tp_app_id"]
NOW = datetime.fromtimestamp(1735689600, UTC)
EVENT = {"Event": "UNAUTHORIZED", "AppId": "tt1111111111111111", "TpAppId": APPID}


def receive(body: Any, **options: Any) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    settings: dict[str, Any] = {"token": TOKEN, "aes_key": KEY, "appid": APPID, "now": NOW, "window": 300}
    return verify_and_decrypt(raw, **{**settings, **options})


def reason(body: Any, **options: Any) -> Reason:
    with pytest.raises(PushRefused) as caught:
        receive(body, **options)
    assert str(caught.value) == "push refused"
    return caught.value.reason


def pad(plain: bytes, modulus: int) -> bytes:
    count = modulus - len(plain) % modulus
    return plain + bytes([count]) * count


def plain_text(message: bytes, *, tail: str = APPID, length: int | None = None) -> bytes:
    return bytes(32) + struct.pack(">I", len(message) if length is None else length) + message + tail.encode()


def wrap(padded: bytes, *, iv: bytes | None = None) -> dict[str, Any]:
    """A signed envelope around exactly these padded bytes."""
    key = base64.b64decode(KEY + "=")
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv or key[:16])).encryptor()
    return signed(base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode())


def signed(encrypt: str, timestamp: str = "1735689600") -> dict[str, Any]:
    signature = sign(TOKEN, timestamp, "7", encrypt)
    return {"Nonce": "7", "TimeStamp": timestamp, "Encrypt": encrypt, "MsgSignature": signature}


def push(event: Any, **options: Any) -> dict[str, Any]:
    message = event if isinstance(event, bytes) else json.dumps(event).encode()
    return wrap(pad(plain_text(message, **options), 32))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_published_vectors_are_read(vector: dict[str, Any]) -> None:
    event = receive(
        vector["body"],
        token=vector["token"],
        aes_key=vector["encoding_aes_key"],
        appid=vector["tp_app_id"],
        now=datetime.fromtimestamp(int(vector["body"]["TimeStamp"]), UTC),
    )
    assert event == json.loads(vector["plaintext"])


@pytest.mark.parametrize("modulus", [16, 32])
@pytest.mark.parametrize("extra", range(33))
def test_every_padding_and_length_is_read(modulus: int, extra: int) -> None:
    event = {**EVENT, "x": "y" * extra}
    assert receive(wrap(pad(plain_text(json.dumps(event).encode()), modulus))) == event


def test_the_other_reading_of_the_first_block_gives_the_same_message() -> None:
    assert receive(wrap(pad(plain_text(json.dumps(EVENT).encode()), 32), iv=bytes(range(16)))) == EVENT


def test_a_time_stamp_may_be_a_number() -> None:
    body = push(EVENT)
    assert receive({**body, "TimeStamp": int(body["TimeStamp"])}) == EVENT


def test_a_nonce_may_be_a_number() -> None:
    body = push(EVENT)
    assert receive({**body, "Nonce": 7}) == EVENT


def test_a_byte_order_mark_is_no_fault_outside_or_inside() -> None:
    message = codecs.BOM_UTF8 + json.dumps(EVENT).encode()
    assert receive(codecs.BOM_UTF8 + json.dumps(push(message)).encode()) == EVENT


def test_the_ticket_names_no_app_but_the_tail_does() -> None:
    assert receive(push({"Event": "PUSH", "Ticket": "t"}))["Ticket"] == "t"


def test_chinese_and_large_messages_are_read() -> None:
    event = {**EVENT, "reason": "页面空白" * 5_000}
    assert receive(push(json.dumps(event, ensure_ascii=False).encode())) == event


GOOD = push(EVENT)


def _flipped(text: str, index: int) -> str:
    other = "A" if text[index] != "A" else "B"
    return text[:index] + other + text[index + 1 :]


@pytest.mark.parametrize("missing", ["Nonce", "TimeStamp", "Encrypt", "MsgSignature"])
def test_a_missing_or_wrongly_typed_field_is_refused(missing: str) -> None:
    assert reason({key: value for key, value in GOOD.items() if key != missing}) is Reason.ENVELOPE
    wrong: list[Any] = [None, True, 1.5, [], {}]
    for value in wrong:
        assert reason({**GOOD, missing: value}) is Reason.ENVELOPE


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b"1", b"{", b"\xff", b'{"a":' * 9_000, b'{"Nonce": NaN}'], ids=range(8)
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    assert reason(raw) is Reason.ENVELOPE


def test_a_body_over_the_limit_is_refused_unread() -> None:
    assert reason(b" " * 101, max_bytes=100) is Reason.SIZE


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({**GOOD, "Encrypt": _flipped(GOOD["Encrypt"], 5)}, {}),
        ({**GOOD, "Nonce": "8"}, {}),
        ({**GOOD, "TimeStamp": "1735689601"}, {}),
        ({**GOOD, "MsgSignature": GOOD["MsgSignature"].upper()}, {}),
        ({**GOOD, "MsgSignature": ""}, {}),
        ({**GOOD, "MsgSignature": "签" * 40}, {}),
        (GOOD, {"token": "other"}),
    ],
    ids=["flipped", "nonce", "time", "upper case", "empty", "not ascii", "token"],
)
def test_a_wrong_signature_is_refused(body: dict[str, Any], options: dict[str, Any]) -> None:
    assert reason(body, **options) is Reason.SIGNATURE


@pytest.mark.parametrize("half", [rb"\ud800", rb"\ud800\ud800", rb"\udc00", b"\xed\xa0\x80"])
def test_half_a_character_is_no_push(half: bytes) -> None:
    raw = json.dumps(GOOD).encode().replace(GOOD["MsgSignature"].encode(), half)
    with pytest.raises(PushRefused) as refused:
        verify_and_decrypt(raw, token=TOKEN, aes_key=KEY, appid=APPID, now=NOW, window=300)
    assert refused.value.reason is Reason.ENVELOPE


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_a_stale_or_early_push_is_refused(seconds: int) -> None:
    assert reason(GOOD, now=NOW + timedelta(seconds=seconds)) is Reason.STALE


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_push_within_the_window_is_read(seconds: int) -> None:
    assert receive(GOOD, now=NOW + timedelta(seconds=seconds)) == EVENT


@pytest.mark.parametrize("stamp", ["", "-1", "1e9", "１７３５", "9" * 5_000, " 1735689600"])
def test_an_odd_time_stamp_is_stale(stamp: str) -> None:
    assert reason(signed(GOOD["Encrypt"], stamp)) is Reason.STALE


@pytest.mark.parametrize("encrypt", ["", "!!!!", "YWJj", GOOD["Encrypt"] + "\n", GOOD["Encrypt"][:-4], "é" * 8])
def test_a_ciphertext_that_is_no_base64_or_no_whole_blocks_is_refused(encrypt: str) -> None:
    assert reason(signed(encrypt)) is Reason.CIPHERTEXT


@pytest.mark.parametrize("last", [0, 33, 255])
def test_a_padding_byte_out_of_range_is_refused(last: int) -> None:
    padded = pad(plain_text(json.dumps(EVENT).encode()), 32)
    assert reason(wrap(padded[:-1] + bytes([last]))) is Reason.PADDING


def test_uneven_padding_is_refused() -> None:
    padded = pad(plain_text(b'{"Event":"X"}') + b"", 32)
    count = padded[-1]
    uneven = padded[:-count] + b"\x00" + padded[-count + 1 :]
    assert reason(wrap(uneven)) is Reason.PADDING


@pytest.mark.parametrize("length", [0xFFFFFFFF, 2**31, 10_000])
def test_a_length_word_out_of_bounds_is_refused(length: int) -> None:
    assert reason(push(EVENT, length=length)) is Reason.LENGTH


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_ciphertext_too_short_for_the_layout_is_refused(blocks: int) -> None:
    assert reason(wrap(bytes([1]) * 16 * blocks)) is Reason.LENGTH


@pytest.mark.parametrize("tail", ["tt0000000000000002", "", APPID + "x"])
def test_a_tail_that_is_another_app_is_refused(tail: str) -> None:
    assert reason(push(EVENT, tail=tail)) is Reason.APPID


def test_no_appid_of_our_own_matches_nothing() -> None:
    assert reason(push(EVENT, tail=""), appid="") is Reason.APPID


@pytest.mark.parametrize(
    "message",
    [b"", b"[]", b"null", b"{", b'"text"', b'{"Event":"\xff"}'],
    ids=range(6),
)
def test_a_message_that_is_no_object_is_refused(message: bytes) -> None:
    assert reason(push(message)) is Reason.MESSAGE


@pytest.mark.parametrize("message", [{}, {"MsgType": "text"}, {"Event": ""}, {"Event": 1}])
def test_a_genuine_message_needs_no_event(message: dict[str, Any]) -> None:
    assert receive(push(message)) == message


@pytest.mark.parametrize("named", ["tt2", "", 5])
def test_an_event_for_another_third_party_app_is_refused(named: Any) -> None:
    assert reason(push({**EVENT, "TpAppId": named})) is Reason.TP_APPID


@pytest.mark.parametrize("key", ["", "short", KEY + "A", "!" * 43, KEY[:-1]])
def test_a_key_that_is_none_refuses_everything(key: str) -> None:
    assert reason(GOOD, aes_key=key) is Reason.KEY


def test_a_webhook_signature_is_over_the_raw_body_with_its_newline() -> None:
    raw = b'{"event":"x"}\n'
    good = hashlib.sha1(b"whs-1" + raw, usedforsecurity=False).hexdigest()
    unsalted = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    assert webhook_signature_matches(raw, secret="whs-1", signature=good)
    assert not webhook_signature_matches(raw.strip(), secret="whs-1", signature=good)
    assert not webhook_signature_matches(raw, secret="whs-2", signature=good)
    for foreign in ("签", "\ud800"):  # a header's bytes come as they are
        assert not webhook_signature_matches(raw, secret="whs-1", signature=foreign)
    assert not webhook_signature_matches(raw, secret="", signature=unsalted)
