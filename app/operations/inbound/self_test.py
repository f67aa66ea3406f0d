"""自检: push to ourselves as Douyin would, and ask for a token; what came of it is kept with the third-party app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.contract import Token
from app.douyin.crypto import PushRefused, Reason, seal_push
from app.errors import DouyinError, NoAnswer, Refused
from app.i18n.sentence import packed
from app.link import holds
from app.link.connection import keeper
from app.link.holds import TICKET_LIFE
from app.link.tokens import Slot
from app.models import ThirdPartyApp
from app.notices import egress
from app.operations.inbound import receive, self_mark

SECONDS = 5.0  # for the push, in all
TOKEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class _Owner:
    """What a test needs of the row; the secrets stay out of any repr."""

    id: int
    appid: str
    settings: tuple[str, str]  # token and key

    def __repr__(self) -> str:
        return f"_Owner({self.id})"


def run(app: Flask, third_party_app_id: int, path: str) -> dict[str, Any]:
    """Test one third-party app now; gives the outcome, which is kept in its row, too.

    `path` is that of its callback address. No transaction may be open: the push comes back as a request of its own.
    """
    owner = _owner(app, third_party_app_id)
    outcome: dict[str, Any] = {"at": utcnow().isoformat(), **_push(app, owner, path)}
    _keep(app, owner, outcome)
    outcome["token"] = _try_token(app, owner)
    _keep(app, owner, outcome)
    return outcome


def _owner(app: Flask, third_party_app_id: int) -> _Owner:
    with app_scope(app, PLATFORM) as session:
        row = session.get_one(ThirdPartyApp, third_party_app_id)
        if not row.token or not row.aes_key:
            raise Refused("还没有填写消息校验 Token 和消息加解密 Key：请先在编辑页填写")
        return _Owner(row.id, row.appid, (row.token, row.aes_key))


# The push


def _push(app: Flask, owner: _Owner, path: str) -> dict[str, Any]:
    """By the public address; where that leads nowhere, within the process, and both are said."""
    try:
        public = _over_http(app, owner, path)
    except PushRefused as refused:
        return {"way": "", "public": "", "push": str(refused.reason)}
    if public == "ok":
        return {"way": "public", "public": "ok", "push": "ok"}
    return {"way": "process", "public": public, "push": _in_process(app, owner)}


def _sealed(app: Flask, owner: _Owner) -> tuple[bytes, str]:
    """A push and its mark, whose fingerprint is in the row from now on."""
    (token, aes_key), mark = owner.settings, self_mark.issue(app, owner.id)
    event = {"Event": self_mark.EVENT, "TpAppId": owner.appid, "Mark": mark}
    return seal_push(event, token=token, aes_key=aes_key, appid=owner.appid, now=utcnow()), mark


def _over_http(app: Flask, owner: _Owner, path: str) -> str:
    """`ok`, or why not: an HTTP status, `elsewhere` (answered, but not by us), or a sentence."""
    body, mark = _sealed(app, owner)
    headers = {"Content-Type": "application/json"}
    try:
        answer = egress.post_home(f"{app.config['PUBLIC_URL']}{path}", body, headers, seconds=SECONDS)
    except egress.Undelivered as problem:
        return str(problem)
    if answer.status != 200 or answer.text != "success":
        return f"HTTP {answer.status}" if answer.status != 200 else "elsewhere"
    return "ok" if self_mark.arrived(app, owner.id, mark) else "elsewhere"


def _in_process(app: Flask, owner: _Owner) -> str:
    """`ok`, or the reason for which our own receiver refuses it."""
    try:
        event = receive.opened(app, owner.appid, _sealed(app, owner)[0])
    except PushRefused as refused:
        return str(refused.reason)
    return "ok" if self_mark.recognised(app, owner.id, event) else str(Reason.MESSAGE)


# The token


def _try_token(app: Flask, owner: _Owner) -> dict[str, Any]:
    """A component token by the keeper, at most once a minute: state and, of a refusal, Douyin's words."""
    now = utcnow()
    with app_scope(app, PLATFORM) as session:
        row = session.get_one(ThirdPartyApp, owner.id)
        if not row.active:
            return {"state": "inactive"}
        if not row.ticket or row.ticket_at is None or now - row.ticket_at >= TICKET_LIFE:
            return {"state": "no_ticket" if row.ticket_at is None else "old_ticket"}
        last = self_mark.kept(session, owner.id).get("token_at")
        if last and now - datetime.fromisoformat(last) < TOKEN_EVERY:
            return {"state": "too_soon"}
        self_mark.keep(session, owner.id, {"token_at": now.isoformat()})
    try:
        with holds.passing():  # whoever mended a refused app tries it by this
            keeper(app).renew(Slot(Token.COMPONENT, owner.id, owner.appid, None))
    except DouyinError as error:
        return {"state": "refused", "text": packed(holds.fault_sentence(error))}
    except NoAnswer as silence:
        return {"state": "silent", "text": packed(silence.message)}
    except Refused as refused:
        return {"state": "refused", "text": packed(refused.message)}
    with app_scope(app, PLATFORM) as session:
        holds.lift_app(session, owner.id)  # nothing, unless it was held
    return {"state": "ok"}


def _keep(app: Flask, owner: _Owner, outcome: Mapping[str, Any]) -> None:
    with app_scope(app, PLATFORM) as session:
        self_mark.keep(session, owner.id, {"outcome": dict(outcome)})
