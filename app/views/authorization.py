"""The authorisation links that a merchant is sent (授权链接)."""

from __future__ import annotations

from typing import Any

import segno
from flask import flash, redirect, url_for
from flask_appbuilder import expose, has_access
from markupsafe import Markup
from sqlalchemy import select

from app.access.principal import current_actor
from app.access.roles import WATCHED
from app.console import cells
from app.console.base import READ, PlatformView
from app.console.form.forms import ConsoleForm, attach
from app.console.places import page_for
from app.console.query.interface import ScopedInterface
from app.data.clock import utcnow
from app.errors import DouyinError, NoAnswer, Refused
from app.extensions import db, the_app
from app.i18n.html import html
from app.i18n.sentence import ours, say
from app.models import (
    AuthorizationLink,
    LinkState,
    MiniProgram,
    ThirdPartyApp,
)
from app.operations.inbound import process
from app.operations.onboarding.links import make_link


def is_live(row: AuthorizationLink) -> bool:
    """Whether the merchant can still use a link."""
    return row.state == LinkState.OPEN and row.expires_at > utcnow()


def link_state(row: AuthorizationLink) -> Markup:
    if row.state == LinkState.OPEN and not is_live(row):
        return cells.label("已过期", "mute")
    return cells.state(row.state)


class AuthorizationView(PlatformView):
    """Authorisation links (授权链接): each bound to one merchant, single use, expiring."""

    roles = WATCHED
    icon = "link"
    datamodel = ScopedInterface(AuthorizationLink, eager=("merchant", "third_party_app"))
    palette_key = "a"
    palette_add = ("生成授权链接", "link-plus")
    include_route_methods = READ | {"add", "void"}
    noun = list_title = "授权链接"
    many = "多个授权链接"
    save_words = "生成链接"
    list_columns = ["id", "merchant", "third_party_app", "state", "appid", "failure", "expires_at", "created_at"]
    label_columns = {"appid": "已授权小程序"}
    search_columns = ["merchant", "third_party_app", "state", "appid", "expires_at", "created_at"]
    chip_column = "state"
    ahead_columns = ("expires_at",)
    empty_hint = "为商户生成一个授权链接，对方扫码同意后小程序就归到该商户名下。"
    quick_columns = ["appid", "expected_appid"]
    order_columns = ["id", "created_at"]
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
            process.take_tickets(the_app())
            try:
                made = make_link(db.session(), form.merchant.data, form.third_party_app.data, actor=current_actor())
                return redirect(url_for("AuthorizationView.show", pk=made.id))
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
            except DouyinError as error:
                attach(
                    form,
                    say(
                        "抖音拒绝了请求：{said}。{advice}（错误码 {code}）",
                        said=error.message,
                        advice=ours(error.advice),
                        code=error.err_no,
                    ),
                    None,
                )
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
        return say("授权链接 #{number}", number=row.id)

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
    return html(drawn)  # made by segno from modules, holds none of the text
