"""CSV and XLSX files: written row by row, read with their size, shape and encoding checked first."""

from __future__ import annotations

import codecs
import csv
import io
import re
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Protocol
from xml.parsers import expat

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from python_calamine import CalamineError, CalamineWorkbook

from app.errors import Refused
from app.operations.transfer.values import for_csv, from_cell, plain

FORMATS = {"csv": "CSV", "xlsx": "Excel"}
TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
LARGEST = 10 * 1024 * 1024
MOST_ROWS = 200_000
MOST_COLUMNS = 60
MOST_ENTRIES = 500
MOST_BYTES = 256 * 1024 * 1024  # of an XLSX, unpacked
MOST_RATIO = 200
MOST_CELLS = 4_000_000  # of the rectangle that an XLSX's cells lie in: its reader lays out all of it
MOST_TEXT = 64 * 1024 * 1024  # of all cells' texts, each time that a shared one is named
SHEET_ROWS = 1_000_000
_END = b"PK\x05\x06"  # begins the last 22 bytes of an archive without a comment
_MORE = b"PK\x06\x07"  # stands before them when there is a second directory
_MARKS = {"cells": re.compile(rb"sheetData"), "strings": re.compile(rb"<(?:[^\s<>:]{1,64}:)?si[\s/>]")}
_LONGEST_MARK = 80
_OTHER_KINDS = frozenset({"content.xml", "xl/workbook.bin"})  # by which a reader takes an archive for another kind


class Writer(Protocol):
    """A file that grows by rows."""

    def row(self, values: Iterable[Any]) -> None: ...
    def close(self) -> None: ...


class CsvWriter:
    """UTF-8 with the mark by which spreadsheets know it."""

    def __init__(self, stream: IO[bytes], heads: Sequence[str]) -> None:
        self._text = io.TextIOWrapper(stream, "utf-8-sig", newline="", write_through=False)
        self._csv = csv.writer(self._text)
        self.row(heads)

    def row(self, values: Iterable[Any]) -> None:
        self._csv.writerow([for_csv(value) for value in values])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class XlsxWriter:
    """Written cell by cell to a file of its own; a second sheet begins where a spreadsheet's rows end."""

    def __init__(self, stream: IO[bytes], heads: Sequence[str], title: str = "") -> None:
        self._stream, self._heads = stream, heads
        self._title = re.sub(r"[\\/*?:\[\]]", " ", title)[:24].strip() or "数据"
        self._book = Workbook(write_only=True)
        self._sheet: Any = None
        self._count = SHEET_ROWS
        if not heads:
            raise ValueError("a table needs heads")
        self._begin()

    def _begin(self) -> None:
        number = len(self._book.worksheets)
        self._sheet = self._book.create_sheet(f"{self._title} {number + 1}" if number else self._title)
        self._sheet.freeze_panes = "A2"
        self._head(self._heads)
        self._count = 0

    def _head(self, texts: Sequence[str]) -> None:
        heads = []
        for text in texts:
            cell = WriteOnlyCell(self._sheet, value=plain(text))
            cell.font = Font(bold=True)
            heads.append(cell)
        self._sheet.append(heads)

    def sheet(self, title: str, heads: Sequence[str], widths: Sequence[int]) -> None:
        """Another sheet behind the rows so far, with columns of its own, as wide as so many letters."""
        self._sheet = self._book.create_sheet(title)
        for number, width in enumerate(widths, 1):
            self._sheet.column_dimensions[get_column_letter(number)].width = width
        self._head(heads)
        self._count = 0

    def row(self, values: Iterable[Any]) -> None:
        if self._count >= SHEET_ROWS:
            self._begin()
        self._sheet.append([plain(value) for value in values])
        self._count += 1

    def close(self) -> None:
        self._book.save(self._stream)
        self._book.close()


def writer(kind: str, stream: IO[bytes], heads: Sequence[str], title: str = "") -> Writer:
    """The writer of a format; Refused for one that is none."""
    if kind not in FORMATS:
        raise Refused("请选择 CSV 或 Excel 格式")
    return CsvWriter(stream, heads) if kind == "csv" else XlsxWriter(stream, heads, title)


# Reading.


def kind_of(name: str, content: bytes) -> str:
    """`csv` or `xlsx`, by what the file is and not by what it is called; Refused for anything else."""
    if len(content) > LARGEST:
        raise Refused(f"文件超过 {LARGEST // 1024 // 1024} MB：请拆分后分别导入", field="file")
    if not content.strip():
        raise Refused("文件是空的", field="file")
    if content[:4] == b"PK\x03\x04":
        return "xlsx"
    if content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or name.lower().endswith((".xls", ".et")):
        raise Refused("不支持旧版 .xls 或加密的文件：请另存为 .xlsx 或 CSV 后再上传", field="file")
    return "csv"


