"""Rows in and out of the database: what a file says comes in once, whatever happens on the way; memory stays flat."""

from __future__ import annotations

import tracemalloc
from datetime import date
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app import storage
from app.database import writing
from app.errors import Refused
from app.models import AuditEntry, Industry, Merchant, MerchantState, SubjectType, Task, TaskKind, TaskState
from app.operations.merchants import keep_phone
from app.operations.transfer import export, import_, sheets
from app.operations.transfer.heads import matched, unread
from app.operations.transfer.importer import Importer
from app.operations.transfer.queue import Cancelled, Hold, claim
from app.operations.transfer.specs import INDUSTRIES, MERCHANTS, SPECS
from app.operations.transfer.template import template
from app.tenancy import PLATFORM, app_scope
from tests.conftest import Actors, refresh
from tests.operations.test_spreadsheets import csv_of, rows_of

# Heads.


def test_heads_may_stand_in_any_order_under_any_of_their_names() -> None:
    assert matched(MERCHANTS, ["备注", "电话", "name", "其他", "行业 *"]) == {
        "remarks": 0, "phone": 1, "name": 2, "industry": 4,
    }  # fmt: skip


def test_a_head_that_stands_twice_is_refused() -> None:
    with pytest.raises(Refused, match="重复"):
        matched(MERCHANTS, ["商户名称", "名称"])


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(Refused, match="没有数据"):
        import_.look(MERCHANTS, "a.csv", csv_of(["商户名称", "行业"]))


# Templates.


@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize("held", ["nothing", "industries", "rows"])
def test_the_examples_of_every_template_are_rows_that_its_import_takes(
    app: Flask, session: Session, name: str, kind: str, held: str
) -> None:
    if held != "nothing":
        with writing():
            trade = Industry(name="餐饮美食")
            session.add(trade)
            if held == "rows":
                session.add(Merchant(name="=1+1 花店", industry=trade, commission_rate=5.5, remarks="甲\n乙" * 200))
            session.commit()
    content = template(session, SPECS[name], kind).getvalue()
    if held == "nothing" and name == "merchants":  # a merchant names an industry, and there is none yet
        with pytest.raises(Refused, match="没有数据"):
            import_.look(SPECS[name], f"模板.{kind}", content)
        return
    message, _more = work(app, begin(session, content, dry=True, spec=name).id)
    taken = held == "rows" or (name == "industries" and held != "nothing")
    assert message == f"校验完成：将新增 {0 if taken else 1}，更新 0，无变化 {1 if taken else 0}，跳过 0，有错误 0 行"


def test_a_templates_lists_offer_what_may_stand_there_and_its_texts_keep_their_digits(session: Session) -> None:
    with writing():
        session.add_all([Industry(name="餐饮"), Industry(name="零售,百货")])
        session.commit()
    book = openpyxl.load_workbook(template(session, MERCHANTS, "xlsx"))
    sheet, lists = book.worksheets[0], book["可选值"]
    offered = {}
    for offer in sheet.data_validations.dataValidation:
        first, last = offer.formula1.split("!")[1].replace("$", "").split(":")
        cells = [cell.value for row in lists[f"{first}:{last}"] for cell in row]
        offered[sheet.cell(1, next(iter(offer.sqref.ranges)).min_col).value] = cells
    assert offered == {
        "行业": ["餐饮", "零售,百货"], "主体类型": ["企业", "个体工商户", "个人", "其他组织"], "状态": ["正常", "停用"],
    }  # fmt: skip
    texts = [cell.value for cell in sheet[1] if sheet.column_dimensions[cell.column_letter].number_format == "@"]
    assert texts == ["商户名称", "联系人", "手机号", "套餐", "备注", "商户标识"]


def test_a_spreadsheet_template_explains_every_column_on_a_sheet_of_its_own(session: Session) -> None:
    book = openpyxl.load_workbook(template(session, MERCHANTS, "xlsx"))
    heads, *rows = book["填写说明"].iter_rows(values_only=True)
    said = {row[0]: row[1:] for row in rows if row[0]}
    assert heads[:4] == ("列名", "必填", "填写说明", "示例")
    assert said["行业"][0] == "新增时必填"
    assert "企业、个体工商户" in str(said["主体类型"][1])
    assert "64 个字" in str(said["商户名称"][1])
    assert {column.label for column in MERCHANTS.columns} <= set(said)


# Rows coming in.


def merchants_file(count: int, start: int = 0, **changed: str) -> bytes:
    heads = ["商户名称", "行业", "联系人", "手机号", "主体类型", "佣金比例（%）", "套餐到期日"]
    rows = [
        [f"商户{number:06}", "餐饮", "王女士", f"138{number:08}", "企业", "5.5", "2027-12-31"]
        for number in range(start, start + count)
    ]
    return csv_of(heads, *rows)


