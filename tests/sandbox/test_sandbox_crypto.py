"""The push encryption against the contract's vectors and both published readings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fidelity.receiver import AES_KEY, unseal

from sandbox.crypto import encrypt, envelope, signature

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "contract" / "callback-vectors.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_is_made_byte_for_byte(vector: dict[str, Any]) -> None:
    body = vector["body"]
    made = encrypt(
        vector["plaintext"],
        aes_key=vector["encoding_aes_key"],
        appid=vector["tp_app_id"],
        prefix=bytes.fromhex(vector["random_hex"]),
        modulus=vector["pad_block"],
    )
    assert made == body["Encrypt"]
    sealed = envelope(token=vector["token"], encrypted=made, timestamp=int(body["TimeStamp"]), nonce=body["Nonce"])
    assert json.loads(sealed) == body


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_is_signed_as_published(vector: dict[str, Any]) -> None:
    body = vector["body"]
    made = signature(token=vector["token"], timestamp=body["TimeStamp"], nonce=body["Nonce"], encrypted=body["Encrypt"])
    assert made == body["MsgSignature"]


@pytest.mark.parametrize("modulus", [16, 32])
@pytest.mark.parametrize("iv_from_prefix", [False, True])
@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 500])
def test_both_readings_open_it(modulus: int, iv_from_prefix: bool, length: int) -> None:
    message = "审" * length
    made = encrypt(
        message,
        aes_key=AES_KEY,
        appid="tt01",
        prefix=bytes(range(32)),
        modulus=modulus,
        iv_from_prefix=iv_from_prefix,
    )
    assert unseal(made, AES_KEY) == (message, "tt01")
    assert unseal(made, AES_KEY, iv_from_text=True) == (message, "tt01")
