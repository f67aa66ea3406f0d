"""The log of urllib3, which the client sends with: no secret gets into it."""

from __future__ import annotations

import logging
import threading

from app.redaction import redact


class _MaskUrls(logging.Filter):
    """urllib3 logs whole addresses, and the older half of the platform carries its tokens in them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args, record.exc_info = redact(record.getMessage()), (), None
        return True


_URLLIB3_LOGGERS = (
    "connection",
    "connectionpool",
    "poolmanager",
    "response",
    "util.retry",
    "util.ssl_",
    "util.connection",
)
_hush_lock = threading.Lock()


def hush_urllib3() -> None:
    """Mask what urllib3 logs, once a process."""
    with _hush_lock:
        for name in _URLLIB3_LOGGERS:
            logger = logging.getLogger(f"urllib3.{name}")
            if not any(isinstance(item, _MaskUrls) for item in logger.filters):
                logger.addFilter(_MaskUrls())
