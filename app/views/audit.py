"""The audit log (审计日志)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from app.access.roles import SETTING
from app.console import cells
from app.console.base import PlatformView
from app.console.places import page_for, subject_words, subjects, view_named
from app.console.query.interface import ScopedInterface
from app.console.row.changes import Reader, label_of, model_of
from app.data.clock import SHANGHAI
from app.data.keys import parse_key
from app.extensions import db
from app.i18n.language import language
from app.i18n.sentence import Foreign, ours, said, say
from app.models import AuditEntry, User
from app.models.kit.audit import ACTION_WORDS, DOOR_WORDS
from app.models.kit.user import via_words


def changes_cell(row: AuditEntry) -> Any:
    """The names of what changed, in one line."""
    names = list(dict.fromkeys(label_of(row.subject_type, name) for name in {**row.before, **row.after}))
    comma = "、" if language() == "zh" else ", "
    return comma.join(str(said(name)) for name in names[:6]) + ("…" if len(names) > 6 else "")


def audited_cell(row: AuditEntry) -> str:
    """The kind and name of what changed; its number where the model has no name."""
    name = f"#{row.subject_id}" if row.subject_name.startswith("<") else row.subject_name
    kind = subject_words(row.subject_type)
    before, _, number = name.rpartition(" #")
    if before == kind and number.isdigit() and not hasattr(model_of(row.subject_type), "name"):
        return say("{kind} #{number}", kind=ours(kind), number=number)
    if not kind or name.startswith(kind):
        return Foreign(name)
    return say("{kind} {name}", kind=ours(kind), name=name) if name else ours(kind)


def audited_page(row: AuditEntry) -> str | None:
    """The page of what an entry is about, while that exists and the reader may open it."""
    model, key = model_of(row.subject_type), parse_key(row.subject_id)
    found = db.session.get(model, key) if model is not None and key is not None and row.action != "delete" else None
    if found is None:
        return None
    if isinstance(found, User):
        view = view_named("StaffView" if found.merchant_id else "UserView")
        url = view.row_url(found) if view is not None else None
    else:
        url = page_for(row.subject_type, key)
    return f"{url}?tab=history" if url else None


def exact_time(row: AuditEntry) -> Markup:
    """When an entry was written, to the second."""
    local = row.at.astimezone(SHANGHAI)
    return Markup('<time class="when" datetime="{}">{}</time>').format(
        local.isoformat(), local.strftime("%Y-%m-%d %H:%M:%S")
    )


def actor_cell(row: AuditEntry) -> Any:
    """Who did it; beside the name, whose link had let them in."""
    if not row.via:
        return Foreign(cells.who(row.actor_name))
    return Markup("{} <span class='quiet'>{}</span>").format(cells.who(row.actor_name), said(via_words(row.via)))


class AuditEntryView(PlatformView):
    """Who changed what, when, from where, before and after (审计日志)."""

    roles = SETTING
    icon = "history"
    datamodel = ScopedInterface(AuditEntry)
    palette_key = "l"
    noun = list_title = "审计日志"
    list_columns = ["at", "actor_name", "on_behalf_of", "action", "subject", "changes", "address"]
    label_columns = {
        "subject": "对象",
        "changes": "变更项",
        "subject_type": "对象类型",
        "subject_name": "对象名称",
        "subject_id": "对象编号",
    }
    search_columns = ["action", "actor_name", "subject_type", "subject_id", "door", "at"]
    quick_columns = ["actor_name", "subject_name", "address"]
    order_columns = ["at"]
    base_order = ("at", "desc")
    chip_column = "action"
    chip_words = {
        name: ACTION_WORDS[name] for name in ("create", "update", "delete", "login", "login_failed", "export")
    }
    cells = {
        "at": exact_time,
        "actor_name": actor_cell,
        "via": lambda row: said(via_words(row.via)),
        "action": lambda row: ACTION_WORDS.get(row.action, row.action),
        "subject": audited_cell,
        "changes": changes_cell,
        "door": lambda row: DOOR_WORDS.get(row.door, row.door),
    }
    export_columns = ["at", "actor_name", "on_behalf_of", "via", "action", "subject", "changes", "door", "address"]
    export_cells = {
        "subject": audited_cell,
        "changes": changes_cell,
        "door": lambda row: DOOR_WORDS.get(row.door, row.door),
        "via": lambda row: via_words(row.via),
    }
    state_columns = ()
    show_template = "console/audit.html"
    show_sections = [("记录", ["at", "actor_name", "on_behalf_of", "via", "address", "door", "action", "subject"])]

    @property
    def column_words(self) -> Mapping[str, Mapping[Any, str]]:
        return {"subject_type": subjects()}

    def show_context(self, row: Any) -> dict[str, Any]:
        return {
            "changes": Reader(db.session(), [row]).changes(row),
            "words": ACTION_WORDS.get(row.action, row.action),
            "subject": audited_cell(row),
            "subject_url": audited_page(row),
        }
