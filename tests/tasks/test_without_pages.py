"""Background tasks in a process that serves no page: what the screens declare is there, and no screen is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app import factory
from app.data import storage
from app.data.engine import writing
from app.extensions import db
from app.models import Industry, Merchant, Task, TaskKind, TaskState, User
from app.models.kit.audit import Actor
from app.tasks import export, pool, queue
from tests.conftest import Actors, refresh, test_environment
from tests.tasks.importing.imports import begin, merchants_file, user_of


@pytest.fixture
def pageless(app: Flask) -> Iterator[Flask]:
    """An application without AppBuilder over the database of the one with it."""
    same: dict[str, Any] = dict(app.config)
    made = factory.without_pages(test_environment(app.config["SQLALCHEMY_DATABASE_URI"], "http://127.0.0.1:1"), **same)
    assert "appbuilder" not in made.extensions
    assert {rule.endpoint for rule in made.url_map.iter_rules()} == {"static"}
    yield made
    with made.app_context():
        db.engine.dispose()


def queued(session: Session, kind: TaskKind, view: str, **more: Any) -> Task:
    with writing():
        asker = session.get_one(User, user_of(session))
        actor = Actor(asker.id, asker.username)
        return queue.new_task(session, kind, actor=actor, view=view, title="任务", **more)


def test_an_export(pageless: Flask, session: Session, actors: Actors) -> None:
    task = queued(
        session,
        TaskKind.EXPORT,
        "MerchantView",
        params={"format": "csv"},
        input_key=export.keep_keys([actors.alice.id, actors.bob.id]),
    )
    assert pool.perform(pageless, task.id)
    refresh(session)
    assert (task.state, task.message) == (TaskState.SUCCEEDED, "已导出 2 行")
    head, *rows = storage.read(task.output_key).decode("utf-8-sig").splitlines()
    assert head.startswith("商户名称,商户标识,行业,联系人,手机号,主体类型")
    assert {row.partition(",")[0] for row in rows} == {actors.alice.name, actors.bob.name}
    assert all(",企业," in row and ",正常," in row for row in rows)  # states in words


def test_an_import(pageless: Flask, session: Session, actors: Actors) -> None:
    task = begin(session, merchants_file(3))
    assert pool.perform(pageless, task.id)
    refresh(session)
    assert task.state == TaskState.SUCCEEDED, task.message
    made = session.scalars(sa.select(Merchant.name).where(Merchant.name.startswith("商户0")))
    assert sorted(made) == ["商户000000", "商户000001", "商户000002"]


def test_a_bulk_edit_keeps_the_rules_of_its_screen(pageless: Flask, session: Session, actors: Actors) -> None:
    ids = [actors.alice.id, actors.bob.id]
    params = {"model": "merchant", "ids": ids, "values": {"plan": "新套餐"}}
    task = queued(session, TaskKind.BULK_EDIT, "MerchantView", params=params)
    refused = queued(
        session, TaskKind.BULK_EDIT, "MerchantView", params=params | {"values": {"commission_rate": "150"}}
    )
    assert pool.perform(pageless, task.id)
    assert pool.perform(pageless, refused.id)
    refresh(session)
    assert (task.state, task.message) == (TaskState.SUCCEEDED, "已修改 2 条")
    assert refused.message.startswith("已修改 0 条，2 条未修改：")
    assert {session.get_one(Merchant, key).plan for key in ids} == {"新套餐"}


def test_who_may_not_is_refused_there_too(pageless: Flask, session: Session, actors: Actors) -> None:
    task = queued(session, TaskKind.EXPORT, "NoSuchView", params={"format": "csv"}, input_key=export.keep_keys([]))
    assert pool.perform(pageless, task.id)
    refresh(session)
    assert "不再有此权限" in task.message


def test_both_kinds_of_application_declare_the_same(app: Flask, pageless: Flask) -> None:
    mine, other = app.extensions["tables"], pageless.extensions["tables"]
    assert len(mine.exports) >= 10
    with pageless.app_context():
        for name in mine.exports:
            columns = [[(column.name, column.label) for column in held.exports[name].columns] for held in (mine, other)]
            assert columns[0] == columns[1], name
    assert (set(mine.imports), set(mine.hooks)) == (set(other.imports), set(other.hooks))
    assert app.extensions["roles"].held == pageless.extensions["roles"].held
    assert Industry in {spec.model for spec in other.imports.values()}
