"""Beginning to work as a merchant (登录商户)."""

from __future__ import annotations

from typing import Any

from flask import abort, redirect
from flask_appbuilder import BaseView, expose, has_access
from wtforms import TextAreaField

from app.access.log_in_as import ACTING_LIFE, log_in_as
from app.access.roles import ADMIN, OPERATOR, WRITES
from app.console.form.forms import ConsoleForm, attach, required
from app.errors import Refused
from app.extensions import db
from app.models import Merchant


class ReasonForm(ConsoleForm):
    reason = TextAreaField(
        "原因", description="会写入审计日志，例如工单号和要处理的问题", validators=[required("原因")]
    )


class LoginAsView(BaseView):
    """Work as a merchant for half an hour; a reason is asked, and the way back is to sign in again."""

    roles = {ADMIN: WRITES, OPERATOR: WRITES}
    under = "MerchantView"
    route_base = "/loginas"
    default_view = "begin"

    @expose("/<pk>", methods=["GET", "POST"])
    @has_access
    def begin(self, pk: str) -> Any:
        merchant = db.session.get(Merchant, int(pk)) or abort(404)
        form = ReasonForm()
        if form.validate_on_submit():
            try:
                log_in_as(merchant, form.reason.data or "")
                return redirect("/")
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
        minutes = int(ACTING_LIFE.total_seconds() // 60)
        page = self.render_template("account/login_as.html", form=form, merchant=merchant, minutes=minutes)
        return page, 422 if form.errors else 200
