"""The last exchanges between console and sandbox, in memory and, if asked for, in a file of JSON lines."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import IO, Any

from .gateway import Request

KEPT = 5000
_MOST_TEXT = 20_000
_HEADERS = ("access-token", "x-token", "content-type")


class Journal:
    """Rows are put together when they are read: writing one must stay cheap."""

    def __init__(self, path: Path | None = None) -> None:
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=KEPT)
        self._number = 0
        self._file: IO[str] | None = path.open("a", encoding="utf-8") if path else None

    def add(
        self,
        request: Request,
        *,
        at: float,
        operation_id: str,
        status: int,
        answer: bytes,
        media: str,
        lost: str,
    ) -> None:
        """`lost`: "" when the answer was sent, else why it was not (drop_before, drop_after, outage)."""
        self._number += 1
        row = (self._number, at, request, operation_id, status, answer, media, lost)
        self._rows.append(row)
        if self._file:
            self._file.write(json.dumps(_readable(row), ensure_ascii=False) + "\n")

    def since(self, number: int) -> list[dict[str, Any]]:
        return [_readable(row) for row in self._rows if row[0] > number]

    @property
    def last(self) -> int:
        return self._number

    def flush(self) -> None:
        if self._file:
            self._file.flush()

    def clear(self) -> None:
        self._rows.clear()


def _readable(row: tuple[Any, ...]) -> dict[str, Any]:
    number, at, request, operation_id, status, answer, media, lost = row
    kind = request.headers.get("content-type", "")
    return {
        "n": number,
        "at": at,
        "method": request.method,
        "path": request.path,
        "query": _query(request),
        "headers": {name: request.headers[name] for name in _HEADERS if name in request.headers},
        "body": _content(request.body, kind),
        "status": status,
        "answer": _content(answer, media) if not lost else None,
        "operation_id": operation_id or None,
        "lost": lost or None,
    }


def _query(request: Request) -> dict[str, str | list[str]]:
    """A name that stands more than once has a list."""
    if len(request.pairs) == len(request.query):
        return dict(request.query)
    return {name: values if len(values := request.values(name)) > 1 else values[0] for name in request.query}


def _content(raw: bytes, media: str) -> Any:
    """JSON as JSON; nothing as None; forms and files as their size; other text as it is."""
    if not raw:
        return None
    if "multipart/" in media or "image/" in media:
        return f"<{len(raw)} bytes>"
    text = raw.decode("utf-8", "replace")
    if "json" in media:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text[:_MOST_TEXT]
