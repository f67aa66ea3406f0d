"""Spreadsheets: nothing in them runs, no digit is lost, nothing harmful is unpacked; and where files are kept."""

from __future__ import annotations

import csv
import io
import tracemalloc
import zipfile
from collections.abc import Sequence
from typing import Any

import openpyxl
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from app.data import storage
from app.errors import Refused
from app.tasks.spreadsheets import cells, limits, values, write
from app.tasks.spreadsheets import read as sheets
from app.tasks.spreadsheets.cells import shown
from app.tasks.spreadsheets.write import for_csv, plain

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"


# Values.


@given(st.text())
def test_no_text_is_a_formula_in_a_file(text: str) -> None:
    cell = for_csv(text)
    assert not cell or cell[0] not in FORMULA_STARTS
    assert not cell.strip() or cell.strip()[0] not in FORMULA_STARTS


@given(st.sampled_from(FORMULA_STARTS), st.sampled_from(["", " ", "\u3000", "\u200b", "\ufeff", "\t"]), st.text())
def test_a_formula_stays_none_however_it_is_dressed(start: str, blank: str, rest: str) -> None:
    for text in (start + rest, blank + start + rest):
        cell = str(plain(text))
        assert cell == "" or cell.startswith("'") or not values.runs(cell)


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cf", "Cn")), max_size=50))
def test_what_was_neutralised_comes_back_as_it_was(text: str) -> None:
    assert values.restored(values.neutral(text)) == text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "是"),
        (False, "否"),
        (12, 12),
        (7301234567890123456, "7301234567890123456"),
        (5.5, 5.5),
        ("=1+1", "'=1+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("+8613800138000", "'+8613800138000"),
        ("普通", "普通"),
        (["甲", "乙"], "甲、乙"),
        ("a\x00b\x0bc", "abc"),
    ],
)
def test_a_value_as_a_cell(value: Any, cell: Any) -> None:
    assert plain(value) == cell


def test_times_are_shanghais_and_long_numbers_keep_their_digits() -> None:
    from datetime import UTC, datetime

    assert plain(datetime(2025, 3, 1, 16, 30, tzinfo=UTC)) == "2025-03-02 00:30:00"
    assert for_csv("7301234567890123456") == "7301234567890123456\t"
    assert for_csv("0012") == "0012\t"
    assert values.from_cell("7301234567890123456\t") == "7301234567890123456"


# Files.


def csv_of(*rows: Sequence[Any], encoding: str = "utf-8") -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(encoding)


def rows_of(content: bytes, sheet: int = 0) -> list[list[str]]:
    """Every row of a file as texts, as the only reader gives them."""
    with sheets.opened(content) as book:
        table = sheets.Table(sheets.pack(book, sheet))
    return [[shown(cell) for cell in cells] for _, cells in table.rows()]


