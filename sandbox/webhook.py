"""The per-app open webhook: secret, address (checked by a challenge) and subscribed events."""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.request

from .calls import Call, Fields, handles
from .errors import Fault
from .state import App

EVENTS = {
    "im_receive_msg": ("私信消息", "用户向小程序绑定的抖音号发送私信"),
    "item_comment_reply": ("评论通知", "用户评论了挂载小程序的视频"),
    "example_event": ("示例", "示例事件"),
}
_TIMEOUT = 5


@handles("webhook_reset_secret")
def reset_secret(call: Call) -> Fields:
    """A GET with a side effect: every call replaces the secret."""
    call.app.webhook_secret = "whs-" + call.platform.draw("webhook").hex()[:32]
    return {"data": {"secret": call.app.webhook_secret}}


@handles("webhook_save_callback_url")
async def save_callback_url(call: Call) -> Fields:
    url, app = call.body["callback_url"], call.app
    if not app.webhook_secret:
        raise Fault(15006)
    if not url.startswith(("http://", "https://")):
        raise Fault(15001)
    challenge = call.platform.number("challenge", digits=6)
    message_id = call.platform.draw("msg").hex()[:16]
    loop = asyncio.get_running_loop()
    good = await loop.run_in_executor(None, _verify, url, app.webhook_secret, challenge, message_id)
    if not good:
        raise Fault(15001)
    app.webhook_url = url
    call.platform.changed = True
    return {}


def _verify(url: str, secret: str, challenge: int, message_id: str) -> bool:
    """Post verify_webhook, signed over the raw bytes (they end with a newline); the answer must echo it."""
    message = {"event": "verify_webhook", "client_key": "", "content": {"challenge": challenge}}
    raw = json.dumps(message).encode() + b"\n"
    signed = hashlib.sha1(secret.encode() + raw, usedforsecurity=False).hexdigest()  # the platform's scheme
    headers = {"Content-Type": "application/json", "X-Douyin-Signature": signed, "Msg-Id": message_id}
    request = urllib.request.Request(url, raw, headers)  # noqa: S310 - http(s) only, checked by the caller
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
            return bool(json.loads(answer.read(10_000)).get("challenge") == challenge)
    except (OSError, ValueError, AttributeError):
        return False


def _ready(app: App) -> None:
    if not app.webhook_secret:
        raise Fault(15006)
    if not app.webhook_url:
        raise Fault(15002)


@handles("webhook_list_events")
def list_events(call: Call) -> Fields:
    app = call.app
    _ready(app)
    rows = [
        {"event": name, "name_cn": title, "desc": text, "status": app.webhook_events.get(name, 0)}
        for name, (title, text) in EVENTS.items()
    ]
    info = {"secret": app.webhook_secret, "callback_url": app.webhook_url}
    return {"data": {"webhook_info": info, "event_list": rows}}


@handles("webhook_update_events")
def update_events(call: Call) -> Fields:
    app, rows = call.app, call.body["event_list"]
    _ready(app)
    for row in rows or [{"event": "", "status": 0}]:
        if not row["event"]:
            raise Fault(15003)
        if row["event"] not in EVENTS:
            raise Fault(15004)
        if row["status"] not in (0, 1):
            raise Fault(15005)
    app.webhook_events.update({row["event"]: row["status"] for row in rows})
    call.platform.changed = True
    return {}
