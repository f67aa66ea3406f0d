"""What one hears of and how (通知设置): the table of kinds and ways, quiet hours, and the channels."""

from __future__ import annotations

import secrets
from datetime import time
from typing import Any

from flask import abort, current_app, flash, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from sqlalchemy import ColumnElement, and_, func, or_, select
from wtforms import BooleanField, StringField
from wtforms.validators import Length

from app.access.principal import current_role_names
from app.access.roles import ALL_WRITE
from app.console.form.forms import CodeField, ConsoleForm, attach, required, stripped
from app.console.form.prove import prove_first
from app.console.frame.bell import may_manage, me
from app.console.frame.own import Tab, refuse_marked
from app.console.row.changes import say_detail
from app.data.engine import insert_missing
from app.data.tenancy import scope_of
from app.data.types import words_of
from app.errors import Refused
from app.extensions import db, the_app
from app.i18n.sentence import ours, say
from app.models import ChannelKind, NotificationChannel, User
from app.models.kit.audit import record
from app.models.kit.notification import NotificationRule
from app.notices import channels, deliveries
from app.notices.channels import Address
from app.notices.kinds import KINDS, Kind, kinds_for

MOST = 20  # channels of one owner
# What is asked for of each kind of channel: (label, help) of the address, and of the secret where there is one.
ASKED: dict[ChannelKind, dict[str, tuple[str, str]]] = {
    ChannelKind.FEISHU: {
        "url": ("Webhook 地址", "飞书群 → 设置 → 群机器人 → 添加「自定义机器人」，复制它的 Webhook 地址"),
        "secret": ("签名密钥（选填）", "机器人的安全设置里开启「签名校验」时填写；加密保存，不再显示"),
    },
    ChannelKind.DINGTALK: {
        "url": ("Webhook 地址", "钉钉群 → 群设置 → 机器人 → 添加「自定义」机器人，复制它的 Webhook 地址"),
        "secret": ("加签密钥（选填）", "安全设置选择「加签」时填写，以 SEC 开头；选择「自定义关键词」时请加入：抖舟"),
    },
    ChannelKind.WECOM: {"url": ("Webhook 地址", "企业微信群 → 消息推送（群机器人）→ 添加后复制 Webhook 地址")},
    ChannelKind.MAIL: {"url": ("邮箱地址", "通知会发到这个邮箱")},
    ChannelKind.WEBHOOK: {
        "url": ("网址", "以 https:// 开头的公网地址；每条通知以 JSON 发送，请求头 X-Douzhou-Signature 带签名"),
    },
}
ICONS = {"mail": "mail", "webhook": "webhook"}
ADDING = {kind: f"添加 {words}" if words.isascii() else f"添加{words}" for kind, words in words_of(ChannelKind).items()}
say_detail("silent", {name: kind.title for name, kind in KINDS.items()})


def settings_allowed() -> int:
    """The reader's number; refused while working as a merchant: these are somebody's own settings."""
    return me() or abort(403)


def visible() -> ColumnElement[bool]:
    """One's own channels and those that one's face shares."""
    shared: ColumnElement[bool] = NotificationChannel.user_id.is_(None)
    if not scope_of(db.session()).is_merchant:
        shared = and_(shared, NotificationChannel.merchant_id.is_(None))
    return or_(NotificationChannel.user_id == me(), shared)


def own_channels() -> list[NotificationChannel]:
    order = (NotificationChannel.user_id.is_(None), NotificationChannel.id)
    return list(db.session.scalars(select(NotificationChannel).where(visible()).order_by(*order)))


def kept(text: str, editing: bool) -> str:
    """A field's help; what is left empty when editing stays as it was."""
    return f"{text}；留空表示不修改" if editing else text


