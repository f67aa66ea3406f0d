"""gunicorn's threaded worker with threads that wait for nobody.

gunicorn gives a connection to a thread as soon as it is there, and a sixteenth client that dawdles stops everyone.
Here the main loop gathers what a client sends; a thread begins once the head and the body, or its first 64 KB, have
come. Whoever is slower than `patience` is sent away. A thread then waits in two cases alone: for the rest of a greater
body, which only those who have logged in may send, at most half of the threads at a time; and for a client that does
not take its answer, a quarter. The next one is sent away at once.
"""

from __future__ import annotations

import contextlib
import errno
import select
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

GRACE = 10.0  # seconds for a head and for the beginning of a body
PACE = 64 * 1024  # bytes a second from then on
ANSWER_PACE = 16 * 1024  # and of an answer: networks of phones are slow
ENOUGH = 66 * 1024  # bytes of a body with which a thread begins: a stranger gets no more of it read
LONGEST_HEAD = 32 * 1024
MOST_CHUNKS = 1000  # within ENOUGH; more are sent to keep us busy
BLOCK = 64 * 1024
ANSWER_ROOM = 512 * 1024  # the kernel takes that much of an answer at once, so that no thread waits for its reader
MOST_WAITING = 500  # connections that have not said all; one more, and the one that has waited longest must leave
LINGER = 2.0  # seconds for a client to read an answer after which we hang up
END_OF_HEAD = b"\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSALS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 400: "Bad Request"}


def patience(taken: int) -> float:
    """The seconds within which so many bytes must have come."""
    return GRACE + taken / PACE


