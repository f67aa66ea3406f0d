"""Two-step login (两步验证) of one's own account: set up, recovery codes, turn off."""

from __future__ import annotations

from typing import Any

from flask import flash, make_response, redirect, request, session, url_for
from flask_appbuilder import BaseView, expose, has_access
from wtforms import PasswordField
from wtforms.validators import Length

from app.access import accounts, sessions, two_factor
from app.access.browser import must_enrol, sign_in
from app.access.passwords import LONGEST
from app.access.roles import ALL_WRITE
from app.access.sign_in import prove_again
from app.access.throttle import TooManyAttempts
from app.console.form.forms import CodeField, ConsoleForm, attach, required
from app.console.form.prove import prove_first
from app.console.frame.own import own_row
from app.errors import Refused
from app.extensions import db
from app.models import User

CODE = {"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false", "maxlength": 16}
WRONG = "密码或验证码不正确"


class FirstCodeForm(ConsoleForm):
    code = CodeField("应用中显示的 6 位验证码", render_kw=CODE, validators=[required("验证码"), Length(max=64)])


class OffForm(ConsoleForm):
    password = PasswordField(
        "密码", render_kw={"autocomplete": "current-password"}, validators=[required("密码"), Length(max=LONGEST)]
    )
    code = CodeField(
        "验证码或恢复码",
        render_kw=CODE | {"inputmode": "text"},
        validators=[required("验证码"), Length(max=64)],
    )


class TwoFactorView(BaseView):
    """My second factor. Secrets and recovery codes are shown once, on pages that are not kept."""

    roles = ALL_WRITE
    own_account, before_enrolment = True, ("enrol",)
    above = ("我的账号", "ProfileView.security")
    route_base = "/account/two-factor"
    default_view = "enrol"

    @expose("/", methods=["GET", "POST"])
    @has_access
    def enrol(self) -> Any:
        """Set it up: begin, scan, give a first code, keep the recovery codes."""
        user = own_row()
        if two_factor.is_on(db.session, user.id):
            return redirect(url_for("ProfileView.security"))
        if (asked := prove_first()) is not None:
            return asked
        form = FirstCodeForm()
        if request.method == "POST" and request.form.get("step") == "begin":
            two_factor.begin(db.session(), user)
            db.session.commit()
            return redirect(url_for("TwoFactorView.enrol"))
        if form.validate_on_submit() and (codes := _confirmed(form, user)):
            sign_in(user, second=True)  # a new id and generation for this session; the others have ended
            return self._codes(codes, "两步验证已开启，其他设备上的登录已结束。")
        secret = two_factor.waiting_secret(db.session, user.id)
        page = self.render_template(
            "account/two_factor.html",
            form=form,
            user=user,
            must=must_enrol(user),
            secret=secret,
            picture=two_factor.picture(secret, user.username) if secret else "",
        )
        return page, 422 if form.errors and request.method == "POST" else 200

    @expose("/codes", methods=["GET", "POST"])
    @has_access
    def codes(self) -> Any:
        """Other recovery codes instead of the old ones."""
        if (asked := prove_first()) is not None:
            return asked
        user, form = own_row(), ConsoleForm()
        if form.validate_on_submit():
            codes = two_factor.renew_codes(db.session(), user)
            db.session.commit()
            return self._codes(codes, "旧的恢复码已全部作废。")
        left = two_factor.codes_left(db.session, user.id)
        return self.render_template("account/two_factor_codes.html", form=form, left=left)

    def _codes(self, codes: list[str], done: str) -> Any:
        page = make_response(self.render_template("account/two_factor_shown.html", codes=codes, done=done))
        page.headers["Cache-Control"] = "no-store"
        return page

    @expose("/off", methods=["GET", "POST"])
    @has_access
    def off(self) -> Any:
        """Turn it off; password and code are asked here, however lately they were given."""
        user, form, status = own_row(), OffForm(), 200
        if not two_factor.is_on(db.session, user.id):
            return redirect(url_for("ProfileView.security"))
        if form.validate_on_submit():
            try:
                if prove_again(db.session(), user, form.password.data or "", form.code.data or ""):
                    return _turned_off(user)
                attach(form, WRONG, None)
            except TooManyAttempts as refused:
                attach(form, refused.message, None)
                status = 429
        page = self.render_template("account/two_factor_off.html", form=form)
        return page, 422 if form.errors and status == 200 else status


def _confirmed(form: FirstCodeForm, user: User) -> list[str]:
    """The recovery codes when the first code is right; none, with the form's error set, when it is not."""
    try:
        codes = two_factor.confirm(db.session(), user, form.code.data or "")
        accounts.end_credentials(db.session(), user, keep=sessions.current_hash())
        db.session.commit()
    except Refused as refused:
        db.session.rollback()
        attach(form, refused.message, refused.field)
        return []
    return codes


def _turned_off(user: User) -> Any:
    two_factor.remove(db.session(), user, action="two_factor_off")
    db.session.commit()
    session["second"] = False  # where it is required, the way leads back to setting it up
    flash("两步验证已关闭", "success")
    return redirect(url_for("ProfileView.security"))
