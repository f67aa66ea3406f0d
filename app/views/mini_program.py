"""Mini-programs (小程序): the fleet at a glance, one app's stages and timeline, and those that wait to be claimed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from flask import abort, current_app, flash, redirect, url_for
from flask_appbuilder import expose, has_access
from flask_appbuilder.security.decorators import permission_name
from markupsafe import Markup, escape
from sqlalchemy import ColumnElement, select

from app.access.roles import OWNER, READS, STAFF, WATCHED
from app.addresses import is_address
from app.console import cells
from app.console.base import READ, ConsoleView, MerchantFace, PlatformView
from app.console.form.forms import ConsoleForm, RowSelect, attach, chosen
from app.console.frame.palette import matching, plain, row_hit
from app.console.operate.actions import OperationActions, operate_url
from app.console.places import page_for
from app.console.query.filters import condition
from app.console.query.interface import ScopedInterface
from app.console.row.tabs import Panel, Related
from app.console.words import tone, word
from app.data import storage
from app.data.clock import utcnow
from app.data.types import words_of
from app.errors import Refused
from app.extensions import appbuilder, db
from app.i18n.html import html
from app.i18n.sentence import Foreign, ours, said, say
from app.models import (
    AuthorizationState,
    Merchant,
    MiniProgram,
    VersionEvent,
    VersionState,
)
from app.models.mini_program import NEEDED_PERMISSIONS, PERMISSION_WORDS
from app.models.version import EVENT_WORDS
from app.operations import fleet, icons
from app.operations.onboarding import ownership
from app.operations.registry import OPERATIONS

IsClaimed = condition("已认领", fleet.claimed)
IsUnclaimed = condition("待认领", lambda: MiniProgram.merchant_id.is_(None))


def stuck() -> ColumnElement[bool]:
    """Audits that have waited for longer than the setting allows."""
    return fleet.stuck(timedelta(hours=current_app.config["AUDIT_STUCK_HOURS"]))


FLAGS = {
    "lapsing": ("授权 7 天内到期", condition("授权 7 天内到期", fleet.lapsing)),
    "stuck": ("审核超时未出结果", condition("审核超时未出结果", stuck)),
    "lacking": ("缺少必要权限", condition("缺少必要权限", fleet.lacking)),
    "uploaded": ("已上传", condition("已上传", fleet.uploaded)),
    "live": ("已上线", condition("已上线", fleet.live)),
    "foreign": ("非模板上传", condition("非模板上传", fleet.foreign)),
    "lost": ("授权失效", condition("授权失效", fleet.lost)),
}


def avatar(row: MiniProgram) -> Markup:
    """The icon as we keep it; before it is fetched, the first character of the name. Few letters: lists have many."""
    page = page_for("mini_program", row.id)
    if row.icon_key and page:
        address = f"{page.replace('/show/', '/picture/')}?{row.icon_key[-13:-5]}"  # one class has both routes
        return html(f'<img class="avatar" src="{escape(address)}" alt="" loading="lazy">')
    first = next((letter for letter in row.name if letter.isalnum()), "")
    shown = f'class="avatar" data-first="{escape(first.upper())}"' if first else 'class="avatar icon i-apps"'
    return html(f"<i {shown}></i>")


def named(row: MiniProgram) -> Markup:
    """Icon, name over appid."""
    name, url = f"<b>{escape(row.name or said('未命名'))}</b>", page_for("mini_program", row.id)
    link = f'<a href="{url}">{name}</a>' if url else name
    return html(f'<span class="two-lines">{avatar(row)}{link}{cells.copyable(row.appid)}</span>')


# In the audit's column a version that went on to be released reads as what the audit made of it.
AUDIT_WORDS = words_of(VersionState).but({"released": "已发布"})


def stage_cell(version: str, state: Any = None) -> Markup | str:
    if not version:
        return cells.DASH
    if not state:
        return escape(version)
    return html(f"{escape(version)} {cells.state(state, AUDIT_WORDS)}")


def token_cell(row: MiniProgram) -> Markup | str:
    """How long the authorisation lasts without a refresh; red below a week."""
    if row.token_fault:
        return cells.label("令牌故障", "bad")
    if row.state != AuthorizationState.AUTHORIZED or row.refresh_expires_at is None:
        return cells.DASH
    left = row.refresh_expires_at - utcnow()
    if left <= timedelta(0):
        return cells.label("已到期", "bad")
    return cells.label(f"剩 {cells.span_words(left)}", "bad" if left < fleet.LAPSING else "good")


def missing_cell(row: MiniProgram) -> Markup | str:
    return cells.label(f"缺 {'、'.join(row.missing_permissions)}", "bad") if row.missing_permissions else cells.DASH


def merchant_cell(row: Any) -> Any:
    if row.merchant_id is None:
        return cells.label("待认领", "warn")
    return cells.link(page_for("merchant", row.merchant_id), row.merchant)


def permission_words(row: MiniProgram) -> Markup | str:
    """Granted permission sets in words; needed ones that are missing in red."""
    granted = [cells.label(PERMISSION_WORDS.get(item, f"权限集 {item}"), "good") for item in row.permissions or []]
    if row.state == AuthorizationState.AUTHORIZED:
        lacking = [item for item in NEEDED_PERMISSIONS if item not in (row.permissions or [])]
        granted += [cells.label(f"缺少：{PERMISSION_WORDS[item]}", "bad") for item in lacking]
    return Markup(" ").join(granted) or cells.DASH


NOT_LISTED = (
    "intro",
    "icon_url",
    "icon_due_at",
    "subject_verified",
    "info",
    "info_at",
    "authorized_at",
    "unauthorized_at",
    "audit_since",
    "live_template_id",
    "rollback_requested_at",
    "poll_at",
    "synced_at",
    "remarks",
    "created_at",
    "changed_at",
)


SHOWN_EVENTS = 5
YEAR = 365 * 24 * 3600
EVENTS = Panel("events", "发布时间线", "console/show/events.html", lambda row: {"events": release_events(row)})


class _MiniProgramPages(OperationActions, ConsoleView):
    """Mini-programs as both faces have them."""

    icon = "device-mobile"
    palette_key = "p"
    noun = "小程序"
    many = "多个小程序"
    list_columns = [
        "name",
        "merchant",
        "state",
        "uploaded_version",
        "audit_version",
        "live_version",
        "token",
        "missing",
    ]
    column_words = {"audit_state": AUDIT_WORDS}
    label_columns = {
        "name": "小程序",
        "state": "授权",
        "token": "授权有效期",
        "missing": "缺少权限",
        "stage": "当前阶段",
        "uploaded_version": "测试版本",
        "audit_version": "审核版本",
        "live_version": "线上版本",
        "subject_name": "主体名称",
        "permissions": "已授权权限",
    }
    quick_columns = ["name", "appid", "subject_name"]
    cells = {
        "name": named,
        "token": token_cell,
        "missing": missing_cell,
        "merchant": merchant_cell,
        "uploaded_version": lambda row: stage_cell(row.uploaded_version),
        "audit_version": lambda row: stage_cell(row.audit_version, row.audit_state),
        "live_version": lambda row: stage_cell(row.live_version),
        "permissions": permission_words,
    }
    export_columns = [
        "name",
        "appid",
        "state",
        "uploaded_version",
        "audit_version",
        "audit_state",
        "live_version",
        "subject_name",
        "authorized_at",
        "refresh_expires_at",
        "missing",
        "merchant",
        "third_party_app",
        "synced_at",
        "created_at",
    ]
    export_cells = {"missing": lambda row: "、".join(row.missing_permissions)}
    include_route_methods = READ | {"picture"}
    show_template = "console/mini_program.html"
    copied = "appid"
    show_sections = [
        ("基本信息", ["appid", "intro", "subject_name", "subject_verified", "info_at"]),
        ("授权", ["state", "permissions", "authorized_at", "refresh_expires_at", "token_fault"]),
        ("归属", ["merchant", "third_party_app", "synced_at", "remarks", "created_at"]),
    ]

    @expose("/picture/<pk>", methods=["GET"])
    @has_access
    @permission_name("show")
    def picture(self, pk: str) -> Any:
        """The kept icon; its page's readers may see it. 404 while there is none."""
        row = self.found(pk)
        try:
            content = storage.read(row.icon_key) if row.icon_key else abort(404)
        except (FileNotFoundError, ValueError):  # gone, or never a key
            abort(404)
        answer = current_app.response_class(content, mimetype=icons.MIMETYPE)
        answer.cache_control.private = answer.cache_control.immutable = True
        answer.cache_control.max_age = YEAR
        return answer

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By name, appid and the name of its subject."""
        columns = [MiniProgram.name, *plain(text, MiniProgram.appid), MiniProgram.subject_name]
        for row in matching(MiniProgram, columns, text):
            yield row_hit(self, row, str(row), (row.appid, said(word(row.state)), row.subject_name))

    def states(self, row: Any) -> list[Any]:
        token = token_cell(row)
        return [self.cell(row, "state"), *([token] if token != cells.DASH else [])]

    def next_action(self, row: Any) -> Any:
        return next_step(row, {op.name for op in self.offered()})

    def show_context(self, row: Any) -> dict[str, Any]:
        return {"avatar": avatar(row), "steps": steps(row), "events": release_events(row, SHOWN_EVENTS + 1)}


class MiniProgramView(_MiniProgramPages, PlatformView):
    """All mini-programs that belong to a merchant."""

    roles = WATCHED
    datamodel = ScopedInterface(MiniProgram, eager=("merchant",), leave=NOT_LISTED, always=("merchant",))
    include_route_methods = READ | {"edit", "picture"}
    search_columns = [
        "name",
        "merchant",
        "state",
        "audit_state",
        "uploaded_version",
        "live_version",
        "live_template_id",
        "third_party_app",
        "subject_name",
        "refresh_expires_at",
        "created_at",
    ]
    ahead_columns = ("refresh_expires_at",)
    chip_column = "audit_state"
    chip_words = {
        str(state): AUDIT_WORDS[state]
        for state in (VersionState.AUDITING, VersionState.APPROVED, VersionState.REJECTED)
    }
    chip_flags = ("live", "lapsing", "stuck", "lacking", "lost")
    bulk_columns = inline_columns = ["remarks"]
    empty_hint = "商户用授权链接扫码同意后，小程序会自动出现在这里。"
    order_columns = ["name", "merchant", "state"]
    base_filters = [["id", IsClaimed, True]]
    whole = True  # see `found`
    flags = FLAGS
    edit_columns = ["remarks"]
    tabs = (
        EVENTS,
        Related("versions", "版本", "VersionView", "mini_program", hide=("merchant",)),
        Related("runs", "操作记录", "OperationRunView", "mini_program", hide=("subject",)),
    )

    def found(self, pk: Any) -> Any:
        row = self.datamodel.get(pk)  # one that waits to be claimed has this page too
        return row if row is not None else super().found(pk)


class UnclaimedMiniProgramView(PlatformView):
    """Authorised, but no merchant is known (待认领): a person says whose it is."""

    roles = WATCHED
    icon = "progress-help"
    datamodel = ScopedInterface(MiniProgram, eager=("third_party_app",))
    palette_key = "u"
    include_route_methods = READ | {"claim"}
    noun = list_title = "待认领小程序"
    intro = "商户完成了授权，但浏览器没有回到控制台，因此不知道属于哪个商户。请为每个小程序选择商户。"
    empty_words = "没有待认领的小程序"
    list_columns = ["name", "third_party_app", "state", "authorized_at", "subject_name"]
    label_columns = {"name": "小程序", "state": "授权", "subject_name": "主体名称"}
    quick_columns = ["name", "appid", "subject_name"]
    search_columns = ["state", "third_party_app", "authorized_at"]
    empty_title = "没有待认领的小程序"
    empty_hint = "授权后没有回到控制台的小程序会在这里等待认领。"
    order_columns = ["authorized_at", "name"]
    base_order = ("authorized_at", "desc")
    base_filters = [["id", IsUnclaimed, True]]
    cells = {"name": named}
    show_sections = [("授权", ["name", "third_party_app", "state", "authorized_at", "subject_name"])]

    def row_links(self, row: Any) -> list[tuple[str, str]]:
        return [("认领到商户", url_for("UnclaimedMiniProgramView.claim", pk=row.id))] if self.may("claim") else []

    @expose("/claim/<pk>", methods=["GET", "POST"])
    @has_access
    def claim(self, pk: str) -> Any:
        row = self.found(pk)
        form = claim_form(self)()
        if form.is_submitted() and form.validate():
            try:
                ownership.claim(db.session(), row, form.merchant.data)
                flash(
                    say("「{name}」已认领到「{merchant}」", name=str(row), merchant=str(form.merchant.data)), "success"
                )
                return redirect(url_for("MiniProgramView.show", pk=row.id))
            except Refused as refused:
                db.session.rollback()
                attach(form, refused.message, refused.field)
        return self._form_page(form, ["merchant"], say("认领「{name}」", name=str(row)), self.get_redirect())

    def related_field(self, column: str) -> type[Any] | None:
        return Merchant if column == "merchant" else super().related_field(column)


def claim_form(view: Any) -> type[ConsoleForm]:
    """Choose the merchant of an app."""
    field = RowSelect(
        "商户",
        Merchant,
        lambda: view.choices_url("merchant"),
        lambda: db.session,
        validators=[chosen("商户")],
        description="认领后小程序及其版本、操作记录归该商户所有",
    )
    return type("ClaimForm", (ConsoleForm,), {"merchant": field})


class MyMiniProgramView(_MiniProgramPages, MerchantFace):
    """A merchant's own mini-program: where it stands."""

    roles = {OWNER: READS, STAFF: READS}
    datamodel = ScopedInterface(MiniProgram, leave=NOT_LISTED)
    list_title = "我的小程序"
    open_columns = frozenset(
        {
            *("name", "appid", "intro", "subject_name", "subject_verified"),
            *("state", "permissions", "authorized_at"),
            *("uploaded_version", "audit_version", "audit_state", "live_version"),
        }
    )
    order_columns = ["name"]
    operations = ["submit_audit"]
    batched = False
    tabs = (EVENTS, Related("versions", "版本", "MyVersionView", "mini_program"))


