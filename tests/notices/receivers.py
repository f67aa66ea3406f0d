"""Real servers on loopback that take what is sent to the outside: HTTPS under any name, and mail."""

from __future__ import annotations

import datetime
import http.server
import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.notices import egress


@dataclass
class Got:
    """One request as it arrived."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A server's requests, and what it answers."""

    port: int = 0
    status: int = 200
    answer: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0  # seconds between the bytes of the answer
    got: list[Got] = field(default_factory=list)
    before: Callable[[], None] | None = None


@contextmanager
def serving(receiver: Receiver, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Answer on a free port of loopback for as long as the block lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            host = self.headers.get("Host", "")
            receiver.got.append(Got(host, self.path, dict(self.headers), self.rfile.read(length)))
            if receiver.before:
                receiver.before()
            self.send_response(receiver.status)
            for name, value in {"Content-Length": str(len(receiver.answer)), **receiver.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for place in range(len(receiver.answer)) if receiver.pause else ():
                    self.wfile.write(receiver.answer[place : place + 1])
                    self.wfile.flush()
                    time.sleep(receiver.pause)
                if not receiver.pause:
                    self.wfile.write(receiver.answer)
            except OSError:
                pass

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:  # a client that leaves early is what some tests want
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """An authority of our own (its file), and a server's context with a certificate for these names."""
    now = datetime.datetime.now(datetime.UTC)

    def made(name: str, key: Any, issuer: str, signer: Any, *extensions: Any) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            key.public_key(),
            x509.random_serial_number(),
            now - datetime.timedelta(days=1),
            now + datetime.timedelta(days=1),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = made("root", root_key, "root", root_key, x509.BasicConstraints(ca=True, path_length=None))
    leaf = made(names[0], key, "root", root_key, x509.SubjectAlternativeName([x509.DNSName(name) for name in names]))
    pem = serialization.Encoding.PEM
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(
        leaf.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return folder / "root.pem", context


def resolve(monkeypatch: pytest.MonkeyPatch, table: dict[str, list[tuple[str, int]]]) -> list[str]:
    """Have names lead to these places; gives the list of names that were asked for, as it grows."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in table:
            return real(host, port, *args, **options)
        asked.append(host)
        kind = socket.AF_INET6 if ":" in table[host][0][0] else socket.AF_INET
        return [(kind, socket.SOCK_STREAM, 6, "", place) for place in table[host]]

    monkeypatch.setattr(egress.socket, "getaddrinfo", answer)
    return asked


class Mailbox:
    """A mail server that takes everything, or answers every recipient with `refusal`."""

    def __init__(self, refusal: str = "") -> None:
        self.letters: list[tuple[str, list[str], str]] = []
        self.refusal = refusal
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                mailbox._talk(self.rfile, self.wfile)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def _talk(self, lines: Any, out: Any) -> None:
        sender, receivers = "", []
        out.write(b"220 ready\r\n")
        for line in lines:
            verb, rest = line[:4].upper(), line.decode().strip()
            if verb == b"DATA":
                out.write(b"354 go on\r\n")
                text = b"".join(iter(lines.readline, b".\r\n")).decode()
                self.letters.append((sender, receivers, text))
                out.write(b"250 taken\r\n")
            elif verb == b"QUIT":
                out.write(b"221 bye\r\n")
                return
            elif verb == b"RCPT" and self.refusal:
                out.write(f"550 {self.refusal}\r\n".encode())
            else:
                sender = rest if verb == b"MAIL" else sender
                receivers += [rest] if verb == b"RCPT" else []
                out.write(b"250 ok\r\n")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
