"""A page as its reader sees it, and its form sent the way a browser sends it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from flask.testing import FlaskClient

BATCH = "b" * 32


class _Inputs(HTMLParser):
    """The values of the inputs of the page's first POST form, as a browser would send them untouched."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}
        self.begun = False  # the bar above the page has forms, too
        self.inside = False
        self.select = ""
        self.area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.begun = self.begun or tag == "main"
        if tag == "form":
            self.inside = self.begun and (found.get("method") or "").lower() == "post" and not self.values
        elif self.inside and tag == "input" and found.get("name"):
            if found.get("type") not in {"checkbox", "submit"} or "checked" in found:
                self.values.setdefault(found["name"] or "", found.get("value") or "")
        elif self.inside and tag == "select":
            self.select = found.get("name") or ""
        elif self.inside and tag == "option" and self.select and "selected" in found:
            self.values[self.select] = found.get("value") or ""
        elif self.inside and tag == "textarea":
            self.area = found.get("name") or ""
            self.values[self.area] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        if tag == "select":
            self.select = ""
        if tag == "textarea":
            self.values[self.area] = re.sub(r"^\r?\n", "", self.values[self.area])  # a browser drops the first one
            self.area = ""

    def handle_data(self, data: str) -> None:
        if self.area:
            self.values[self.area] += data


def text_of(client: FlaskClient, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, f"{url}: {answer.status_code}"
    return answer.get_data(as_text=True)


def submit(client: FlaskClient, page: str, *, to: str = "", **changes: Any) -> Any:
    """Open a page and send its form with some fields changed; None leaves a field out."""
    parser = _Inputs()
    parser.feed(text_of(client, page))
    values = parser.values | changes
    return client.post(to or page, data={name: value for name, value in values.items() if value is not None})


def visible(html: str) -> str:
    """What a reader sees of a page."""
    html = re.sub(r"(?s)<(script|style|svg|code|kbd|pre|textarea)\b.*?</\1>", " ", html)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
