"""What a merchant is told when it comes back from the consent page: one ending, in words, with what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from app.models import MiniProgram
from app.models.mini_program import PERMISSION_WORDS


class Ending(StrEnum):
    LINKED = "linked"
    LINK_EXPIRED = "link_expired"
    LINK_USED = "link_used"
    BAD_LINK = "bad_link"
    CODE_SPENT = "code_spent"
    OTHER_PROVIDER = "other_provider"
    SUBJECT = "subject"
    OTHER_MERCHANT = "other_merchant"
    OTHER_APP = "other_app"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    WAITING = "waiting"
    GAVE_UP = "gave_up"


# ending -> HTTP status, title, what happened, what to do
WORDS: dict[Ending, tuple[int, str, str, str]] = {
    Ending.LINKED: (
        200,
        "授权成功",
        "小程序已经和服务商连接，后续的设置、提审和发布由服务商代为完成。",
        "您可以关闭本页。",
    ),
    Ending.LINK_EXPIRED: (
        410,
        "授权链接已过期",
        "授权链接的有效期是 24 小时，这个链接已经过期，授权没有完成。",
        "请联系服务商重新发送授权链接，并在 24 小时内打开。",
    ),
    Ending.LINK_USED: (
        409,
        "授权链接已使用",
        "每个授权链接只能使用一次，这个链接之前已经完成过授权。",
        "如果小程序已经授权成功，不需要再操作；如果要授权另一个小程序，请联系服务商发送新的链接。",
    ),
    Ending.BAD_LINK: (
        404,
        "授权链接无效",
        "这个链接不完整，或者已经作废。",
        "请从服务商发送的消息中重新打开链接；如果仍然无效，请联系服务商重新发送。",
    ),
    Ending.CODE_SPENT: (
        409,
        "授权码已过期或已使用",
        "抖音给出的授权码只能使用一次，而且一小时内有效，这一个已经不能使用。",
        "如果小程序已经出现在服务商的列表里，不需要再操作；否则请联系服务商重新发送授权链接。",
    ),
    Ending.OTHER_PROVIDER: (
        409,
        "小程序已授权给其他服务商",
        "这个小程序已经授权给另一家服务商，同一时间只能由一家服务商管理。",
        "请先登录抖音开放平台，在小程序的「授权管理」中解除原来的授权，再重新打开服务商发送的链接。",
    ),
    Ending.SUBJECT: (
        409,
        "主体认证未完成",
        "小程序的主体还没有完成认证，或当前账号不是小程序的管理员，抖音不允许授权。",
        "请用小程序的管理员账号登录抖音开放平台完成主体认证，再重新打开授权链接。",
    ),
    Ending.OTHER_MERCHANT: (
        409,
        "小程序属于另一个商户",
        "这个小程序在服务商的系统里已经登记在另一个商户名下，没有改动它的归属。",
        "请确认选择的小程序是否正确；如果确实要更换归属，请联系服务商处理。",
    ),
    Ending.OTHER_APP: (
        409,
        "授权的不是指定的小程序",
        "这个链接是为另一个小程序准备的，您在授权页选择的小程序与它不一致。",
        "请联系服务商重新发送链接，并在授权页选择正确的小程序。",
    ),
    Ending.CANCELLED: (
        400,
        "授权没有完成",
        "没有收到抖音的授权结果，您可能在授权页取消了授权。",
        "如果要继续，请重新打开服务商发送的授权链接并确认授权。",
    ),
    Ending.REFUSED: (
        409,
        "抖音没有接受这次授权",
        "抖音拒绝了这次授权，原因如下。",
        "请按原因处理后重新打开服务商发送的授权链接；如果仍然不行，请联系服务商。",
    ),
    Ending.WAITING: (
        202,
        "正在核实授权结果",
        "正在向抖音核实这次授权的结果，本页会自动继续。",
        "请稍候，不需要重复授权；也可以关闭本页，系统会继续核实。",
    ),
    Ending.GAVE_UP: (
        410,
        "没有等到抖音的确认",
        "在授权链接的有效期内没有等到抖音对这次授权的确认，系统已停止核实。",
        "请联系服务商：小程序如果已在待认领的列表里，服务商可以直接认领；否则请让服务商重新发送授权链接。",
    ),
}


@dataclass(frozen=True)
class Outcome:
    """One ending for the page. `granted`, `missing`: permission sets in words; `hints`: what to mend."""

    ending: Ending
    status: int
    title: str
    explanation: str
    advice: str
    said: str = ""
    appid: str = ""
    name: str = ""
    mini_program_id: int | None = None
    granted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.ending is Ending.LINKED

    @property
    def waits(self) -> bool:
        return self.ending is Ending.WAITING


def outcome(ending: Ending, *, said: str = "") -> Outcome:
    """An ending without a mini-program; `said` is Douyin's or our own sentence about it."""
    return Outcome(ending, *WORDS[ending], said=said)


def linked(row: MiniProgram) -> Outcome:
    """Success: which app, what it granted, what is missing."""
    status, title, explanation, advice = WORDS[Ending.LINKED]
    granted = [PERMISSION_WORDS.get(item, f"权限集 {item}") for item in row.permissions or []]
    missing = row.missing_permissions
    hints = []
    if missing:
        hints.append(f"缺少权限：{'、'.join(missing)}。没有它们无法上线，请重新授权并勾选。")
    if row.subject_verified is False:
        hints.append("小程序的主体认证尚未完成，完成之前不能提审和发布，请在抖音开放平台完成认证。")
    return Outcome(
        Ending.LINKED,
        status,
        title,
        explanation,
        advice,
        appid=row.appid,
        name=row.name,
        mini_program_id=row.id,
        granted=granted,
        missing=missing,
        hints=hints,
    )
