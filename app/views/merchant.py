"""Merchants (商户) and industries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from flask import g, request, url_for
from sqlalchemy import ColumnElement, case, func, select
from werkzeug.datastructures import MultiDict

from app.access.roles import WATCHED
from app.console import cells
from app.console.base import CRUD, PlatformView
from app.console.form.forms import ConsoleForm
from app.console.frame.palette import EACH, PHONE, matching, plain, row_hit
from app.console.places import page_for
from app.console.query.filters import condition
from app.console.query.interface import ScopedInterface
from app.console.row.tabs import Related
from app.data import phones, texts
from app.data.clock import utcnow
from app.data.names import folded
from app.data.phones import Phone
from app.data.types import words_of
from app.data.written import halved
from app.errors import Refused
from app.extensions import db, once_a_request
from app.i18n.sentence import said
from app.models import (
    AuthorizationLink,
    AuthorizationState,
    Industry,
    LinkState,
    Merchant,
    MerchantState,
    MiniProgram,
    VersionState,
)
from app.models.merchant import SubjectType
from app.operations.merchant import check_merchant, with_other_numbers
from app.tasks.importing.columns import Column, ImportSpec, by_name, of_model


def _phone_cell(text: str) -> str | list[Phone]:
    """Numbers; or, as an export writes it, the mask of one."""
    return text if "*" in text else phones.several(text, "手机号")


def _put_phone(merchant: Merchant, given: str | list[Phone]) -> bool:
    if isinstance(given, str):
        if given == merchant.phone_masked:
            return False
        raise Refused("手机号带有星号：请填写完整号码，或留空保持不变", field="phone")
    if merchant.phone_hash == phones.hashed(given[0]) and merchant.phone == str(given[0]):
        return False
    merchant.phone = str(given[0])
    return True


def _spread(merchant: Merchant | None, values: dict[str, Any]) -> None:
    """A second number in the cell of the phone goes to the remarks, where it is marked."""
    given = values.get("phone")
    if isinstance(given, list) and given[1:]:
        remarks = values.get("remarks", merchant.remarks if merchant is not None else "")
        values["remarks"] = with_other_numbers(remarks, given[1:])


MERCHANTS = ImportSpec(
    model=Merchant,
    noun="商户",
    key="name",
    mark="key",
    columns=(
        of_model(
            Merchant, "name", "商户名称", example="爱丽丝花店", help="在控制台中唯一；没有商户标识时按它识别已有商户"
        ),
        by_name("industry", "行业", Industry, "name", required=True, example="餐饮", help="行业列表中的名称"),
        of_model(Merchant, "contact", "联系人", example="王女士"),
        Column(
            "phone",
            "手机号",
            _phone_cell,
            example="13800138000",
            apply=_put_phone,
            show=lambda row: row.phone_masked,
            help="加密保存，页面只显示 138****8000；座机写区号，分机写在后面；一格里的其他号码记入备注；"
            "导出文件里带星号的号码表示不修改",
        ),
        of_model(Merchant, "subject_type", "主体类型", words_of(SubjectType), example="企业"),
        of_model(Merchant, "commission_rate", "佣金比例（%）", example="5.5", help="0 到 100，可带两位小数"),
        of_model(Merchant, "plan", "套餐", example="专业版"),
        of_model(Merchant, "expires_on", "套餐到期日", example="2027-12-31"),
        of_model(Merchant, "state", "状态", words_of(MerchantState), example="正常"),
        of_model(Merchant, "remarks", "备注", example=""),
        Column(
            "key",
            "商户标识",
            lambda text: halved(text).lower(),
            help="导出的文件带有，改名后也能找到原来的商户；新增时留空",
        ),
    ),
    check=check_merchant,
    spread=_spread,
    aliases={"名称": "name", "电话": "phone", "联系电话": "phone", "佣金": "commission_rate", "到期日": "expires_on"},
)

INDUSTRIES = ImportSpec(
    model=Industry,
    noun="行业",
    key="name",
    mark="id",
    columns=(
        of_model(Industry, "name", "行业名称", example="餐饮", help="唯一；没有编号时按它识别已有行业"),
        of_model(Industry, "position", "排序", example="10", help="小的在前"),
        of_model(Industry, "id", "编号", required=False, help="导出的文件带有，改名后也能找到原来的行业；新增时留空"),
    ),
    aliases={"名称": "name"},
)


def merchants_of(row: Any) -> Any:
    count = industry_counts().get(row.id, 0)
    return cells.link(url_for("MerchantView.list", _flt_0_industry=row.id), said(f"{count} 家"))


def industry_counts() -> dict[int, int]:
    """How many merchants each industry has, asked once a request."""
    statement = select(Merchant.industry_id, func.count(Merchant.id)).group_by(Merchant.industry_id)
    return once_a_request("industry_counts", lambda: dict(db.session.execute(statement).all()))


class IndustryView(PlatformView):
    """The trades that merchants are grouped by."""

    roles = WATCHED
    icon = "category"
    datamodel = ScopedInterface(Industry)
    include_route_methods = CRUD
    noun = "行业"
    many = "多个行业"
    list_columns = ["name", "position", "merchants", "changed_at"]
    label_columns = {"name": "行业名称", "position": "排序（小的在前）", "merchants": "商户数"}
    number_columns = frozenset({"merchants"})
    search_columns = ["name", "position", "created_at"]
    inline_columns = ["name", "position"]
    order_by_drag = "position"
    empty_hint = "行业用来给商户分组；新建商户时要选择行业。"
    quick_columns = ["name"]
    order_columns = ["name", "position", "changed_at"]
    base_order = ("position", "asc")
    show_sections = [("基本信息", ["name", "position", "merchants", "created_at", "changed_at"])]
    add_columns = edit_columns = ["name", "position"]
    export_columns = ["id", "name", "position", "created_at", "changed_at"]
    imported = INDUSTRIES
    cells = {"merchants": merchants_of}
    tabs = (Related("merchants", "商户", "MerchantView", "industry", add=True),)


def _called(text: str) -> ColumnElement[bool] | None:
    """The merchants of a phone number, or of several; only their hash and the shown form are kept to look at."""
    if held := phones.read(text):
        theirs: ColumnElement[bool] = Merchant.phone_hash.in_([phones.hashed(phone) for phone in held])
        return theirs | (Merchant.name_folded == folded(text)) | (Merchant.contact == text)  # some are called by it
    return Merchant.phone_masked == text if phones.masks(text) else None


def _told(text: str) -> ColumnElement[bool] | None:
    """The merchants that a number names on its own."""
    if (called := _called(text)) is not None:
        return called
    if re.fullmatch(r"tt[0-9a-z]{14,18}", text):
        return Merchant.id.in_(select(MiniProgram.merchant_id).where(MiniProgram.appid == text))
    return None


class MerchantView(PlatformView):
    """The merchants: the platform's customers and the console's tenants."""

    roles = WATCHED
    icon = "building-store"
    datamodel = ScopedInterface(Merchant, eager=("industry",), leave=("phone_sealed", "phone_hash", "remarks"))
    palette_key = "m"
    palette_add = ("新建商户", "building-store")
    palette_text = PHONE
    include_route_methods = CRUD - {"delete"}
    noun = "商户"
    many = "多个商户"
    list_columns = ["name", "industry", "contact", "phone_masked", "plan", "expires_on", "state", "created_at"]
    label_columns = {"name": "商户名称", "phone": "手机号", "state": "状态", "reason": "原因"}
    description_columns = {
        "name": "在控制台中唯一",
        "phone": "加密保存，页面只显示 138****8000",
        "commission_rate": "0 到 100，可带两位小数",
        "plan": "例如：基础版、专业版",
    }
    search_columns = [
        "name",
        "industry",
        "state",
        "subject_type",
        "plan",
        "expires_on",
        "commission_rate",
        "created_at",
    ]
    chip_column = "state"
    ahead_columns = ("expires_on",)
    inline_columns = ["contact", "plan", "expires_on"]
    bulk_columns = ["industry", "subject_type", "plan", "expires_on", "commission_rate", "state", "remarks"]
    empty_hint = "新建一个商户，再把授权链接发给对方扫码，小程序就会出现在这里。"
    quick_columns = ["name", "contact", "key"]
    order_columns = ["name", "industry", "expires_on", "created_at", "state"]
    base_order = ("created_at", "desc")
    show_sections = [
        ("基本信息", ["name", "key", "industry", "subject_type", "state"]),
        ("联系方式", ["contact", "phone_masked"]),
        ("套餐与佣金", ["plan", "expires_on", "commission_rate"]),
        ("其他", ["remarks", "created_at", "changed_at"]),
    ]
    add_columns = edit_columns = [
        "name",
        "industry",
        "contact",
        "phone",
        "subject_type",
        "commission_rate",
        "plan",
        "expires_on",
        "state",
        "remarks",
    ]
    export_columns = [
        "name",
        "key",
        "industry",
        "contact",
        "phone_masked",
        "subject_type",
        "commission_rate",
        "plan",
        "expires_on",
        "state",
        "remarks",
        "created_at",
    ]
    imported = MERCHANTS
    form_sections = [
        ("基本信息", ["name", "industry", "subject_type", "state"]),
        ("联系方式", ["contact", "phone"]),
        ("套餐与佣金", ["plan", "expires_on", "commission_rate"]),
        ("备注", ["remarks"]),
    ]
    field_rules = {"expires_on": ("plan", "*")}
    show_template = "console/merchant.html"
    copied = "key"
    tabs = (
        Related("apps", "小程序", "MiniProgramView", "merchant"),
        Related("links", "授权链接", "AuthorizationView", "merchant", add=True),
        Related("staff", "用户", "StaffView", "merchant", add=True),
    )

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By name, contact and key; a phone number by its hash."""
        if (called := _called(text)) is not None:
            rows = list(db.session.scalars(select(Merchant).where(called).limit(EACH)))
        else:
            rows = matching(Merchant, [Merchant.name_folded, *plain(text, Merchant.key), Merchant.contact], text)
        for row in rows:
            yield row_hit(self, row, row.name, (row.contact, row.phone_masked, row.key))

    def prefill_form(self, form: ConsoleForm, pk: Any) -> None:
        held = db.session.get_one(Merchant, pk).phone_masked
        form.phone.render_kw = {"placeholder": held, "autocomplete": "off"}

    def pre_add(self, item: Any) -> None:
        check_merchant(item)

    def pre_update(self, item: Any) -> None:
        self.pre_add(item)

    def active_filters(self, args: Any = None) -> Any:
        """A phone number, whole or as it is shown, or a mini-program's AppID in the search box finds its merchant."""
        asked = request.args if args is None else args
        wanted = _told(texts.cleaned(asked.get("q", "")))
        if wanted is None:
            return super().active_filters(args)
        rest = MultiDict(asked)
        rest.poplist("q")
        filters = super().active_filters(rest)
        return filters.add_filter("id", condition("搜索", lambda: wanted), True) or filters

    def search_words(self) -> str:
        return str(said("搜索商户名称、联系人、手机号、小程序编号"))

    def next_action(self, row: Any) -> Any:
        if row.state != MerchantState.ACTIVE:
            return None
        done = launch_of(row.id)
        step = next((step for step in launch_steps(done) if step.tone != "good"), None)
        if step is None:
            return None
        if not done.held:
            return self._link_action(row.id, step.text)
        page = page_for("mini_program", done.newest) if done.apps == 1 else None
        return {
            "text": step.text,
            "label": "打开小程序",
            "url": page or f"{url_for('MerchantView.show', pk=row.id)}?tab=apps",
        }

    def _link_action(self, merchant_id: int, text: str) -> dict[str, str]:
        """The link that the merchant was sent, else a new one."""
        sent = open_link(merchant_id)
        if sent is not None and self._may("can_show", "AuthorizationView"):
            text = "授权链接已生成，等商户扫码同意；同意后本页会自动更新"
            return {"text": text, "label": "查看授权链接", "url": url_for("AuthorizationView.show", pk=sent)}
        url = (
            url_for("AuthorizationView.add", merchant=merchant_id) if self._may("can_add", "AuthorizationView") else ""
        )
        return {"text": text, "label": "生成授权链接", "url": url}

    def show_context(self, row: Any) -> dict[str, Any]:
        done = launch_of(row.id)
        waits = not done.held and row.state == MerchantState.ACTIVE and open_link(row.id) is not None
        return {"steps": launch_steps(done), "pending": waits or bool(done.auditing and not done.live)}

    def _may(self, permission: str, view: str) -> bool:
        return bool(self.appbuilder.sm.has_access(permission, view))

    def page_actions(self, row: Any) -> Any:
        links = [*self.row_links(row)]
        if self._may("can_begin", "LoginAsView"):
            links.append(("登录商户", url_for("LoginAsView.begin", pk=row.id)))
        return links

    def row_links(self, row: Any) -> list[tuple[str, str]]:
        may_link = self._may("can_add", "AuthorizationView")
        return [("生成授权链接", url_for("AuthorizationView.add", merchant=row.id))] if may_link else []


