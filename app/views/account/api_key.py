"""API keys (API 密钥) of one's own account: the list, a new one that is shown once, revoking."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, g, make_response, redirect, url_for
from flask_appbuilder import BaseView, expose, has_access
from wtforms import RadioField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length

from app.access import accounts, api_keys
from app.access.roles import ADMIN, AUDITOR, OPERATOR, OWNER, WRITES
from app.console.form.forms import ConsoleForm, attach, required, stripped
from app.console.form.prove import prove_first
from app.console.frame.own import Tab, own_row, refuse_marked, tabs
from app.console.row.changes import say_detail
from app.data.types import words_of
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import say
from app.models import ApiKey, User
from app.models.api_key import KeyScope

LIFETIME_WORDS = {"30": "30 天", "90": "90 天", "365": "一年", "never": "不过期"}
SCOPE_HELP = "密钥能做的不会超过您的角色；角色变化或停用后立即随之变化"
say_detail("scope", words_of(KeyScope))


class KeyForm(ConsoleForm):
    name = StringField(
        "名称",
        description="写明用在哪里，例如「发布脚本」",
        validators=[required("名称"), Length(max=64, message="最多 64 个字")],
        filters=[stripped],
    )
    scope = SelectField(
        "权限范围",
        description=SCOPE_HELP,
        choices=[SelectChoice(str(scope), words) for scope, words in words_of(KeyScope).items()],
        default=str(KeyScope.READ),
    )
    days = RadioField("有效期", default=api_keys.DEFAULT_DAYS)

    def offer(self) -> KeyForm:
        """The lifetimes that this user may choose from."""
        endless = ADMIN in g.principal.role_names
        self.days.choices = [(name, words) for name, words in LIFETIME_WORDS.items() if name != "never" or endless]
        return self


class ApiKeyView(BaseView):
    """My API keys."""

    roles = {ADMIN: WRITES, OPERATOR: WRITES, AUDITOR: WRITES, OWNER: WRITES}  # who has anything to ask the API for
    own_account = True
    above = ("我的账号", "ProfileView.profile")
    account_tabs = (Tab(3, "API 密钥", "list", "key"),)
    route_base = "/account/keys"
    default_view = "list"

    @expose("/", methods=["GET"])
    @has_access
    def list(self) -> Any:
        keys = api_keys.keys_of(db.session, g.user.id)
        return self.render_template("account/keys.html", keys=keys, words=words_of(KeyScope), tabs=tabs())

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        refuse_marked(
            "密码刚通过他人生成的链接设置：24 小时内不能新建 API 密钥", after=(accounts.RESET, accounts.INVITE)
        )
        if (asked := prove_first()) is not None:
            return asked
        form = KeyForm().offer()
        if form.validate_on_submit() and (made := _made(form, own_row())) is not None:
            page = make_response(self.render_template("account/key_shown.html", key=made[0], text=made[1]))
            page.headers["Cache-Control"] = "no-store"
            return page
        return self.render_template("account/key_form.html", form=form), 422 if form.errors else 200

    @expose("/revoke/<pk>", methods=["POST"])
    @has_access
    def revoke(self, pk: str) -> Any:
        key = db.session.get(ApiKey, int(pk))
        if key is None or key.user_id != g.user.id:
            abort(404)
        api_keys.revoke(db.session(), own_row(), key)
        db.session.commit()
        flash(say("密钥「{name}」已撤销", name=key.name), "success")
        return redirect(url_for("ApiKeyView.list"))


def _made(form: KeyForm, user: User) -> tuple[ApiKey, str] | None:
    scope, days = KeyScope(form.scope.data), api_keys.LIFETIMES[form.days.data]
    try:
        made = api_keys.create(db.session(), user, form.name.data or "", scope, days)
        db.session.commit()
    except Refused as refused:
        db.session.rollback()
        attach(form, refused.message, refused.field)
        return None
    return made
