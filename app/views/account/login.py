"""Logging in and out, with a code where one is asked for, and by a link that sets a password."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import flash, make_response, redirect, request, url_for
from flask_appbuilder import expose
from flask_appbuilder.security.views import AuthDBView
from wtforms import PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from app.access import accounts, two_factor
from app.access.browser import sign_out
from app.access.passwords import LONGEST, RULE, check_password_strength
from app.access.principal import principal
from app.access.roles import VISITORS
from app.access.sign_in import (
    CodeNeeded,
    begin_half,
    begin_link,
    by_code,
    by_link,
    by_password,
    enter,
    half,
    link_user,
)
from app.access.throttle import TooManyAttempts
from app.console.form.forms import CodeField, ConsoleForm, attach, required, sound, stripped
from app.console.frame.own import local_path
from app.errors import Refused

OLD, NEW = {"autocomplete": "current-password"}, {"autocomplete": "new-password"}
WRONG = "用户名或密码不正确"


class LoginForm(ConsoleForm):
    username = StringField("用户名", validators=[required("用户名"), Length(max=128)], filters=[stripped])
    password = PasswordField("密码", validators=[required("密码"), Length(max=LONGEST)])


CODE_INPUT = {"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "none", "maxlength": 32}


class CodeForm(ConsoleForm):
    code = CodeField("验证码", render_kw=CODE_INPUT, validators=[required("验证码"), Length(max=64)])


class LinkForm(ConsoleForm):
    token = CodeField("链接中「#」之后的部分", render_kw=CODE_INPUT | {"maxlength": 64}, validators=[Length(max=64)])


def _unkept(page: str, status: int) -> Any:
    """A page that no browser keeps."""
    answer = make_response(page, status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


class NewPasswordForm(ConsoleForm):
    """A new password, typed twice; `user_name` is whose it is to be."""

    user_name = ""
    password = PasswordField("新密码", render_kw=NEW, description=RULE, validators=[required("新密码")])
    again = PasswordField(
        "再输入一次新密码",
        render_kw=NEW,
        validators=[InputRequired("请再输入一次新密码"), EqualTo("password", "两次输入的新密码不一致")],
    )

    def validate_password(self, field: PasswordField) -> None:
        """Beside what else is wrong, not after it."""
        sound(partial(_strong, self.user_name))(self, field)


def _strong(user_name: str, password: str) -> str:
    check_password_strength(password, user_name)
    return password


class LoginView(AuthDBView):
    """The log-in form, its second step, and the way out."""

    roles = VISITORS  # who is not known yet
    before_change = before_enrolment = ("logout",)
    login_template = "account/login.html"

    @expose("/login/", methods=["GET", "POST"])
    def login(self) -> Any:
        target = local_path(request.args.get("next"))
        if principal() is not None:
            return redirect(target)
        form = LoginForm()
        if not form.validate_on_submit():
            return self._page(form, 200)
        try:
            user = by_password(form.username.data, form.password.data)
        except TooManyAttempts as refused:
            attach(form, refused.message, None)
            return self._page(form, 429)
        except CodeNeeded as needed:
            begin_half(needed.user, target)
            return redirect(url_for("LoginView.code"))
        if user is None:
            attach(form, WRONG, None)
            return self._page(form, 401)
        return enter(user, redirect(target))

    def _page(self, form: ConsoleForm, status: int) -> Any:
        return self.render_template(self.login_template, form=form, asked=request.args.get("next")), status

    @expose("/login/code", methods=["GET", "POST"])
    def code(self) -> Any:
        """The second step: a code of the user whose password was right."""
        if principal() is not None:
            return redirect("/")
        held = half()
        if held is None:
            flash("请重新输入用户名和密码", "warning")
            return redirect(url_for("LoginView.login"))
        form, status = CodeForm(), 200
        if form.validate_on_submit():
            try:
                user = by_code(form.code.data)
            except TooManyAttempts as refused:
                user, status = None, 429
                attach(form, refused.message, None)
            if user is not None:
                return enter(user, redirect(local_path(held["next"])), second=True)
            if status == 200:
                status = 401
                attach(form, two_factor.WRONG_CODE, "code")
        return _unkept(self.render_template("account/login_code.html", form=form), status)

    @expose(accounts.LINK_PATH, methods=["GET", "POST"])
    def link(self) -> Any:
        """Where a link to set a password leads. Its token is behind the `#`, which no browser sends: a script, or the
        reader, gives it by the form, so that neither a log nor another site's Referer ever holds it."""
        form, status = LinkForm(), 200
        if form.validate_on_submit():
            if principal() is not None:
                sign_out()
            if begin_link(form.token.data or ""):
                return redirect(url_for("LoginView.set_password"))
            attach(form, accounts.LINK_GONE, None)
            form.token.data, status = "", 401
        return _unkept(self.render_template("account/login_link.html", form=form, known=principal()), status)

    @expose("/login/link/password", methods=["GET", "POST"])
    def set_password(self) -> Any:
        """The owner's own password, by the link that was opened in this browser."""
        user = link_user()
        if user is None:
            flash(accounts.LINK_GONE, "warning")
            return redirect(url_for("LoginView.login"))
        form = NewPasswordForm()
        form.user_name = user.username
        if form.validate_on_submit():
            try:
                return enter(by_link(form.password.data or ""), redirect("/"))
            except CodeNeeded as needed:
                begin_half(needed.user, "/")
                return redirect(url_for("LoginView.code"))
            except Refused as refused:
                attach(form, refused.message, refused.field)
        page = self.render_template("account/login_password.html", form=form, user=user)
        return _unkept(page, 422 if form.errors else 200)

    @expose("/logout/", methods=["GET", "POST"])
    def logout(self) -> Any:
        if principal() is None:
            return redirect(url_for("LoginView.login"))
        if request.method == "GET":
            return self.render_template("account/logout.html", form=ConsoleForm())
        sign_out()
        return redirect(url_for("LoginView.login"))
