"""Notifications (通知): the bell, one's own list, and what was sent through channels."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, flash, g, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import joinedload

from app.access.principal import current_role_names, principal
from app.access.roles import ALL_WRITE
from app.console import cells
from app.console.places import page_for
from app.data.tenancy import scope_of
from app.data.types import words_of
from app.errors import Refused
from app.extensions import appbuilder, db
from app.i18n.sentence import say
from app.models.kit.notification import ChannelKind, DeliveryState, Notification, NotificationDelivery
from app.notices import deliveries, inbox
from app.notices.kinds import ADMIN, KINDS, OWNER, kinds_for

PAGE = 25
PANEL = 20
TONES = {"good": "good", "warn": "warn", "bad": "bad"}
ICONS = {"good": "circle-check", "warn": "alert-triangle", "bad": "alert-circle"}


def subject_url(table: str, number: int | None) -> str | None:
    """The page that a piece of news is about, the first one that the reader may open."""
    lists = next((view for view in current_app.extensions["screens"] if getattr(view, "tells_of", "") == table), None)
    if lists is not None:
        endpoint, method = f"{lists.__name__}.{lists.default_view}", f"can_{lists.default_view}"
        return url_for(endpoint) if appbuilder().sm.has_access(method, lists.__name__) else None
    return page_for(table, number) if number is not None else None


def note_cells(row: Notification) -> dict[str, Any]:
    """One notification for the templates."""
    kind = KINDS.get(row.kind)
    return {
        "id": row.id,
        "title": row.title,
        "body": row.body,
        "kind": kind.title if kind else row.kind,
        "at": row.at,
        "tone": TONES.get(row.level, "mute"),
        "icon": ICONS.get(row.level, "info-circle"),
        "read": row.read_at is not None,
        "url": subject_url(row.subject_type, row.subject_id),
    }


def me() -> int:
    """The reader's number; whoever works as a merchant (登录商户) has no notifications there."""
    known = principal()
    return int(g.user.id) if known is not None and known.acting is None else 0


def page_number() -> int:
    text = request.args.get("page", "1")
    return min(max(int(text), 1), 10_000) if text.isdigit() and len(text) < 7 else 1


def own_deliveries() -> ColumnElement[bool]:
    """Sendings through one's own channels and those that the reader's face shares."""
    shared: ColumnElement[bool] = NotificationDelivery.user_id.is_(None)
    if not scope_of(db.session()).is_merchant:
        shared = and_(shared, NotificationDelivery.merchant_id.is_(None))
    return or_(NotificationDelivery.user_id == me(), shared)


