"""Files beside their rows: heads, templates, and exports, whose memory stays flat."""

from __future__ import annotations

import tracemalloc

import openpyxl
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.models import Industry, Merchant
from app.tasks import export
from app.tasks.importing import task
from app.tasks.importing.heads import matched
from app.tasks.importing.template import template
from app.views.merchant import MERCHANTS
from tests.tasks.importing.imports import SPECS, begin, work
from tests.tasks.spreadsheets.test_read import csv_of

# Heads.


def test_heads_may_stand_in_any_order_under_any_of_their_names() -> None:
    assert matched(MERCHANTS, ["备注", "电话", "name", "其他", "行业 *"]) == {
        "remarks": 0,
        "phone": 1,
        "name": 2,
        "industry": 4,
    }


def test_a_head_that_stands_twice_is_refused() -> None:
    with pytest.raises(Refused, match="重复"):
        matched(MERCHANTS, ["商户名称", "名称"])


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(Refused, match="没有数据"):
        task.look(MERCHANTS, "a.csv", csv_of(["商户名称", "行业"]))


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
    if held == "nothing" and name == "MerchantView":  # a merchant names an industry, and there is none yet
        with pytest.raises(Refused, match="没有数据"):
            task.look(SPECS[name], f"模板.{kind}", content)
        return
    message, _more = work(app, begin(session, content, dry=True, view=name).id)
    taken = held == "rows" or (name == "IndustryView" and held != "nothing")
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
        "行业": ["餐饮", "零售,百货"],
        "主体类型": ["企业", "个体工商户", "个人", "其他组织"],
        "状态": ["正常", "停用"],
    }
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


# Rows going out.


def test_many_rows_go_out_in_flat_memory(app: Flask) -> None:
    """The memory of a file of 20,000 rows is that of a chunk and the keys (4 MB), not that of the rows (24 MB)."""
    rows = 20_000
    with app.app_context():
        from app.extensions import db

        with db.engine.begin() as connection:
            connection.execute(Industry.__table__.insert(), [{"name": f"行业{n}", "position": n} for n in range(rows)])
    spec = app.extensions["tables"].exports["IndustryView"]
    with app_scope(app, PLATFORM) as session:
        keys = list(session.scalars(sa.select(Industry.id).order_by(Industry.id)))
        session.rollback()
        tracemalloc.start()
        with export.write_file(session, spec, "csv", keys) as made:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert sum(1 for _ in made) == rows + 1
    assert peak < 12 * 1024 * 1024


def test_keys_of_a_large_export_are_kept_in_order(app: Flask) -> None:
    with app.app_context():
        kept = export.kept_keys(export.keep_keys([3, 1, 2**40]))
    assert list(kept) == [3, 1, 2**40]
