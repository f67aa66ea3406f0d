"""Small Excel files that would fill the memory of whoever opens them: refused with a sentence, before they are read."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest

from app.errors import Refused
from app.operations.transfer import files

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
KINDS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
FAR = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'


def sheet(rows: str) -> str:
    return f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def texts(*items: str, root: str = "sst") -> str:
    return f'<{root} xmlns="{MAIN}">' + "".join(f"<si><t>{item}</t></si>" for item in items) + f"</{root}>"


def book(content: str, place: str = "worksheets/sheet1.xml", *, pad: int = 0, **more: str) -> bytes:
    """An Excel file of one sheet; `pad` bytes that cannot be packed keep its ratio small."""
    related = (("worksheet", place), ("sharedStrings", "sharedStrings.xml"))
    parts: dict[str, Any] = {
        "[Content_Types].xml": f'<?xml version="1.0"?><Types xmlns="{TYPES}"><Default Extension="xml"'
        ' ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<?xml version="1.0"?><Relationships xmlns="{RELATIONS}"><Relationship Id="rId1"'
        f' Type="{KINDS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{KINDS}"><sheets>'
        '<sheet name="a" sheetId="1" r:id="rId0"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELATIONS}">'
        + "".join(
            f'<Relationship Id="rId{n}" Type="{KINDS}/{kind}" Target="{to}"/>' for n, (kind, to) in enumerate(related)
        )
        + "</Relationships>",
        f"xl/{place}": content,
        **more,
        "docProps/pad.txt": random.Random(7).randbytes(pad),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return made.getvalue()


def shared_cells(number: int, inner: str = "<v>0</v>") -> str:
    cell = f'<c t="s">{inner}</c>'
    return sheet(f"<row>{cell * 50}</row>" * (number // 50))


LONG = "中" * 30_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "a sheet under another name": lambda: book(sheet(FAR), "elsewhere.xml"),
    "a sheet that is called a picture": lambda: book(sheet(FAR), "media/image1.png"),
    "a column of six letters": lambda: book(sheet('<row r="1"><c r="A1"><v>1</v></c><c r="ZZZZZZ1"><v>1</v></c></row>')),
    "a row with zeros before it": lambda: book(sheet('<row r="1"><c r="A1"/></row><row><c r="A00000001048576"/></row>')),
    "a reference in other letters": lambda: book(sheet('<row r="1"><c r="XF&#68;1048576"><v>1</v></c></row>')),
    "rows without numbers": lambda: book(sheet("<row/>" * (files.MOST_ROWS + 1) + "<row><c/></row>"), pad=50_000),
    "cells without places": lambda: book(sheet(f"<row>{'<c/>' * 100}</row>")),
    "a great rectangle of two cells": lambda: book(sheet('<row><c r="A1"/></row><row><c r="BH190000"/></row>')),
    "one long text in every cell": lambda: _with_table(shared_cells(10_000), texts(LONG)),
    "a second table before the real one": lambda: _with_table(
        shared_cells(10_000), texts(LONG, root="other"), first=texts("a")
    ),
    "a text within a text": lambda: _with_table(shared_cells(10_000), texts(LONG).replace("<si>", "<si><si></si>", 1)),
    "a number in pieces": lambda: _with_table(shared_cells(10_000, "<v><x/>0</v>"), texts(LONG)),
}  # fmt: skip


def _with_table(content: str, table: str, first: str = "") -> bytes:
    tables = {"xl/sharedStrings.xml": table} | ({"a.xml": first} if first else {})
    return book(content, pad=60_000, **tables)


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_would_fill_the_memory_is_refused(name: str) -> None:
    content = BOMBS[name]()
    assert len(content) < 200_000
    with pytest.raises(Refused):
        files.check_archive(content)


@pytest.mark.parametrize("name", ["content.xml", "xl/workbook.bin"])
def test_a_file_of_two_kinds_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="不是有效的 Excel"):
        files.check_archive(book(sheet('<row r="1"><c r="A1"/></row>'), **{name: "<a/>"}))


def test_a_second_directory_is_refused() -> None:
    good, other = book(sheet('<row r="1"><c r="A1"/></row>')), book(sheet(FAR))
    for content in (good + other[-22:-2] + b"\x05\x00extra", good + b" " * 30):
        with pytest.raises(Refused, match="损坏"):
            files.check_archive(content)


def test_ordinary_files_are_read_as_before() -> None:
    plain = book(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'),
                 **{"xl/sharedStrings.xml": texts("名称", "行业")})  # fmt: skip
    assert list(files.rows_of("xlsx", plain)) == [["名称", "行业"]]
    assert list(files.rows_of("xlsx", book(sheet("<row><c><v>1</v></c><c><v>2</v></c></row>")))) == [["1", "2"]]
    made, written = io.BytesIO(), openpyxl.Workbook()
    for number in range(300):
        written.active.append([f"商户{number}", "备注" * 500, number])
    written.save(made)
    assert len(list(files.rows_of("xlsx", made.getvalue()))) == 300


def test_no_damage_to_a_file_is_more_than_a_refusal() -> None:
    chance, good = random.Random(11), book(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>'),
                                           **{"xl/sharedStrings.xml": texts("名称")})  # fmt: skip
    for _ in range(1500):
        content = bytearray(good)
        for _ in range(chance.randint(1, 5)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            list(files.rows_of("xlsx", bytes(content)))
        except Refused:
            continue