def begin(session: Session, content: bytes, *, dry: bool = False, mode: str = "both", spec: str = "merchants") -> Task:
    """A task as the upload makes it."""
    looked = import_.look(SPECS[spec], "a.csv", content)
    with writing():
        task = Task(
            kind=TaskKind.IMPORT, user_id=user_of(session), view="MerchantView", title="导入",
            params={
                "spec": spec, "kind": looked.kind, "mode": mode, "dry": dry, "head": looked.head, "map": None,
                "kept": storage.put_sealed("tables", looked.kept),
            },
            total=looked.total,
            input_key=storage.put_sealed("uploads", content), input_hash=looked.digest, actor={"name": "测试"},
        )  # fmt: skip
        session.add(task)
        session.commit()
    return task


def user_of(session: Session) -> int:
    from app import setup as setting_up
    from app.models import User

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
        message, more = import_.run(hold, task)
        hold.finish(TaskState.SUCCEEDED, message, **more)
        return message, more


def lose_lease(app: Flask, task_id: int) -> None:
    with app_scope(app, PLATFORM) as session:
        from datetime import timedelta

        from app.models.base import utcnow

        session.execute(sa.update(Task).where(Task.id == task_id).values(lease_until=utcnow() - timedelta(seconds=1)))
        session.commit()


def count_of(app: Flask, model: Any = Merchant) -> int:
    with app_scope(app, PLATFORM) as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(model)) or 0)


@pytest.fixture
def trade(session: Session) -> Industry:
    with writing():
        row = Industry(name="餐饮")
        session.add(row)
        session.commit()
    return row


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
    assert import_.imported_before(session, "MerchantView", again.input_hash, again.id) is not None
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
]  # fmt: skip


def test_a_wrong_row_is_named_with_its_reason_and_the_others_come_in(
    app: Flask, session: Session, trade: Industry
) -> None:
    heads = ["商户名称", "行业", "手机号", "佣金比例", "套餐到期日"]
    content = csv_of(heads, ["好", "餐饮", "", "", ""], *(row[:-1] for row in WRONG))
    task = begin(session, content)
    message, more = work(app, task.id)
    assert message.endswith(f"失败 {len(WRONG)} 行") and count_of(app) == 1
    reasons = {line: why for line, _label, why in more["params"]["errors"]}
    for number, row in enumerate(WRONG, 3):
        assert row[-1] in reasons[number]
    with app.app_context():
        failed = rows_of(storage.read_sealed(more["output_key"]))
    assert failed[0] == [*heads, import_.REASON]
    assert [row[:-1] for row in failed[1:]] == [row[:-1] for row in WRONG]
    again = begin(session, csv_of(*failed))  # a mended file of failed rows may be sent as it is
    with app.app_context():
        read, places = import_.heads_of(MERCHANTS, again, import_.table_of(again))
    assert unread(read, places, []) == ([], [import_.REASON])


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


# Rows known again.


def test_a_row_is_known_by_its_mark_whatever_it_is_called(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "商户名称", "状态"], [actors.alice.key.upper(), "爱丽丝花艺", "停用"])
    message, _more = work(app, begin(session, content).id)
    assert message.startswith("新增 0，更新 1")
    refresh(session)
    assert (actors.alice.name, actors.alice.state) == ("爱丽丝花艺", MerchantState.SUSPENDED)


def test_a_file_with_the_mark_needs_no_name(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "备注"], [actors.alice.key, "老客户"], [actors.bob.key, ""], ["", "谁"])
    message, more = work(app, begin(session, content).id)
    assert message == "新增 0，更新 1，无变化 1，跳过 0，失败 1 行"
    assert more["params"]["errors"][0][2] == "请填写商户名称；新增时请填写行业"


def test_a_mark_of_no_row_is_refused_and_no_row_is_made(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "商户名称", "行业"], ["m_nobodynobody", "爱丽丝花店", "餐饮"])
    message, more = work(app, begin(session, content).id)
    assert message.endswith("失败 1 行") and "不存在" in more["params"]["errors"][0][2]
    assert count_of(app) == 2


@pytest.mark.parametrize("dry", [True, False])
def test_a_name_that_another_row_has_is_refused_in_the_check_too(
    app: Flask, session: Session, actors: Actors, dry: bool
) -> None:
    content = csv_of(["商户标识", "商户名称"], [actors.alice.key, actors.bob.name])
    _message, more = work(app, begin(session, content, dry=dry).id)
    assert [error[1:] for error in more["params"]["errors"]] == [["商户名称", "商户名称「鲍勃面馆」已被另一行使用"]]


def test_a_name_may_be_taken_that_its_row_gave_up(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "商户名称"], [actors.bob.key, "鲍勃饺子"], [actors.alice.key, "鲍勃面馆"])
    message, _more = work(app, begin(session, content).id)
    assert message.startswith("新增 0，更新 2")
    refresh(session)
    assert (actors.alice.name, actors.bob.name) == ("鲍勃面馆", "鲍勃饺子")


