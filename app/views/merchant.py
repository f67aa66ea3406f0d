"""Merchants (商户), industries, and the authorisation links a merchant is sent."""

from __future__ import annotations

import re
from typing import Any

import segno
from flask import flash, g, redirect, request, url_for
from flask_appbuilder import expose, has_access
from flask_wtf import FlaskForm
from markupsafe import Markup
from sqlalchemy import func, select
from wtforms import StringField

from app.errors import DouyinError, NoAnswer, Refused
from app.extensions import db
from app.models import AuthorizationLink, Industry, LinkState, Merchant, MiniProgram, ThirdPartyApp, User
from app.models.base import utcnow
from app.operations import onboarding
from app.redaction import mask_phone
from app.secrets import keyring
from app.security import current_actor
from app.views import cells
from app.views.base import CRUD, READ, PlatformView
from app.views.forms import attach, stripped
from app.views.interface import ScopedInterface, parse_key

_PHONE = re.compile(r"1[3-9]\d{9}|0\d{2,3}-?\d{7,8}|\+\d{6,15}")


class PhoneField(StringField):
    """A phone number: shown masked only, kept sealed; an empty one keeps what is stored."""

    def process_data(self, value: Any) -> None:
        self.data = ""

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.data:
            keep_phone(obj, self.data)


def keep_phone(merchant: Merchant, text: str) -> None:
    """Seal a phone number with its mask and its search hash; Refused when it is none."""
    number = re.sub(r"[\s()（）]", "", text)
    if not _PHONE.fullmatch(number):
        raise Refused("手机号格式不正确，例如 13800138000", field="phone")
    merchant.phone = number
    merchant.phone_masked = mask_phone(number)
    merchant.phone_hash = keyring().fingerprint(number)


def phone_field(label: str, help_text: str) -> PhoneField:
    return PhoneField(label, description=help_text, filters=[stripped], render_kw={"autocomplete": "off"})


class IndustryView(PlatformView):
    """The trades that merchants are grouped by."""

    datamodel = ScopedInterface(Industry)
    include_route_methods = CRUD
    noun = "行业"
    list_columns = ["name", "position", "merchants", "changed_at"]
    label_columns = {"name": "行业名称", "position": "排序（小的在前）", "merchants": "商户数"}
    search_columns = ["name"]
    quick_columns = ["name"]
    order_columns = ["name", "position", "changed_at"]
    base_order = ("position", "asc")
    show_sections = [("基本信息", ["name", "position", "merchants", "created_at", "changed_at"])]
    add_columns = edit_columns = ["name", "position"]

    def cell(self, row: Any, name: str) -> Any:
        if name != "merchants":
            return super().cell(row, name)
        count = industry_counts().get(row.id, 0)
        return cells.link(url_for("MerchantView.list", _flt_0_industry=row.id), f"{count} 家")


def industry_counts() -> dict[int, int]:
    """How many merchants each industry has, asked once a request."""
    if "industry_counts" not in g:
        statement = select(Merchant.industry_id, func.count(Merchant.id)).group_by(Merchant.industry_id)
        g.industry_counts = {key: count for key, count in db.session.execute(statement)}  # noqa: C416  (dict() asks a Result for keys)
    return g.industry_counts  # type: ignore[no-any-return]


