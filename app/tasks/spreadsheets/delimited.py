"""CSV files as spreadsheets write them: four encodings, four delimiters, and a first line that names the delimiter."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from itertools import chain

from .cells import Cell, text
from .limits import LONGEST_CELL, MOST_COLUMNS, MOST_ROWS, SHEET_ROWS, Unreadable
from .values import from_cell

_NAMED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
_SAMPLED = 30  # lines
_END = "\0"  # a last line of ours, which no text holds: a quotation mark that is still open has swallowed it


class Delimited:
    """A CSV file by the same face as a workbook: one sheet without a name, nothing hidden."""

    kind = "csv"

    def __init__(self, content: bytes) -> None:
        self.text = decoded(content)
        if self.text.lstrip()[:1] == "<":
            raise Unreadable("这是网页或 XML 文件：请用 Excel 或 WPS 打开后另存为 .xlsx")
        self.sheets = [("", False)]

    def rows(self, _sheet: int, *, whole: bool = True) -> Iterator[tuple[int, list[Cell]]]:
        """Every row that holds anything, with its number as a spreadsheet shows it."""
        body, delimiter = self._delimiter()
        reader = csv.reader(chain(io.StringIO(body, newline=""), [_END]), delimiter=delimiter)
        try:
            for number, cells in enumerate(reader, 1):
                if cells == [_END]:
                    return
                if row := _row(number, cells):
                    yield number, row
        except csv.Error:
            raise Unreadable(f"第 {reader.line_num} 行不是有效的 CSV：请检查引号和换行") from None

    def told(self) -> dict[str, object]:
        return {}

    def _delimiter(self) -> tuple[str, str]:
        """What follows a `sep=` line, which a spreadsheet does not show, and the delimiter."""
        first, _, rest = self.text.partition("\n")
        if named := _NAMED.fullmatch(first.strip("\r")):
            return rest, named[1]
        sample = _QUOTED.sub("", "\n".join(self.text.split("\n", _SAMPLED)[:_SAMPLED]))
        return self.text, max(",\t;|", key=sample.count)


def _row(number: int, cells: list[str]) -> list[Cell]:
    """The cells of a row up to the last that holds anything."""
    if cells and _END in cells[-1]:
        raise Unreadable(f"第 {number} 行有引号没有结束，后面的行都算进了同一格：请补上或删除这个引号")
    if number > SHEET_ROWS:
        raise Unreadable(f"超过 {MOST_ROWS} 行：请拆分后分别导入")
    while cells and not cells[-1]:
        cells.pop()
    if len(cells) > MOST_COLUMNS * 10:
        raise _too_wide()
    row = [text(from_cell(cell), delimited=True) for cell in cells]
    while row and not row[-1]:
        row.pop()
    if len(row) > MOST_COLUMNS:
        raise _too_wide()
    if any(len(cell) > LONGEST_CELL for cell in row):
        raise Unreadable(f"第 {number} 行有超过 {LONGEST_CELL} 个字的单元格：请检查引号和换行")
    return row


def _too_wide() -> Unreadable:
    return Unreadable(f"超过 {MOST_COLUMNS} 列：请使用模板")


def decoded(content: bytes) -> str:
    """CSV bytes as text: UTF-8 or UTF-16 by its mark, UTF-8, else what Chinese spreadsheets write (GB18030)."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            found = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in found:
            return found
    raise Unreadable("无法识别文件的编码：请另存为 UTF-8 编码的 CSV，或 .xlsx")
