"""Pushes as Douyin makes them: an event sealed for the test's third-party app."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from typing import Any

from app.data.clock import utcnow
from sandbox.crypto import encrypt, envelope
from tests.conftest import COMPONENT


def beijing(moment: datetime) -> str:
    return (moment + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")


def sealed(
    event: dict[str, Any],
    *,
    token: str = COMPONENT["token"],
    aes_key: str = COMPONENT["aes_key"],
    appid: str = COMPONENT["appid"],
    age: int = 0,
) -> bytes:
    """The body of a push."""
    text = json.dumps(event, ensure_ascii=False)
    encrypted = encrypt(text, aes_key=aes_key, appid=appid, prefix=os.urandom(32), modulus=32)
    return envelope(token=token, encrypted=encrypted, timestamp=int(time.time()) - age, nonce="7")


def about(appid: str, name: str, *, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
    """An event about one mini-program, now unless said otherwise."""
    moment = beijing(at or utcnow())
    return {"AppId": appid, "TpAppId": COMPONENT["appid"], "EventTime": moment, "Event": name, **fields}


def ticket(text: str, *, at: datetime | None = None) -> dict[str, Any]:
    created = beijing(at or utcnow())
    return {"Ticket": text, "FromUserName": "x", "CreateTime": created, "MsgType": "Ticket", "Event": "PUSH"}
