"""Who asked for a background task may have left, or have another role, by the time it is begun."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.access import roles
from app.access.principal import may_enter
from app.models import Task, TaskKind, User

PERMISSIONS = {TaskKind.EXPORT: "can_export", TaskKind.IMPORT: "can_import", TaskKind.BULK_EDIT: "can_edit"}


def task_gate(session: Session, task: Task) -> str:
    """Why a task is not begun, as a sentence; empty where it may be."""
    user = session.get(User, task.user_id)
    if user is None or not may_enter(user):
        return "发起人的账号已停用，任务没有执行"
    names = user.role_names
    if task.merchant_id is not None and user.merchant_id is None and roles.may_act_as_merchant(names):
        names = frozenset({roles.OWNER})  # logged in as the merchant
    elif task.merchant_id != user.merchant_id:
        return "发起人不再属于这个商户，任务没有执行"
    if not roles.can(names, PERMISSIONS[task.kind], task.view):
        return "发起人不再有此权限，任务没有执行"
    return ""
