"""Secrets at rest: an encrypted attribute (AES-256-GCM, key ring, bound to its row) and keyed hashes for search.

A stored value is `<key id>:<base64 of nonce + ciphertext>`. Table, column and the row's `row_uid` are associated
data, so a ciphertext moved to another row or column does not decrypt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import uuid
from typing import Any, overload

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask, current_app
from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from config import patterned

NONCE_BYTES = 12


class KeyRingError(Exception):
    """A key ring that cannot be used; the sentence says what to mend."""


class SealBroken(Exception):
    """A ciphertext that does not belong where it stands, or whose key is not in the ring."""


class KeyRing:
    """Data keys by id, newest first; seals with the newest and opens with any."""

    def __init__(self, data_keys: str, index_key: str) -> None:
        self._ciphers: dict[str, AESGCM] = {}
        self._index_key = _strong_key("INDEX_KEY", index_key)
        for item in data_keys.split(","):
            key_id, _, encoded = item.strip().partition(":")
            name = f"DATA_KEYS 的 {key_id or '(无编号)'}"
            # An older key only opens: a weak one, or the index key, must stay usable until all is sealed anew.
            key = _decode_key(name, encoded) if self._ciphers else _strong_key(name, encoded)
            if key == self._index_key and not self._ciphers:
                raise KeyRingError(
                    f"{name} 与 INDEX_KEY 相同（same key twice）：请在 DATA_KEYS 最前面加一把新的随机密钥，"
                    "INDEX_KEY 不变；已有数据时请保留原来的密钥，启动后运行 flask --app run keys rotate。"
                )
            self._ciphers[key_id] = AESGCM(key)
            if not key_id or len(key_id) > 32 or not key_id.isalnum():
                raise KeyRingError("DATA_KEYS 的编号应为 1 至 32 位字母或数字（key id），形如 k1:base64。")
        if len(self._ciphers) != len(data_keys.split(",")):
            raise KeyRingError("DATA_KEYS 中有重复的编号（duplicate key id）：请给每把密钥不同的编号。")
        self.newest = next(iter(self._ciphers))

    def seal(self, plaintext: str, bound_to: str) -> str:
        """Encrypt text for one place (`table.column.row_uid`)."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.newest].encrypt(nonce, plaintext.encode(), bound_to.encode())
        return f"{self.newest}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, bound_to: str) -> str:
        """The text again; SealBroken when the key is unknown or the place is another."""
        key_id, _, encoded = sealed.partition(":")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealBroken(f"密钥 {key_id} 不在 DATA_KEYS 中")
        try:
            raw = base64.b64decode(encoded, validate=True)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise SealBroken(f"{bound_to.rsplit('.', 1)[0]} 的密文无法解开") from None

    def fingerprint(self, text: str) -> str:
        """A keyed hash (64 hex digits) for exact search and uniqueness; the same for ever, never rotated."""
        return hmac.new(self._index_key, text.encode(), hashlib.sha256).hexdigest()


def _decode_key(name: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise KeyRingError(f"{name} 应是 32 个随机字节的 base64（must be base64 of 32 random bytes）：请修改 .env。")
    return key


def _strong_key(name: str, encoded: str) -> bytes:
    key = _decode_key(name, encoded)
    if patterned(key):
        raise KeyRingError(
            f"{name} 有规律、容易被猜到（weak key）：请换成 32 个随机字节的 base64，"
            "可用 python3 -c 'import base64,os; print(base64.b64encode(os.urandom(32)).decode())' 生成。"
        )
    return key


def init_app(app: Flask) -> None:
    """Read the key ring from the configuration; KeyRingError when it is missing or weak."""
    app.extensions["keyring"] = KeyRing(app.config["DATA_KEYS"], app.config["INDEX_KEY"])


def keyring() -> KeyRing:
    """The current application's key ring."""
    ring: KeyRing = current_app.extensions["keyring"]
    return ring


class Sealed:
    """A model attribute whose column (`<name>_sealed`) holds only ciphertext.

    `row.secret = "..."` seals, `row.secret` opens, None stays None. Not part of any query, form or export.
    """

    kind = "secret"  # of its values, as `info["kind"]` of a column names it
    columns: tuple[str, ...] = ("sealed",)  # what stands behind `<name>_` in the names of the columns that it needs

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name
        self.column = f"{name}_sealed"
        owner.__sealed__ = (*getattr(owner, "__sealed__", ()), name)

    @overload
    def __get__(self, row: None, owner: type[Any]) -> Sealed: ...
    @overload
    def __get__(self, row: object, owner: type[Any]) -> str | None: ...
    def __get__(self, row: Any, owner: type[Any]) -> Any:
        if row is None:
            return self
        sealed = getattr(row, self.column)
        return None if sealed is None else keyring().open(sealed, self.bound_to(row))

    def __set__(self, row: Any, plaintext: str | None) -> None:
        sealed = None if plaintext is None else keyring().seal(plaintext, self.bound_to(row))
        setattr(row, self.column, sealed)

    def sealed(self, table: str, row_uid: str, plaintext: str) -> str:
        """What is to be stored of a text in the row of this uid, for whoever writes it without the row."""
        return keyring().seal(plaintext, f"{table}.{self.column}.{row_uid}")

    def opened(self, table: str, row_uid: str, sealed: str | None) -> str | None:
        """What a value says that was read by itself, without its row."""
        return None if sealed is None else keyring().open(sealed, f"{table}.{self.column}.{row_uid}")

    def bound_to(self, row: Any) -> str:
        """The place a ciphertext belongs to; the row's uid is made here, before any insert."""
        if row.row_uid is None:
            row.row_uid = uuid.uuid4().hex
        return f"{row.__tablename__}.{self.column}.{row.row_uid}"


class HasSecrets:
    """Mixin of models with `Sealed` attributes: gives them the `row_uid` their ciphertexts are bound to."""

    __sealed__: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """TypeError for a sealed attribute without its columns: what it is set to would be lost."""
        for sealed in (held for held in vars(cls).values() if isinstance(held, Sealed)):
            lacking = [name for part in sealed.columns if not hasattr(cls, name := f"{sealed.name}_{part}")]
            if lacking:
                raise TypeError(f"{cls.__name__}.{sealed.name} is sealed and lacks the columns {', '.join(lacking)}")
        super().__init_subclass__(**kwargs)

    row_uid: Mapped[str] = mapped_column(
        String(32), unique=True, nullable=False, default=lambda: uuid.uuid4().hex, info={"quiet": True}
    )


def sealed_column(label: str = "", *, quiet: bool = False) -> Mapped[str | None]:
    """The column behind a `Sealed` attribute; `label` is what people call it, `quiet` keeps it out of the log."""
    info = {"kind": "secret", "quiet": quiet} | ({"label": label} if label else {})
    return mapped_column(Text, nullable=True, default=None, info=info)
