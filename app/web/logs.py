"""Logging: one line of JSON an event, and nothing in it that may not be printed."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from app.redaction import redact, redact_value

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")


class RedactingFilter(logging.Filter):
    """Masks tokens, secrets and phones in every record, its arguments and its traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _one_line(redact(record.getMessage())), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:  # another handler may have made and kept it
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def _one_line(text: str) -> str:
    """Control characters escaped: an address may hold a line break, which would begin a forged line."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def _redact_event(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = redact_value(key, value) if isinstance(value, str | dict | list | tuple) else value
    return event


def init_logging(level: str = "INFO") -> None:
    """Send the standard library's logging and structlog's to one redacting handler on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    if not any(isinstance(item, RedactingFilter) for known in root.handlers for item in known.filters):
        handler.addFilter(RedactingFilter())
        root.addHandler(handler)
    root.setLevel(level)
    for noisy in ("urllib3", "flask_appbuilder", "werkzeug", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a slot skipped because the last still runs is no news
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
