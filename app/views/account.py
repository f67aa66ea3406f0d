"""Signing in and out, one's own account, and logging in as a merchant (登录商户)."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, flash, g, make_response, redirect, request, session, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.views import AuthDBView
from wtforms import PasswordField, StringField, TextAreaField
from wtforms.validators import EqualTo, InputRequired, Length

from app import accounts, api_keys, signin, twofactor, websession
from app.api.login import SecurityApi
from app.errors import Refused
from app.extensions import db
from app.models import Merchant, User
from app.models.audit import record
from app.passwords import LONGEST, RULE
from app.roles import role_words
from app.security import ACTING_LIFE, TooManyAttempts, log_in_as, principal, sign_in, sign_out
from app.views.api_keys import ApiKeyView
from app.views.api_page import SwaggerView
from app.views.forms import ConsoleForm, attach, required, stripped
from app.views.own import device_words, local_path, own_row, tabs
from app.views.shell import CHOICES
from app.views.two_factor import TwoFactorView
from app.views.users import StaffView, UserView

WRONG = "用户名或密码不正确"
LOOK_LIFE = 365 * 24 * 3600  # seconds that a browser keeps how its user wants pages to look


class LoginForm(ConsoleForm):
    username = StringField("用户名", validators=[required("用户名"), Length(max=128)], filters=[stripped])
    password = PasswordField("密码", validators=[required("密码"), Length(max=LONGEST)])


CODE_INPUT = {"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "none", "maxlength": 32}


class CodeForm(ConsoleForm):
    code = StringField(
        "验证码", render_kw=CODE_INPUT, validators=[required("验证码"), Length(max=64)], filters=[stripped]
    )


class LinkForm(ConsoleForm):
    token = StringField("链接中「#」之后的部分", render_kw=CODE_INPUT | {"maxlength": 64}, validators=[Length(max=64)])


def _unkept(page: str, status: int) -> Any:
    """A page that no browser keeps."""
    answer = make_response(page, status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


OLD, NEW = {"autocomplete": "current-password"}, {"autocomplete": "new-password"}


class NewPasswordForm(ConsoleForm):
    password = PasswordField("新密码", render_kw=NEW, description=RULE, validators=[required("新密码")])
    again = PasswordField(
        "再输入一次新密码",
        render_kw=NEW,
        validators=[InputRequired("请再输入一次新密码"), EqualTo("password", "两次输入的新密码不一致")],
    )


class PasswordForm(NewPasswordForm):
    old_password = PasswordField("当前密码", render_kw=OLD, validators=[required("当前密码"), Length(max=LONGEST)])


class LoginView(AuthDBView):
    """The log-in form, its second step, and the way out."""

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
            user = signin.by_password(form.username.data, form.password.data)
        except TooManyAttempts as refused:
            attach(form, refused.message, None)
            return self._page(form, 429)
        except signin.CodeNeeded as needed:
            signin.begin_half(needed.user, target)
            return redirect(url_for("LoginView.code"))
        if user is None:
            attach(form, WRONG, None)
            return self._page(form, 401)
        return signin.enter(user, redirect(target))  # type: ignore[arg-type]

    def _page(self, form: ConsoleForm, status: int) -> Any:
        return self.render_template(self.login_template, form=form, asked=request.args.get("next")), status

    @expose("/login/code", methods=["GET", "POST"])
    def code(self) -> Any:
        """The second step: a code of the user whose password was right."""
        if principal() is not None:
            return redirect("/")
        held = signin.half()
        if held is None:
            flash("请重新输入用户名和密码", "warning")
            return redirect(url_for("LoginView.login"))
        form, status = CodeForm(), 200
        if form.validate_on_submit():
            try:
                user = signin.by_code(form.code.data)
            except TooManyAttempts as refused:
                user, status = None, 429
                attach(form, refused.message, None)
            if user is not None:
                return signin.enter(user, redirect(local_path(held["next"])), second=True)  # type: ignore[arg-type]
            if status == 200:
                status = 401
                attach(form, twofactor.WRONG_CODE, "code")
        return _unkept(self.render_template("account/login_code.html", form=form), status)

    @expose(accounts.LINK_PATH, methods=["GET", "POST"])
    def link(self) -> Any:
        """Where a link to set a password leads. Its token is behind the `#`, which no browser sends: a script, or the
        reader, gives it by the form, so that neither a log nor another site's Referer ever holds it."""
        form, status = LinkForm(), 200
        if form.validate_on_submit():
            if principal() is not None:
                sign_out()
            if signin.begin_link(form.token.data or ""):
                return redirect(url_for("LoginView.set_password"))
            attach(form, accounts.LINK_GONE, None)
            form.token.data, status = "", 401
        return _unkept(self.render_template("account/login_link.html", form=form, known=principal()), status)

    @expose("/login/link/password", methods=["GET", "POST"])
    def set_password(self) -> Any:
        """The owner's own password, by the link that was opened in this browser."""
        user = signin.link_user()
        if user is None:
            flash(accounts.LINK_GONE, "warning")
            return redirect(url_for("LoginView.login"))
        form = NewPasswordForm()
        if form.validate_on_submit():
            try:
                return signin.enter(signin.by_link(form.password.data or ""), redirect("/"))  # type: ignore[arg-type]
            except signin.CodeNeeded as needed:
                signin.begin_half(needed.user, "/")
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


