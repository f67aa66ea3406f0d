"""ext.json of a mini-program: what is proposed, what may stand in it, and that none of our secrets does."""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import current_app
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.data.secrets import SealBroken
from app.errors import Refused
from app.i18n.sentence import say
from app.models import Credential, Merchant, MiniProgram, ThirdPartyApp

LONGEST = 32 * 1024  # bytes
DEEPEST = 32
SHORTEST_SECRET = 8  # a shorter one stands in too many words to be looked for
# How a name ends that has a secret for its value; words that a shop's own name may hold as well are no reason.
SECRET_ENDINGS = (
    "secret",
    "password",
    "passwd",
    "accesstoken",
    "refreshtoken",
    "componenttoken",
    "sessionkey",
    "privatekey",
    "secretkey",
    "accesskey",
    "aeskey",
    "componentticket",
    "authorizationcode",
    "密钥",
    "密码",
    "口令",
)
SETTINGS = ("SECRET_KEY", "JWT_SECRET_KEY", "INDEX_KEY", "METRICS_TOKEN")
ADDRESSES = ("SQLALCHEMY_DATABASE_URI", "SMTP_URL", "STORAGE_URL")
_NO_LETTERS = re.compile(r"[\W_]+")


def build_ext(app: MiniProgram, merchant: Merchant | None) -> str:
    """The ext.json of one merchant's mini-program, as it is shown before it is sent. No secrets go in it."""
    values = {
        "merchant": merchant.key if merchant is not None else "",
        "name": merchant.name if merchant is not None else app.name,
        "api": f"{current_app.config['PUBLIC_URL']}/mp/v1",
    }
    return json.dumps({"extEnable": True, "extAppid": app.appid, "ext": values}, ensure_ascii=False, indent=2)


def check_ext(text: str) -> str:
    """ext.json as typed, checked: an object with `extEnable` and `extAppid`, and no name of a secret."""
    if len(text.encode("utf-8", "replace")) > LONGEST:
        raise Refused(say("ext.json 最多 {size} KB", size=LONGEST // 1024), field="ext")
    value = _parsed(text)
    if not isinstance(value, dict) or not isinstance(value.get("extEnable"), bool):
        raise Refused("ext.json 应为对象，并含布尔值 extEnable", field="ext")
    if not isinstance(value.get("extAppid"), str):
        raise Refused("ext.json 缺少 extAppid", field="ext")
    for name, item in _walk(value):
        _check_item(name, item)
    return text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Refused(say("ext.json 不是有效的 JSON（{where}）", where=_where(error)), field="ext") from None


def _where(error: ValueError) -> str:
    return f"第 {error.lineno} 行" if isinstance(error, json.JSONDecodeError) else "格式有误"


def _too_deep() -> Refused:
    return Refused(say("ext.json 嵌套最多 {deepest} 层", deepest=DEEPEST), field="ext")


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value with the name it has (that of its list, for an item), without recursion."""
    waiting = [("", value, 1)]
    while waiting:
        name, item, depth = waiting.pop()
        yield name, item
        if not isinstance(item, dict | list):
            continue
        if depth > DEEPEST:
            raise _too_deep()
        pairs = item.items() if isinstance(item, dict) else ((name, one) for one in item)
        waiting += [(key, one, depth + 1) for key, one in pairs]


def _check_item(name: str, item: Any) -> None:
    if isinstance(item, float) and not math.isfinite(item):
        raise Refused(
            "ext.json 不是有效的 JSON（格式有误）", field="ext"
        )  # NaN, Infinity, 1e999: Python reads them, JSON does not know them
    for text in (name, item):
        if isinstance(text, str) and ("\0" in text or _broken(text)):
            raise Refused("ext.json 含有不能使用的字符", field="ext")
    told = item is not None and item != "" and not isinstance(item, bool)
    if told and _NO_LETTERS.sub("", name).lower().endswith(SECRET_ENDINGS):
        raise Refused(say("ext.json 会随小程序公开，不能包含密钥或令牌：{name}", name=name[:40]), field="ext")


def _broken(text: str) -> bool:
    """Half of a surrogate pair: no bytes stand for it."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


# Secrets


def secrets_near(session: Session, app: MiniProgram) -> list[str]:
    """What must not become public with the app: its tokens, those of our third-party apps, and the settings' keys."""
    owners = session.scalars(select(ThirdPartyApp)).all()
    mine = or_(Credential.appid == app.appid, Credential.appid.is_(None))
    tokens = session.scalars(select(Credential).where(mine)).all()
    sealed = [_opened(row, name) for row in (*owners, *tokens) for name in row.__sealed__]
    return sorted({text for text in (*sealed, *_settings()) if len(text) >= SHORTEST_SECRET})


def _opened(row: Any, name: str) -> str:
    try:
        return getattr(row, name) or ""
    except SealBroken:  # what we cannot read cannot be used either
        return ""


def _settings() -> Iterator[str]:
    config = current_app.config
    for name in SETTINGS:
        yield str(config.get(name) or "")
    for key in str(config.get("DATA_KEYS") or "").split(","):
        yield key.partition(":")[2]
    for name in ADDRESSES:
        yield unquote(urlsplit(str(config.get(name) or "")).password or "")


def refuse_secrets(text: str, secrets: list[str]) -> None:
    """Refused when a name or value of the (checked) ext.json holds one of the secrets.

    Every place is compared with every secret, and each comparison takes the same time: how long it takes to refuse
    tells nothing of how much was right.
    """
    held = False
    for name, item in _walk(json.loads(text)):
        for part in (name, "" if isinstance(item, dict | list) else str(item)):
            for secret in secrets:
                held |= _holds(part, secret)
    if held:
        raise Refused("ext.json 会随小程序公开，其中有一个值是本系统的密钥：请去掉它", field="ext")


def _holds(text: str, secret: str) -> bool:
    there, wanted = text.encode(), secret.encode()
    found = False
    for start in range(len(there) - len(wanted) + 1):
        found |= hmac.compare_digest(there[start : start + len(wanted)], wanted)
    return found
