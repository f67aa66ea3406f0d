"""The timeline of a row from the audit log, and taking back one edit of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import abort, flash, redirect, request, url_for
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from app.console.form.merge import logged_name, wires
from app.console.row.changes import Change, Reader, label_of
from app.data.keys import parse_key
from app.data.kinds import kind_of
from app.data.tenancy import scope_of
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.models.kit.audit import ACTION_WORDS, DOOR_WORDS, AuditEntry, is_told, plain_value
from app.models.kit.base import StateMachine
from app.redaction import MASK

PAGE = 20


@dataclass(frozen=True)
class Moment:
    """One entry of a row's timeline, as shown."""

    entry: AuditEntry
    words: str
    tone: str
    door: str
    address: str
    changes: list[Change]
    revert_url: str | None


TONES = {"create": "good", "update": "busy", "delete": "bad", "login_failed": "bad"}


class HistoryPages(ModelView):
    """Mixin of RowPages: `/history/<pk>` and `/revert/<pk>/<entry>` of every view."""

    @expose("/history/<pk>", methods=["GET"])
    @has_access
    @permission_name("show")
    def history(self, pk: str) -> Any:
        """More of the timeline, for the page that asks for it."""
        row = self.found(pk)
        if not getattr(type(row), "__audited__", False):
            abort(404)
        return self.render_template("console/show/history.html", view=self, row=row, **self.history_context(row))

    def history_context(self, row: Any) -> dict[str, Any]:
        """The newest entries, or those before the one that the request names."""
        session = self.datamodel.session
        found = about(row).order_by(AuditEntry.id.desc()).limit(PAGE + 1)
        before = parse_key(request.args.get("before", ""))
        if before is not None:
            found = found.where(AuditEntry.id < before)
        entries = list(session.scalars(found))
        more, entries = len(entries) > PAGE, entries[:PAGE]
        reader = Reader(session, entries)
        moments = [self._moment(reader, row, entry) for entry in entries]
        own = scope_of(session).is_merchant
        return {
            "moments": [item for item in moments if item.changes or not own or item.entry.action != "update"],
            "older": url_for(f"{self.endpoint}.history", pk=row.id, before=entries[-1].id) if more else None,
            "first": before is None,
        }

    def _moment(self, reader: Reader, row: Any, entry: AuditEntry) -> Moment:
        own = scope_of(self.datamodel.session).is_merchant
        may = self.may("edit") and entry.action == "update" and revertible(self, entry)
        return Moment(
            entry=entry,
            words=ACTION_WORDS.get(entry.action, entry.action),
            tone=TONES.get(entry.action, "mute"),
            door=DOOR_WORDS.get(entry.door, ""),
            address="" if own else entry.address,
            changes=reader.changes(entry, self._open_columns() if own else None),
            revert_url=url_for(f"{self.endpoint}.revert", pk=row.id, entry=entry.id) if may else None,
        )

    def _open_columns(self) -> set[str]:
        """What a merchant may read of a row's log: the columns that the screen itself shows."""
        named = {*self.show_columns, *self.list_columns, *self.edit_columns}
        return {logged_name(self, name) for name in named}

    @expose("/revert/<pk>/<int:entry>", methods=["POST"])
    @has_access
    @permission_name("edit")
    def revert(self, pk: str, entry: int) -> Any:
        """Take back one edit: through the form, its checks and its hooks, as if somebody had typed it again."""
        row = self.found(pk)
        held = self.datamodel.session.scalars(about(row).where(AuditEntry.id == entry)).one_or_none()
        names = revertible(self, held) if held is not None and held.action == "update" else []
        if held is None or not names:
            abort(404)
        try:
            self._revert(row, held, names)
            flash(say("已恢复为修改前的内容：{names}", names=[ours(self.label_of(name)) for name in names]), "success")
        except Refused as refused:
            self.datamodel.session.rollback()
            flash(refused.message, "danger")
        return redirect(url_for(f"{self.endpoint}.show", pk=pk, tab="history"))

    def _revert(self, row: Any, entry: AuditEntry, names: list[str]) -> None:
        in_the_way(self, row, entry, names)
        values = {name: former_value(self, entry, name) for name in names}
        form = self._typed_again(row, values)
        if unneeded := [name for name in form.unneeded() if name in names]:
            raise Refused(
                say(
                    "「{label}」现在不需要填写，不能恢复",
                    label=ours(str(self.label_columns.get(unneeded[0], unneeded[0]))),
                )
            )
        if not form.validate() or not self._saved(form, row, names, self.pre_update):
            raise Refused(say("不能恢复：{why}", why=_first_error(form)))

    def _typed_again(self, row: Any, values: Mapping[str, Any]) -> Any:
        """The edit form as it is sent when only these values were changed."""
        shown = self.edit_form(formdata=None, obj=_With(row, values))
        data = wires(shown, self.edit_columns) | {"seen_mark": self.mark_of(row)}
        return self.edit_form(formdata=MultiDict(data), meta={"csrf": False})


