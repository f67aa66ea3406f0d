"""Verify and decrypt the pushes of the third-party app: one refusal for whatever is wrong."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MAX_BYTES = 2**20

_KEY_LENGTH, _BLOCK, _RANDOM, _WORD = 43, 16, 32, 4
_LONGEST_PAD = 32
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}")
_DIGITS = ("Nonce", "TimeStamp")
_FIELDS = ("Nonce", "TimeStamp", "Encrypt", "MsgSignature")


class Reason(StrEnum):
    """Why a push was refused; for our own log and count, never for the sender."""

    SIZE = "size"
    ENVELOPE = "envelope"
    SIGNATURE = "signature"
    STALE = "stale"
    CIPHERTEXT = "ciphertext"
    PADDING = "padding"
    LENGTH = "length"
    APPID = "appid"
    MESSAGE = "message"
    TP_APPID = "tp_appid"
    KEY = "key"


class PushRefused(Exception):
    """The push is not to be believed. `str()` is the same for every reason; `.reason` is for our own log."""

    def __init__(self, reason: Reason) -> None:
        super().__init__("push refused")
        self.reason = reason


@dataclass(frozen=True)
class _Envelope:
    nonce: str
    timestamp: str
    encrypt: str
    signature: str


def verify_and_decrypt(
    raw: bytes,
    *,
    token: str,
    aes_key: str,
    appid: str,
    now: datetime,
    window: int,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Any]:
    """The pushed event as the platform wrote it.

    `now` is aware; a push whose time stamp is more than `window` seconds off is refused. Raises PushRefused.
    The work is the same whether signature, padding or app id is wrong: all are looked at, then it decides.
    """
    envelope = _open(raw, max_bytes)
    key = _key(aes_key)
    signed = hmac.compare_digest(
        sign(token, envelope.timestamp, envelope.nonce, envelope.encrypt).encode(),
        envelope.signature.encode(),
    )
    fresh = _fresh(envelope.timestamp, now, window)
    message, fault = _unwrap(envelope.encrypt, key, appid)
    if not signed:
        raise PushRefused(Reason.SIGNATURE)
    if not fresh:
        raise PushRefused(Reason.STALE)
    if fault is not None:
        raise PushRefused(fault)
    return _event(message, appid)


def seal_push(event: Mapping[str, Any], *, token: str, aes_key: str, appid: str, now: datetime) -> bytes:
    """The body of a push as the platform would send it. Raises PushRefused where the key is none."""
    key = _key(aes_key)
    message = msgspec.json.encode(event)
    plain = os.urandom(_RANDOM) + len(message).to_bytes(_WORD, "big") + message + appid.encode()
    pad = _LONGEST_PAD - len(plain) % _LONGEST_PAD
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(key[:_BLOCK])).encryptor()
    cipher_text = encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
    encrypt, stamp, nonce = base64.b64encode(cipher_text).decode(), str(int(now.timestamp())), secrets.token_hex(8)
    signature = sign(token, stamp, nonce, encrypt)
    return msgspec.json.encode({"Nonce": nonce, "TimeStamp": stamp, "Encrypt": encrypt, "MsgSignature": signature})


def sign(token: str, timestamp: str, nonce: str, encrypt: str) -> str:
    """SHA-1, hex, over the four texts sorted by code point: the platform's choice of hash, not ours."""
    text = "".join(sorted([token, timestamp, nonce, encrypt]))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def webhook_signature_matches(raw: bytes, *, secret: str, signature: str) -> bool:
    """Whether `X-Douyin-Signature` of a per-app webhook is SHA-1(secret + body as it arrived)."""
    expected = hashlib.sha1(secret.encode() + raw, usedforsecurity=False).hexdigest()
    return bool(secret) and hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


def _open(raw: bytes, max_bytes: int) -> _Envelope:
    if len(raw) > max_bytes:
        raise PushRefused(Reason.SIZE)
    body = _json_object(raw)
    if body is None:
        raise PushRefused(Reason.ENVELOPE)
    # Time stamp and nonce also come as numbers; the signature is over their digits either way.
    body |= {name: str(body[name]) for name in _DIGITS if type(body.get(name)) is int}
    texts = [body.get(name) for name in _FIELDS]
    if not all(isinstance(text, str) for text in texts):
        raise PushRefused(Reason.ENVELOPE)
    return _Envelope(*map(str, texts))


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(raw.removeprefix(BOM_UTF8))
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError, OverflowError):
        return None
    return found if isinstance(found, dict) else None


def _key(aes_key: str) -> bytes:
    try:
        key = base64.b64decode(aes_key + "=", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(aes_key) != _KEY_LENGTH or len(key) != algorithms.AES256.key_size // 8:
        raise PushRefused(Reason.KEY)
    return key


def _fresh(timestamp: str, now: datetime, window: int) -> bool:
    if not _UNIX_SECONDS.fullmatch(timestamp):
        return False
    return abs(now.timestamp() - int(timestamp)) <= window


def _unwrap(encrypt: str, key: bytes, appid: str) -> tuple[bytes, Reason | None]:
    """The message and what is wrong with it. Goes through every step although an earlier one has failed."""
    cipher_text = _strict_base64(encrypt)
    fault = None if cipher_text else Reason.CIPHERTEXT
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(key[:_BLOCK])).decryptor()
    plain = decryptor.update(cipher_text or bytes(4 * _BLOCK)) + decryptor.finalize()
    pad = plain[-1]
    evenly = 1 <= pad <= _LONGEST_PAD and hmac.compare_digest(plain[-pad:], bytes([pad]) * pad)
    fault = fault or (None if evenly else Reason.PADDING)
    start = _RANDOM + _WORD
    length = int.from_bytes(plain[_RANDOM:start], "big")
    end = len(plain) - (pad if evenly else 0)
    within = len(plain) >= start and start + length <= end
    fault = fault or (None if within else Reason.LENGTH)
    stop = start + length if within else start
    ours = hmac.compare_digest(plain[stop:end], appid.encode())
    return plain[start:stop], fault or (None if ours and appid else Reason.APPID)


def _strict_base64(text: str) -> bytes | None:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if found and len(found) % _BLOCK == 0 else None


def _event(message: bytes, appid: str) -> dict[str, Any]:
    """What is genuine is believed, also without an `Event`: a user's message has a `MsgType` in its place."""
    event = _json_object(message)
    if event is None:
        raise PushRefused(Reason.MESSAGE)
    named = event.get("TpAppId")
    if named is not None and named != appid:
        raise PushRefused(Reason.TP_APPID)
    return event
