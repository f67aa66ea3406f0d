"""One's own account (个人设置)."""

from __future__ import annotations

from typing import Any

from flask import current_app, flash, g, make_response, redirect, request, session, url_for
from flask_appbuilder import BaseView, expose, has_access
from wtforms import PasswordField, StringField
from wtforms.validators import Length

from app.access import accounts, api_keys, sessions, two_factor
from app.access.browser import sign_in
from app.access.passwords import LONGEST
from app.access.principal import principal
from app.access.roles import ALL_WRITE, role_words
from app.access.sign_in import (
    prove_again,
)
from app.access.throttle import TooManyAttempts
from app.console.form.forms import CodeField, ConsoleForm, attach, required, sound, stripped
from app.console.frame.own import Tab, device_words, local_path, own_row, tabs
from app.console.frame.shell import CHOICES
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import say
from app.models import User
from app.models.kit.audit import record
from app.views.account.login import CODE_INPUT, OLD, NewPasswordForm

LOOK_LIFE = 365 * 24 * 3600  # seconds that a browser keeps how its user wants pages to look


class PasswordForm(NewPasswordForm):
    old_password = PasswordField("当前密码", render_kw=OLD, validators=[required("当前密码"), Length(max=LONGEST)])


class NameForm(ConsoleForm):
    full_name = StringField(
        "姓名", validators=[required("姓名"), Length(max=64, message="最多 64 个字")], filters=[stripped]
    )
    email = StringField(
        "邮箱（选填）",
        render_kw={"type": "email", "autocomplete": "email"},
        validators=[Length(max=200, message="最多 200 个字符"), sound(accounts.checked_mail)],
        filters=[stripped],
    )


class ProveForm(ConsoleForm):
    password = PasswordField("密码", render_kw=OLD, validators=[required("密码"), Length(max=LONGEST)])
    code = CodeField("验证码", render_kw=CODE_INPUT, validators=[Length(max=64)])


class ProfileView(BaseView):
    """My account: name, password, sessions, how pages look."""

    roles = ALL_WRITE
    own_account = True
    before_change, before_enrolment = ("password",), ("confirm",)
    above = ("我的账号", "ProfileView.profile")
    account_tabs = (
        Tab(1, "资料", "profile", "user-circle"),
        Tab(2, "安全", "security", "shield-check"),
        Tab(4, "偏好", "preferences", "adjustments-horizontal"),
    )
    palette_pages = (("修改密码", "password", "password"), ("两步验证", "security", "shield-lock"))
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
        user, here = own_row(), sessions.current_hash()
        return self.render_template(
            "account/security.html",
            user=user,
            tabs=tabs(),
            second=two_factor.is_on(db.session, user.id),
            codes_left=two_factor.codes_left(db.session, user.id),
            sessions=sorted(sessions.sessions_of(db.session, user.id), key=lambda item: item.id_hash != here),
            current=here,
            handle_of=sessions.handle_of,
            device_words=device_words,
            listed=sessions.LISTED,
            keys=api_keys.live_count(db.session, user.id),
        )

    @expose("/password", methods=["GET", "POST"])
    @has_access
    def password(self) -> Any:
        form, user = PasswordForm(), own_row()
        form.user_name = user.username
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
        handle, here = request.form.get("session", ""), sessions.current_hash() or ""
        if handle and here.startswith(handle):
            raise Refused("请用「退出登录」结束当前的登录")
        if handle:
            ended = sessions.end_one(db.session, g.user.id, handle)
        else:
            ended = sessions.end_all(db.session, g.user.id, but=here)
            if "keys" in request.form:
                api_keys.revoke_all(db.session(), own_row())
        record(db.session, "sessions_end", subject=own_row(), count=ended)
        db.session.commit()
        flash(say("已结束 {count} 处登录", count=ended), "success")
        return redirect(url_for("ProfileView.security"))

    @expose("/confirm", methods=["GET", "POST"])
    @has_access
    def confirm(self) -> Any:
        """Ask for the password (and code) again before something that a stolen session must not do."""
        form, user, target = ProveForm(), own_row(), local_path(request.args.get("next"))
        second, status = two_factor.is_on(db.session, user.id), 200
        if form.validate_on_submit():
            try:
                if prove_again(db.session(), user, form.password.data or "", form.code.data or ""):
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

    open_to_all = ("prefer",)  # the log-in page has a language and a theme, too

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
    keep = sessions.current_hash()
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