def release_events(row: MiniProgram, most: int = 60) -> list[dict[str, Any]]:
    """The newest lines of a mini-program's release timeline, for the page."""
    found = select(VersionEvent).where(VersionEvent.mini_program_id == row.id)
    newest = db.session.scalars(found.order_by(VersionEvent.id.desc()).limit(most))
    return [event_view(event) for event in newest]


def steps(row: MiniProgram) -> list[dict[str, str]]:
    """授权 → 上传 → 审核 → 上线, each done, current or to come, with its version."""
    authorized = row.state == AuthorizationState.AUTHORIZED
    found = [
        ("授权", ours(word(row.state)), "good" if authorized else "bad"),
        ("上传", Foreign(row.uploaded_version), "good" if row.uploaded_version else ""),
        ("审核", audit_words(row), tone(row.audit_state, AUDIT_WORDS) if row.audit_version else ""),
        ("上线", Foreign(row.live_version), "good" if row.live_version else ""),
    ]
    return [{"title": title, "text": text or say("未开始"), "tone": colour or "mute"} for title, text, colour in found]


def audit_words(row: MiniProgram) -> str:
    """The version in audit with its state: 1.0.2 审核中."""
    if not row.audit_state:
        return Foreign(row.audit_version)
    words = ours(AUDIT_WORDS[VersionState(row.audit_state)])
    return say("{version} {what}", version=row.audit_version, what=words)


