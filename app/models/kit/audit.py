"""The audit log: who changed what, when, from where, before and after; append-only (triggers refuse the rest).

A column says itself what of it is logged: `info={"quiet": True}`, nothing: the system keeps it, many times a day;
`info={"personal": True}`, only that it changed. Everything else is kept as the column's kind says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Insert, Integer, String, event, insert, inspect
from sqlalchemy.orm import Mapped, Session, configure_mappers, mapped_column
from sqlalchemy.orm.attributes import get_history

from app.data.clock import utcnow
from app.data.kinds import kind_of
from app.data.kinds.apart import Phone, Secret
from app.data.tenancy import MARK, SCOPE, MerchantOwned
from app.data.types import BigId, Json, UtcDateTime, words_of
from app.models.kit.base import Model
from app.models.kit.operation import Door
from app.models.kit.user import via_words
from app.redaction import redact_value

# What stands in place of a value that the log must not hold.
CHANGED = "已更改"
CHANGED_PERSON = "已更改（个人信息）"
# What an entry says was done: a row's change, or what `record` was told.
ACTION_WORDS = {
    "create": "新建",
    "update": "修改",
    "delete": "删除",
    "login": "登录",
    "logout": "退出登录",
    "login_failed": "登录失败",
    "log_in_as": "登录商户",
    "log_in_as_end": "结束登录商户",
    "export": "导出",
    "password_change": "修改密码",
    "password_reset": "重置密码",
    "password_set": "通过链接设置密码",
    "refresh_reused": "刷新令牌重复使用",
    "sessions_end": "结束其他登录",
    "api_key_create": "新建 API 密钥",
    "api_key_revoke": "撤销 API 密钥",
    "two_factor_on": "开启两步验证",
    "two_factor_off": "关闭两步验证",
    "two_factor_reset": "重置两步验证",
    "recovery_codes_renew": "更换恢复码",
    "recovery_code_used": "使用恢复码",
    "operation": "操作",
    "replay": "重新处理",
    "job_run": "立即执行任务",
    "reveal": "查看完整手机号",
    "resolve": "人工标记",
    "import": "导入",
    "cancel": "取消",
    "view_share": "共享视图",
    "channel_test": "测试通知渠道",
    "self_test": "自检",
    "notice_rules": "修改通知规则",
}
# What `record` writes beside it under a name that is no column.
DETAILS = {
    "rows": "行数",
    "format": "格式",
    "filters": "筛选条件",
    "file": "文件",
    "mode": "已有的记录",
    "scope": "权限范围",
    "left": "剩余恢复码",
    "count": "数量",
    "silent": "不提醒的通知",
    "quiet": "免打扰",
    "until": "截止时间",
    "roles": "角色",
}
DOOR_WORDS = words_of(Door).but({"web": "网页"})


@dataclass(frozen=True)
class Actor:
    """Who asks. `merchant_id` is set for a merchant's user; `on_behalf_of` while logged in as a merchant; `via` names
    who made the link by which the user's password was lately set (`reset:<name>`)."""

    id: int | None
    name: str
    address: str = ""
    merchant_id: int | None = None
    on_behalf_of: str = ""
    via: str = ""

    def words(self) -> str:
        """The name, with the merchant at work for whom and whose link it was that let the actor in."""
        behalf = f"（代{self.on_behalf_of}）" if self.on_behalf_of else ""
        return f"{self.name}{behalf}" + (f"（{via_words(self.via)}）" if self.via else "")

    def info(self, door: Door | str) -> dict[str, Any]:
        """As the audit log keeps it in the session."""
        return {
            "id": self.id,
            "name": self.name,
            "address": self.address,
            "on_behalf_of": self.on_behalf_of,
            "via": self.via,
            "door": str(door),
        }


SYSTEM = Actor(None, "系统")


class AuditEntry(MerchantOwned, Model):
    """One change or event. `before` and `after` hold only what changed, redacted; secrets appear as 已更改."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_subject", "subject_type", "subject_id"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, index=True, info={"label": "时间"}
    )
    actor_id: Mapped[int | None] = mapped_column(Integer, index=True)
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "操作人"})
    on_behalf_of: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "代操作商户"}
    )  # 登录商户: as which user
    via: Mapped[str] = mapped_column(
        String(80), default="", nullable=False, server_default="", info={"label": "密码链接"}
    )  # ConsoleUser.via
    address: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "来源地址"})
    door: Mapped[str] = mapped_column(
        String(16), default="", nullable=False, info={"label": "入口", "words": DOOR_WORDS}
    )
    action: Mapped[str] = mapped_column(
        String(32), nullable=False, index=True, info={"label": "动作", "words": ACTION_WORDS}
    )
    subject_type: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "主体类型"})
    subject_id: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    subject_name: Mapped[str] = mapped_column(String(128), default="", nullable=False, info={"label": "主体名称"})
    before: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "修改前"})
    after: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "修改后"})


def record(session: Session, action: str, *, subject: Any = None, **after: Any) -> None:
    """Write one entry for an event that is not a row's change (a log-in, an export); commits with the session."""
    details = {name: _detail(subject, name, value) for name, value in after.items()}
    entry = _entry(session, action, subject) | {"before": {}, "after": details}
    session.connection().execute(_marked(session), [entry])


