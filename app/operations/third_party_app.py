"""A third-party app's own settings: what may be typed, what holds its row and its AppID, what goes with it.

A wrong key is the costliest slip of a first day: it is saved without a word, and then every push is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.errors import Refused
from app.i18n.sentence import ours, say
from app.models import (
    AuthorizationCode,
    AuthorizationLink,
    Credential,
    InboundEvent,
    MiniProgram,
    OperationRun,
    RunState,
    Template,
    TemplateApp,
    ThirdPartyApp,
)

NAMES = {
    "appid": "AppID",
    "secret": "AppSecret",
    "token": "消息校验 Token",
    "aes_key": "消息加解密 Key",
}
SECRETS = ("secret", "token", "aes_key")
LONGEST = 255
KEY_LENGTH = 43
_APPID = re.compile(r"tt[0-9A-Za-z]{1,62}")
_VISIBLE = re.compile(r"[!-~]*")
# The platform draws keys from letters and digits; `+` and `/` are base64 as well, and harm nothing.
_KEY = re.compile(r"[0-9A-Za-z+/]*")
_UNSEEN = ("Cf", "Cc", "Zl", "Zp", "Co", "Cn", "Cs")


def checked(name: str, text: str) -> str:
    """A setting as it is to be kept: without the blanks around it. Refused, at its field, says what is wrong with it.

    `name` is appid, secret, token or aes_key.
    """
    text = text.strip()
    label = NAMES[name]
    if not text:
        raise Refused(say("请填写 {label}", label=ours(label)), field=name)
    if problem := _odd_character(label, text) or _RULES[name](text):
        raise Refused(problem, field=name)
    return text


def _odd_character(label: str, text: str) -> str:
    """What a paste brings along without being seen, named with its place; empty when there is nothing of the kind."""
    for place, letter in enumerate(text, 1):
        if letter.isspace():
            return f"{label} 中间有空格或换行（第 {place} 个字符）：请去掉"
        if unicodedata.category(letter) in _UNSEEN:
            return f"{label} 里有看不见的字符（第 {place} 个字符，U+{ord(letter):04X}）：请从开放平台重新复制"
        if 0xFF01 <= ord(letter) <= 0xFF5E:
            return say(
                "{label} 里有全角字符「{letter}」（第 {place} 个字符）：请改为半角",
                label=ours(label),
                letter=letter,
                place=place,
            )
        if not _VISIBLE.fullmatch(letter):
            return say(
                "{label} 里有不允许的字符「{letter}」（第 {place} 个字符）：只能是半角的英文字母、数字和符号",
                label=ours(label),
                letter=letter,
                place=place,
            )
    return ""


def _appid_problem(text: str) -> str:
    if _APPID.fullmatch(text):
        return ""
    return "AppID 应以 tt 开头，后面只有英文字母和数字，例如 tt0123456789abcdef：请从开放平台复制"


def _length_problem(text: str) -> str:
    return f"最多 {LONGEST} 个字符，现在是 {len(text)} 个：请核对是否多复制了内容" if len(text) > LONGEST else ""


def _key_problem(text: str) -> str:
    bare = text.rstrip("=")
    if bare != text and len(bare) == KEY_LENGTH:
        return f"消息加解密 Key 是 {KEY_LENGTH} 个字符，不含末尾的「=」：请去掉"
    if strange := next((letter for letter in text if not _KEY.fullmatch(letter)), ""):
        return say("消息加解密 Key 里有不允许的字符「{strange}」：只能是英文字母和数字", strange=strange)
    if len(text) != KEY_LENGTH:
        return f"消息加解密 Key 应为 {KEY_LENGTH} 个字符，现在是 {len(text)} 个：请从开放平台完整复制"
    return ""


_RULES: Mapping[str, Callable[[str], str]] = {
    "appid": _appid_problem,
    "secret": _length_problem,
    "token": _length_problem,
    "aes_key": _key_problem,
}


def checked_secrets(values: Any) -> dict[str, str]:
    """All three secrets, from whatever a JSON document held. Refused names the first that is missing or malformed."""
    if not isinstance(values, Mapping) or not all(isinstance(values.get(name), str) for name in SECRETS):
        raise Refused("应给出 secret、token、aes_key 三项")
    return {name: checked(name, values[name]) for name in SECRETS}


def usable(name: str, text: str | None) -> bool:
    """Whether a stored secret could ever work: those from before the checks may not."""
    try:
        return bool(text) and checked(name, str(text)) == text
    except Refused:
        return False


# What names a third-party app

_COUNTED = {
    "小程序": "{} 个小程序",
    "授权链接": "{} 个授权链接",
    "事件推送": "{} 条事件推送",
    "模板": "{} 个模板",
    "模板小程序": "{} 个模板小程序",
    "进行中的操作": "{} 个进行中的操作",
}


def holders(session: Session, row: ThirdPartyApp) -> list[tuple[str, int]]:
    """(what, how many) of the rows for whose sake a third-party app stays what it is."""
    models: tuple[tuple[str, type[Any]], ...] = (
        ("小程序", MiniProgram),
        ("授权链接", AuthorizationLink),
        ("事件推送", InboundEvent),
        ("模板", Template),
        ("模板小程序", TemplateApp),
    )
    found = [(words, _count(session, model, model.third_party_app_id == row.id)) for words, model in models]
    under_way = (
        OperationRun.subject_type == "third_party_app",
        OperationRun.subject_id == row.id,
        OperationRun.state.not_in((RunState.SUCCEEDED, RunState.FAILED)),
    )
    found.append(("进行中的操作", _count(session, OperationRun, *under_way)))
    return [(words, count) for words, count in found if count]


def _count(session: Session, model: type[Any], *conditions: Any) -> int:
    return session.scalar(select(func.count()).select_from(model).where(*conditions)) or 0


def held_by(session: Session, row: ThirdPartyApp) -> str:
    """`3 个小程序、12 条事件推送`; empty when nothing names it."""
    return "、".join(_COUNTED[words].format(count) for words, count in holders(session, row))


def gone_along(session: Session, row: ThirdPartyApp) -> int:
    """How many of its credentials would be deleted with it."""
    return _count(session, Credential, Credential.third_party_app_id == row.id)


def _alone(session: Session, row: ThirdPartyApp) -> str:
    """Nobody may begin to name it until the caller's transaction ends; then what names it now, in words."""
    session.execute(select(ThirdPartyApp.id).where(ThirdPartyApp.id == row.id).with_for_update())
    return held_by(session, row)