def next_step(row: MiniProgram, may: set[str]) -> dict[str, str] | None:
    """The one thing to do next: a sentence, and the button that does it where the user may."""
    sentence, name = _next(row)
    if sentence is None:
        return None
    if name == "link" and row.merchant_id and _allowed("can_add", "AuthorizationView"):
        url = url_for("AuthorizationView.add", merchant=row.merchant_id)
        return {"text": sentence, "label": "生成授权链接", "url": url}
    if name == "claim" and _allowed("can_claim", "UnclaimedMiniProgramView"):
        return {"text": sentence, "label": "认领", "url": url_for("UnclaimedMiniProgramView.claim", pk=row.id)}
    if name in may:
        return {"text": sentence, "label": OPERATIONS[name].title, "url": operate_url(name, row.id)}
    return {"text": sentence, "label": "", "url": ""}


def _allowed(permission: str, view: str) -> bool:
    return bool(appbuilder().sm.has_access(permission, view))


def _next(row: MiniProgram) -> tuple[str | None, str]:
    if row.state != AuthorizationState.AUTHORIZED:
        return "商户尚未授权或授权已失效：请发送授权链接让商户重新授权", "link"
    if row.merchant_id is None:
        return "小程序还没有商户：请先认领", "claim"
    if row.missing_permissions:
        missing = [ours(name) for name in row.missing_permissions]
        return say("缺少权限「{missing}」：请让商户重新授权并勾选", missing=missing), "link"
    if row.audit_state == VersionState.APPROVED and row.audit_version != row.live_version:
        return say("版本 {number} 已通过审核，可以发布", number=row.audit_version), "release"
    if row.audit_state == VersionState.AUDITING:
        return say("版本 {number} 审核中，通过后会在这里提示发布", number=row.audit_version), ""
    if row.audit_state == VersionState.REJECTED and row.audit_version == row.uploaded_version:
        return say("版本 {number} 被驳回：请按驳回原因修改后重新上传", number=row.audit_version), "upload_code"
    if row.uploaded_version and row.uploaded_version not in {row.live_version, row.audit_version}:
        return say("测试版本 {number} 已上传，可以提交审核", number=row.uploaded_version), "submit_audit"
    if not row.uploaded_version and not row.live_version:
        return "还没有上传代码：请选择模板上传", "upload_code"
    return None, ""


