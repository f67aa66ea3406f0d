"""Imports as a worker does them: a task as the upload makes it, and its run, which may die or be cancelled on the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data import storage
from app.data.clock import utcnow
from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope
from app.models import Merchant, Task, TaskKind, TaskState, User
from app.tasks.importing.task import look, run
from app.tasks.queue import Cancelled, Hold, claim
from app.views.merchant import INDUSTRIES, MERCHANTS
from tests.tasks.spreadsheets.test_read import csv_of

SPECS = {"MerchantView": MERCHANTS, "IndustryView": INDUSTRIES}


def merchants_file(count: int, start: int = 0, **changed: str) -> bytes:
    heads = ["商户名称", "行业", "联系人", "手机号", "主体类型", "佣金比例（%）", "套餐到期日"]
    rows = [
        [f"商户{number:06}", "餐饮", "王女士", f"138{number:08}", "企业", "5.5", "2027-12-31"]
        for number in range(start, start + count)
    ]
    return csv_of(heads, *rows)


def begin(
    session: Session, content: bytes, *, dry: bool = False, mode: str = "both", view: str = "MerchantView"
) -> Task:
    """A task as the upload makes it."""
    looked = look(SPECS[view], "a.csv", content)
    with writing():
        task = Task(
            kind=TaskKind.IMPORT,
            user_id=user_of(session),
            view=view,
            title="导入",
            params={
                "kind": looked.kind,
                "mode": mode,
                "dry": dry,
                "head": looked.head,
                "map": None,
                "kept": storage.put_sealed("tables", looked.kept),
            },
            total=looked.total,
            input_key=storage.put_sealed("uploads", content),
            input_hash=looked.digest,
            actor={"name": "测试"},
        )
        session.add(task)
        session.commit()
    return task


def user_of(session: Session) -> int:
    held = session.scalars(sa.select(User.id).where(User.username == "importer")).first()
    if held is not None:
        return held
    setting_up.add_user(session, "importer", "platform_admin", merchant_key="", password="correct horse 电池 staple")
    return int(session.scalars(sa.select(User.id).where(User.username == "importer")).one())


class Killed(Exception):
    """Stands for the end of the process."""


def work(
    app: Flask, task_id: int, *, die_at: int | None = None, cancel_at: int | None = None
) -> tuple[str, dict[str, Any]]:
    """Run the import's own function as a worker does; dies before or is cancelled after a given number of rows."""
    with app_scope(app, PLATFORM, actor={"name": "测试"}) as session:
        mark = claim(session, task_id)
        assert mark is not None
        task = session.get_one(Task, task_id)
        hold = Hold(session, task, mark, lambda: False)
        step = hold.step

        def counted(done: int, failed: int = 0, **more: Any) -> None:
            if die_at is not None and done >= die_at:
                raise Killed
            step(done, failed, **more)
            if cancel_at is not None and done >= cancel_at:
                raise Cancelled

        hold.step = counted  # type: ignore[method-assign]
        message, more = run(hold, task)
        hold.finish(TaskState.SUCCEEDED, message, **more)
        return message, more


def lose_lease(app: Flask, task_id: int) -> None:
    with app_scope(app, PLATFORM) as session:
        session.execute(sa.update(Task).where(Task.id == task_id).values(lease_until=utcnow() - timedelta(seconds=1)))
        session.commit()


def count_of(app: Flask, model: Any = Merchant) -> int:
    with app_scope(app, PLATFORM) as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(model)) or 0)