class _With:
    """A row with some other values."""

    def __init__(self, row: Any, values: Mapping[str, Any]) -> None:
        self.__dict__ |= {"_row": row, **values}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def about(row: Any) -> Any:
    """The entries of the audit log about a row."""
    return select(AuditEntry).where(AuditEntry.subject_type == row.__tablename__, AuditEntry.subject_id == str(row.id))


def revertible(view: Any, entry: AuditEntry) -> list[str]:
    """The form's fields that an entry changed and that may be set back: no secret, no person's data, no stage."""
    found = [name for name in view.edit_columns if _may_return(view, name)]
    names = [name for name in found if {logged_name(view, name)} <= entry.before.keys() & entry.after.keys()]
    return [name for name in names if MASK not in str(entry.before[logged_name(view, name)])]


def _may_return(view: Any, name: str) -> bool:
    model = view.datamodel.obj
    if issubclass(model, StateMachine) and name == "state":
        return False
    column = model.__mapper__.columns.get(name)
    return view.datamodel.is_relation(name) if column is None else is_told(column)


def in_the_way(view: Any, row: Any, entry: AuditEntry, names: list[str]) -> None:
    """Refused when a column was changed again since the entry: taking it back would undo that, too."""
    for name in names:
        logged = logged_name(view, name)
        column = view.datamodel.obj.__mapper__.columns[logged]
        if not _still(column, getattr(row, logged), entry.after[logged]):
            label = label_of(row.__tablename__, logged)
            raise Refused(say("「{label}」在这次修改之后又变过，不能直接恢复：请在编辑页修改", label=ours(label)))


def _still(column: Any, value: Any, logged: Any) -> bool:
    """Whether a column holds what the log says; it may say the same otherwise, as it once did: 5.5, "5.50"."""
    if plain_value(column, value) == logged:
        return True
    try:
        return bool(kind_of(column).decode(logged) == value)
    except (ValueError, ArithmeticError, TypeError):  # what no value of the column is any more
        return False


def former_value(view: Any, entry: AuditEntry, name: str) -> Any:
    """The value before an entry, as the column holds it."""
    logged = logged_name(view, name)
    value = entry.before[logged]
    if view.datamodel.is_relation(name):
        return _former_row(view, name, value)
    return kind_of(view.datamodel.obj.__mapper__.columns[name]).decode(value)


def _former_row(view: Any, name: str, key: Any) -> Any:
    found = view.datamodel.session.get(view.datamodel.get_related_model(name), key) if key is not None else None
    if key is not None and found is None:
        raise Refused(say("原来的「{label}」已经不存在，不能恢复", label=ours(str(view.label_columns.get(name, name)))))
    return found


def _first_error(form: Any) -> str:
    for name, errors in form.errors.items():
        if errors:
            return f"{form[name].label.text}：{errors[0]}" if name else str(errors[0])
    return ""
