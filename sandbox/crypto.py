"""Encrypts and signs a push the way the platform does (callback-crypto of the contract)."""

from __future__ import annotations

import base64
import hashlib
import json
import struct

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC


def signature(*, token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """Lower-case hex SHA-1 over the four strings, sorted and joined."""
    joined = "".join(sorted([token, timestamp, nonce, encrypted]))
    return hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()  # the platform's scheme


def encrypt(
    message: str, *, aes_key: str, appid: str, prefix: bytes, modulus: int, iv_from_prefix: bool = False
) -> str:
    """Base64 ciphertext of prefix(32) + length + message + appid + padding.

    Two published readings differ in the IV only: key[0:16], or the first ciphertext block. With the second
    the prefix's first 16 bytes are sent as they are. A receiver that reads either way gets the same message.
    """
    key = base64.b64decode(aes_key + "=")
    body = message.encode()
    plain = struct.pack(">I", len(body)) + body + appid.encode()
    if iv_from_prefix:
        plain = prefix[16:] + plain
        iv, head = prefix[:16], prefix[:16]
    else:
        plain = prefix + plain
        iv, head = key[:16], b""
    padding = modulus - (len(plain) % modulus) if not head else modulus - ((len(plain) + 16) % modulus)
    engine = Cipher(AES(key), CBC(iv)).encryptor()
    return base64.b64encode(head + engine.update(plain + bytes([padding]) * padding) + engine.finalize()).decode()


def envelope(*, token: str, encrypted: str, timestamp: int, nonce: str) -> bytes:
    """The JSON body of a push; all four fields are strings."""
    stamp = str(timestamp)
    signed = signature(token=token, timestamp=stamp, nonce=nonce, encrypted=encrypted)
    return json.dumps({"Nonce": nonce, "TimeStamp": stamp, "Encrypt": encrypted, "MsgSignature": signed}).encode()