TYPED = frozenset({"uploaded", "auditing", "note"})  # events whose text somebody typed


def event_view(event: VersionEvent) -> dict[str, Any]:
    """One line of the timeline for the page."""
    detail = event.detail or {}
    reasons, guides = remarks_of(detail.get("reasons") or {})
    _notes, attachments = remarks_of(detail.get("attachments") or {})
    return {
        "at": cells.clock(event.at),
        "words": EVENT_WORDS.get(event.kind, event.kind),
        "tone": tone(event.kind, EVENT_WORDS),
        "number": event.number,
        "who": event.actor_name,
        "log_id": event.log_id,
        "text": event.text if event.kind in TYPED else said(event.text),
        "run_id": event.run_id,
        "reasons": reasons,
        "links": [
            *((say("整改指引 {name}", name=name) if name else "整改指引", url) for name, url in guides),
            *((say("附件 {name}", name=name), url) for name, url in attachments),
        ],
    }


def remarks_of(detail: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """Douyin's reasons and attachments, however deep they stand: (sentences, [(text, https address)])."""
    texts: list[str] = []
    links: list[tuple[str, str]] = []

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and is_address(str(value.get("link", ""))):
            links.append((str(value.get("name") or "整改指引"), str(value["link"])))
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, str(key))
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner, name)
        elif isinstance(value, str) and is_address(value):
            links.append((name, value))
        elif isinstance(value, str) and value:
            texts.append(f"{name}：{value}" if name else value)

    walk(detail, "")
    return texts, links