def rows_of(kind: str, content: bytes) -> Iterator[list[str]]:
    """Every row of a file as texts, its heads first. Refused for a file that is damaged, or meant to do harm."""
    return _xlsx_rows(content) if kind == "xlsx" else _csv_rows(content)


def _csv_rows(content: bytes) -> Iterator[list[str]]:
    text = decoded(content)
    first = text.split("\n", 1)[0]
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, cells in enumerate(reader):
            _check_shape(number, len(cells))
            yield [from_cell(cell) for cell in cells]
    except csv.Error:
        raise Refused(f"第 {reader.line_num} 行不是有效的 CSV：请检查引号和换行", field="file") from None


def decoded(content: bytes) -> str:
    """CSV bytes as text: UTF-8 or UTF-16 by its mark, UTF-8, else what Chinese spreadsheets write (GB18030)."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise Refused("无法识别文件的编码：请另存为 UTF-8 编码的 CSV，或 .xlsx", field="file")


def _check_shape(number: int, width: int) -> None:
    if number > MOST_ROWS:
        raise Refused(f"超过 {MOST_ROWS} 行：请拆分后分别导入", field="file")
    if width > MOST_COLUMNS:
        raise Refused(f"超过 {MOST_COLUMNS} 列：请使用模板", field="file")


def _xlsx_rows(content: bytes) -> Iterator[list[str]]:
    check_archive(content)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheet = book.get_sheet_by_index(0)
        for number, cells in enumerate(sheet.to_python(skip_empty_area=False)):
            _check_shape(number, len(cells))
            yield [from_cell(cell) for cell in cells]
    except (CalamineError, OSError, ValueError, IndexError):
        raise Refused("打不开这个 Excel 文件：请用 Excel 或 WPS 另存为 .xlsx 后再上传", field="file") from None


def check_archive(content: bytes) -> None:
    """Refuse an XLSX that would unpack to too much: by its directory first, then by what its parts really hold.

    A directory may lie; one far cell makes a reader lay out the whole rectangle up to it; one long text may be named
    by every cell; and a sheet may stand under any name. So all of it is looked at, as the reader will.
    """
    entries = _entries(content)
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > MOST_ENTRIES or total > MOST_BYTES or total > MOST_RATIO * max(len(content), 1):
        raise Refused("Excel 文件解压后过大，已拒绝：请只保留数据，或改用 CSV", field="file")
    names = {entry.filename for entry in entries}
    if packed > len(content) or "xl/workbook.xml" not in names or names & _OTHER_KINDS:
        raise Refused("不是有效的 Excel 文件：请用 Excel 或 WPS 另存为 .xlsx", field="file")
    holding = {entry: _named_in(content, entry) for entry in entries}
    tables = [entry for entry, found in holding.items() if "strings" in found]
    if len(tables) > 1:  # which of them the reader takes, nobody knows
        raise _damaged()
    lengths = array("q")
    for entry in tables:
        _parsed(content, entry, _Strings(lengths))
    for entry in (entry for entry, found in holding.items() if "cells" in found):
        sheet = _Sheet()
        _parsed(content, entry, sheet)
        if sheet.shared * max(lengths, default=0) > MOST_TEXT:
            _parsed(content, entry, _SharedTexts(lengths))


def _entries(content: bytes) -> list[zipfile.ZipInfo]:
    """The directory's entries; refused where another reader might find another directory."""
    if content[-22:-18] != _END or content[-42:-38] == _MORE:
        raise Refused("Excel 文件已损坏：请重新保存后再上传", field="file")
    try:
        return zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):  # the last for a version it does not know
        raise Refused("Excel 文件已损坏：请重新保存后再上传", field="file") from None


def _named_in(content: bytes, entry: zipfile.ZipInfo) -> set[str]:
    """What an entry holds, by its content and not by its name; refused when it is longer than the directory says."""
    size, tail, found = 0, b"", set[str]()
    for block in _inflated(content, entry):
        size += len(block)
        if size > entry.file_size:
            raise Refused("Excel 文件的目录与内容不符，已拒绝", field="file")
        part = tail + block
        found |= {kind for kind, mark in _MARKS.items() if mark.search(part)}
        tail = part[-_LONGEST_MARK:]
    return found


