"""Sheets whose rows do not hold what people see: merged cells, a second table, days and numbers of another meaning."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data import storage
from app.errors import Refused
from app.models import Industry, Merchant
from app.tasks.spreadsheets import read
from app.views.merchant import MERCHANTS
from tests.conftest import refresh
from tests.tasks.importing.imports import Killed, begin, lose_lease, work
from tests.tasks.spreadsheets.test_read import csv_of, rows_of
from tests.tasks.spreadsheets.workbooks import archive, book, parts_of, row, sheet, styles

HEADS = ["商户名称", "行业", "联系人"]


def merged(*ranges: str) -> str:
    return (
        f'<mergeCells count="{len(ranges)}">' + "".join(f'<mergeCell ref="{one}"/>' for one in ranges) + "</mergeCells>"
    )


def refused(app: Flask, session: Session, content: bytes, **more: Any) -> dict[int, str]:
    """The refused rows of a file's import, with their reasons."""
    _message, done = work(app, begin(session, content, **more).id)
    return {line: why for line, _label, why in done["params"].get("errors", [])}


def names(session: Session) -> list[str]:
    refresh(session)
    return list(session.scalars(sa.select(Merchant.name).order_by(Merchant.id)))


# Merged cells.

FOUR = [["店2", "餐饮", "甲"], ["店3", "", "乙"], ["店4", "", "丙"], ["店5", "餐饮", "丁"]]


def grid(*rows: list[Any], first: int = 1) -> str:
    return "".join(row(number, values) for number, values in enumerate(rows, first))


EMPTY = "".join(f'<row r="{number}" s="1"><c r="A{number}" s="1"/></row>' for number in range(6, 60_000))
BEHIND = '<sheetProtection sheet="1"/><autoFilter ref="A1:C5"><filterColumn colId="0"/></autoFilter>'
MERGED = {
    "as Excel writes": lambda rows, ranges: book(sheet(rows, after=BEHIND + ranges + '<pageMargins left="0.7"/>')),
    "with prefixes": lambda rows, ranges: book(
        sheet(rows, after=ranges).replace("<", "<x:").replace("<x:/", "</x:").replace("<x:?", "<?")
    ),
    "behind formats to the last row": lambda rows, ranges: book(
        sheet(rows + EMPTY, after=BEHIND + ranges), style=styles(9)
    ),
    "in UTF-16": lambda rows, ranges: archive(
        parts_of({"a": ""})
        | {"xl/worksheets/sheet1.xml": sheet(rows, after=ranges).replace("UTF-8", "UTF-16").encode("utf-16")}
    ),
}


@pytest.mark.parametrize("how", MERGED)
def test_a_row_whose_cell_is_merged_with_one_above_is_refused(
    app: Flask, session: Session, trade: Industry, how: str
) -> None:
    content = MERGED[how](grid(HEADS, *FOUR), merged("B2:B4"))
    why = "B2:B4 是合并单元格，只有左上角的一格有内容：请取消合并，在每一行填写"
    assert refused(app, session, content) == {3: why, 4: why}
    assert names(session) == ["店2", "店5"]


def test_a_cell_that_is_merged_with_one_beside_it_is_refused(app: Flask, session: Session, trade: Industry) -> None:
    content = book(sheet(grid(HEADS, ["店2", "餐饮"], ["店3", "餐饮", "丙"]), after=merged("B2:C2")))
    assert [*refused(app, session, content)] == [2]


def test_a_row_that_was_refused_for_a_merged_cell_is_refused_again_when_it_comes_back(
    app: Flask, session: Session, trade: Industry
) -> None:
    content = book(sheet(grid(HEADS, ["店2", "餐饮", "甲"], ["店3", "餐饮"], ["店4", "餐饮"]), after=merged("C2:C4")))
    _message, done = work(app, begin(session, content).id)
    with app.app_context():
        back = storage.read_sealed(done["output_key"])
    assert {line: "#N/A" in why for line, why in refused(app, session, back).items()} == {2: True, 3: True}
    assert names(session) == ["店2"]