@pytest.mark.parametrize("second", ["崔妮蒂", ""])
def test_a_row_that_two_lines_mean_is_changed_by_the_first_alone(
    app: Flask, session: Session, actors: Actors, second: str
) -> None:
    heads, rate = ["商户标识", "商户名称", "联系人", "佣金比例（%）"], "" if second else "-1"
    content = csv_of(heads, [actors.alice.key, "", "墨菲斯", ""], ["", "爱丽丝花店", second, rate])
    message, more = work(app, begin(session, content).id)
    assert message == "新增 0，更新 1，无变化 0，跳过 0，失败 1 行"
    assert more["params"]["errors"][0][0] == 3 and "与第 2 行是同一条记录" in more["params"]["errors"][0][2]
    refresh(session)
    assert actors.alice.contact == "墨菲斯"


def test_a_masked_phone_is_no_change_and_another_mask_is_none_either(
    app: Flask, session: Session, actors: Actors
) -> None:
    with writing(), app.app_context():
        keep_phone(actors.alice, "13800138000")
        session.commit()
    content = csv_of(["商户名称", "手机号"], ["爱丽丝花店", "138****8000"], ["鲍勃面馆", "139****0000"])
    message, more = work(app, begin(session, content).id)
    assert message == "新增 0，更新 0，无变化 1，跳过 0，失败 1 行"
    assert "带有星号" in more["params"]["errors"][0][2]


def test_the_check_says_of_each_row_what_will_change(app: Flask, session: Session, actors: Actors) -> None:
    heads = ["商户名称", "行业", "手机号", "佣金比例", "主体类型"]
    content = csv_of(heads, ["爱丽丝花店", "餐饮", "13812345678", "7.5", "个人"], ["新店", "餐饮", "", "", ""])
    _message, more = work(app, begin(session, content, dry=True).id)
    updated, created = more["params"]["rows"]
    assert created == ["created", 3, "新店", []]
    assert updated[:3] == ["updated", 2, "爱丽丝花店"]
    changes = {label: (before, after) for label, before, after in updated[3]}
    assert changes["佣金比例（%）"] == ("0", "7.5")
    assert changes["主体类型"] == ("企业", "个人")
    assert changes["手机号"][1] == "138****5678"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("expires_on", "2027/1/5", date(2027, 1, 5)), ("expires_on", "２０２７－０１－０５", date(2027, 1, 5)),
        ("expires_on", "2027年1月5日", date(2027, 1, 5)), ("expires_on", "2027-01-05 00:00:00", date(2027, 1, 5)),
        ("expires_on", "46392", date(2027, 1, 5)), ("expires_on", "20270105", date(2027, 1, 5)),
        ("commission_rate", "５．５", 5.5), ("commission_rate", "5.50%", 5.5), ("phone", "１３８００１３８０００", "13800138000"),
        ("phone", "138 0013 8000", "13800138000"), ("subject_type", " 企业 ".strip(), SubjectType.COMPANY),
        ("state", "ACTIVE", MerchantState.ACTIVE), ("remarks", "甲\r\n乙", "甲\n乙"),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_makes_of_a_value_is_understood(name: str, text: str, value: Any) -> None:
    assert MERCHANTS.column(name).parse(text) == value


@pytest.mark.parametrize("text", ["1_0", "NaN", "Infinity", "1e308", "1e-400", "١٢٣٤", "--1", "5.5.5"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        MERCHANTS.column("commission_rate").parse(text)


@pytest.mark.parametrize(("text", "value"), [("１，０００", 1000), ("10.0", 10), ("-3", -3)])
def test_a_whole_number_is_one_however_it_is_written(text: str, value: int) -> None:
    assert INDUSTRIES.column("position").parse(text) == value


def test_industries_are_renamed_by_their_number(app: Flask, session: Session, trade: Industry) -> None:
    message, _more = work(app, begin(session, csv_of(["编号", "行业名称"], [trade.id, "美食"]), spec="industries").id)
    assert message.startswith("新增 0，更新 1")
    refresh(session)
    assert trade.name == "美食"


def test_industries_come_in_by_name(app: Flask, session: Session) -> None:
    content = csv_of(["名称", "排序"], ["餐饮", "10"], ["零售", "x"])
    message, _more = work(app, begin(session, content, spec="industries").id)
    assert message.startswith("新增 1") and message.endswith("失败 1 行")
    assert INDUSTRIES.key == "name"


# Rows going out.


def test_a_hundred_thousand_rows_go_out_in_flat_memory(app: Flask) -> None:
    """The memory of a file of 100,000 rows is that of a chunk and the keys, not that of the rows."""
    rows = 100_000
    with app.app_context():
        from app.extensions import db

        with db.engine.begin() as connection:
            connection.execute(Industry.__table__.insert(), [{"name": f"行业{n}", "position": n} for n in range(rows)])
    spec = export.SPECS["IndustryView"]
    with app_scope(app, PLATFORM) as session:
        keys = list(session.scalars(sa.select(Industry.id).order_by(Industry.id)))
        session.rollback()
        tracemalloc.start()
        with export.write_file(session, spec, "csv", keys) as made:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert sum(1 for _ in made) == rows + 1
    assert peak < 24 * 1024 * 1024


def test_keys_of_a_large_export_are_kept_in_order(app: Flask) -> None:
    with app.app_context():
        kept = export.kept_keys(export.keep_keys([3, 1, 2**40]))
    assert list(kept) == [3, 1, 2**40]
