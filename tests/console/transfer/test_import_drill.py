"""The files that people bring, as Excel, WPS, Numbers and others write them, through the door by which they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.data.engine import writing
from app.models import Industry, Merchant
from tests.conftest import Actors, refresh
from tests.console.transfer.test_import import checked, started, upload
from tests.pages import text_of, visible
from tests.tasks.spreadsheets.test_read import OLE, csv_of
from tests.tasks.spreadsheets.workbooks import (
    DECLARATION,
    MAIN,
    STRICT,
    STRICT_KINDS,
    archive,
    book,
    cell,
    formats,
    parts_of,
    row,
    sheet,
    styles,
)

CASES = Path(__file__).parent / "files"
HEADS = ["商户名称", "行业", "手机号", "佣金比例（%）", "套餐到期日"]
SHOP = {"phone": "13800138001", "commission_rate": 5.0, "expires_on": date(2027, 1, 5)}
DAY, DAY_1904 = 46392, 44930  # 2027-01-05
VALUES = ["花店甲", "餐饮", "13800138001", 0.05, DAY]
MARKS = [0, 0, 0, 1, 2]
ROWS = row(1, HEADS) + row(2, VALUES, MARKS)
STYLES = styles(9, 14)


@dataclass(frozen=True)
class Case:
    """A file; the merchants that come in by it with what they hold; what its page says; or the refusal of it."""

    make: Callable[[], bytes]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    refused: str = ""
    name: str = "a.xlsx"


def shared() -> bytes:
    """As Excel writes: a table of texts with reading aids and rich text, spans, alternative content around it."""
    strings = (
        f'{DECLARATION}<sst xmlns="{MAIN}" count="8" uniqueCount="8">'
        + "".join(f'<si><t xml:space="preserve">{text}</t></si>' for text in HEADS)
        + '<si><r><t>花店</t></r><r><rPr><b/><sz val="11"/></rPr><t>甲</t></r><rPh sb="0" eb="2"><t>ハナヤ</t></rPh><phoneticPr fontId="1"/></si>'
        "<si><t>餐饮_x000D_</t></si><si><t>138 0013 8001</t></si></sst>"
    )
    first = "".join(cell("ABCDE"[n] + "1", f'< t="s"><v>{n}</v></c>') for n in range(5))
    second = "".join(cell("ABC"[n] + "2", f'< t="s"><v>{n + 5}</v></c>') for n in range(3))
    numbers = cell("D2", '< s="1"><v>0.05</v></c>') + cell("E2", '< s="2"><v>46392</v></c>')
    rows = (
        f'<row r="1" spans="1:5" ht="14.4" x14ac:dyDescent="0.25">{first}</row>'
        f'<row r="2" spans="1:5" x14ac:dyDescent="0.25">{second}{numbers}</row>'
    )
    content = sheet(
        rows,
        before='<sheetPr/><dimension ref="A1:E2"/><cols><col min="1" max="5" width="9" customWidth="1"/></cols>',
        after='<phoneticPr fontId="1" type="noConversion"/><pageMargins left="0.7"/><extLst><ext uri="{}"><x14:f>1</x14:f></ext></extLst>',
    )
    names = (
        f'xmlns="{MAIN}" xmlns:x14ac="http://schemas.microsoft.com/office/spreadsheetml/2009/9/ac" xmlns:x14="urn:x14"'
    )
    return book(content.replace(f'xmlns="{MAIN}"', names), shared=strings, style=STYLES)


def prefixed() -> bytes:
    """As .NET libraries write: every name with a prefix, targets from the root, texts as results of formulas."""

    def marked(text: str) -> str:
        for name in ("worksheet", "sheetData", "row", "workbook", "sheets", "sheet"):
            text = (
                text.replace(f"<{name} ", f"<x:{name} ")
                .replace(f"<{name}>", f"<x:{name}>")
                .replace(f"</{name}>", f"</x:{name}>")
            )
        for name in ("c", "v", "is", "t"):
            text = (
                text.replace(f"<{name} ", f"<x:{name} ")
                .replace(f"<{name}>", f"<x:{name}>")
                .replace(f"</{name}>", f"</x:{name}>")
            )
        return text.replace(f'xmlns="{MAIN}"', f'xmlns:x="{MAIN}"')

    parts = parts_of({"Sheet1": sheet(ROWS)}, style=STYLES, folder="/xl/")
    for name in ("xl/workbook.xml", "xl/worksheets/sheet1.xml"):
        parts[name] = "\ufeff" + marked(str(parts[name]))
    return archive(parts)


def wps() -> bytes:
    """As WPS writes: its own namespaces and part, the general format by its Chinese name, dates in its own code."""
    own = 'xmlns:etc="http://www.wps.cn/officeDocument/2017/etCustomData" xmlns:xdr="urn:xdr"'
    content = sheet(
        row(1, HEADS) + row(2, VALUES, [3, 0, 0, 1, 2], ' spans="1:5"'),
        before='<sheetPr/><sheetViews><sheetView tabSelected="1" workbookViewId="0"/></sheetViews><sheetFormatPr defaultColWidth="9"/>',
        after="<headerFooter/><etc:extLst/>",
    )
    return book(
        content.replace("<worksheet ", f"<worksheet {own} "),
        style=styles("0.00%", "yyyy/m/d;@", "G/通用格式"),
        more={"customXml/item1.xml": "<x/>", "docProps/custom.xml": "<x/>"},
        pad=100,
    )


def numbers() -> bytes:
    """As Numbers exports: a summary first, the table's name above its heads, texts in cells of their own."""
    summary = sheet(
        row(1, ["本文稿由 Numbers 导出。"])
        + row(3, ["Numbers 工作表名称", "Numbers 表格名称", "Excel 工作表名称"])
        + row(4, ["工作表 1", "商户表", "工作表 1 - 商户表"])
    )
    table = sheet(
        row(1, ["商户表"]) + row(2, HEADS) + row(3, VALUES, MARKS),
        after='<mergeCells count="1"><mergeCell ref="A1:E1"/></mergeCells>',
    )
    return archive(parts_of({"导出摘要": summary, "工作表 1 - 商户表": table}, style=STYLES))