def test_merged_cells_of_titles_heads_and_columns_that_stay_out_matter_to_no_row(
    app: Flask, session: Session, trade: Industry
) -> None:
    rows = grid(["商户登记表"], [*HEADS, "片区"], ["店3", "餐饮", "甲", "东"], ["店4", "餐饮", "乙", ""])
    ranges = merged("A1:D1", "D3:D4", "B9:B20", "BZ3:CA4", "A3:A3")
    assert refused(app, session, book(sheet(rows, after=ranges))) == {}


def test_a_sheet_of_too_many_merged_cells_is_refused(app: Flask) -> None:
    ranges = merged(*(f"A{number}:A{number + 1}" for number in range(2, 1_000_000, 2)))
    with pytest.raises(Refused, match="合并单元格超过"):
        rows_of(book(sheet(grid(HEADS), after=ranges)))


@pytest.mark.parametrize("ref", ["A1", "A1:", "A0:B2", "1:2", "A1:B99999999999", "ZZZZ1:ZZZZ2", "A4:B2", ""])
def test_a_merged_range_that_is_none_is_damage_or_nothing(ref: str) -> None:
    content = book(sheet(grid(HEADS), after=merged(ref)))
    if ref == "A1":
        assert rows_of(content) == [HEADS]
    else:
        with pytest.raises(Refused, match="已损坏"):
            rows_of(content)


# Another table.


@pytest.mark.parametrize("dies", [False, True])
def test_heads_that_stand_again_are_no_row_and_the_rows_below_come_in(
    app: Flask, session: Session, trade: Industry, dies: bool
) -> None:
    rows = [[f"店{number}", "餐饮", ""] for number in range(600)]
    task = begin(session, csv_of(HEADS, *rows, ["名称", "行业 *", "联系人"], ["下页", "餐饮", ""]))
    if dies:
        with pytest.raises(Killed):
            work(app, task.id, die_at=600)
        lose_lease(app, task.id)
    _message, done = work(app, task.id)
    assert done["params"]["errors"] == [[602, "", "这一行又是表头，不是数据：请删除这一行"]]
    assert names(session)[-1] == "下页"


@pytest.mark.parametrize(
    "heads", [["联系人", "商户名称", "行业"], ["商户名称", "行业", "颜色"], ["", "商户名称", "行业"]]
)
def test_another_table_below_is_refused_as_a_whole(
    app: Flask, session: Session, trade: Industry, heads: list[str]
) -> None:
    content = csv_of(
        HEADS, ["店2", "餐饮", ""], heads, ["餐饮", "餐饮", "x"], ["y", "餐饮", "z"], HEADS, ["店7", "餐饮", ""]
    )
    found = refused(app, session, content)
    below = "第 3 行起是另一张表，列与上面的不同：请拆成单独的文件"
    assert found == {3: below, 4: below, 5: below, 6: "这一行又是表头，不是数据：请删除这一行"}
    assert names(session) == ["店2", "店7"]


def test_another_table_is_known_in_the_chunks_that_follow_and_after_a_death(
    app: Flask, session: Session, trade: Industry
) -> None:
    rows = [[f"店{number}", "餐饮", ""] for number in range(1200)]
    task = begin(session, csv_of(HEADS, ["联系人", "行业", "名称"], *rows))
    with pytest.raises(Killed):
        work(app, task.id, die_at=1000)
    lose_lease(app, task.id)
    message, _more = work(app, task.id)
    assert message.startswith("新增 0") and message.endswith("失败 1201 行")


def test_a_row_that_names_a_head_or_two_among_its_texts_is_data(app: Flask, session: Session, trade: Industry) -> None:
    content = csv_of([*HEADS, "备注"], ["店2", "餐饮", "联系人", "行业"], ["店3", "餐饮", "", "商户名称"])
    assert refused(app, session, content) == {}