class NameForm(ConsoleForm):
    full_name = StringField(
        "姓名", validators=[required("姓名"), Length(max=64, message="最多 64 个字")], filters=[stripped]
    )
    email = StringField(
        "邮箱（选填）",
        render_kw={"type": "email", "autocomplete": "email"},
        validators=[Length(max=200, message="最多 200 个字符")],
        filters=[stripped],
    )


class ProveForm(ConsoleForm):
    password = PasswordField("密码", render_kw=OLD, validators=[required("密码"), Length(max=LONGEST)])
    code = StringField("验证码", render_kw=CODE_INPUT, validators=[Length(max=64)], filters=[stripped])


class ProfileView(BaseView):
    """My account: name, password, sessions, how pages look."""

    route_base = "/account"
    default_view = "profile"

    @expose("/", methods=["GET", "POST"])
    @has_access
    def profile(self) -> Any:
        user = own_row()
        form = NameForm(data={"full_name": user.first_name, "email": user.email})
        if form.validate_on_submit() and _renamed(form, user):
            flash("资料已保存", "success")
            return redirect(url_for("ProfileView.profile"))
        page = self.render_template(
            "account/profile.html", user=user, roles=role_words(g.user.role_names), form=form, tabs=tabs()
        )
        return page, 422 if form.errors else 200

    @expose("/userinfo/", methods=["GET"])
    @has_access
    def userinfo(self) -> Any:
        """FAB's own templates link here."""
        return redirect(url_for("ProfileView.profile"))

    @expose("/security", methods=["GET"])
    @has_access
    def security(self) -> Any:
        user, here = own_row(), websession.current_hash()
        return self.render_template(
            "account/security.html",
            user=user,
            tabs=tabs(),
            second=twofactor.is_on(db.session, user.id),
            codes_left=twofactor.codes_left(db.session, user.id),
            sessions=sorted(websession.sessions_of(db.session, user.id), key=lambda item: item.id_hash != here),
            current=here,
            handle_of=websession.handle_of,
            device_words=device_words,
            listed=websession.LISTED,
            keys=api_keys.live_count(db.session, user.id),
        )

    @expose("/password", methods=["GET", "POST"])
    @has_access
    def password(self) -> Any:
        form, user = PasswordForm(), own_row()
        if form.validate_on_submit() and _changed(form, user):
            sign_in(user)  # a new id and generation for this session; the others have ended
            flash("密码已修改，其他设备上的登录已结束", "success")
            return redirect(url_for("ProfileView.security"))
        page = self.render_template("account/password.html", form=form, must=g.user.must_change_password)
        return page, 422 if form.errors else 200

    @expose("/sessions/end", methods=["POST"])
    @has_access
    def end_sessions(self) -> Any:
        """End the one session that `session` names, or all but this one, and with `keys` the API keys too."""
        handle, here = request.form.get("session", ""), websession.current_hash() or ""
        if handle and here.startswith(handle):
            raise Refused("请用「退出登录」结束当前的登录")
        if handle:
            ended = websession.end_one(db.session, g.user.id, handle)
        else:
            ended = websession.end_all(db.session, g.user.id, but=here)
            if "keys" in request.form:
                api_keys.revoke_all(db.session(), own_row())
        record(db.session, "sessions_end", subject=own_row(), count=ended)
        db.session.commit()
        flash(f"已结束 {ended} 处登录", "success")
        return redirect(url_for("ProfileView.security"))

    @expose("/confirm", methods=["GET", "POST"])
    @has_access
    def confirm(self) -> Any:
        """Ask for the password (and code) again before something that a stolen session must not do."""
        form, user, target = ProveForm(), own_row(), local_path(request.args.get("next"))
        second, status = twofactor.is_on(db.session, user.id), 200
        if form.validate_on_submit():
            try:
                if signin.prove_again(db.session(), user, form.password.data or "", form.code.data or ""):
                    return redirect(target)
                attach(form, "密码或验证码不正确" if second else "密码不正确", None)
            except TooManyAttempts as refused:
                attach(form, refused.message, None)
                status = 429
        came = local_path(request.referrer)
        cancel = url_for("ProfileView.security") if came == "/" or came.startswith(request.path) else came
        page = self.render_template("account/confirm.html", form=form, second=second, cancel=cancel)
        return page, 422 if form.errors and status == 200 else status

    @expose("/preferences", methods=["GET"])
    @has_access
    def preferences(self) -> Any:
        held = g.user.preferences or {}
        return self.render_template("account/preferences.html", tabs=tabs(), held=held)

    @expose("/preferences", methods=["POST"])
    def prefer(self) -> Any:
        """How pages look and in which language, any of it: for this browser and, as oneself, for the account.

        204, or a redirect to the path that `next` gives.
        """
        known = principal()
        if known is None:
            return redirect(url_for("LoginView.login"))
        chosen = _chosen_look()
        if known.acting is None and chosen:
            user = own_row()
            user.preferences = {**(user.preferences or {}), **chosen}
            db.session.commit()
        if "locale" in chosen:
            session["locale"] = chosen["locale"]
        back = request.form.get("next")
        answer = make_response(redirect(local_path(back))) if back else make_response("", 204)
        secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
        for name in chosen:  # scripts read and write them: they are no secret
            answer.set_cookie(name, chosen[name], max_age=LOOK_LIFE, secure=secure, samesite="Lax")
        return answer


