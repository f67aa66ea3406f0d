"""Merchants (商户), industries, and the authorisation links a merchant is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import segno
from flask import flash, g, redirect, request, url_for
from flask_appbuilder import expose, has_access
from markupsafe import Markup
from sqlalchemy import ColumnElement, case, func, select
from werkzeug.datastructures import MultiDict
from wtforms import StringField

from app.errors import DouyinError, NoAnswer, Refused
from app.extensions import db
from app.i18n import say
from app.models import (
    AuthorizationLink,
    AuthorizationState,
    Industry,
    LinkState,
    Merchant,
    MerchantState,
    MiniProgram,
    ThirdPartyApp,
    VersionState,
)
from app.models.base import utcnow
from app.operations import inbound, onboarding
from app.operations.connection import application
from app.operations.merchants import check_merchant, keep_phone
from app.secrets import keyring
from app.security import current_actor
from app.views import cells
from app.views.base import CRUD, READ, PlatformView
from app.views.forms import ConsoleForm, attach, stripped
from app.views.interface import ScopedInterface, condition
from app.views.places import page_for
from app.views.tabs import Related


class PhoneField(StringField):
    """A phone number: shown masked only, kept sealed; an empty one keeps what is stored."""

    written_only = True

    def process_data(self, value: Any) -> None:
        self.data = ""

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.data:
            keep_phone(obj, self.data)


def phone_field(label: str, help_text: str) -> PhoneField:
    return PhoneField(label, description=help_text, filters=[stripped], render_kw={"autocomplete": "off"})


class IndustryView(PlatformView):
    """The trades that merchants are grouped by."""

    datamodel = ScopedInterface(Industry)
    include_route_methods = CRUD
    noun = "行业"
    list_columns = ["name", "position", "merchants", "changed_at"]
    label_columns = {"name": "行业名称", "position": "排序（小的在前）", "merchants": "商户数"}
    number_columns = frozenset({"position", "merchants"})
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
    imported = "industries"
    tabs = (Related("merchants", "商户", "MerchantView", "industry", add=True),)

    def cell(self, row: Any, name: str) -> Any:
        if name != "merchants":
            return super().cell(row, name)
        count = industry_counts().get(row.id, 0)
        return cells.link(url_for("MerchantView.list", _flt_0_industry=row.id), say(f"{count} 家"))


def industry_counts() -> dict[int, int]:
    """How many merchants each industry has, asked once a request."""
    if "industry_counts" not in g:
        statement = select(Merchant.industry_id, func.count(Merchant.id)).group_by(Merchant.industry_id)
        g.industry_counts = {key: count for key, count in db.session.execute(statement)}  # noqa: C416  (dict() asks a Result for keys)
    return g.industry_counts  # type: ignore[no-any-return]


def _told(text: str) -> ColumnElement[bool] | None:
    """The merchants that a number names on its own; of a phone only the hash and the shown form are kept to look at."""
    if re.fullmatch(r"1[3-9]\d{9}", text):
        return Merchant.phone_hash == keyring().fingerprint(text)
    if re.fullmatch(r"\d{3}\*{4}\d{4}", text):
        return Merchant.phone_masked == text
    if re.fullmatch(r"tt[0-9a-z]{14,18}", text):
        return Merchant.id.in_(select(MiniProgram.merchant_id).where(MiniProgram.appid == text))
    return None


class MerchantView(PlatformView):
    """The merchants: the platform's customers and the console's tenants."""

    datamodel = ScopedInterface(Merchant, eager=("industry",), leave=("phone_sealed", "phone_hash", "remarks"))
    include_route_methods = CRUD - {"delete"}
    noun = "商户"
    list_columns = ["name", "industry", "contact", "phone_masked", "plan", "expires_on", "state", "created_at"]
    label_columns = {"name": "商户名称", "state": "状态", "reason": "原因"}
    number_columns = frozenset({"commission_rate"})
    description_columns = {
        "name": "在控制台中唯一", "phone": "加密保存，页面只显示 138****8000",
        "commission_rate": "0 到 100，可带两位小数", "plan": "例如：基础版、专业版",
    }  # fmt: skip
    search_columns = [
        "name", "industry", "state", "subject_type", "plan", "expires_on", "commission_rate", "created_at",
    ]  # fmt: skip
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
        "name", "industry", "contact", "phone", "subject_type", "commission_rate", "plan", "expires_on", "state",
        "remarks",
    ]  # fmt: skip
    export_columns = [
        "name", "key", "industry", "contact", "phone_masked", "subject_type", "commission_rate", "plan", "expires_on",
        "state", "remarks", "created_at",
    ]  # fmt: skip
    imported = "merchants"
    extra_fields = {"phone": phone_field}
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

    def prefill_form(self, form: ConsoleForm, pk: Any) -> None:
        held = db.session.get_one(Merchant, pk).phone_masked
        form.phone.render_kw = {"placeholder": say(f"{held}（留空则保持不变）") if held else "", "autocomplete": "off"}

    def pre_add(self, item: Any) -> None:
        check_merchant(item)

    def pre_update(self, item: Any) -> None:
        self.pre_add(item)

    def active_filters(self, args: Any = None) -> Any:
        """A phone number, whole or as it is shown, or a mini-program's AppID in the search box finds its merchant."""
        asked = request.args if args is None else args
        wanted = _told(asked.get("q", "").strip())
        if wanted is None:
            return super().active_filters(args)
        rest = MultiDict(asked)
        rest.poplist("q")
        filters = super().active_filters(rest)
        return filters.add_filter("id", condition("搜索", lambda: wanted), True) or filters

    def search_words(self) -> str:
        return str(say("搜索商户名称、联系人、手机号、小程序编号"))

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
    held = g.setdefault("launches", {})
    if merchant_id not in held:
        reached = (MiniProgram.uploaded_version, MiniProgram.audit_version, MiniProgram.live_version)
        counts = [func.count(func.nullif(column, "")) for column in reached]
        ended = MiniProgram.state.in_((AuthorizationState.CLEARED, AuthorizationState.REVOKED))
        kept = func.count(case((~ended, 1)))
        states = (VersionState.AUDITING, VersionState.APPROVED, VersionState.REJECTED)
        verdicts = [func.count(case((MiniProgram.audit_state == state, 1))) for state in states]
        statement = select(func.count(MiniProgram.id), kept, *counts, *verdicts, func.max(MiniProgram.id))
        held[merchant_id] = Launch(*db.session.execute(statement.where(MiniProgram.merchant_id == merchant_id)).one())
    return held[merchant_id]  # type: ignore[no-any-return]


