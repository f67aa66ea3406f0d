"""How much of a request's body is read, counted as it comes: a body in chunks does not say how long it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, abort, request
from flask_login import current_user
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, RequestTimeout

from app.access.sessions import has_session
from app.extensions import wrap_wsgi

STRANGERS = 64 * 1024  # bytes read before it is known who asks
FORMS = 256 * 1024  # of somebody who has logged in: forms and JSON; fields without end take 150 times their bytes
UPLOADS = 16 * 1024 * 1024  # and forms with files
PUSHES = "/douyin/callback/"  # read by the view, which knows its limit and answers every refusal alike
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Body:
    """`wsgi.input` that gives no more than `limit` bytes: 413 beyond; 408 when the rest does not come in time."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.limit = STRANGERS
        self.taken = 0

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes, all there are for -1. One byte past the limit is asked for, to know of it."""
        most = self.limit + 1 - self.taken
        data = self._given(self.source.read, most if size is None or size < 0 else min(size, most))
        self.taken += len(data)
        if self.taken > self.limit:
            raise RequestEntityTooLarge
        return data

    @staticmethod
    def _given(read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except TimeoutError:
            raise RequestTimeout from None
        except (OSError, ParseException):  # gone, or its chunks cannot be read
            raise ClientDisconnected from None


class Counted:
    """WSGI: every body is counted."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"] = environ["douzhou.body"] = Body(environ["wsgi.input"])
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer


def widen() -> None:
    """before_request, ahead of all that reads a form: as much as whoever asks may send."""
    limit = _limit() if request.method in CHANGING else STRANGERS
    request.environ["douzhou.body"].limit = limit
    request.max_content_length = limit + 1  # Werkzeug cuts a body in chunks off there and says nothing
    if (request.content_length or 0) > limit:
        abort(413)


def _limit() -> int:
    if request.path.startswith(PUSHES):
        return UPLOADS
    if not has_session(request.path) or not current_user.is_authenticated:
        return STRANGERS
    return UPLOADS if request.mimetype == "multipart/form-data" else FORMS


def init_app(app: Flask) -> None:
    """Count what is read of every request's body. Before all that looks at a request."""
    wrap_wsgi(app, Counted)
    app.before_request(widen)
