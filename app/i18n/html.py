"""HTML that we put together ourselves."""

from __future__ import annotations

from markupsafe import Markup


def html(text: str) -> Markup:
    """HTML put together in an f-string whose every part is ours or escaped; `Markup.format` takes ten times as long."""
    return Markup(text)  # noqa: S704  (the one place that vouches for a text)