def release(session: Session, row: ThirdPartyApp) -> None:
    """Before the row is deleted: its credentials and the codes it exchanged go. Refused while something names it."""
    with session.no_autoflush:
        if words := _alone(session, row):
            raise Refused(say("不能删除：还有{words}属于它；不再使用时，可以在编辑页停用", words=ours(words)))
        for model in (Credential, AuthorizationCode):
            gone = delete(model).where(model.third_party_app_id == row.id)
            session.execute(gone.execution_options(synchronize_session=False))


def rename(session: Session, row: ThirdPartyApp) -> None:
    """After its AppID was changed: what Douyin gave to the other AppID is forgotten. The caller commits.

    Its credentials stay, under the new key and empty: a refresh that is under way then cannot store its result.
    """
    with session.no_autoflush:
        if words := _alone(session, row):
            raise Refused(say("AppID 不能再改：已有{words}属于它", words=ours(words)), field="appid")
        for kept in session.scalars(select(Credential).where(Credential.third_party_app_id == row.id)):
            empty = {
                "key": f"{kept.kind}:{row.appid}:{kept.appid or ''}",
                "generation": Credential.generation + 1,
                "access_token_sealed": None,
                "refresh_token_sealed": None,
                "expires_at": None,
                "refresh_expires_at": None,
                "lease_owner": None,
                "lease_until": None,
                "failure": "",
            }
            session.execute(
                update(Credential)
                .where(Credential.id == kept.id)
                .values(**empty)
                .execution_options(synchronize_session=False)
            )
    row.ticket, row.ticket_at, row.self_test = None, None, None
    row.fault, row.fault_at, row.held, row.held_at, row.probe_at = "", None, "", None, None
    row.link_fault, row.link_fault_at = "", None