def channel_form(kind: ChannelKind, *, editing: bool) -> type[ConsoleForm]:
    """Name and address, the secret where the service has one, and whose it is."""
    asked = ASKED[kind]
    members: dict[str, Any] = {
        "name": StringField(
            "名称",
            validators=[required("名称"), Length(max=64, message="最多 64 个字")],
            filters=[stripped],
            description="方便您区分，例如「运营值班群」",
        ),
    }
    label, text = asked["url"]
    rules = [] if editing else [required(label)]
    rules.append(Length(max=1000, message="最多 1000 个字符"))
    off = {"autocomplete": "off", "spellcheck": "false"}
    members["url"] = CodeField(label, validators=rules, description=kept(text, editing), render_kw=off)
    if "secret" in asked:
        label, text = asked["secret"]
        members["secret"] = CodeField(
            label,
            validators=[Length(max=200, message="最多 200 个字符")],
            description=kept(text, editing),
            render_kw=off,
        )
    if kind == ChannelKind.WEBHOOK and editing:
        members["renew"] = BooleanField("重新生成签名密钥", description="原来的密钥立即失效")
    if may_manage(None) and not editing:
        members["shared"] = BooleanField(
            "大家共用", description="由管理员维护，适合群机器人；不勾选则只转发您自己的通知"
        )
    return type("ChannelForm", (ConsoleForm,), members)


