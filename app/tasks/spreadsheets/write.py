"""CSV and XLSX files as they are written: row by row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, Any, Protocol

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from app.data.clock import SHANGHAI
from app.errors import Refused
from app.tasks.spreadsheets.values import neutral

_ESCAPE = re.compile(r"_x[0-9A-Fa-f]{4}_")
FORMATS = {"csv": "CSV", "xlsx": "Excel"}
TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
SHEET_ROWS = 1_000_000


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
    """Written cell by cell to a file of its own; a second sheet begins where a spreadsheet's rows end. `formats` are
    the columns' number formats, where they are not the general one."""

    def __init__(self, stream: IO[bytes], heads: Sequence[str], title: str = "", formats: Sequence[str] = ()) -> None:
        self._stream, self._heads, self._formats = stream, heads, formats
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
        for place, code in enumerate(self._formats, 1):
            dimension = self._sheet.column_dimensions[get_column_letter(place)]
            dimension.width, dimension.number_format = 18, code
        self._head(self._heads)
        self._count = 0

    def _head(self, texts: Sequence[str]) -> None:
        heads = []
        for text in texts:
            cell = WriteOnlyCell(self._sheet, value=plain(text))
            cell.font = Font(bold=True)
            heads.append(cell)
        self._sheet.append(heads)

    def choose_from(self, place: int, title: str, number: int, count: int) -> None:
        """Offer a column's cells a list: the first `count` cells under the head of a column of another sheet."""
        letter, own = get_column_letter(number + 1), get_column_letter(place + 1)
        offer = DataValidation("list", f"'{title}'!${letter}$2:${letter}${count + 1}", allow_blank=True)
        offer.showErrorMessage, offer.errorTitle, offer.error = True, "请从列表中选择", "可选的内容见「可选值」工作表"
        offer.add(f"{own}2:{own}{SHEET_ROWS}")
        self._sheet.data_validations.append(offer)

    def sheet(self, title: str, heads: Sequence[str], widths: Sequence[int]) -> None:
        """Another sheet behind the rows so far, with columns of its own, as wide as so many letters."""
        self._sheet, self._formats = self._book.create_sheet(title), ()
        for number, width in enumerate(widths, 1):
            self._sheet.column_dimensions[get_column_letter(number)].width = width
        self._head(heads)
        self._count = 0

    def row(self, values: Iterable[Any]) -> None:
        if self._count >= SHEET_ROWS:
            self._begin()
        cells = [_literal(plain(value)) for value in values]
        self._sheet.append([*map(self._formatted, cells, self._formats)] if self._formats else cells)
        self._count += 1

    def _formatted(self, value: Any, code: str) -> Any:
        cell = WriteOnlyCell(self._sheet, value=value)
        cell.number_format = code
        return cell

    def close(self) -> None:
        self._book.save(self._stream)
        self._book.close()


def _literal(value: Any) -> Any:
    """A text in which readers see no escape of a character: `_x0041_` is A to them."""
    return _ESCAPE.sub(r"_x005F\g<0>", value) if isinstance(value, str) and "_x" in value else value


def writer(kind: str, stream: IO[bytes], heads: Sequence[str], title: str = "", formats: Sequence[str] = ()) -> Writer:
    """The writer of a format; Refused for one that is none."""
    if kind not in FORMATS:
        raise Refused("请选择 CSV 或 Excel 格式")
    return CsvWriter(stream, heads) if kind == "csv" else XlsxWriter(stream, heads, title, formats)


LONGEST = 32_767  # characters in a spreadsheet's cell
EXACT_DIGITS = 15  # a spreadsheet's numbers hold no more
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_DIGITS = re.compile(r"0\d+|\d{16,}")


def plain(value: Any) -> str | int | float:
    """A value as a cell: times in Shanghai, yes and no in words, numbers only where a spreadsheet keeps them whole."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, int):
        return value if abs(value) < 10**EXACT_DIGITS else str(value)
    if isinstance(value, Decimal | float):
        return float(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return plain("、".join(str(item) for item in value))
    return neutral(_UNPRINTABLE.sub("", str(value))[: LONGEST - 1])


def for_csv(value: Any) -> str:
    """A cell of a CSV file. A long number gets a tab behind it, which keeps its digits when the file is opened."""
    made = plain(value)
    text = str(made)
    return f"{text}\t" if isinstance(made, str) and _DIGITS.fullmatch(text) else text