def unplaced() -> bytes:
    """Rows and cells without their places; an empty one counts as well."""
    cells = "".join(cell("", value, mark) for value, mark in zip(VALUES, MARKS, strict=True))
    heads = "".join(cell("", head) for head in HEADS)
    return book(sheet(f"<row>{heads}</row><row/><row>{cells}</row>"), style=STYLES)


def from_1904() -> bytes:
    rows = row(1, HEADS) + row(2, [*VALUES[:4], DAY_1904], MARKS)
    return book(sheet(rows), style=STYLES, before='<workbookPr date1904="1"/>')


def strict() -> bytes:
    rows = row(1, HEADS) + row(2, [*VALUES[:4], '< t="d"><v>2027-01-05T00:00:00</v></c>'], MARKS)
    return book(sheet(rows, main=STRICT), style=STYLES, main=STRICT, kinds=STRICT_KINDS)


def macros() -> bytes:
    parts = parts_of({"Sheet1": sheet(ROWS)}, style=STYLES) | {"xl/vbaProject.bin": OLE + b"\0" * 2000}
    return archive(parts)


def backslashes() -> bytes:
    parts = parts_of({"Sheet1": sheet(ROWS)}, style=STYLES)
    return archive({name.replace("/", "\\") if name.startswith("xl/w") else name: text for name, text in parts.items()})


def hidden() -> bytes:
    """A hidden sheet with the better heads, a row that a filter hides, a hidden column."""
    best = sheet(row(1, [*HEADS, "备注"]) + row(2, [*VALUES, "不该进来"], MARKS))
    shown = sheet(
        row(1, [*HEADS, "联系人"]) + row(2, [*VALUES, "被隐藏"], MARKS) + row(3, ["花店乙", "餐饮"], (), ' hidden="1"'),
        before='<cols><col min="6" max="6" width="0" hidden="1"/></cols>',
    )
    return archive(parts_of({"旧数据": best, "商户": shown}, style=STYLES, states={"旧数据": "veryHidden"}))