class NoticeSettingsView(BaseView):
    """One's own rules and channels; administrators also look after those that everybody shares."""

    roles = ALL_WRITE  # everyone's own
    nouns = {"notification_channel": "通知渠道"}
    many = "多个通知渠道"
    above = ("通知", "NoticesView.list")
    account_tabs = (Tab(5, "通知设置", "settings", "bell"),)
    route_base = "/notices/settings"
    default_view = "settings"

    @expose("/", methods=["GET", "POST"])
    @has_access
    def settings(self) -> Any:
        user_id = settings_allowed()
        form, found = ConsoleForm(), own_channels()
        kinds = kinds_for(current_role_names())
        problem = ""
        if form.validate_on_submit():
            try:
                self._save(user_id, kinds, found)
                db.session.commit()
                flash("通知设置已保存", "success")
                return redirect(url_for("NoticeSettingsView.settings"))
            except Refused as refused:
                db.session.rollback()
                problem = refused.message
        user = db.session.get_one(User, user_id)
        rules = {rule.kind: rule for rule in self._rules(user_id)}
        new = next((row for row in found if str(row.id) == request.args.get("added") and row.tested_at is None), None)
        page = self.render_template(
            "console/notices/settings.html",
            title="通知设置",
            kinds=kinds,
            rules=rules,
            form=form,
            problem=problem,
            channels=[_shown(channel) for channel in found],
            added=new and _shown(new),
            quiet=(user.preferences or {}).get("quiet") or {},
            offered=[(kind, words_of(ChannelKind)[kind], icon_of(kind)) for kind in offered()],
        )
        return page, 422 if problem else 200

    def _rules(self, user_id: int) -> list[NotificationRule]:
        return list(db.session.scalars(select(NotificationRule).where(NotificationRule.user_id == user_id)))

    def _new_rule(self, user_id: int, merchant_id: int | None, kind: str) -> NotificationRule:
        values: dict[str, Any] = {"merchant_id": merchant_id, "in_console": True, "channels": []}
        return insert_missing(db.session(), NotificationRule, {"user_id": user_id, "kind": kind}, **values)[0]

    def _save(self, user_id: int, kinds: dict[str, Kind], found: list[NotificationChannel]) -> None:
        """The whole table and the quiet hours as they were sent."""
        user = db.session.get_one(User, user_id)
        rules = {rule.kind: rule for rule in self._rules(user_id)}
        for name in kinds:
            rule = rules.get(name) or self._new_rule(user_id, user.merchant_id, name)
            rule.in_console = f"console.{name}" in request.form
            rule.channels = [channel.id for channel in found if channel.user_id is not None and _ticked(channel, name)]
        for channel in found:
            if channel.user_id is None and may_manage(None):
                channel.kinds = [name for name, kind in kinds.items() if _ticked(channel, name) and not kind.personal]
        user.preferences = {**(user.preferences or {}), "quiet": _quiet_hours()}
        silent = [name for name in kinds if f"console.{name}" not in request.form]
        record(db.session(), "notice_rules", subject=user, silent=silent, quiet=user.preferences["quiet"])

    @expose("/channels/add/<kind>", methods=["GET", "POST"])
    @has_access
    def add_channel(self, kind: str) -> Any:
        user_id = settings_allowed()
        chosen = ChannelKind(kind) if kind in set(offered()) else abort(404)
        if (asked := _owner_first()) is not None:
            return asked
        form = channel_form(chosen, editing=False)()
        if form.validate_on_submit():
            try:
                channel, secret = self._create(user_id, chosen, form)
                db.session.commit()
                return self._added(channel, secret)
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
        return self._form_page(form, chosen, ADDING[chosen])

    def _create(self, user_id: int, kind: ChannelKind, form: Any) -> tuple[NotificationChannel, str]:
        """A new channel, and the signing key that was made for it, which is shown once."""
        made = f"whs_{secrets.token_urlsafe(32)}" if kind == ChannelKind.WEBHOOK else ""
        typed = made or (form.secret.data if "secret" in form else "")
        db.session.rollback()  # a name is looked up: not with a transaction open
        address = channels.address_of(the_app(), kind, to=form.url.data or "", secret=typed or "")
        shared = "shared" in form and form.shared.data
        owner = None if shared else user_id
        if (db.session.scalar(select(func.count(NotificationChannel.id)).where(visible())) or 0) >= 2 * MOST:
            raise Refused(say("通知渠道最多 {most} 个，请先删除不用的", most=2 * MOST))
        merchant_id = db.session.get_one(User, user_id).merchant_id
        channel = NotificationChannel(
            user_id=owner,
            merchant_id=merchant_id,
            kind=kind,
            name=form.name.data,
            hint=channels.hint_of(kind, address),
            kinds=[chosen for chosen in self._chosen() if not KINDS[chosen].personal] if shared else [],
        )
        channel.address = address.packed()
        db.session.add(channel)
        db.session.flush()
        if not shared:
            self._route(user_id, merchant_id, channel.id)
        return channel, made

    def _chosen(self) -> list[str]:
        return [name for name in kinds_for(current_role_names()) if name in request.form.getlist("kinds")]

    def _route(self, user_id: int, merchant_id: int | None, channel_id: int) -> None:
        """Send the kinds that were ticked through a new channel of one's own."""
        rules = {rule.kind: rule for rule in self._rules(user_id)}
        for name in self._chosen():
            rule = rules.get(name) or self._new_rule(user_id, merchant_id, name)
            rule.channels = [*(rule.channels or []), channel_id]

    def _added(self, channel: NotificationChannel, secret: str) -> Any:
        if secret:
            return self._secret_page(channel, secret)
        return redirect(url_for("NoticeSettingsView.settings", added=channel.id))

    def _secret_page(self, channel: NotificationChannel, secret: str) -> Any:
        return self.render_template(
            "console/notices/secret.html",
            title="签名密钥",
            channel=_shown(channel),
            secret=secret,
            header=channels.SIGNATURE,
        )

    def _form_page(self, form: Any, kind: ChannelKind, title: str, channel: NotificationChannel | None = None) -> Any:
        kinds = kinds_for(current_role_names())
        ticked = (
            self._chosen() if request.method == "POST" else [n for n, k in kinds.items() if k.level in {"warn", "bad"}]
        )
        names = [name for name in ("name", "url", "secret", "renew", "shared") if name in form]
        page = self.render_template(
            "console/notices/channel.html",
            title=title,
            form=form,
            names=names,
            kinds=kinds,
            ticked=ticked,
            channel=channel and _shown(channel),
            asks_kinds=channel is None,
        )
        return page, 422 if form.errors else 200

    @expose("/channels/<int:pk>", methods=["GET", "POST"])
    @has_access
    def edit_channel(self, pk: int) -> Any:
        channel = self._managed(pk)
        if (asked := _owner_first()) is not None:
            return asked
        form = channel_form(channel.kind, editing=True)(data={"name": channel.name})
        if form.validate_on_submit():
            try:
                secret = self._change(channel, form)
                db.session.commit()
                if secret:
                    return self._secret_page(channel, secret)
                flash(say("已保存「{name}」", name=channel.name), "success")
                return redirect(url_for("NoticeSettingsView.settings"))
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
        return self._form_page(form, channel.kind, say("编辑「{name}」", name=channel.name), channel)

    def _change(self, channel: NotificationChannel, form: Any) -> str:
        """Name, and address or secret where new ones were typed; gives a signing key that was made anew."""
        made = f"whs_{secrets.token_urlsafe(32)}" if "renew" in form and form.renew.data else ""
        typed, given = form.url.data or "", made or ("secret" in form and form.secret.data) or ""
        if typed or given:
            kind, held = channel.kind, channels.opened(channel) or Address("")
            db.session.rollback()  # as above
            address = channels.address_of(the_app(), kind, to=typed or held.to, secret=given or held.secret)
            channel.address, channel.hint, channel.fault = address.packed(), channels.hint_of(kind, address), ""
        channel.name = form.name.data
        return made

    @expose("/channels/<int:pk>/test", methods=["POST"])
    @has_access
    def test_channel(self, pk: int) -> Any:
        channel = self._managed(pk)
        key, name = channel.id, channel.name
        record(db.session(), "channel_test", subject=channel)
        db.session.commit()  # no transaction stays open while the message is on its way
        try:
            sent, words = deliveries.test(the_app(), key)
            flash(
                say("测试消息已发送到「{name}」", name=name)
                if sent
                else say("「{name}」测试失败：{why}", name=name, why=ours(words)),
                "success" if sent else "danger",
            )
        except Refused as refused:
            flash(refused.message, "danger")
        return redirect(url_for("NoticeSettingsView.settings"))

    @expose("/channels/<int:pk>/switch", methods=["POST"])
    @has_access
    def switch_channel(self, pk: int) -> Any:
        channel = self._managed(pk)
        channel.active = not channel.active
        db.session.commit()
        flash(say("已启用「{name}」" if channel.active else "已停用「{name}」", name=channel.name), "success")
        return redirect(url_for("NoticeSettingsView.settings"))

    @expose("/channels/<int:pk>/delete", methods=["POST"])
    @has_access
    def delete_channel(self, pk: int) -> Any:
        channel = self._managed(pk)
        name = channel.name
        for rule in self._rules(me()):
            if channel.id in (rule.channels or []):
                rule.channels = [item for item in rule.channels if item != channel.id]
        db.session.delete(channel)
        db.session.commit()
        flash(say("已删除「{name}」", name=name), "success")
        return redirect(url_for("NoticeSettingsView.settings"))

    def _managed(self, pk: int) -> NotificationChannel:
        settings_allowed()
        found = select(NotificationChannel).where(NotificationChannel.id == pk, visible())
        channel: NotificationChannel | None = db.session.scalar(found)
        if channel is None or not may_manage(channel.user_id):
            abort(404)
        return channel


