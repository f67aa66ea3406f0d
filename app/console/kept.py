"""Parts of the frame that are the same on every page of a reader: made once and kept, a bounded number of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable
from typing import Any

from flask import render_template, request
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup

from app.extensions import appbuilder, the_app
from app.i18n.html import html
from app.i18n.language import language
from app.kept import kept_of
from app.web.assets import asset
from app.web.headers import csp_nonce

MOST = 256  # some two megabytes
# What differs from request to request stands in a kept part as a mark.
TOKEN, NONCE = "\N{START OF TEXT}token", "\N{START OF TEXT}nonce"
_FILES = re.compile(r"(/static/([\w./-]+)\?v=\w+)")


def kept(template: str, *key: Hashable, **values: Any) -> Markup:
    """A template's HTML, which depends on `key`, the reader's language and the address's root and on nothing else.

    It may hold the form token and the nonce. `values` are given to the template when it has to be made.
    """
    held = once(("template", template, *key), lambda: _made(template, values))
    if TOKEN in held:
        held = held.replace(TOKEN, generate_csrf())
    return html(held.replace(NONCE, csp_nonce()) if NONCE in held else held)


def once(key: tuple[Hashable, ...], make: Callable[[], Any]) -> Any:
    """What `make` gave for a key in this language and root; the oldest gives way when there are too many."""
    whole = (key, language(), request.script_root)
    return kept_of(the_app()).once("parts", whole, lambda: Part(make()), most=MOST, over=Part.is_stale).made


class Part:
    """Something that was made, with the static files it names: when one of them changes on disk it is made again."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.files = dict.fromkeys(_FILES.findall(made)) if isinstance(made, str) else {}
        self.looked = time.monotonic()

    def is_stale(self) -> bool:
        now = time.monotonic()
        if now - self.looked < 1:
            return False
        self.looked = now
        return any(asset(name) != address for address, name in self.files)


def _made(template: str, values: dict[str, Any]) -> str:
    marks = {"csrf_token": lambda: TOKEN, "csp_nonce": lambda: NONCE}
    return render_template(template, appbuilder=appbuilder(), **marks, **values)