def formulas() -> bytes:
    """Results are values; what has none, or an error, is neither."""
    heads = row(1, ["商户名称", "行业", "联系人", "佣金比例（%）"])
    good = row(
        2,
        [
            '< t="str"><f>A9&amp;"甲"</f><v>花店甲</v></c>',
            "餐饮",
            '< t="str"><f>""</f><v></v></c>',
            "<><f>2+3</f><v>5</v></c>",
        ],
    )
    bad = row(3, ["花店乙", "餐饮", "<><f>VLOOKUP(1,2,3)</f></c>", '< t="e"><f>1/0</f><v>#DIV/0!</v></c>'])
    return book(sheet(heads + good + bad))


def custom_percents() -> bytes:
    heads = row(1, ["商户名称", "行业", "佣金比例（%）"])
    given = [(0.07, 1), (0.125, 2), (8, 3), (9, 4), (1, 1)]
    rows = [row(n, [f"店{n}", "餐饮", value], [0, 0, mark]) for n, (value, mark) in enumerate(given, 2)]
    return book(sheet(heads + "".join(rows)), style=styles(10, "0.0%;[Red]-0.0%", '0"%"', "0\\%"))


def behind_conditions() -> bytes:
    heads = row(1, ["商户名称", "行业", "佣金比例（%）"])
    given = [(0.05, 1), (0.12, 2), (8, 3)]
    rows = [row(n, [f"店{n}", "餐饮", value], [0, 0, mark]) for n, (value, mark) in enumerate(given, 2)]
    return book(sheet(heads + "".join(rows)), style=styles('[=0]"";0%', '[=0]"-";0.00%', "[>=1]0;0%"))


def no_numbers() -> bytes:
    heads = row(1, ["商户名称", "行业", "佣金比例（%）"])
    given = ["5²", "①②", "1e1", "1_0", "Infinity", "٥"]
    return book(sheet(heads + "".join(row(n, [f"店{n}", "餐饮", value]) for n, value in enumerate(given, 2))))


def titled() -> bytes:
    return book(
        sheet(
            row(1, ["二〇二七年商户登记表"])
            + row(2, ["填表人：王女士", None, "日期：2027-01-01"])
            + row(4, ["序号", "名称 *", "行业\n（必填）", "联系电话", "佣金"])
            + row(5, [1, "花店甲", "餐饮", 13800138001, 5])
        )
    )


def utf_16() -> bytes:
    parts = parts_of({"Sheet1": ""}, style=STYLES)
    parts["xl/worksheets/sheet1.xml"] = sheet(ROWS).replace("UTF-8", "UTF-16").encode("utf-16")
    return archive(parts)


def wrong_in_many_ways() -> bytes:
    return book(
        sheet(
            row(1, HEADS)
            + row(2, ["花店甲", None, "12", 1.5, 0.5], MARKS)
            + row(3, ["花店乙", "没有的行业", None, "-1", "明天"])
        ),
        style=STYLES,
    )


def long_numbers() -> bytes:
    rows = [row(2, [123456789012345678, "餐饮"]), row(3, [123456789012345, "餐饮"]), row(4, [12, "餐饮"], [1])]
    return book(sheet(row(1, ["商户名称", "行业"]) + "".join(rows)), style=styles("00000000"))


def case_file(name: str) -> Callable[[], bytes]:
    return (CASES / name).read_bytes


