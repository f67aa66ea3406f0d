"""Delivers tickets and events to the console: encrypted, signed, sometimes lost or doubled when told so."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .authorization import beijing
from .crypto import encrypt, envelope
from .simulation import Platform
from .state import ThirdParty

_TO_AUTHORIZATION_URL = (
    "PUSH",
    "AUTHORIZED",
    "UNAUTHORIZED",
    "UPDATE_AUTHORIZED",
    "SETTLE_APPLY",
    "SETTLE_VERIFY",
)
_TRIES = 3
_PAUSE = 2.0
_TIMEOUT = 5
_KEPT = 300
_THREADS = 4
_OTHER_KEY = "djRISeYWSZheq//qaF5xEXZpkInps5fD8F3kDMit/O4"


@dataclass(slots=True)
class _Push:
    appid: str
    url: str
    event: dict[str, Any]
    forge: str = ""
    tries: int = 0
    insist: bool = False


class ConsolePusher:
    """Posts in a few threads; everything else happens in the event loop."""

    def __init__(self) -> None:
        self.platform: Platform
        self.loop: asyncio.AbstractEventLoop | None = None
        self.log: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="push")
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ticket(self, thirdparty: ThirdParty, ticket: str) -> None:
        """Until a first ticket arrived, every two seconds; afterwards as any event."""
        message = {
            "Ticket": ticket,
            "FromUserName": "ByteDanceMicroApp",
            "CreateTime": beijing(self.platform.now()),
            "MsgType": "Ticket",
            "Event": "PUSH",
        }
        url = thirdparty.authorization_url
        self._start(_Push(thirdparty.appid, url, message, insist=not thirdparty.ticket_delivered), 0.0)

    def event(self, thirdparty: ThirdParty, event: dict[str, Any], *, delay: float = 0.0) -> None:
        """One event, subject to the settings' loss and duplicates."""
        settings = self.platform.world.settings
        if self.platform.chance(settings.push_loss_rate, "push-loss"):
            self._note(_Push(thirdparty.appid, "", event), "lost")
            return
        copies = 2 if self.platform.chance(settings.push_duplicate_rate, "push-duplicate") else 1
        self.send(thirdparty, event, delay=delay, copies=copies)

    def send(
        self,
        thirdparty: ThirdParty,
        event: dict[str, Any],
        *,
        delay: float = 0.0,
        copies: int = 1,
        forge: str = "",
    ) -> None:
        """Exactly so many copies. `forge`: "signature", "tail", "stale" or "garbage" makes a false one."""
        first = event.get("Event") in _TO_AUTHORIZATION_URL
        url = thirdparty.authorization_url if first else thirdparty.message_url
        for _ in range(copies):
            self._start(_Push(thirdparty.appid, url, event, forge=forge), delay)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, push: _Push, delay: float) -> None:
        if not push.url or self.loop is None:
            self._note(push, "no address")
        elif delay > 0:
            self.loop.call_later(delay, self._try, push)
        else:
            self._try(push)

    def _try(self, push: _Push) -> None:
        owner = self.platform.thirdparty(push.appid)
        if owner is None or self.loop is None:
            return
        push.tries += 1
        future = self.loop.run_in_executor(self._pool, self._post, push.url, self._sealed(owner, push))
        future.add_done_callback(lambda done: self._after(push, done))

    def _sealed(self, owner: ThirdParty, push: _Push) -> bytes:
        """Padding modulus and IV reading alternate: a receiver must take all four."""
        dice = self.platform.draw("push")
        message = json.dumps(push.event, ensure_ascii=False, separators=(",", ":"))
        encrypted = encrypt(
            message,
            aes_key=_OTHER_KEY if push.forge == "garbage" else owner.aes_key,
            appid="tt0000000000000bad" if push.forge == "tail" else owner.appid,
            prefix=self.platform.draw("prefix"),
            modulus=32 if dice[0] % 2 else 16,
            iv_from_prefix=bool(dice[1] % 2),
        )
        token = "forged" if push.forge == "signature" else owner.token
        stamp = int(time.time()) - (3600 if push.forge == "stale" else 0)
        nonce = str(int.from_bytes(dice[2:6], "big"))
        return envelope(token=token, encrypted=encrypted, timestamp=stamp, nonce=nonce)

    def _post(self, url: str, body: bytes) -> str:
        """Runs in a thread. "ok", or why not."""
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - ours
        try:
            with self._open(request, timeout=_TIMEOUT) as answer:
                text = answer.read(100)
                return "ok" if text == b"success" else f"answered {text[:40]!r}"
        except urllib.error.HTTPError as refused:
            return f"HTTP {refused.code}"
        except (OSError, ValueError) as problem:
            return f"no answer: {type(problem).__name__}"

    def _after(self, push: _Push, done: asyncio.Future[str]) -> None:
        if done.cancelled():
            return
        result = done.result()
        self._note(push, result)
        owner = self.platform.thirdparty(push.appid)
        if result == "ok":
            if owner and push.event.get("Event") == "PUSH":
                owner.ticket_delivered = True
        elif not push.forge and (push.insist or push.tries < _TRIES) and owner and self.loop:
            if push.event.get("Event") == "PUSH":
                push.url = owner.authorization_url
            push.insist = push.insist and not owner.ticket_delivered
            self.loop.call_later(_PAUSE, self._try, push)

    def _note(self, push: _Push, result: str) -> None:
        self.log.appendleft(
            {
                "at": time.time(),
                "thirdparty": push.appid,
                "appid": push.event.get("AppId", ""),
                "event": push.event.get("Event", ""),
                "url": push.url,
                "try": push.tries,
                "result": result,
                "forge": push.forge,
            }
        )
