"""All addresses of the sandbox: its control pages, the consent pages, and the platform's calls."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .calls import Raw
from .consent import LINK_PATH, PAGE_PATH, serve_link, serve_page
from .control import BadControl, Control
from .control_page import control_page
from .exchange import Exchange
from .faults import Fate, Outcome
from .gateway import Request
from .pictures import icon, png

_CONTROL = "/_sandbox"
_CACHED = (("Cache-Control", "max-age=86400"),)


class Site:
    """Dispatches by path; only the platform's own paths know bad weather."""

    def __init__(self, exchange: Exchange, control: Control) -> None:
        self.exchange = exchange
        self.control = control

    def __call__(self, request: Request) -> Outcome | Awaitable[Outcome]:
        path = request.path
        if path == _CONTROL or path.startswith(f"{_CONTROL}/"):
            return _outcome(self._control(request))
        if path == LINK_PATH:
            return _outcome(serve_link(self.exchange.platform, request))
        if path == PAGE_PATH and request.method == "POST":
            return _outcome(serve_page(self.exchange.platform, request))
        if path == "/":
            return Outcome(Fate.SEND, 302, headers=(("Location", "/_sandbox/"),))
        return self.exchange.serve(request)

    def _control(self, request: Request) -> Raw:
        name = request.path.removeprefix(_CONTROL).strip("/")
        if request.method not in ("GET", "POST"):
            return _json({"error": "GET or POST"}, status=405)
        try:
            if name.startswith("static/"):
                return _static(name.removeprefix("static/"))
            if name.startswith("api/"):
                return self._api(request, name.removeprefix("api/"))
            if name == "":
                return self._page(request)
        except BadControl as wrong:
            return _json({"error": str(wrong)}, status=400)
        except (ValueError, TypeError) as wrong:
            return _json({"error": f"bad value: {wrong}"}, status=400)
        return _json({"error": "not found"}, status=404)

    def _api(self, request: Request, name: str) -> Raw:
        if request.method == "GET":
            read = self.control.reads.get(name)
            return _json(read(request.query)) if read else _json({"error": "not found"}, status=404)
        if not _same_origin(request):
            return _json({"error": "cross-site request"}, status=403)
        form = "form" in request.headers.get("content-type", "")
        answer = self.control.act(name, _fields(request, form=form))
        if form:
            return Raw("text/html", b"", status=303, headers=(("Location", "/_sandbox/"),))
        return _json(answer)

    def _page(self, request: Request) -> Raw:
        state = self.control.state({})
        rows = self.control.journal.since(self.control.journal.last - 50)
        text = control_page(state, list(self.control.pusher.log), rows, request.query.get("q", ""))
        return Raw("text/html", text.encode(), headers=(("Cache-Control", "no-store"),))


def _fields(request: Request, *, form: bool) -> dict[str, Any]:
    if form:
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    found = json.loads(request.body or b"{}")
    if not isinstance(found, dict):
        raise BadControl("a JSON object is wanted")
    return found


def _same_origin(request: Request) -> bool:
    """A browser says where a POST comes from: another site's page must not turn the switches."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _static(name: str) -> Raw:
    number = name.removeprefix("icon-").removesuffix(".png")
    if name == "audit.png":
        return Raw("image/png", png(320, (190, 40, 60)), headers=_CACHED)
    if number.isdigit():
        return Raw("image/png", icon(int(number)), headers=_CACHED)
    return _json({"error": "not found"}, status=404)


def _json(answer: Any, status: int = 200) -> Raw:
    return Raw("application/json", json.dumps(answer, ensure_ascii=False).encode(), status=status)


def _outcome(raw: Raw) -> Outcome:
    return Outcome(Fate.SEND, raw.status, raw.media, raw.body, raw.headers, raw.delay)
