"""A server of canned bytes that stands for Douyin: every answer comes after the same while; submissions are counted.

    python -m bench.canned_worker PORT LATENCY

Prints one line when it listens. `GET /_count` answers with {token: submissions}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

VERSION = {"version": "1.0.0", "summary": "演练", "ctime": 1_760_000_000, "developer_name": "x", "has_audit": 0}
BODIES = {
    "versions": {"latest": VERSION},
    "get_audit_hosts": {"host_names": ["douyin"], "released_host_names": []},
    "audit": {},
}


def canned(data: object) -> bytes:
    body = json.dumps({"err_no": 0, "err_msg": "", "log_id": "2026000000000000", "data": data}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


ANSWERS = {name: canned(data) for name, data in BODIES.items()}
IN_AUDIT = canned({"latest": VERSION, "audit": VERSION | {"status": 0}})  # to who looks what became of a submission
NOTHING = canned({})  # to what a scheduler asks besides
submitted: Counter[str] = Counter()


class Canned(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            whole = end + 4 + int(fields.get("content-length", 0))
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            self.answer(head.split(" ", 2)[1].split("?")[0], fields.get("access-token", ""))

    def answer(self, path: str, token: str) -> None:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        if name == "_count":
            body = json.dumps(submitted).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        if name == "audit":
            submitted[token] += 1
        found = IN_AUDIT if name == "versions" and submitted[token] else ANSWERS.get(name, NOTHING)
        asyncio.get_running_loop().call_later(self.latency, self._send, found)

    def _send(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


async def serve(port: int, latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Canned(latency), "127.0.0.1", port, backlog=256)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