@dataclass(frozen=True)
class Launch:
    """How many of a merchant's mini-programs have come how far."""

    apps: int
    held: int  # whose authorisation has not ended
    uploaded: int
    audited: int
    live: int
    auditing: int
    approved: int
    rejected: int
    newest: int | None


def launch_of(merchant_id: int) -> Launch:
    """A merchant's launch, asked once a request."""
    held: dict[int, Launch] = g.setdefault("launches", {})
    if merchant_id not in held:
        reached = (MiniProgram.uploaded_version, MiniProgram.audit_version, MiniProgram.live_version)
        counts = [func.count(func.nullif(column, "")) for column in reached]
        ended = MiniProgram.state.in_((AuthorizationState.CLEARED, AuthorizationState.REVOKED))
        kept = func.count(case((~ended, 1)))
        states = (VersionState.AUDITING, VersionState.APPROVED, VersionState.REJECTED)
        verdicts = [func.count(case((MiniProgram.audit_state == state, 1))) for state in states]
        statement = select(func.count(MiniProgram.id), kept, *counts, *verdicts, func.max(MiniProgram.id))
        held[merchant_id] = Launch(*db.session.execute(statement.where(MiniProgram.merchant_id == merchant_id)).one())
    return held[merchant_id]


def open_link(merchant_id: int) -> int | None:
    """The newest link that the merchant may still use, asked once a request."""
    held: dict[int, int | None] = g.setdefault("open_links", {})
    if merchant_id not in held:
        link = AuthorizationLink
        usable = (link.merchant_id == merchant_id, link.state == LinkState.OPEN, link.expires_at > utcnow())
        held[merchant_id] = db.session.scalar(select(func.max(link.id)).where(*usable))
    return held[merchant_id]


