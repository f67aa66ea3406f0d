"""Web addresses that others name (Douyin's answers and pushes): over https, or they are nothing to us."""

from __future__ import annotations

import re
from typing import Any

LONGEST = 2048
_WEB = re.compile(r"https://[A-Za-z0-9.\-\[\]:]+([/?#][^\s\x00-\x1f\x7f\"'<>\\^`{|}]*)?", re.IGNORECASE)
# The sandbox of the demo and of tests, which has no certificate.
THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?([/?#][^\s\x00-\x1f\x7f\"'<>\\^`{|}]*)?")
# A text that is an address of another kind and nothing else; what runs or carries content is one however it goes on.
_OTHER = re.compile(
    r"\s*((javascript|vbscript|data|blob|file):.*|[a-z][a-z0-9+.\-]*://[!-~]*\s*)", re.IGNORECASE | re.DOTALL
)
_loopback = False


def allow_loopback() -> None:
    """From now on this process, a demo or a test, also takes addresses of its own machine without TLS."""
    global _loopback  # noqa: PLW0603  (once a process, by create_app)
    _loopback = True


def is_address(text: str) -> bool:
    """Whether a text may be kept as an address: to be fetched from, or to become a link."""
    if len(text) > LONGEST:
        return False
    return bool(_WEB.fullmatch(text) or (_loopback and _LOOPBACK.fullmatch(text)))


def without_others(value: Any) -> Any:
    """The same JSON without members that are addresses of another kind; texts that only speak of one stay."""
    if isinstance(value, dict):
        return {key: without_others(item) for key, item in value.items() if not _is_other(item)}
    if isinstance(value, list):
        return [without_others(item) for item in value if not _is_other(item)]
    return value


def _is_other(value: Any) -> bool:
    return isinstance(value, str) and bool(_OTHER.fullmatch(value)) and not is_address(value)