def _owner_first() -> Any:
    """Where news go, and what signs them, is its owner's: a way to prove that, None when it is proved."""
    refuse_marked("密码刚由他人重置：24 小时内不能添加或修改通知渠道")
    return prove_first()


def offered() -> list[ChannelKind]:
    """The kinds of channel that can be added; mail only where a server is set."""
    return [kind for kind in ChannelKind if kind != ChannelKind.MAIL or current_app.config["SMTP_URL"]]


def icon_of(kind: ChannelKind) -> str:
    return ICONS.get(kind, "message-circle")


def _shown(channel: NotificationChannel) -> dict[str, Any]:
    """A channel for the templates: never its address."""
    return {
        "id": channel.id,
        "name": channel.name,
        "words": words_of(ChannelKind)[channel.kind],
        "hint": channel.hint,
        "icon": icon_of(channel.kind),
        "active": channel.active,
        "fault": channel.fault,
        "tested_at": channel.tested_at,
        "shared": channel.user_id is None,
        "kinds": channel.kinds or [],
        "mine": may_manage(channel.user_id),
    }


def _ticked(channel: NotificationChannel, name: str) -> bool:
    return f"channel.{channel.id}.{name}" in request.form


def _quiet_hours() -> dict[str, Any]:
    begin, end = request.form.get("quiet_from", "").strip(), request.form.get("quiet_to", "").strip()
    if not begin and not end:
        return {}
    try:
        parts = [time.fromisoformat(text).strftime("%H:%M") for text in (begin, end)]
    except ValueError:
        raise Refused("免打扰时段应填写开始和结束两个时间，例如 22:00 至 08:00") from None
    if parts[0] == parts[1]:
        raise Refused("免打扰的开始和结束时间不能相同")
    return {"from": parts[0], "to": parts[1], "urgent": "quiet_urgent" in request.form}