def _chosen_look() -> dict[str, str]:
    """The choices that a form holds; Refused for a value that is none."""
    offered = {**CHOICES, "locale": tuple(current_app.config["LANGUAGES"])}
    given = {name: request.form[name] for name in offered if request.form.get(name)}
    for name, value in given.items():
        if value not in offered[name]:
            raise Refused("没有这个选项")
    return given


def _renamed(form: NameForm, user: User) -> bool:
    try:
        accounts.set_profile(db.session(), user, form.full_name.data or "", form.email.data or "")
        db.session.commit()
    except Refused as refused:
        db.session.rollback()
        attach(form, refused.message, refused.field)
        return False
    return True


def _changed(form: PasswordForm, user: User) -> bool:
    keep = websession.current_hash()
    try:
        accounts.change_own_password(
            db.session(),
            user,
            form.old_password.data or "",
            form.password.data or "",
            keep=keep,
        )
        db.session.commit()
    except Refused as refused:
        db.session.rollback()
        attach(form, refused.message, refused.field)
        return False
    return True


class ReasonForm(ConsoleForm):
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


def shut_language_link(app: Any) -> None:
    """FAB changes the language by GET; its address now only leads to the page where it is chosen."""
    app.view_functions["LocaleView.index"] = lambda locale: redirect(url_for("ProfileView.preferences"))


SETTINGS_VIEWS: tuple[tuple[type[Any], str], ...] = ((UserView, "用户"),)
VIEWS: tuple[type[Any], ...] = (
    LoginView, ProfileView, TwoFactorView, ApiKeyView, LoginAsView, SecurityApi, SwaggerView,
)  # fmt: skip
STAFF_VIEWS: tuple[tuple[type[Any], str], ...] = ((StaffView, "商户用户"),)