GOOD = {"花店甲": SHOP}
DRILL = {
    # The cases that people sent.
    "error cells": Case(case_file("min-error-cells.xlsx"), says=("C2 是 #N/A", "D2 是 #REF!", "1 有错误")),
    "invisible letters": Case(case_file("min-invisible.csv"), {"零宽甲店": {}}, ("与第 2 行重复",), name="a.csv"),
    "a long number": Case(case_file("min-long-number.xlsx"), says=("A2 是 16 位以上的数字", "设为文本格式")),
    "a per cent": Case(case_file("min-percent.xlsx"), {"百分比店": {"commission_rate": 5.0}}),
    "phones": Case(
        case_file("min-phones.csv"),
        {
            "电话甲0": {"phone": "13800138000"},
            "电话甲1": {"phone": "13800138000"},
            "电话甲2": {"phone": "13800138000"},
            "电话甲3": {"phone": "4008008888"},
            "电话甲4": {"phone": "0571-88880003-801"},
            "电话甲5": {"phone": "13800138000", "remarks": "【其他号码】13900139000"},
        },
        ("【其他号码】139****9000",),
        name="a.csv",
    ),
    # As programs write.
    "Excel, shared texts": Case(shared, GOOD),
    "cells with their own texts": Case(lambda: book(sheet(ROWS), style=STYLES), GOOD),
    "prefixes (.NET)": Case(prefixed, GOOD),
    "WPS": Case(wps, GOOD),
    "Numbers": Case(numbers, GOOD),
    "streamed, 64-bit (EasyExcel, POI)": Case(
        lambda: archive(parts_of({"a": sheet(ROWS)}, style=STYLES), streamed=True), GOOD
    ),
    "no places": Case(unplaced, GOOD),
    "no styles": Case(lambda: book(sheet(row(1, HEADS) + row(2, [*VALUES[:3], 5, DAY], MARKS))), {"花店甲": SHOP}),
    "days from 1904": Case(from_1904, GOOD),
    "strict": Case(strict, GOOD),
    "macros": Case(macros, GOOD, name="a.xlsm"),
    "backslashes in names": Case(backslashes, GOOD),
    "UTF-16 inside": Case(utf_16, GOOD),
    "titles above the heads": Case(
        titled, {"花店甲": {"phone": "13800138001", "commission_rate": 5.0}}, ("不认识这些列，不导入：序号",)
    ),
    "custom per cents": Case(
        custom_percents,
        {
            "店2": {"commission_rate": 7.0},
            "店3": {"commission_rate": 12.5},
            "店4": {"commission_rate": 8.0},
            "店5": {"commission_rate": 9.0},
            "店6": {"commission_rate": 100.0},
        },
    ),
    "per cents behind a condition": Case(
        behind_conditions,
        {
            "店2": {"commission_rate": 5.0},
            "店3": {"commission_rate": 12.0},
        },
        ("C4 的格式只对一部分数显示百分号",),
    ),
    "numbers that are none": Case(no_numbers, says=("佣金比例（%）应为数字", "6 有错误")),
    "CSV, zeros kept by a formula": Case(
        '商户名称,行业,佣金比例（%）\r\n"=""00123""",餐饮,5\r\n别的店,餐饮,1.38e+10\r\n'.encode,
        {"00123": {}},
        ("C3 是科学计数法",),
        name="a.csv",
    ),
    "a row of no height": Case(
        lambda: book(
            sheet(row(1, HEADS[:2]) + row(2, ["花店甲", "餐饮"]) + row(3, ["看不见的店", "餐饮"], more=' ht="0"'))
        ),
        {"花店甲": {}},
        ("隐藏或被筛选掉的 1 行不导入：第 3 行",),
    ),
    "five digits that are no date": Case(
        lambda: book(
            sheet(
                row(1, HEADS)
                + row(2, ["花店甲", "餐饮", None, None, "20271"])
                + row(3, ["花店乙", "餐饮", None, None, DAY])
            )
        ),
        {"花店乙": {"expires_on": date(2027, 1, 5)}},
        ("套餐到期日应为日期",),
    ),
    "formulas": Case(
        formulas, {"花店甲": {"contact": "", "commission_rate": 5.0}}, ("C3 的公式没有结果", "D3 是 #DIV/0!")
    ),
    "hidden parts": Case(
        hidden,
        {"花店甲": {"contact": "", "remarks": ""}},
        (
            "隐藏的工作表不导入：旧数据",
            "隐藏或被筛选掉的 1 行不导入：第 3 行",
            "隐藏的列不导入：F",
        ),
    ),
    "formats to the last row": Case(formats, {"格式店": {}}, ("共 1 行",)),
    "long numbers": Case(long_numbers, {"123456789012345": {}, "00000012": {}}, ("A2 是 16 位以上的数字",)),
    "wrong in many ways": Case(
        wrong_in_many_ways,
        says=(
            "手机号格式不正确",
            "新增时请填写行业",
            "佣金比例应在 0 到 100 之间",
            "套餐到期日应为日期",
            "行业「没有的行业」不存在",
        ),
    ),
    # Other formats.
    "CSV, sep= and GB18030": Case(
        lambda: "sep=;\r\n商户名称;行业;佣金比例（%）\r\n花店甲;餐饮;5%\r\n".encode("gb18030"),
        {"花店甲": {"commission_rate": 5.0}},
        name="a.csv",
    ),
    "CSV of Excel's Unicode text": Case(
        lambda: csv_of(["商户名称", "行业"], ["花店，甲", "餐饮"]).replace(b",", b"\t").decode().encode("utf-16"),
        {"花店，甲": {}},
        name="a.txt",
    ),
    "CSV with a title, errors and rounded numbers": Case(
        lambda: csv_of(
            ["商户登记表"],
            [],
            ["商户名称", "行业"],
            ["花店甲", "餐饮"],
            ["#REF!", "餐饮"],
            ["1.23457E+18", "餐饮"],
            [],
            [", ,"],
        ),
        {"花店甲": {}},
        ("A5 是 #REF!", "A6 是科学计数法"),
        name="a.csv",
    ),
    "a password": Case(lambda: OLE + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), refused="打开密码"),
    "an old .xls": Case(lambda: OLE + b"\0" * 600, refused="另存为 .xlsx", name="a.xls"),
    "a page called .csv": Case(
        "<html><table><tr><td>商户名称</td></tr></table>".encode, refused="网页或 XML", name="a.csv"
    ),
    "a Numbers file": Case(
        lambda: archive({"Index/Document.iwa": b"x", "preview.jpg": b"x"}), refused="Numbers", name="a.numbers"
    ),
    "only hidden sheets": Case(
        lambda: archive(parts_of({"商户": sheet(ROWS)}, states={"商户": "hidden"})),
        refused="隐藏的工作表不导入：商户",
    ),
    "a style of 5,000 digits": Case(
        lambda: book(sheet(row(1, HEADS[:2]) + f'<row r="2"><c s="{"1" * 5000}"><v>1</v></c></row>')),
        refused="已损坏",
    ),
    "an empty sheet": Case(lambda: book(sheet("")), refused="没有数据"),
}


