"""An import's task: what a file says comes in once, whatever happens on the way."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data import storage
from app.data.engine import writing
from app.i18n.sentence import restated
from app.models import AuditEntry, Industry, Merchant
from app.tasks.importing.heads import unread
from app.tasks.importing.rows import Importer
from app.tasks.importing.task import REASON, heads_of, imported_before, table_of
from app.tasks.queue import Cancelled, Hold
from app.tasks.spreadsheets import read as sheets
from app.views.merchant import MERCHANTS
from tests.conftest import Actors
from tests.tasks.importing.imports import Killed, begin, count_of, lose_lease, merchants_file, work
from tests.tasks.spreadsheets.test_read import csv_of, rows_of


def test_rows_come_in_with_everything_a_form_would_keep(app: Flask, session: Session, trade: Industry) -> None:
    task = begin(session, merchants_file(3))
    message, _more = work(app, task.id)
    assert message == "新增 3，更新 0，无变化 0，跳过 0，失败 0 行"
    session.rollback()
    row = session.scalars(sa.select(Merchant).where(Merchant.name == "商户000001")).one()
    assert (row.industry.name, row.phone, row.phone_masked, row.commission_rate) == (
        "餐饮",
        "13800000001",
        "138****0001",
        5.5,
    )
    made = session.scalars(
        sa.select(AuditEntry).where(AuditEntry.subject_type == "merchant", AuditEntry.action == "create")
    ).all()
    assert len(made) == 3 and {entry.actor_name for entry in made} == {"测试"}


def test_a_dry_run_writes_nothing(app: Flask, session: Session, trade: Industry) -> None:
    before = count_of(app), count_of(app, AuditEntry)
    task = begin(session, merchants_file(3), dry=True)
    entries = count_of(app, AuditEntry)
    message, _more = work(app, task.id)
    assert message.startswith("校验完成：将新增 3")
    assert (count_of(app), entries) == (before[0], count_of(app, AuditEntry))


def test_the_same_file_twice_changes_nothing(app: Flask, session: Session, trade: Industry) -> None:
    work(app, begin(session, merchants_file(700)).id)
    entries = count_of(app, AuditEntry)
    session.rollback()
    again = begin(session, merchants_file(700))
    assert imported_before(session, "MerchantView", again.input_hash, again.id) is not None
    message, _more = work(app, again.id)
    assert message == "新增 0，更新 0，无变化 700，跳过 0，失败 0 行"
    assert (count_of(app), count_of(app, AuditEntry)) == (700, entries)


def test_an_existing_row_is_updated_where_the_file_says_something(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户名称", "联系人", "套餐"], ["爱丽丝花店", "李先生", ""])
    with writing():
        actors.alice.plan = "专业版"
        session.commit()
    message, _more = work(app, begin(session, content).id)
    assert "更新 1" in message
    session.rollback()
    session.expire_all()
    assert (actors.alice.contact, actors.alice.plan) == ("李先生", "专业版")


@pytest.mark.parametrize(
    ("mode", "words"), [("add", "新增 1，更新 0，无变化 0，跳过 1"), ("update", "新增 0，更新 1，无变化 0，跳过 1")]
)
def test_what_becomes_of_existing_rows_is_chosen(
    app: Flask, session: Session, actors: Actors, mode: str, words: str
) -> None:
    content = csv_of(["商户名称", "行业", "联系人"], ["爱丽丝花店", "餐饮", "新"], ["新店", "餐饮", "新"])
    message, _more = work(app, begin(session, content, mode=mode).id)
    assert message.startswith(words)


WRONG = [
    ["", "餐饮", "", "", "", "请填写商户名称"],
    ["甲", "没有的行业", "", "", "", "行业「没有的行业」不存在"],
    ["乙", "餐饮", "12", "", "", "手机号格式不正确"],
    ["丙", "餐饮", "", "101", "", "佣金比例应在 0 到 100 之间"],
    ["丁", "餐饮", "", "1e9999", "", "佣金比例"],
    ["戊", "餐饮", "", "", "2025-02-30", "日期"],
    ["己", "", "", "", "", "新增时请填写行业"],
    ["好", "餐饮", "", "", "", "与第 2 行重复"],
    ["x" * 65, "餐饮", "", "", "", "最多 64 个字"],
]


def test_a_wrong_row_is_named_with_its_reason_and_the_others_come_in(
    app: Flask, session: Session, trade: Industry
) -> None:
    heads = ["商户名称", "行业", "手机号", "佣金比例", "套餐到期日"]
    content = csv_of(heads, ["好", "餐饮", "", "", ""], *(row[:-1] for row in WRONG))
    task = begin(session, content)
    message, more = work(app, task.id)
    assert message.endswith(f"失败 {len(WRONG)} 行") and count_of(app) == 1
    reasons = {line: restated(why) for line, _label, why in more["params"]["errors"]}
    for number, row in enumerate(WRONG, 3):
        assert row[-1] in reasons[number]
    with app.app_context():
        failed = rows_of(storage.read_sealed(more["output_key"]))
    assert failed[0] == [*heads, REASON]
    assert [row[:-1] for row in failed[1:]] == [row[:-1] for row in WRONG]
    again = begin(session, csv_of(*failed))  # a mended file of failed rows may be sent as it is
    with app.app_context():
        read, places = heads_of(MERCHANTS, again, table_of(again))
    assert unread(read, places, []) == ([], [REASON])


def test_a_row_that_the_database_refuses_does_not_stop_the_others(
    app: Flask, session: Session, trade: Industry
) -> None:
    content = csv_of(["商户名称", "行业"], ["抢先", "餐饮"], ["其他", "餐饮"])
    task = begin(session, content)
    importer_one = Importer._one

    def slow(self: Any, wish: Any, row: Any) -> Any:
        done = importer_one(self, wish, row)
        if wish.values["name"] == "抢先" and row is None:
            self.session.add(Merchant(name="抢先", industry_id=trade.id))  # somebody else was quicker
        return done

    Importer._one = slow  # type: ignore[method-assign]
    try:
        message, _more = work(app, task.id)
    finally:
        Importer._one = importer_one  # type: ignore[method-assign]
    assert message == "新增 1，更新 0，无变化 0，跳过 0，失败 1 行"


def test_a_worker_that_dies_is_taken_over_without_a_double(app: Flask, session: Session, trade: Industry) -> None:
    task = begin(session, merchants_file(1700))
    with pytest.raises(Killed):
        work(app, task.id, die_at=1500)
    assert count_of(app) == 1000  # two chunks were committed; the third went with the worker
    lose_lease(app, task.id)
    message, _more = work(app, task.id)
    assert message == "新增 1700，更新 0，无变化 0，跳过 0，失败 0 行"
    assert count_of(app) == 1700


def test_failed_rows_of_a_dead_worker_are_not_lost(app: Flask, session: Session, trade: Industry) -> None:
    rows = [[f"商户{number}", "餐饮" if number != 3 else "无"] for number in range(1200)] + [["商户1", "餐饮"]]
    task = begin(session, csv_of(["商户名称", "行业"], *rows))
    with pytest.raises(Killed):
        work(app, task.id, die_at=1000)
    lose_lease(app, task.id)
    message, more = work(app, task.id)
    assert message.endswith("失败 2 行")  # the one before the death; and the double of a row before it
    with app.app_context():
        assert len(rows_of(storage.read_sealed(more["output_key"]))) == 3


def test_a_cancelled_import_keeps_its_chunks_and_ends(app: Flask, session: Session, trade: Industry) -> None:
    task = begin(session, merchants_file(1200))
    with pytest.raises(Cancelled):
        work(app, task.id, cancel_at=500)
    assert count_of(app) == 500


@pytest.mark.parametrize("dry", [True, False])
def test_no_transaction_is_open_while_a_file_is_read_or_written(
    app: Flask, session: Session, trade: Industry, monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    """Neither the kept rows nor the file of refused ones: whoever logs in meanwhile would wait for it, and not long."""
    rows = [[f"商户{number}", "餐饮" if number % 300 else "无"] for number in range(1200)]
    task = begin(session, csv_of(["商户名称", "行业"], *rows), dry=dry)
    seen: list[bool] = []

    def watched(place: Any, name: str) -> None:
        plain = getattr(place, name)

        def call(*given: Any) -> Any:
            seen.append(held[0].session.in_transaction())
            return plain(*given)

        monkeypatch.setattr(place, name, call)

    held: list[Hold] = []
    made = Hold.__init__

    def noted(self: Hold, *given: Any) -> None:
        made(self, *given)
        held.append(self)

    monkeypatch.setattr(Hold, "__init__", noted)
    for name in ("keep", "read_sealed", "delete"):
        watched(storage, name)
    watched(sheets, "_rows_in")
    message, _more = work(app, task.id)
    assert message.endswith(f"{'有错误' if dry else '失败'} 4 行")
    assert len(seen) >= 10 and not any(seen)


def test_what_a_chunk_refused_is_filed_after_its_commit_and_again_after_a_death(
    app: Flask, session: Session, trade: Industry, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[f"商户{number}", "餐饮" if number != 3 else "无"] for number in range(600)]
    task = begin(session, csv_of(["商户名称", "行业"], *rows))
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(storage, "keep", _killed)  # between the commit and the file
        work(app, task.id)
    assert count_of(app) == 499
    lose_lease(app, task.id)
    message, more = work(app, task.id)
    assert message == "新增 599，更新 0，无变化 0，跳过 0，失败 1 行"
    with app.app_context():
        assert rows_of(storage.read_sealed(more["output_key"]))[1][:2] == ["商户3", "无"]


def _killed(*_given: Any) -> None:
    raise Killed
