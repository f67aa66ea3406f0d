"""Signing in and out, one's own account, and logging in as a merchant (登录商户)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import abort, flash, g, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.views import AuthDBView
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField, TextAreaField
from wtforms.validators import EqualTo, InputRequired, Length

from app import accounts, websession
from app.api.login import SecurityApi
from app.errors import Refused
from app.extensions import db
from app.models import Merchant, User
from app.models.audit import record
from app.passwords import LONGEST, RULE
from app.roles import role_words
from app.security import ACTING_LIFE, TooManyAttempts, log_in_as, principal, sign_in, sign_out
from app.views.forms import attach, required
from app.views.users import StaffView, UserView

WRONG = "用户名或密码不正确"


def local_path(target: str | None) -> str:
    """Where to go after the log-in: a path of this site, whatever was asked for."""
    home = "/"
    if not target or any(ord(letter) < 33 or letter == "\\" for letter in target):
        return home
    try:
        parts = urlsplit(target)
    except ValueError:
        return home
    if parts.netloc and (parts.netloc != request.host or parts.scheme not in {"http", "https"}):
        return home
    if (parts.scheme and not parts.netloc) or not parts.path.startswith("/"):
        return home
    if parts.path.startswith(("//", "/login", "/logout")):
        return home
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


class LoginForm(FlaskForm):
    username = StringField("用户名", validators=[required("用户名"), Length(max=128)])
    password = PasswordField("密码", validators=[required("密码"), Length(max=LONGEST)])


class LoginView(AuthDBView):
    """The log-in form and the way out."""

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
            user = self.appbuilder.sm.auth_user_db(form.username.data, form.password.data)
        except TooManyAttempts as refused:
            attach(form, refused.message, None)
            return self._page(form, 429)
        if user is None:
            attach(form, WRONG, None)
            return self._page(form, 401)
        sign_in(user)
        return redirect(target)

    def _page(self, form: FlaskForm, status: int) -> Any:
        return self.render_template(self.login_template, form=form, asked=request.args.get("next")), status

    @expose("/logout/", methods=["GET", "POST"])
    def logout(self) -> Any:
        if principal() is None:
            return redirect(url_for("LoginView.login"))
        if request.method == "GET":
            return self.render_template("account/logout.html", form=FlaskForm())
        sign_out()
        return redirect(url_for("LoginView.login"))


OLD, NEW = {"autocomplete": "current-password"}, {"autocomplete": "new-password"}


class PasswordForm(FlaskForm):
    old_password = PasswordField("当前密码", render_kw=OLD, validators=[required("当前密码"), Length(max=LONGEST)])
    password = PasswordField("新密码", render_kw=NEW, description=RULE, validators=[required("新密码")])
    again = PasswordField(
        "再输入一次新密码",
        render_kw=NEW,
        validators=[InputRequired("请再输入一次新密码"), EqualTo("password", "两次输入的新密码不一致")],
    )


class ProfileView(BaseView):
    """My account: password, sessions, language."""

    route_base = "/account"
    default_view = "profile"

    @expose("/", methods=["GET"])
    @has_access
    def profile(self) -> Any:
        user = _own_row()
        return self.render_template(
            "account/profile.html",
            user=user,
            roles=role_words(g.user.role_names),
            sessions=websession.sessions_of(db.session, user.id),
            current=websession.current_hash(),
            form=FlaskForm(),
        )

    @expose("/userinfo/", methods=["GET"])
    @has_access
    def userinfo(self) -> Any:
        """FAB's own templates link here."""
        return redirect(url_for("ProfileView.profile"))

    @expose("/password", methods=["GET", "POST"])
    @has_access
    def password(self) -> Any:
        form, user = PasswordForm(), _own_row()
        if form.validate_on_submit() and _changed(form, user):
            sign_in(user)  # a new id and generation for this session; the others have ended
            flash("密码已修改，其他设备上的登录已结束", "success")
            return redirect(url_for("ProfileView.profile"))
        page = self.render_template("account/password.html", form=form, must=g.user.must_change_password)
        return page, 422 if form.errors else 200

    @expose("/sessions/end", methods=["POST"])
    @has_access
    def end_sessions(self) -> Any:
        ended = websession.end_all(db.session, g.user.id, but=websession.current_hash())
        record(db.session, "sessions_end", subject=_own_row(), count=ended)
        db.session.commit()
        flash(f"已结束其他 {ended} 处登录", "success")
        return redirect(url_for("ProfileView.profile"))


def _own_row() -> User:
    row: User = db.session.get_one(User, g.user.id)
    return row


def _changed(form: PasswordForm, user: User) -> bool:
    keep, address = websession.current_hash(), (request.remote_addr or "")[:64]
    try:
        accounts.change_own_password(
            db.session(),
            user,
            form.old_password.data or "",
            form.password.data or "",
            keep=keep,
            address=address,
        )
        db.session.commit()
    except Refused as refused:
        db.session.rollback()
        attach(form, refused.message, refused.field)
        return False
    return True


class ReasonForm(FlaskForm):
    reason = TextAreaField(
        "原因", description="会写入审计日志，例如工单号和要处理的问题", validators=[required("原因")]
    )


class LoginAsView(BaseView):
    """Work as a merchant for half an hour; a reason is asked, and the way back is to sign in again."""

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


SETTINGS_VIEWS: tuple[tuple[type[Any], str], ...] = ((UserView, "用户"),)
VIEWS: tuple[type[Any], ...] = (LoginView, ProfileView, StaffView, LoginAsView, SecurityApi)