def test_heads_in_brackets_and_without_texts_are_no_heads_of_other_rows(
    app: Flask, session: Session, trade: Industry
) -> None:
    """A head is known without what stands in its brackets; one that is nothing else is known by all of it."""
    task = begin(
        session, csv_of(["（名）", "行业", ""], ["（甲）店", "餐饮", "长" * 61], ["（名）", "行业"], ["乙", "餐饮"])
    )
    task.params = task.params | {"map": {"0": "name", "1": "industry"}}
    session.commit()
    _message, done = work(app, task.id)
    assert [error[0] for error in done["params"]["errors"]] == [3]
    assert names(session) == ["（甲）店", "乙"]


# Days from 1904.

OLD = '<workbookPr date1904="1"/>'


def test_a_day_without_its_format_counts_from_its_workbooks_first_day(
    app: Flask, session: Session, trade: Industry
) -> None:
    heads, days = ["商户名称", "行业", "套餐到期日"], [44930, "４４９３０", 72000, 20271]
    rows = grid(heads, *([f"店{number}", "餐饮", day] for number, day in enumerate(days, 2)))
    _message, done = work(app, begin(session, book(sheet(rows), before=OLD)).id)
    assert [error[0] for error in done["params"]["errors"]] == [4, 5]
    refresh(session)
    assert {row.expires_on for row in session.scalars(sa.select(Merchant))} == {date(2027, 1, 5)}


def test_a_refused_rows_day_from_1904_comes_back_as_the_day_it_is(
    app: Flask, session: Session, trade: Industry
) -> None:
    heads = ["商户名称", "行业", "套餐到期日"]
    content = book(sheet(grid(heads, ["店2", "没有", 44930])), before=OLD)
    _message, done = work(app, begin(session, content).id)
    with app.app_context():
        back = rows_of(storage.read_sealed(done["output_key"]))
    assert MERCHANTS.column("expires_on").parse(back[1][2]) == date(2027, 1, 5)


# Row numbers.


@pytest.mark.parametrize("second", [2, 1, 0])
def test_rows_whose_numbers_do_not_go_up_are_damage(second: int) -> None:
    with pytest.raises(Refused, match="已损坏"):
        rows_of(book(sheet(row(2, ["甲"]) + row(second, ["乙"]))))


def test_a_cell_that_stands_twice_is_damage() -> None:
    with pytest.raises(Refused, match="已损坏"):
        rows_of(book(sheet(row(1, ["甲"]).replace("</row>", '<c r="A1"><v>2</v></c></row>'))))


def test_rows_without_numbers_follow_those_that_have_them() -> None:
    content = book(sheet(row(3, ["甲"]) + "<row><c><v>2</v></c></row>" + row(9, ["丙"])))
    with read.opened(content) as opened:
        assert [number for number, _ in read.Table(read.pack(opened, 0)).rows()] == [3, 4, 9]


# Values that nobody sees.


def test_a_cell_whose_format_shows_nothing_is_refused_and_stays_so(
    app: Flask, session: Session, trade: Industry
) -> None:
    heads = ["商户名称", "行业", "佣金比例（%）", "联系人"]
    rows = [
        row(2, ["店2", "餐饮", 7, "甲"], [0, 0, 1, 0]),
        row(3, ["店3", "餐饮", 7, "乙"], [0, 0, 0, 1]),
        row(4, ["店4", "餐饮", 0, "乙"], [0, 0, 2, 2]),
        row(5, ["店5", "餐饮", 7, "乙"], [2, 2, 2, 2]),
    ]
    content = book(sheet(row(1, heads) + "".join(rows)), style=styles(";;;", "0;-0;;@"))
    why = "{} 的数字格式使内容不显示：请把单元格格式改为常规后检查内容"
    wanted = {number: why.format(name) for number, name in ((2, "C2"), (3, "D3"), (4, "C4"))}
    _message, done = work(app, begin(session, content, dry=True).id)
    assert {line: said for line, _label, said in done["params"]["errors"]} == wanted
    with app.app_context():
        back = storage.read_sealed(done["output_key"])
    assert len(refused(app, session, back, dry=True)) == 3