def xlsx_of(*rows: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def book_of(sheets: dict[str, list[list[Any]]]) -> bytes:
    """A workbook with these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        made = book.create_sheet(name)
        for row in rows:
            made.append(row)
    kept = io.BytesIO()
    book.save(kept)
    return kept.getvalue()


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_what_is_written_is_read_again(kind: str) -> None:
    made = io.BytesIO()
    out = write.writer(kind, made, ["名称", "=头"], "商户/列表")
    out.row(["爱丽丝花店", "=cmd|'/c calc'!A1"])
    out.row([7301234567890123456, "0012"])
    out.close()
    rows = rows_of(made.getvalue())
    assert rows == [["名称", "=头"], ["爱丽丝花店", "=cmd|'/c calc'!A1"], ["7301234567890123456", "0012"]]


def test_an_excel_file_holds_no_formula() -> None:
    made = io.BytesIO()
    out = write.writer("xlsx", made, ["名称"])
    out.row(["=HYPERLINK(1)"])
    out.close()
    sheet = openpyxl.load_workbook(io.BytesIO(made.getvalue())).active
    assert sheet["A2"].data_type == "s" and sheet["A2"].value == "'=HYPERLINK(1)"


def test_a_csv_file_opens_in_chinese() -> None:
    made = io.BytesIO()
    out = write.writer("csv", made, ["名称"])
    out.close()
    assert made.getvalue().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_every_encoding_of_chinese_spreadsheets_is_read(encoding: str) -> None:
    content = csv_of(["商户名称", "行业"], ["𠮷野家", "餐饮"], encoding=encoding)
    assert rows_of(content) == [["商户名称", "行业"], ["𠮷野家", "餐饮"]]


def test_bytes_in_no_encoding_are_refused() -> None:
    with pytest.raises(Refused, match="编码"):
        rows_of(b"\xff\xff\x80\x00abc")


def test_a_file_is_what_it_is_and_not_what_it_is_called() -> None:
    for content, kind in ((xlsx_of(["x"]), "xlsx"), (b"name\nx", "csv")):
        with sheets.opened(content) as book:
            assert book.kind == kind


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('名称,备注\n甲,"没有右引号\n乙,x\n丙,y\n', 2),
        ('名称,备注\n甲,x\n乙,"a', 3),
        ('"名称,备注\n甲,x', 1),
        ('名称,备注\n甲,"a""\n乙,x\n', 2),
        ('sep=;\n名称;备注\n甲;"x\n', 2),
        ('名称,备注\r甲,"x\r乙,y\r', 2),
    ],
)
def test_a_quotation_mark_without_its_other_swallows_no_rows(text: str, line: int) -> None:
    with pytest.raises(Refused, match=f"第 {line} 行有引号没有结束"):
        rows_of(text.encode())


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_marks_that_close_or_stand_in_a_text_are_read(end: str) -> None:
    text = '名称,备注\n甲,"两\n行"\n"乙"丙,5" 屏\n丁,"a""b"' + end
    assert rows_of(text.encode()) == [["名称", "备注"], ["甲", "两\n行"], ["乙丙", '5" 屏'], ["丁", 'a"b']]


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xls", OLE + b"0" * 20, "另存为 .xlsx"),
        ("b.csv", b" \n", "文件是空的"),
        ("c.csv", b"x" * (sheets.LARGEST + 1), "超过 10 MB"),
        ("d.et", b"x", "另存为 .xlsx"),
        ("e.xlsx", OLE + "EncryptedPackage".encode("utf-16-le"), "打开密码"),
    ],
)
def test_what_is_no_spreadsheet_of_ours_is_refused_with_what_to_do(name: str, content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        sheets.check_kind(name, content)


def bomb(size: int, entry: str = "xl/worksheets/sheet1.xml") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr(entry, b"0" * size)
    return made.getvalue()


def test_a_zip_bomb_is_refused_by_its_directory() -> None:
    content = bomb(300 * 1024 * 1024)
    assert len(content) < 1024 * 1024
    tracemalloc.start()
    with pytest.raises(Refused, match="解压后过大"):
        rows_of(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_a_directory_that_lies_is_refused() -> None:
    content = bytearray(bomb(4 * 1024 * 1024))
    directory = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[directory + 24 : directory + 28] = (1000).to_bytes(4, "little")
    with pytest.raises(Refused):
        rows_of(bytes(content))


def test_too_many_entries_are_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(limits.MOST_ENTRIES + 1):
            archive.writestr(f"xl/{number}.xml", "")
    with pytest.raises(Refused, match="解压后过大"):
        rows_of(made.getvalue())


def test_a_cell_in_a_column_far_away_is_refused_and_one_in_a_row_far_away_costs_nothing() -> None:
    for cell in ("XFD1", "A1048576"):
        book = openpyxl.Workbook()
        book.active["A1"], book.active[cell] = "名称", "x"
        made = io.BytesIO()
        book.save(made)
        if cell == "XFD1":
            with pytest.raises(Refused, match="工作表超过 60 列"):
                rows_of(made.getvalue())
        else:
            assert rows_of(made.getvalue()) == [["名称"], ["x"]]


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"\x00" * 50, b"PK\x03\x04", bomb(10, "a.xml")])
def test_a_damaged_excel_file_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(Refused):
        rows_of(content)


def test_rows_and_columns_have_a_limit() -> None:
    with pytest.raises(Refused, match="行"):
        rows_of(csv_of(*[["x"]] * (limits.MOST_ROWS + 2)))
    with pytest.raises(Refused, match="列"):
        rows_of(csv_of(["x"] * 61))
    assert rows_of(csv_of(["x"] * 60 + [""] * 40)) == [["x"] * 60]


# What a person sees in a cell.


@pytest.mark.parametrize(
    ("raw", "code", "seen"),
    [
        ("0.05", 9, "5%"),
        ("0.0512", 9, "5.12%"),
        ("7.0000000000000007E-2", 10, "7%"),
        ("-0.5", "0.0%;[Red]-0.0%", "-50%"),
        ("5", '0"%"', "5"),
        ("5", "0\\%", "5"),
        ("5", "[Red]0.00", "5"),
        ("5.50", "0.00_ ", "5.5"),
        ("1E-3", 0, "0.001"),
        ("0.30000000000000004", 0, "0.3"),
        ("13800138000", 0, "13800138000"),
        ("1.3800138E10", 0, "13800138000"),
        ("46392", 14, "2027-01-05"),
        ("46392.5", 22, "2027-01-05 12:00:00"),
        ("0.5", 20, "12:00:00"),
        ("59", 14, "1900-02-28"),
        ("46392", 'yyyy"年"m"月"d"日";@', "2027-01-05"),
        ("46392", "[$-804]yyyy/m/d", "2027-01-05"),
        ("46392", 31, "2027-01-05"),
        ("46392", "G/通用格式", "46392"),
        ("46392", "@", "46392"),
        ("-1", 14, "-1"),
        ("12", "000000", "000012"),
        ("999999999999999", 0, "999999999999999"),
        ("1e15", 0, ["lost_digits", "1e15"]),
        ("nan", 0, "nan"),
        ("12a", 0, "12a"),
    ],
)
def test_a_number_is_what_its_format_shows(raw: str, code: str | int, seen: Any) -> None:
    kind = cells.kind_of_format(code, {}) if isinstance(code, int) else cells.kind_of_format(164, {164: code})
    assert cells.number(raw, kind, from_1904=False) == seen


@pytest.mark.parametrize(
    ("code", "nothing"),
    [
        (";;;", "+-0@"),
        (";;", "+-0"),
        (";;;@", "+-0"),
        (";", "+-0"),
        ("0;-0;;@", "0"),
        ("0;;", "-0"),
        ("0;", "-"),
        ("**;**;**;**", "+-0@"),
        ("**", "+-0"),
        ('"";"" ;" ";[Red]', "+-0@"),
        ("[Red];;;", "+-0@"),
        ("0;0;0;", "@"),
        ("General", ""),
        ("@", ""),
        ("", ""),
        ("[Red]", ""),
        ('0;-0;"-"', ""),
        ('"是";"否";"无"', ""),
        ("0.00_ ", ""),
        ('_ * #,##0.00_ ;_ * -#,##0.00_ ;_ * "-"??_ ;_ @_ ', ""),
        ("yyyy/m/d;@", ""),
        ("[=0];0%", ""),
        ("[=0];;;", "+-0@"),
        ('"a;b"0', ""),
        ("\\;0", ""),
    ],
)
def test_a_format_that_shows_nothing_is_known_for_each_kind_of_value(code: str, nothing: str) -> None:
    assert cells.unseen(164, {164: code}) == nothing


@pytest.mark.parametrize(("place", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (59, "BH"), (16383, "XFD")])
def test_a_column_has_its_name(place: int, name: str) -> None:
    assert cells.letters(place) == name and cells.place_of(name) == place


# Storage.


def test_kept_files_come_back_and_go(app: Flask) -> None:
    with app.app_context():
        key = storage.put("exports", "csv", io.BytesIO(b"abc"))
        assert storage.read(key) == b"abc"
        storage.delete(key)
        storage.delete(key)
        with pytest.raises(FileNotFoundError):
            storage.read(key)


@pytest.mark.parametrize(
    "key",
    [
        "../etc/passwd",
        "exports/../../x.csv",
        "/etc/passwd",
        "exports/aa/x.csv",
        "",
        "exports/aa/" + "a" * 32 + ".csv/..",
    ],
)
def test_a_name_from_outside_is_no_key(app: Flask, key: str) -> None:
    with app.app_context(), pytest.raises(ValueError):
        storage.open_file(key)


def test_the_local_folder_keeps_files_too(app: Flask, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "STORAGE_URL", f"file://{tmp_path}/kept")
    with app.app_context():
        key = storage.put("exports", "csv", io.BytesIO(b"abc"))
        assert (tmp_path / "kept" / key).read_bytes() == b"abc"
        assert storage.read(key) == b"abc"


def test_uploads_are_encrypted_where_they_lie(app: Flask) -> None:
    with app.app_context():
        key = storage.put_sealed("uploads", b"13800138000")
        assert b"13800138000" not in storage.read(key)
        assert storage.read_sealed(key) == b"13800138000"