class Line(socket.socket):
    """A client's connection as a thread uses it: never waits beyond what is due, nor for more than a few at once.

    Raises TimeoutError for a body that does not come, BrokenPipeError for an answer that is not taken.
    """

    def __init__(self, accepted: socket.socket, slots: Mapping[int, threading.Semaphore]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.slots = slots
        self.read_until = 0.0
        if self.family != socket.AF_UNIX:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_ROOM)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._ready(select.POLLIN, self.read_until):
            raise TimeoutError("the body did not come in time")
        data = super().recv(size, flags)
        self.read_until += len(data) / PACE if self.read_until else 0
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        rest, until = memoryview(data).cast("B"), time.monotonic() + GRACE
        while rest:
            try:
                sent = self.send(rest, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not self._ready(select.POLLOUT, until):
                    raise BrokenPipeError(errno.EPIPE, "the answer was not taken in time") from None
                continue
            rest, until = rest[sent:], until + sent / ANSWER_PACE

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        file.seek(offset)
        sent = 0
        while block := file.read(BLOCK if count is None else min(BLOCK, count - sent)):
            self.sendall(block)
            sent += len(block)
        return sent

    def _ready(self, event: int, until: float) -> bool:
        """Whether the line can be read or written; waits for it, up to a moment, if there is a slot."""
        poll = select.poll()
        poll.register(self, event)
        if poll.poll(0):
            return True
        left = until - time.monotonic()
        if left <= 0 or not self.slots[event].acquire(blocking=False):
            return False
        try:
            return bool(poll.poll(left * 1000))
        finally:
            self.slots[event].release()


class Visit(TConn):
    """A connection, and what has come of its next request."""

    sock: Line

    def begin(self) -> None:
        """A new request; what came behind the last one is its beginning."""
        self.held = bytearray(self.parser.unreader.take_buffered() if self.parser else b"")
        self.since = time.monotonic()
        self.taken = len(self.held)  # bytes, for the pace
        self.whole = False  # the whole request is held
        self.body_at = 0  # where its body begins, once the head is there
        self.length: int | None = None  # of the body; None: in chunks
        self.chunk_at = 0  # where the next chunk begins
        self.decoded = self.chunks = 0  # bytes and number of the chunks before it
        self.leaving = False  # the answer is given: only its end is waited for
        self.fault = 0  # the status it is refused with

    @property
    def until(self) -> float:
        return self.since + (LINGER if self.leaving else patience(self.taken))

    def gather(self) -> bool:
        """Take what has come, from the main loop; whether nothing more is to be waited for."""
        try:
            data = socket.socket.recv(self.sock, BLOCK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.taken += len(data)
        if not data:
            self.held.clear()  # the client has gone: nobody is left to be answered
            return True
        if self.leaving:
            return self.taken > ENOUGH
        self.held += data
        return self.look()

    def look(self) -> bool:
        """Whether a thread can begin, or the request is refused."""
        if not self.body_at and not self._head():
            return bool(self.fault)
        if self.length is None:
            return self._chunks()
        have = len(self.held) - self.body_at
        self.whole = have >= self.length
        return self.whole or have >= ENOUGH

    def _head(self) -> bool:
        end = self.held.find(END_OF_HEAD, 0, LONGEST_HEAD)
        if end < 0:
            self.fault = 431 if len(self.held) >= LONGEST_HEAD else 0
            return False
        self.body_at = self.chunk_at = end + len(END_OF_HEAD)
        fields = dict(line.partition(b":")[::2] for line in bytes(self.held[:end]).lower().split(b"\r\n")[1:])
        length = fields.get(b"content-length", b"0").strip()
        if b"transfer-encoding" not in fields:
            self.length = int(length) if length.isdigit() and len(length) < 20 else 0  # gunicorn refuses what is none
        if b"100-continue" in fields.get(b"expect", b"") and len(self.held) == self.body_at:
            self.say(CONTINUE)
        return True

    def _chunks(self) -> bool:
        """Walk over the chunks that are there."""
        while True:
            end = self.held.find(b"\r\n", self.chunk_at)
            if end < 0:
                break
            try:
                size = int(self.held[self.chunk_at : end].partition(b";")[0], 16)
            except ValueError:
                size = -1
            if size < 0:
                self.whole = True  # as far as it can be read: gunicorn refuses it
                return True
            if size == 0:
                self.whole = self.held[end : end + 4] == END_OF_HEAD or self.held.find(END_OF_HEAD, end) >= 0
                break
            if self.decoded + len(self.held) - end >= ENOUGH:
                return True
            if len(self.held) < end + size + 4:
                break
            self.decoded += size
            self.chunks += 1
            self.chunk_at = end + size + 4
            if self.chunks > MOST_CHUNKS:
                self.fault = 400
                break
        if not self.whole and len(self.held) > self.body_at + 2 * ENOUGH:
            self.fault = 400  # more chunk sizes than content
        return self.whole or bool(self.fault)

    def say(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.send(data, socket.MSG_DONTWAIT)

    def refuse(self, status: int) -> None:
        """An answer of the server's own: there is no request yet that the application could answer."""
        words = f"{status} {REFUSALS[status]}"
        head = f"HTTP/1.1 {words}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(words)}"
        self.say(f"{head}\r\n\r\n{words}".encode())


class Worker(ThreadWorker):
    """The worker class of gunicorn.conf.py."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Each for itself: strangers who do not take their answers do not stop the uploads of those who have logged in.
        half, quarter = max(1, self.cfg.threads // 2), max(1, self.cfg.threads // 4)
        self.slots = {select.POLLIN: threading.Semaphore(half), select.POLLOUT: threading.Semaphore(quarter)}
        self.waiting: dict[Visit, None] = {}  # the longest first
        self.max_keepalived = MOST_WAITING  # beside these and the waiting ones, some must be left for new ones

    def accept(self, listener: socket.socket) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as fault:
            if fault.errno in {errno.EMFILE, errno.ENFILE}:
                self._make_room()
            return
        self.nr_conns += 1
        visit = Visit(self.cfg, Line(accepted, self.slots), address, listener.getsockname())
        self.enqueue_req(visit)

    # In the main loop.

    def enqueue_req(self, conn: Visit) -> None:
        """A connection begins a request: to a thread with it, or wait until it has come."""
        conn.begin()
        self._wait(conn)
        if not conn.held:
            self.on_arriving(conn)
        elif conn.look():
            self._go_on(conn)

    def on_arriving(self, conn: Visit, _sock: object = None) -> None:
        if conn.gather():
            self._go_on(conn)

    def _go_on(self, conn: Visit) -> None:
        self._wait_no_more(conn)
        if conn.fault:
            self._send_away(conn, conn.fault)
        elif conn.leaving or not conn.held:
            self._close(conn)
        else:
            super().enqueue_req(conn)

    def _wait(self, conn: Visit) -> None:
        if len(self.waiting) >= MOST_WAITING:
            self._make_room()
        self.waiting[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_arriving, conn))

    def _wait_no_more(self, conn: Visit) -> None:
        del self.waiting[conn]
        self.poller.unregister(conn.sock)

    def _make_room(self) -> None:
        for conn in list(self.waiting)[:1]:
            self._wait_no_more(conn)
            self._close(conn)

    def murder_pending(self) -> None:
        """Send away who is too slow; called once a second at least."""
        now = time.monotonic()
        for conn in [conn for conn in self.waiting if conn.until <= now or not (self.alive or conn.taken)]:
            self._wait_no_more(conn)
            if conn.leaving or not conn.taken:
                self._close(conn)
            else:
                self._send_away(conn, 408)

    def _send_away(self, conn: Visit, status: int) -> None:
        conn.refuse(status)
        self._hang_up(conn)

    def finish_request(self, conn: Visit, fs: Any) -> None:
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
        else:
            self._hang_up(conn)

    def _hang_up(self, conn: Visit) -> None:
        """End a connection so that its client can still read the answer; not by waiting for it, as gunicorn does."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.leaving, conn.since, conn.taken = True, time.monotonic(), 0
        self._wait(conn)

    def _close(self, conn: Visit) -> None:
        self.nr_conns -= 1
        conn.close()

    # In a thread.

    def handle(self, conn: Visit) -> Any:
        conn.data_ready = True
        conn.sock.read_until = 0.0 if conn.whole else conn.since + patience(conn.taken)
        conn.sock.setblocking(True)
        conn.init()
        conn.parser.unreader.unread(bytes(conn.held))
        conn.held.clear()
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Visit) -> Any:
        if not conn.whole:
            req.force_close()  # what is left of its body is not waited for
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Visit, keepalive: Any) -> bool:
        return conn.whole and bool(super()._keepalive_after(conn, keepalive))