class NoticesView(BaseView):
    """The reader's own notifications; nobody else's exist here."""

    roles = ALL_WRITE  # everyone's own
    above = ("通知", "NoticesView.list")
    route_base = "/notices"
    default_view = "list"

    @expose("/", methods=["GET"])
    @has_access
    def list(self) -> Any:
        kinds = kinds_for(current_role_names())
        kind, only_unread, page = request.args.get("kind", ""), request.args.get("unread") == "1", page_number()
        statement = select(Notification).where(Notification.user_id == me())
        if kind in kinds:
            statement = statement.where(Notification.kind == kind)
        if only_unread:
            statement = statement.where(Notification.read_at.is_(None))
        rows = _page_of(statement.order_by(Notification.id.desc()), page)
        return self.render_template(
            "console/notices/list.html",
            title="通知",
            rows=[note_cells(row) for row in rows[:PAGE]],
            kinds=kinds,
            kind=kind if kind in kinds else "",
            only_unread=only_unread,
            page=page,
            more=len(rows) > PAGE,
            unread=inbox.unread(db.session(), me()),
        )

    @expose("/badge", methods=["GET"])
    @has_access
    def badge(self) -> Any:
        """How many wait, for the number on the bell."""
        return {"unread": inbox.unread(db.session(), me())}

    @expose("/panel", methods=["GET"])
    @has_access
    def panel(self) -> Any:
        return self._panel()

    def _panel(self) -> Any:
        rows = [note_cells(row) for row in inbox.latest(db.session(), me(), PANEL)]
        return self.render_template("console/notices/panel.html", rows=rows, unread=inbox.unread(db.session(), me()))

    @expose("/read", methods=["POST"])
    @has_access
    def read_all(self) -> Any:
        count = inbox.mark(db.session(), me(), read=True)
        if request.headers.get("HX-Request"):
            return self._panel()
        flash(say("已将 {count} 条通知标为已读", count=count), "success")
        return redirect(url_for("NoticesView.list"))

    @expose("/<int:pk>/read", methods=["POST"])
    @has_access
    def read(self, pk: int) -> Any:
        return self._mark(pk, read=True)

    @expose("/<int:pk>/unread", methods=["POST"])
    @has_access
    def unread(self, pk: int) -> Any:
        return self._mark(pk, read=False)

    def _mark(self, pk: int, *, read: bool) -> Any:
        own = select(Notification).where(Notification.id == pk, Notification.user_id == me())
        row = db.session.scalar(own) or abort(404)
        inbox.mark(db.session(), me(), read=read, notification_id=pk)
        db.session.refresh(row)
        if request.headers.get("HX-Request"):
            return self.render_template("console/notices/note.html", note=note_cells(row))
        return redirect(url_for("NoticesView.list"))

    @expose("/to/<table>/<int:pk>", methods=["GET"])
    @has_access
    def to(self, table: str, pk: int) -> Any:
        """Where the link in a message outside the console leads: the page of what it is about."""
        return redirect(subject_url(table, pk) or abort(404))

    # What was sent

    @expose("/deliveries", methods=["GET"])
    @has_access
    def deliveries(self) -> Any:
        page, state = page_number(), request.args.get("state", "")
        statement = (
            select(NotificationDelivery).where(own_deliveries()).options(joinedload(NotificationDelivery.channel))
        )
        if state in set(DeliveryState):
            statement = statement.where(NotificationDelivery.state == DeliveryState(state))
        rows = _page_of(statement.order_by(NotificationDelivery.id.desc()), page)
        return self.render_template(
            "console/notices/deliveries.html",
            title="发送记录",
            rows=[self._sent(row) for row in rows[:PAGE]],
            page=page,
            more=len(rows) > PAGE,
            state=state if state in set(DeliveryState) else "",
            states=words_of(DeliveryState),
        )

    def _sent(self, row: NotificationDelivery) -> dict[str, Any]:
        kind = KINDS.get(row.kind)
        return {
            "id": row.id,
            "at": row.created_at,
            "title": row.title,
            "kind": kind.title if kind else row.kind,
            "channel": row.channel.name,
            "channel_kind": words_of(ChannelKind)[row.channel.kind],
            "attempts": row.attempts,
            "error": row.error,
            "sent_at": row.sent_at,
            "url": subject_url(row.subject_type, row.subject_id),
            "state": cells.state(row.state),
            "next": row.not_before if row.state == DeliveryState.QUEUED else None,
            "may_retry": row.state in {DeliveryState.FAILED, DeliveryState.SKIPPED} and may_manage(row.user_id),
        }

    @expose("/deliveries/<int:pk>/retry", methods=["POST"])
    @has_access
    def retry(self, pk: int) -> Any:
        row = db.session.scalar(select(NotificationDelivery).where(NotificationDelivery.id == pk, own_deliveries()))
        if row is None or not may_manage(row.user_id):
            abort(404)
        try:
            deliveries.retry(db.session(), row)
            flash("已重新排队，稍后发送", "success")
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
        return redirect(url_for("NoticesView.deliveries"))


def may_manage(user_id: int | None) -> bool:
    """Whether the reader looks after a channel of this owner: one's own, or the face's as its administrator."""
    if user_id is not None:
        return user_id == me()
    return me() != 0 and bool({ADMIN, OWNER} & current_role_names())


def _page_of(statement: Any, page: int) -> Any:
    """One page of rows, and one row more to see whether there is a next."""
    return db.session.scalars(statement.limit(PAGE + 1).offset((page - 1) * PAGE)).all()
