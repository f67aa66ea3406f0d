"""A console's two callback addresses in a thread: keeps what was pushed and opens it by itself."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

AES_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
TOKEN = "sandboxToken01"  # noqa: S105 - the sandbox's published one


def open_push(body: dict[str, str], *, aes_key: str = AES_KEY, token: str = TOKEN) -> tuple[str, str]:
    """(message, appid in the tail) of a push whose signature is right."""
    parts = sorted([token, body["TimeStamp"], body["Nonce"], body["Encrypt"]])
    if hashlib.sha1("".join(parts).encode()).hexdigest() != body["MsgSignature"]:  # noqa: S324 - the platform's
        raise ValueError("signature")
    return unseal(body["Encrypt"], aes_key)


def unseal(encrypted: str, aes_key: str, *, iv_from_text: bool = False) -> tuple[str, str]:
    """By either published reading: IV = key[0:16] and skip 32, or IV = first block and skip 16."""
    key, raw = base64.b64decode(aes_key + "="), base64.b64decode(encrypted, validate=True)
    iv, skip = key[:16], 32
    if iv_from_text:
        iv, raw, skip = raw[:16], raw[16:], 16
    engine = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    plain = engine.update(raw) + engine.finalize()
    padding = plain[-1]
    if not (1 <= padding <= 32 and plain.endswith(bytes([padding]) * padding)):
        raise ValueError("padding")
    plain = plain[skip:-padding]
    (length,) = struct.unpack(">I", plain[:4])
    return plain[4 : 4 + length].decode(), plain[4 + length :].decode()


class Receiver:
    """`events` holds what arrived and opened; `refused` what did not. `reply` is what it answers."""

    def __init__(self, port: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self.refused: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.reply = b"success"
        self.echo_challenge = True
        self.server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, raw: bytes) -> bytes:
        body = json.loads(raw)
        self.paths.append(path)
        if body.get("event") == "verify_webhook":
            challenge = body["content"]["challenge"] if self.echo_challenge else 0
            return json.dumps({"challenge": challenge}).encode()
        try:
            message, tail = open_push(body)
        except (ValueError, struct.error):
            self.refused.append(body)
        else:
            self.events.append({**json.loads(message), "_tail": tail, "_path": path})
        return self.reply

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["Event"] == name]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            answer = receiver.take(self.path, raw)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    return Handler