@pytest.fixture
def trades(session: Session, actors: Actors) -> None:
    with writing():
        session.add(Industry(name="餐饮美食"))
        session.commit()


@pytest.mark.parametrize("name", DRILL)
def test_a_file_that_people_bring_is_read_as_they_see_it(
    session: Session, operator: FlaskClient, trades: None, name: str
) -> None:
    case = DRILL[name]
    content = case.make()
    if case.refused:
        answer = upload(operator, content, case.name)
        assert answer.status_code == 422 and case.refused in visible(answer.get_data(as_text=True))
        return
    address = checked(operator, content, name=case.name)
    page = visible(text_of(operator, address))
    assert [words for words in case.says if words not in page] == []
    if case.rows:
        assert f"{len(case.rows)} 已新增" in started(operator, address)
    refresh(session)
    made = {row.name: row for row in session.scalars(sa.select(Merchant))}
    assert made.keys() - {"爱丽丝花店", "鲍勃面馆"} == case.rows.keys()
    for name, values in case.rows.items():
        assert {key: getattr(made[name], key) for key in values} == values


def test_every_case_that_was_sent_is_in_the_drill() -> None:
    kept = {path.name for path in CASES.iterdir()}
    makers = [getattr(case.make, "__self__", None) for case in DRILL.values()]
    assert kept == {maker.name for maker in makers if isinstance(maker, Path)}