class Step(NamedTuple):
    title: str
    text: str
    tone: str


def launch_steps(done: Launch) -> list[Step]:
    """The launch in five steps (上架五步曲): what is done, and what to do where it is not."""
    return [
        _step("新建商户", True, ""),
        _step("授权小程序", done.held > 0, *_not_held(done)),
        _step("上传代码", done.uploaded > 0, "在小程序页选择模板并上传"),
        _audit_step(done),
        _step("发布上线", done.live > 0, "审核已通过，可以发布" if done.approved else "审核通过后发布"),
    ]


def _step(title: str, done: bool, todo: str, tone: str = "mute") -> Step:
    return Step(title, "已完成", "good") if done else Step(title, todo, tone)


def _not_held(done: Launch) -> tuple[str, str]:
    if done.apps:
        return "授权已失效，请商户重新授权", "bad"
    return "把授权链接发给商户，由商户管理员扫码同意", "mute"


def _audit_step(done: Launch) -> Step:
    """Handed in is not yet passed: what is in audit or was rejected is said, of several the one furthest on."""
    title = "提交审核"
    if done.live or done.approved:
        return _step(title, True, "")
    if done.auditing:
        return Step(title, "审核中，通过后可以发布", "busy")
    if done.rejected:
        return Step(title, "审核被驳回，请修改后重提", "bad")
    return Step(title, "体验版确认无误后提审", "mute")