class MerchantView(PlatformView):
    """The merchants: the platform's customers and the console's tenants."""

    datamodel = ScopedInterface(Merchant, eager=("industry",))
    include_route_methods = CRUD - {"delete"}
    noun = "商户"
    list_columns = ["name", "industry", "contact", "phone_masked", "plan", "expires_on", "state", "created_at"]
    label_columns = {"name": "商户名称", "state": "状态"}
    description_columns = {
        "name": "在控制台中唯一", "phone": "加密保存，页面只显示 138****8000",
        "commission_rate": "0 到 100，可带两位小数", "plan": "例如：基础版、专业版",
    }  # fmt: skip
    search_columns = ["industry", "state", "subject_type", "plan", "expires_on"]
    quick_columns = ["name", "contact", "key"]
    order_columns = ["name", "expires_on", "created_at", "state"]
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
    extra_fields = {"phone": phone_field}
    show_template = "console/merchant.html"

    def prefill_form(self, form: FlaskForm, pk: Any) -> None:
        held = db.session.get_one(Merchant, pk).phone_masked
        form.phone.render_kw = {"placeholder": f"{held}（留空则保持不变）" if held else "", "autocomplete": "off"}

    def pre_add(self, item: Any) -> None:
        if not 0 <= (item.commission_rate or 0) <= 100:
            raise Refused("佣金比例应在 0 到 100 之间", field="commission_rate")

    def pre_update(self, item: Any) -> None:
        self.pre_add(item)

    def active_filters(self) -> Any:
        """A whole phone number in the search box finds its merchant by the keyed hash."""
        text = request.args.get("q", "").strip()
        if re.fullmatch(r"1[3-9]\d{9}", text):
            filters = self.datamodel.get_filters(["phone_hash"])
            return filters.add_filter_index("phone_hash", 1, keyring().fingerprint(text)) or filters
        return super().active_filters()

    def show_context(self, row: Any) -> dict[str, Any]:
        def latest(model: Any, limit: int = 20) -> list[Any]:
            found = select(model).where(model.merchant_id == row.id).order_by(model.id.desc()).limit(limit)
            return list(db.session.scalars(found))

        apps = latest(MiniProgram)
        return {
            "apps": apps,
            "links": latest(AuthorizationLink, 10),
            "users": latest(User),
            "steps": launch_steps(apps),
        }

    def may_act(self) -> bool:
        return self.appbuilder.sm.has_access("can_begin", "LoginAsView")  # type: ignore[no-any-return]

    def may_staff(self) -> bool:
        return self.appbuilder.sm.has_access("can_add", "StaffView")  # type: ignore[no-any-return]

    def row_links(self, row: Any) -> list[tuple[str, str]]:
        may_link = self.appbuilder.sm.has_access("can_add", "AuthorizationView")
        return [("授权链接", url_for("AuthorizationView.add", merchant=row.id))] if may_link else []


def launch_steps(apps: list[MiniProgram]) -> list[tuple[str, bool, str]]:
    """The launch in five steps (上架五步曲): (step, done, what to do)."""
    ids = [app.id for app in apps]
    return [
        ("新建商户", True, "填写名称、行业与联系方式"),
        ("授权小程序", bool(ids), "把授权链接发给商户，由商户管理员扫码同意"),
        ("上传代码", any(app.uploaded_version for app in apps), "在小程序页选择模板并上传"),
        ("提交审核", any(app.audit_version for app in apps), "体验版确认无误后提审"),
        ("发布上线", any(app.live_version for app in apps), "审核通过后发布"),
    ]


def link_state(row: AuthorizationLink) -> Markup:
    if row.state == LinkState.OPEN and row.expires_at <= utcnow():
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
    search_columns = ["merchant", "state", "created_at"]
    quick_columns = ["appid", "expected_appid"]
    order_columns = ["id", "expires_at", "created_at"]
    base_order = ("created_at", "desc")
    show_sections = [
        ("链接", ["merchant", "third_party_app", "expected_appid", "state", "expires_at"]),
        ("结果", ["used_at", "appid", "failure"]),
    ]
    add_columns = ["merchant", "third_party_app"]
    show_template = "console/authorization.html"
    cells = {
        "state": link_state,
        "merchant": lambda row: cells.link(url_for("MerchantView.show", pk=row.merchant_id), row.merchant),
    }

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        """Not a plain insert: Douyin makes the link."""
        form = self.add_form()
        if not form.is_submitted():
            self._prefill(form)
        elif form.validate():
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

    def _prefill(self, form: FlaskForm) -> None:
        key = parse_key(request.args.get("merchant", ""))
        form.merchant.data = db.session.get(Merchant, key) if key else None
        active = select(ThirdPartyApp).where(ThirdPartyApp.active.is_(True)).order_by(ThirdPartyApp.id).limit(2)
        known = list(db.session.scalars(active))
        form.third_party_app.data = known[0] if len(known) == 1 else None

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

    def show_context(self, row: Any) -> dict[str, Any]:
        live = row.state == LinkState.OPEN and row.expires_at > utcnow()
        return {"live": live, "qr": qr_svg(row.url) if live and row.url else None, "form": FlaskForm()}


def qr_svg(text: str) -> Markup:
    """A QR code as inline SVG: nothing is fetched from elsewhere."""
    drawn = segno.make(text, error="m").svg_inline(scale=5, border=2, svgclass="qr", lineclass=None, omitsize=False)
    return Markup(drawn)  # noqa: S704  (made by segno from modules, holds none of the text)


__all__ = ["AuthorizationView", "IndustryView", "MerchantView"]