def _marked(session: Session) -> Insert:
    scope = session.info.get(SCOPE)
    return insert(AuditEntry).execution_options(**{MARK: getattr(scope, "merchant_id", None)})


def _entry(session: Session, action: str, subject: Any) -> dict[str, Any]:
    actor = session.info.get("actor") or {"name": "系统"}
    scope = session.info.get(SCOPE)
    merchant_id = getattr(scope, "merchant_id", None) or getattr(subject, "merchant_id", None)
    if subject is not None and subject.__tablename__ == "merchant":
        merchant_id = subject.id
    return {
        "at": utcnow(),
        "merchant_id": merchant_id,
        "actor_id": actor.get("id"),
        "actor_name": actor.get("name", ""),
        "on_behalf_of": actor.get("on_behalf_of", ""),
        "via": actor.get("via", ""),
        "address": actor.get("address", ""),
        "door": actor.get("door", ""),
        "action": action,
        "subject_type": subject.__tablename__ if subject is not None else "",
        "subject_id": str(getattr(subject, "id", "") or ""),
        "subject_name": str(subject)[:128] if subject is not None else "",
    }


def plain_value(column: Any, value: Any) -> Any:
    """A column's value as the log keeps it, by its kind; secrets and people's data only as changed."""
    kind = kind_of(column)
    if isinstance(kind, Secret):
        return CHANGED if value else None
    if column.info.get("personal"):
        return CHANGED_PERSON if value else ""
    if isinstance(kind, Phone):
        return kind.plain(value) or (CHANGED_PERSON if value else "")  # of old, before numbers were checked
    if isinstance(value, datetime | date | StrEnum):
        return kind.encode(value)  # nothing to hide in it, nor to look for
    return _redacted(column.key, kind.encode(value))


def is_told(column: Any) -> bool:
    """Whether the log holds a column's values, and not only that they changed."""
    return not (column.info.get("personal") or isinstance(kind_of(column), Secret | Phone))


def is_quiet(column: Any) -> bool:
    """Whether the log passes over what becomes of a column."""
    return bool(getattr(column, "info", {}).get("quiet"))  # what the database computes for a mapper has none


def detail_value(name: str, value: Any) -> Any:
    """What `record` writes under a name that is no column: all that is known of it is that name."""
    if name.endswith("_sealed") or name == "password":
        return CHANGED if value else None
    return _redacted(name, value)


def _redacted(name: str, value: Any) -> Any:
    """As JSON has it; what JSON has not, as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, str | int | float | bool | type(None) | list | dict):
        return redact_value(name, value)
    return str(value)


def _detail(subject: Any, name: str, value: Any) -> Any:
    """A detail of an event: one under the name of a column of its subject is no more told than the column is."""
    column = inspect(type(subject)).columns.get(name) if subject is not None else None
    return detail_value(name, value) if column is None or is_told(column) else plain_value(column, value)


def _changes(row: Any, *, is_new: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    columns = inspect(type(row)).columns
    # Of a row that was there, only what was set can have changed.
    for name in columns.keys() if is_new else inspect(row).committed_state:
        column = columns.get(name)
        if column is None or is_quiet(column):
            continue
        history = get_history(row, name)
        if not history.has_changes():
            continue
        if history.deleted and not is_new:
            before[name] = plain_value(column, history.deleted[0])
        if history.added and (history.added[0] not in (None, "", [], {}) or not is_new):
            after[name] = plain_value(column, history.added[0])
    return before, after


def _role_changes(row: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if row.__tablename__ != "ab_user":
        return {}, {}
    history = get_history(row, "roles")
    if not history.added and not history.deleted:
        return {}, {}
    kept = [role.name for role in history.unchanged]
    return (
        {"roles": sorted(kept + [role.name for role in history.deleted])},
        {"roles": sorted(kept + [role.name for role in history.added])},
    )


def _write_changes(session: Session, _context: Any) -> None:
    """after_flush: one entry for every audited row that was made, changed or deleted."""
    entries = []
    for action, rows in (("create", session.new), ("update", session.dirty), ("delete", session.deleted)):
        for row in rows:
            if not getattr(row, "__audited__", False):
                continue
            before, after = ({}, {}) if action == "delete" else _changes(row, is_new=action == "create")
            roles_before, roles_after = ({}, {}) if action == "delete" else _role_changes(row)
            before, after = before | roles_before, after | roles_after
            if before or after or action == "delete":
                entries.append(_entry(session, action, row) | {"before": before, "after": after})
    if entries:
        session.connection().execute(_marked(session), entries)


def _remember_old_values() -> None:
    """Read an audited row's old value before a new one is set, where it was not loaded: the log has to name it."""
    configure_mappers()
    for mapper in Model.registry.mappers:
        if getattr(mapper.class_, "__audited__", False):
            for column in mapper.column_attrs:
                mapper.class_manager[column.key].impl.active_history = True


def install(session_class: type[Session]) -> None:
    """Attach the writer to the application's session class; safe to repeat."""
    _remember_old_values()
    if not event.contains(session_class, "after_flush", _write_changes):
        event.listen(session_class, "after_flush", _write_changes)
