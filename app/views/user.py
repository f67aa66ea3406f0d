"""The platform's users and the merchants' staff: one screen each, both on the platform's side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from flask import abort, current_app, flash, g, redirect, request, url_for
from flask_appbuilder import expose, has_access
from sqlalchemy.orm import Session, joinedload
from wtforms import BooleanField, SelectField, StringField, ValidationError
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length

from app.access import accounts, api_keys, two_factor
from app.access.roles import SETTING, WATCHED, role_words
from app.console import cells
from app.console.base import READ, PlatformView
from app.console.form.forms import ConsoleForm, attach, required, sound, stripped
from app.console.form.prove import prove_first
from app.console.frame.own import refuse_marked
from app.console.frame.palette import hit, matching, plain
from app.console.places import view_named
from app.console.query.filters import condition
from app.console.query.interface import ScopedInterface
from app.console.row.changes import say_detail
from app.console.row.history import in_the_way
from app.data.keys import parse_key
from app.data.types import words_of
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import ours, say
from app.models import ApiKey, AuditEntry, Merchant, User
from app.models.api_key import KeyScope
from app.models.kit.user import MERCHANT_ROLES, PLATFORM_ROLES, ROLE_WORDS

IsPlatforms = condition("平台用户", lambda: User.merchant_id.is_(None))
IsMerchants = condition("商户用户", lambda: User.merchant_id.is_not(None))
# What a form for somebody new begins with, and what is said of the roles.
USUAL_ROLE: dict[tuple[str, ...], str] = {PLATFORM_ROLES: "operator", MERCHANT_ROLES: "staff"}
ROLE_HELP: dict[tuple[str, ...], str] = {
    PLATFORM_ROLES: "管理员可以做全部事情；运营管理商户和小程序，不能管理平台用户和第三方应用；审计只能查看",
    MERCHANT_ROLES: "管理员可以查看小程序和使用接口；员工只能查看；核销员只能进入工作台",
}


class LoginNameField(StringField):
    """A new user's name. `suffix` is what is added to it: the page shows it behind what is typed."""

    def __init__(self, label: str, *, suffix: str, **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.suffix = suffix


def name_field(merchant: Merchant | None) -> LoginNameField:
    """The user name of somebody new."""

    def rule(_form: Any, field: StringField) -> None:
        try:
            accounts.login_name(field.data or "", merchant)
        except Refused as refused:
            raise ValidationError(refused.message) from None

    help_text = "字母、数字和 . _ @ -"
    if merchant is not None:
        help_text = f"字母、数字和 . _ -；登录时填写完整的用户名，例如 zhangsan{merchant.user_suffix}"
    return LoginNameField(
        "用户名",
        validators=[required("用户名"), rule],
        filters=[stripped],
        suffix=merchant.user_suffix if merchant is not None else "",
        description=help_text,
    )


def account_form(roles: tuple[str, ...], *, editing: bool, merchant: Merchant | None = None) -> type[ConsoleForm]:
    """Name, mail, role; the user name when the account is new, the switch when it is not."""
    members: dict[str, Any] = {}
    if not editing:
        members["username"] = name_field(merchant)
    members["full_name"] = StringField("姓名", validators=[Length(max=64, message="最多 64 个字")], filters=[stripped])
    members["email"] = StringField(
        "邮箱（选填）",
        validators=[Length(max=200, message="最多 200 个字符"), sound(accounts.checked_mail)],
        filters=[stripped],
    )
    choices = [SelectChoice(name, ROLE_WORDS[name]) for name in roles]
    members["roles"] = SelectField(
        "角色", choices=choices, default=USUAL_ROLE[roles], validators=[required("角色")], description=ROLE_HELP[roles]
    )
    if editing:
        members["active"] = BooleanField("启用", description="停用后立即退出登录，不能再登录")
    return type("AccountForm", (ConsoleForm,), members)


say_detail("roles", ROLE_WORDS)


class AccountsView(PlatformView):
    """What both screens share. Nobody types or sees a password of another: they are given a link to set one by."""

    datamodel: ClassVar[Any]
    include_route_methods = READ | {"add", "edit", "reset", "reset_second", "revoke_key"}
    show_template = "account/user.html"
    roles_offered: ClassVar[tuple[str, ...]]
    noun = "用户"
    many = "多个用户"
    label_columns = {
        "username": "用户名",
        "first_name": "姓名",
        "roles": "角色",
        "active": "状态",
        "last_login": "上次登录",
        "email": "邮箱",
        "must_change_password": "须改密码",
        "password_changed_at": "密码修改时间",
    }
    search_columns = ["active", "username", "first_name", "last_login"]
    chip_column = "active"
    chip_words = {"1": "启用", "0": "停用"}
    quick_columns = ["username", "first_name"]
    order_columns = ["username", "first_name", "last_login"]
    base_order = ("username", "asc")
    export_columns = ["username", "first_name", "roles", "active", "last_login"]
    export_cells = {"roles": lambda row: role_words(row.role_names)}
    edit_columns = ["active"]  # what the log may take back; names and mail are not in it, roles are given anew
    cells = {
        "active": cells.in_use,
        "roles": lambda row: role_words(row.role_names),
        "must_change_password": lambda row: (
            row.must_change_password if row.password else cells.label("待本人设置", "warn")
        ),
    }

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        merchant = self.merchant_of_new()
        if merchant is None:
            refuse_marked("密码刚由他人重置：24 小时内不能新建平台用户")
        if (asked := prove_first()) is not None:
            return asked  # a new account opens what it is for, for as long as it is there
        form = account_form(self.roles_offered, editing=False, merchant=merchant)()
        if form.validate_on_submit():
            try:
                user = accounts.create_user(
                    db.session(),
                    form.username.data,
                    [form.roles.data],
                    merchant=merchant,
                    full_name=form.full_name.data or "",
                    email=form.email.data or "",
                )
                token = accounts.invite(db.session(), user)
                db.session.commit()
                return self._link_page(user, token, "新建")
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
        title: str = self.add_title
        if merchant:
            title = say("{what}（{merchant}）", what=ours(title), merchant=str(merchant))
        return self._form_page(form, ["username", "full_name", "email", "roles"], title, self.get_redirect())

    def merchant_of_new(self) -> Merchant | None:
        return None

    @expose("/edit/<pk>", methods=["GET", "POST"])
    @has_access
    def edit(self, pk: str) -> Any:
        user = self.found(pk)
        held = next(iter(sorted(user.role_names)), "")
        given = {
            "full_name": user.first_name,
            "email": user.email,
            "roles": held,
            "active": user.active,
        }
        form = account_form(self.roles_offered, editing=True)(data=given)
        if form.validate_on_submit():
            if form.roles.data != held and (asked := prove_first()) is not None:
                return asked
            try:
                change(db.session(), user, form)
                db.session.commit()
                flash(say("已保存{noun}「{name}」", noun=ours(self.noun), name=str(user)), "success")
                if form.roles.data != held and not user.password:
                    flash("该用户还没有设置密码，之前的链接已失效：请用「重置密码」再生成一个", "warning")
                return redirect(url_for(f"{self.endpoint}.show", pk=user.id))
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
        columns = ["full_name", "email", "roles", "active"]
        return self._form_page(
            form,
            columns,
            say("{what}「{name}」", what=ours(self.edit_title), name=str(user)),
            url_for(f"{self.endpoint}.show", pk=pk),
        )

    def _revert(self, row: User, entry: AuditEntry, names: list[str]) -> None:
        in_the_way(self, row, entry, names)
        set_active(db.session(), row, active=bool(entry.before["active"]))
        db.session.commit()

    @expose("/reset/<pk>", methods=["GET", "POST"])
    @has_access
    def reset(self, pk: str) -> Any:
        user = self.found(pk)
        if user.id == g.user.id:
            raise Refused("请在「我的账号」中修改自己的密码")
        if (asked := prove_first()) is not None:
            return asked
        form = ConsoleForm()
        if form.validate_on_submit():
            accounts.check_not_last_admin(db.session(), user)  # the command line may: there nobody is kept out
            token = accounts.reset_password(db.session(), user)
            if "keys" in request.form:
                api_keys.revoke_all(db.session(), user)
            db.session.commit()
            return self._link_page(user, token, "重置")
        return self.render_template(
            "account/reset.html",
            form=form,
            user=user,
            back=self.row_url(user),
            second=two_factor.is_on(db.session, user.id),
            keys=api_keys.live_count(db.session, user.id),
        )

    @expose("/reset_second/<pk>", methods=["GET", "POST"])
    @has_access
    def reset_second(self, pk: str) -> Any:
        """Turn a user's second factor off: the phone is lost, and the recovery codes too."""
        user = self.found(pk)
        if user.id == g.user.id:
            raise Refused("请在「我的账号」中关闭自己的两步验证")
        if (asked := prove_first()) is not None:
            return asked
        form = ConsoleForm()
        if form.validate_on_submit():
            accounts.reset_second_factor(db.session(), user)
            db.session.commit()
            flash(say("已重置「{name}」的两步验证，其登录已全部结束", name=str(user)), "success")
            return redirect(self.row_url(user) or self.get_redirect())
        return self.render_template("account/reset_second.html", form=form, user=user, back=self.row_url(user))

    @expose("/revoke_key/<pk>", methods=["POST"])
    @has_access
    def revoke_key(self, pk: str) -> Any:
        """End an API key of a user of this screen."""
        key = db.session.get(ApiKey, int(pk)) or abort(404)
        user = self.found(key.user_id)
        api_keys.revoke(db.session(), user, key)
        db.session.commit()
        flash(say("「{name}」的密钥「{key}」已撤销", name=str(user), key=key.name), "success")
        return redirect(self.row_url(user) or self.get_redirect())

    def show_context(self, row: Any) -> dict[str, Any]:
        return {
            "keys": api_keys.keys_of(db.session, row.id),
            "words": words_of(KeyScope),
            "second": two_factor.is_on(db.session, row.id),
            "may_revoke": self.may("revoke_key"),
            "may_reset_second": self.may("reset_second") and row.id != g.user.id,
        }

    def _link_page(self, user: User, token: str, done: str) -> Any:
        link = accounts.link_url(current_app, token)
        minutes = int(accounts.LINK_LIFE.total_seconds() // 60)
        return self.render_template(
            "account/link_shown.html", user=user, link=link, done=done, minutes=minutes, back=self.row_url(user)
        )

    def row_links(self, row: Any) -> list[tuple[str, str]]:
        if not self.may("reset") or row.id == g.user.id:
            return []
        return [("重置密码", url_for(f"{self.endpoint}.reset", pk=row.id))]


def change(session: Session, user: User, form: Any) -> None:
    """Apply an edit; a change of role or the switch ends what the user had open."""
    if user.id == g.user.id and (not form.active.data or form.roles.data not in user.role_names):
        raise Refused("不能停用自己或改变自己的角色", field="active")
    accounts.set_profile(session, user, form.full_name.data or "", form.email.data or "")
    if user.role_names != {form.roles.data}:
        accounts.change_roles(session, user, [form.roles.data])
    set_active(session, user, active=form.active.data)


def set_active(session: Session, user: User, *, active: bool) -> None:
    """Enable or disable somebody else, where that is a change."""
    if user.id == g.user.id and not active:
        raise Refused("不能停用自己", field="active")
    if bool(user.active) != active:
        accounts.set_active(session, user, active=active)


class UserView(AccountsView):
    """The platform's own people."""

    roles = SETTING
    nouns = {"ab_user": "用户"}
    icon = "users"
    route_base = "/users"
    datamodel = ScopedInterface(User, eager=("roles",))
    roles_offered = PLATFORM_ROLES
    palette_add = ("新建用户", "user-plus")
    list_title = "平台用户"
    base_filters = [["id", IsPlatforms, True]]
    list_columns = ["username", "first_name", "roles", "active", "last_login"]
    show_sections = [
        ("账号", ["username", "first_name", "email", "roles", "active"]),
        ("登录", ["last_login", "must_change_password", "password_changed_at"]),
    ]

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """The merchants' people, too: by user name and name, each on the screen of its kind."""
        for row in matching(User, [*plain(text, User.username), User.first_name], text, joinedload(User.merchant)):
            view = view_named("StaffView" if row.merchant_id else "UserView")
            if view is not None and view.may("show"):
                hint = " · ".join(part for part in (row.first_name, str(row.merchant or "")) if part)
                yield hit("用户", row.username, hint, url_for(f"{view.endpoint}.show", pk=row.id), "user")


class StaffView(AccountsView):
    """The people of the merchants; new ones are added from their merchant's page."""

    roles = WATCHED
    icon = "users-group"
    route_base = "/staff"
    datamodel = ScopedInterface(User, eager=("roles", "merchant"))
    roles_offered = MERCHANT_ROLES
    noun = "商户用户"
    export_columns = ["username", "first_name", "merchant", "roles", "active", "last_login"]
    base_filters = [["id", IsMerchants, True]]
    search_columns = ["merchant", "active", "username", "first_name", "last_login"]
    order_columns = ["username", "last_login"]
    list_columns = ["username", "first_name", "merchant", "roles", "active", "last_login"]
    show_sections = [
        ("账号", ["username", "first_name", "email", "merchant", "roles", "active"]),
        ("登录", ["last_login", "must_change_password", "password_changed_at"]),
    ]

    def merchant_of_new(self) -> Merchant | None:
        key = parse_key(request.args.get("merchant", ""))
        merchant: Merchant | None = db.session.get(Merchant, key) if key is not None else None
        return merchant or abort(404)

    def may(self, method: str) -> bool:
        """The list's 新建 button has no merchant to give: people are added on the merchant's page."""
        if method == "add" and not request.args.get("merchant"):
            return False
        return super().may(method)