def open_link(merchant_id: int) -> int | None:
    """The newest link that the merchant may still use, asked once a request."""
    held = g.setdefault("open_links", {})
    if merchant_id not in held:
        link = AuthorizationLink
        usable = (link.merchant_id == merchant_id, link.state == LinkState.OPEN, link.expires_at > utcnow())
        held[merchant_id] = db.session.scalar(select(func.max(link.id)).where(*usable))
    return held[merchant_id]  # type: ignore[no-any-return]


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


def is_live(row: AuthorizationLink) -> bool:
    """Whether the merchant can still use a link."""
    return row.state == LinkState.OPEN and row.expires_at > utcnow()


def link_state(row: AuthorizationLink) -> Markup:
    if row.state == LinkState.OPEN and not is_live(row):
        return cells.label("已过期", "mute")
    return cells.state(row.state)


class AuthorizationView(PlatformView):
    """Authorisation links (授权链接): each bound to one merchant, single use, expiring."""

    datamodel = ScopedInterface(AuthorizationLink, eager=("merchant", "third_party_app"))
    include_route_methods = READ | {"add", "void"}
    noun = list_title = "授权链接"
    save_words = "生成链接"
    list_columns = ["id", "merchant", "third_party_app", "state", "appid", "failure", "expires_at", "created_at"]
    label_columns = {"appid": "已授权小程序"}
    search_columns = ["merchant", "third_party_app", "state", "appid", "expires_at", "created_at"]
    chip_column = "state"
    ahead_columns = ("expires_at",)
    empty_hint = "为商户生成一个授权链接，对方扫码同意后小程序就归到该商户名下。"
    quick_columns = ["appid", "expected_appid"]
    order_columns = ["id", "expires_at", "created_at"]
    base_order = ("created_at", "desc")
    show_sections = [
        ("链接", ["merchant", "third_party_app", "expected_appid", "state", "expires_at"]),
        ("结果", ["used_at", "appid", "failure"]),
    ]
    add_columns = ["merchant", "third_party_app"]
    show_template = "console/authorization.html"
    cells = {"state": link_state}

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        """Not a plain insert: Douyin makes the link."""
        form = self.add_form()
        if not form.is_submitted():
            self.prefill_related(form)
        elif form.validate():
            db.session.commit()  # reading is over: others' sessions write, and Douyin is asked
            inbound.take_tickets(application())
            try:
                made = onboarding.make_link(
                    db.session(), form.merchant.data, form.third_party_app.data, actor=current_actor()
                )
                return redirect(url_for("AuthorizationView.show", pk=made.id))
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
            except DouyinError as error:
                attach(form, f"抖音拒绝了请求：{error.message}。{error.advice}（错误码 {error.err_no}）", None)
            except NoAnswer:
                attach(form, "联系不上抖音：请检查网络后重试", None)
        return self._form_page(form, self.add_columns, "新建授权链接", self.get_redirect())

    def prefill_related(self, form: ConsoleForm) -> None:
        """And the app, where there is only one."""
        super().prefill_related(form)
        active = select(ThirdPartyApp).where(ThirdPartyApp.active.is_(True)).order_by(ThirdPartyApp.id).limit(2)
        known = list(db.session.scalars(active))
        if len(known) == 1:
            form.third_party_app.data = known[0]

    @expose("/void/<pk>", methods=["POST"])
    @has_access
    def void(self, pk: str) -> Any:
        row = self.found(pk)
        if row.state != LinkState.OPEN:
            flash("只有待使用的链接可以作废", "warning")
        else:
            row.state = LinkState.VOID
            db.session.commit()
            flash("授权链接已作废", "success")
        return redirect(url_for("AuthorizationView.show", pk=row.id))

    def name_of(self, row: Any) -> str:
        return str(say(f"授权链接 #{row.id}"))

    def next_action(self, row: Any) -> Any:
        if is_live(row):
            return {"text": "把链接或二维码发给商户；对方同意后，本页会自动更新", "label": "", "url": ""}
        if row.state != LinkState.USED:
            url = url_for("AuthorizationView.add", merchant=row.merchant_id) if self.may("add") else ""
            return {"text": "这个链接已经不能使用，请再生成一个", "label": "再生成一个", "url": url}
        key = db.session.scalar(select(MiniProgram.id).where(MiniProgram.appid == row.appid)) if row.appid else None
        page = page_for("mini_program", key) if key is not None else None
        return {"text": "授权已完成，到小程序页继续上传代码", "label": "打开小程序", "url": page} if page else None

    def show_context(self, row: Any) -> dict[str, Any]:
        live = is_live(row)
        return {"live": live, "qr": qr_svg(row.url) if live and row.url else None}


def qr_svg(text: str) -> Markup:
    """A QR code as inline SVG: nothing is fetched from elsewhere."""
    drawn = segno.make(text, error="m").svg_inline(scale=5, border=2, svgclass="qr", lineclass=None, omitsize=True)
    return Markup(drawn)  # noqa: S704  (made by segno from modules, holds none of the text)


__all__ = ["AuthorizationView", "IndustryView", "MerchantView"]
