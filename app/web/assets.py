"""Static files: addresses that carry their content's hash, answered before Flask, compressed, for browsers to keep.

Names are relative to app/static. Some files are made by the program (the scripts' words): `generate` registers them.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import mimetypes
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from flask import Flask

from app.extensions import once_a_request, the_app, wrap_wsgi
from app.kept import kept_of
from app.web.headers import fixed_headers

log = logging.getLogger(__name__)
FOLDER = Path(__file__).resolve().parent.parent / "static"
PREFIX = "/static/"
NAME = re.compile(r"[\w][\w.-]*(?:/[\w][\w.-]*)*", re.ASCII)
COMPRESSED = frozenset({".css", ".js", ".svg", ".txt"})
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))  # in the order of preference
FOREVER = "public, max-age=31536000, immutable"
SOON = "public, max-age=0, must-revalidate"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Asset:
    """One file in memory, by its encodings; "" is the plain one."""

    name: str
    mark: tuple[int, int]  # its time and size on disk when it was read
    version: str
    bodies: dict[str, bytes] = field(repr=False)

    @property
    def url(self) -> str:
        return f"{PREFIX}{self.name}?v={self.version}"

    @property
    def type(self) -> str:
        kind = Path(self.name).suffix
        return TYPES.get(kind) or mimetypes.guess_type(self.name)[0] or "application/octet-stream"


LOOK_EVERY = 1.0  # seconds between two looks at the disk for one address; pages name a dozen


class Files:
    """What an application keeps of its static files: those read, their addresses, and those that it made itself.

    Nothing is kept of a name that is no file's: strangers may ask for any.
    """

    def __init__(self) -> None:
        self._held: dict[str, Asset] = {}
        self._addresses: dict[str, tuple[float, str]] = {}
        self._made: dict[str, Asset] = {}

    def address(self, name: str) -> str:
        now = time.monotonic()
        looked, known = self._addresses.get(name, (0.0, ""))
        if known and now - looked < LOOK_EVERY:
            return known
        found = self.find(name)
        if found is None:
            log.warning("no static file %s", name)  # the page without it is better than no page
            return PREFIX + name
        self._addresses[name] = (now, found.url)
        return found.url

    def generate(self, name: str, text: str) -> None:
        """Serve a text that the program made under a static name."""
        self._made[name] = _prepared(name, (0, 0), text.encode(), {})
        self._addresses.pop(name, None)

    def find(self, name: str) -> Asset | None:
        """A file by its name; read again when it has changed on disk."""
        if name in self._made:
            return self._made[name]
        if not NAME.fullmatch(name):
            return None
        try:
            seen = (FOLDER / name).stat()
        except (OSError, ValueError):
            return None
        mark = (seen.st_mtime_ns, seen.st_size)
        held = self._held.get(name)
        if held is not None and held.mark == mark:
            return held
        if not _servable(name):
            return None
        self._held[name] = _read(name, mark)
        return self._held[name]


def files_of(app: Flask) -> Files:
    """The static files of an application."""
    return kept_of(app).one("files", Files)


def asset(name: str) -> str:
    """The address of a static file, which changes with its content. A page asks dozens of times, the disk once."""
    held = once_a_request("assets", dict[str, str])
    if name not in held:
        held[name] = files_of(the_app()).address(name)
    return held[name]


def _servable(name: str) -> bool:
    path = FOLDER / name
    packed = path.suffix in {ending for _, ending in ENCODINGS}
    return not packed and path.is_file() and FOLDER in path.resolve().parents


def _read(name: str, mark: tuple[int, int]) -> Asset:
    path = FOLDER / name
    packed = {}
    for encoding, ending in ENCODINGS:
        other = path.with_name(path.name + ending)
        if other.is_file():
            packed[encoding] = other.read_bytes()
    return _prepared(name, mark, path.read_bytes(), packed)


def _prepared(name: str, mark: tuple[int, int], body: bytes, packed: dict[str, bytes]) -> Asset:
    if Path(name).suffix in COMPRESSED and "gzip" not in packed:
        packed["gzip"] = gzip.compress(body, 9, mtime=0)
    version = hashlib.sha256(body).hexdigest()[:8]
    smaller = {encoding: data for encoding, data in packed.items() if len(data) < len(body)}
    return Asset(name, mark, version, {"": body, **smaller})


class StaticFiles:
    """WSGI: answers /static/ itself. Such a request opens no session and no database."""

    def __init__(self, below: Any, files: Files, headers: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self.below = below
        self.files = files
        self.headers = headers

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX) or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self.below(environ, start_response)
        found = self.files.find(unquote(path[len(PREFIX) :]))
        return self._answer(found, environ, start_response) if found else self._absent(start_response)

    def _absent(self, start_response: Any) -> list[bytes]:
        """Not Flask's page: its own route would serve what is not meant to be (compressed copies, FAB's files)."""
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8"), *self.headers()])
        return ["没有找到\n".encode()]

    def _answer(self, found: Asset, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        accepted = environ.get("HTTP_ACCEPT_ENCODING", "")
        encoding = next((name for name, _ in ENCODINGS if name in found.bodies and name in accepted), "")
        tag = f'"{found.version}{"-" if encoding else ""}{encoding}"'
        asked = parse_qs(environ.get("QUERY_STRING", "")).get("v")
        headers = [
            ("Cache-Control", FOREVER if asked == [found.version] else SOON),
            ("ETag", tag),
            ("Vary", "Accept-Encoding"),
            *self.headers(),
        ]
        if tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            start_response("304 Not Modified", headers)
            return []
        body = found.bodies[encoding]
        headers += [("Content-Type", found.type), ("Content-Length", str(len(body)))]
        if encoding:
            headers.append(("Content-Encoding", encoding))
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def init_app(app: Flask) -> None:
    """`asset` in templates, and the files before everything else."""
    app.jinja_env.globals["asset"] = asset
    wrap_wsgi(app, lambda below: StaticFiles(below, files_of(app), lambda: fixed_headers(app)))