class _Sheet:
    """Reads a sheet's XML for how great a rectangle its cells span, and how many of them name a shared text."""

    def __init__(self) -> None:
        self.rows = self.columns = self.unplaced_rows = self.unplaced = self.widest = self.shared = 0
        self.known: dict[str, int] = {}  # columns by their letters

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name != "c" and not name.endswith((":c", "row")):
            return
        place = attributes.get("r")
        if name.endswith("row"):
            self._row(place)
            return
        self.shared += attributes.get("t") == "s"
        if place is None:
            self.unplaced += 1
            self.widest = max(self.widest, self.unplaced)
            self._reach(0, 0)
            return
        letters = place.rstrip("0123456789")
        row, column = place[len(letters) :], self.known.get(letters) or self._column(letters)
        if len(row) > 9 or not row:
            raise _too_wide()
        if column > self.columns or int(row) > self.rows:
            self._reach(int(row), column)

    def _row(self, place: str | None) -> None:
        self.unplaced = 0
        self.unplaced_rows += place is None
        if place is not None and not (place.isascii() and place.isdigit() and len(place) < 10):
            raise _damaged()
        self._reach(int(place or 0), 0)

    def _column(self, letters: str) -> int:
        if not (letters.isascii() and letters.isalpha() and len(letters) < 4):
            raise _too_wide()
        found = 0
        for letter in letters.upper():
            found = found * 26 + ord(letter) - 64
        self.known[letters] = found
        return found

    def _reach(self, row: int, column: int) -> None:
        self.rows, self.columns = max(self.rows, row), max(self.columns, column)
        rows, columns = self.rows + self.unplaced_rows, self.columns + self.widest
        if rows > MOST_ROWS + 1 or columns > MOST_COLUMNS:
            raise _too_wide()
        if rows * columns > MOST_CELLS:
            raise Refused("工作表的单元格太多：请删除用不到的列，或拆分后分别导入", field="file")


class _SharedTexts:
    """Reads a sheet's XML for how long the shared texts are that its cells name, all together."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths, self.total, self.held = lengths, 0, ""
        self.shared = self.inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.inside:  # a number and nothing else stands there
            raise _damaged()
        name = name.rpartition(":")[2]
        if name == "c":
            self.shared = attributes.get("t") == "s"
        self.inside, self.held = self.shared and name == "v", ""

    def data(self, text: str) -> None:
        if self.inside:
            self.held += text[:20]

    def end(self, _name: str) -> None:
        if not self.inside:
            return
        self.inside, number = False, self.held.strip()
        if not (number.isascii() and number.isdigit() and len(number) < 10) or int(number) >= len(self.lengths):
            raise _damaged()
        self.total += self.lengths[int(number)]
        if self.total > MOST_TEXT:
            raise Refused("Excel 文件里的文字太多，已拒绝：请拆分后分别导入", field="file")


class _Strings:
    """Reads the table of shared texts for the length of each."""

    def __init__(self, lengths: array[int]) -> None:
        self.lengths, self.inside = lengths, False

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == "si":
            if self.inside:  # the reader would count them otherwise
                raise _damaged()
            self.inside = True
            self.lengths.append(1)

    def data(self, text: str) -> None:
        if self.lengths:
            self.lengths[-1] += len(text)

    def end(self, name: str) -> None:
        self.inside = self.inside and name.rpartition(":")[2] != "si"


def _parsed(content: bytes, entry: zipfile.ZipInfo, reader: _Sheet | _SharedTexts | _Strings) -> None:
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    if not isinstance(reader, _Sheet):
        parser.buffer_text = True
        parser.EndElementHandler, parser.CharacterDataHandler = reader.end, reader.data
    try:
        for block in _inflated(content, entry):
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except expat.ExpatError:
        raise _damaged() from None


def _damaged() -> Refused:
    return Refused("Excel 文件已损坏：请重新保存后再上传", field="file")


def _too_wide() -> Refused:
    return Refused(f"工作表超过 {MOST_ROWS} 行或 {MOST_COLUMNS} 列：请删除数据以外的单元格", field="file")


def _inflated(content: bytes, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """What an entry unpacks to, in blocks, whatever the directory says of its size."""
    try:
        name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
        start = entry.header_offset + 30 + name + extra
        packed = content[start : start + entry.compress_size]
        if entry.compress_type == zipfile.ZIP_STORED:
            yield packed
            return
        if entry.compress_type != zipfile.ZIP_DEFLATED or entry.flag_bits & 1:
            raise Refused("不支持加密或特殊压缩的 Excel 文件：请另存为普通 .xlsx", field="file")
        stream = zlib.decompressobj(-15)
        while packed and not stream.eof:
            yield stream.decompress(packed, 1 << 18)
            packed = stream.unconsumed_tail
        yield stream.flush()
    except (struct.error, zlib.error):
        raise Refused("Excel 文件已损坏：请重新保存后再上传", field="file") from None
