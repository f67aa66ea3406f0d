"""An Excel file, read in one pass over its XML: nothing is laid out, everything is counted.

Runs in a process of its own (child.py) and knows nothing of the product. Sheets, rows and columns that are hidden are
left out and counted, merged cells are named; a row that holds only formats is none, and behind the last row the XML
of rows is no more parsed but looked through.
"""

from __future__ import annotations

import codecs
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from typing import Any
from xml.parsers import expat

from . import cells
from .cells import Cell
from .limits import (
    LONGEST_TAG,
    MOST_CELLS,
    MOST_COLUMNS,
    MOST_DECLARED,
    MOST_DEPTH,
    MOST_ELEMENTS,
    MOST_ENTRIES,
    MOST_MERGED,
    MOST_PARSED,
    MOST_SCANNED,
    MOST_SHEETS,
    SURE_AFTER,
    Unreadable,
    damaged,
    too_much,
)
from .parts import TRUE, Attributes, Reader, Relations, Sheets, Strings, Styles, Texts, whole_number
from .values import from_cell

BLOCK = 1 << 16
EMPTY_TAIL = 20_000  # elements without a value, behind which the rest of a sheet is only looked through
_VALUE = re.compile(rb"<(?:[\w.-]+:)?(?:v|is|t)[\s>]")
_SHEET_END = re.compile(rb"</((?:[\w.-]+:)?)sheetData")
_LONGEST_END = 80  # bytes of a tag that may begin in one block and end in the next
_OTHER_KINDS = {
    "xl/workbook.bin": "不支持 .xlsb 文件：请另存为 .xlsx 或 CSV 后再上传",
    "content.xml": "不支持 .ods 文件：请另存为 .xlsx 或 CSV 后再上传",
    "index/document.iwa": "这是 Numbers 的文件：请在 Numbers 中导出为 Excel 或 CSV 后再上传",
    "word/document.xml": "这是 Word 文档：请上传 .xlsx 或 CSV 文件",
}
_TEXTS = frozenset({"v", "t"})
_BEFORE_MERGED = frozenset(
    {  # what may stand between a sheet's rows and its merged cells
        "sheetCalcPr",
        "sheetProtection",
        "protectedRanges",
        "scenarios",
        "autoFilter",
        "sortState",
        "dataConsolidate",
        "customSheetViews",
        "mergeCells",
    }
)
_RANGE = re.compile(r"\$?([A-Za-z]{1,3})\$?(\d{1,7})(?::\$?([A-Za-z]{1,3})\$?(\d{1,7}))?")


class Archive:
    """The parts of the file by their names, and what has been spent on reading them."""

    def __init__(self, content: bytes) -> None:
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):  # the last: a version it does not know
            raise damaged() from None
        entries = self.zip.infolist()
        if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > MOST_DECLARED:
            raise too_much()
        self.parts = {entry.filename.replace("\\", "/").lstrip("/").lower(): entry for entry in entries}
        for name, sentence in _OTHER_KINDS.items():
            if name in self.parts:
                raise Unreadable(sentence)
        self.parsed = self.scanned = 0

    def blocks(self, name: str) -> Iterator[bytes]:
        """What a part unpacks to. Unreadable for one that is missing, encrypted, or not what the directory says."""
        entry = self.parts.get(name.lower())
        if entry is None:
            raise damaged()
        if entry.flag_bits & 1 or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise Unreadable("不支持加密或特殊压缩的 Excel 文件：请另存为普通 .xlsx")
        try:
            with self.zip.open(entry) as stream:
                while block := stream.read(BLOCK):
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
            raise damaged() from None

    def spend(self, *, parsed: int = 0, scanned: int = 0) -> None:
        self.parsed += parsed
        self.scanned += scanned
        if self.parsed > MOST_PARSED or self.scanned > MOST_SCANNED:
            raise too_much()

    def parse(self, name: str, reader: Reader, blocks: Iterator[bytes] | None = None) -> Generator[None, None, None]:
        """Feed a part, or these blocks of it, to a reader; gives control back after every block."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
        parser.CharacterDataHandler = reader.data
        parser.StartDoctypeDeclHandler = _refuse_doctype
        fed = 0
        try:
            for block in blocks or self.blocks(name):
                fed += len(block)
                self.spend(parsed=len(block))
                parser.Parse(block, False)
                if fed - parser.CurrentByteIndex > LONGEST_TAG:  # it would look through all of it with every block
                    raise damaged()
                self._count(name, reader, fed)
                yield
                if reader.over:
                    return
            parser.Parse(b"", True)
        except expat.ExpatError:
            raise damaged() from None

    def _count(self, name: str, reader: Reader, fed: int) -> None:
        """Refuse too many elements: as soon as it is clear that there will be, so that a bomb costs a second."""
        growth = self.parts[name.lower()].file_size / fed if reader.elements > SURE_AFTER else 1
        if reader.elements * growth > MOST_ELEMENTS or reader.cells * growth > MOST_CELLS:
            raise Unreadable("工作表的单元格太多：请删除用不到的行和列，或拆分后分别导入")

    def whole(self, name: str, reader: Reader) -> None:
        for _ in self.parse(name, reader):
            pass


def _refuse_doctype(*_: Any) -> None:
    raise damaged()  # no spreadsheet has one; entities that multiply do


class Rows(Texts):
    """A sheet's rows that hold anything and are not hidden."""

    def __init__(self, strings: list[Cell], kinds: list[str], unseen: dict[str, str], *, from_1904: bool) -> None:
        super().__init__()
        self.strings, self.kinds, self.unseen, self.from_1904 = strings, kinds, unseen, from_1904
        self.ready: list[tuple[int, list[Cell]]] = []
        self.columns: dict[str, int] = {}  # places by their letters
        self.hidden_columns: set[int] = set()
        self.left_columns: set[int] = set()  # hidden ones that hold something
        self.left_rows: list[int] = []
        self.left_count = 0
        self.merged: list[tuple[int, int, int, int]] = []  # first row and column, last row and column
        self.below = False  # whether the rows are over
        self.empty = 0  # elements since the last value
        self.row: dict[int, Cell] = {}
        self.number, self.place, self.hidden = 0, -1, False
        self.kind = self.style = ""
        self.formula = self.valued = False

    def start(self, name: str, attributes: Attributes) -> None:
        """As the others', in one piece: it runs for every cell of a file."""
        self.elements += 1
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise damaged()
        name = self.names.get(name) or self.local(name)
        if name == "c":
            self._cell(attributes)
        elif name == "v":
            self.taking = self.valued = True
        elif name == "t":
            self.taking, self.valued = not self.aside, True
        elif name == "row":
            self._row(attributes)
        elif name == "f":
            self.formula = True
        elif name == "rPh":
            self.aside = True
        else:
            self._around(name, attributes)

    def _around(self, name: str, attributes: Attributes) -> None:
        """What stands above and below the rows."""
        if name == "col":
            self._column(attributes)
        elif name == "mergeCell":
            self._merge(attributes.get("ref", ""))
        elif self.below and self.depth == 2 and name not in _BEFORE_MERGED:
            self.over = True

    def _row(self, attributes: Attributes) -> None:
        number = whole_number(attributes["r"]) if "r" in attributes else self.number + 1
        if number <= self.number:  # no program writes it, and two rows of one number would share their errors
            raise damaged()
        self.number, self.row, self.place = number, {}, -1
        self.hidden = attributes.get("hidden") in TRUE or attributes.get("ht") == "0"

    def _cell(self, attributes: Attributes) -> None:
        self.empty += 1
        reference = attributes.get("r")
        if reference is None:
            self.place += 1
        else:
            name = reference.rstrip("0123456789")
            place = self.columns.get(name)
            if place is None:
                place = self.columns[name] = cells.place_of(name)
                if place < 0:
                    raise damaged()
            self.place = place
        self.kind, self.style = attributes.get("t", "n"), attributes.get("s", "")
        self.formula = self.valued = False

    def _column(self, attributes: Attributes) -> None:
        if attributes.get("hidden") in TRUE or attributes.get("width") == "0":
            first, last = whole_number(attributes.get("min", "0")), whole_number(attributes.get("max", "0"))
            self.hidden_columns.update(range(max(first - 1, 0), min(last, MOST_COLUMNS)))

    def _merge(self, reference: str) -> None:
        found = _RANGE.fullmatch(reference)
        if found is None:
            raise damaged()
        first, last = cells.place_of(found[1]), cells.place_of(found[3] or found[1])
        top, bottom = int(found[2]), int(found[4] or found[2])
        if not (last >= first and bottom >= top > 0):
            raise damaged()
        if (first, top) != (last, bottom):
            self.merged.append((top, first, bottom, last))
            if len(self.merged) > MOST_MERGED:
                raise Unreadable(f"合并单元格超过 {MOST_MERGED} 处：请取消合并后再上传")

    def end(self, name: str) -> None:
        self.depth -= 1
        name = self.names[name]
        if name == "c":
            if self.valued or self.formula:
                self._put()
        elif name in _TEXTS:
            self.taking = False
        elif name == "row":
            self.empty += 1
            self._ended()
        elif name == "rPh":
            self.aside = False
        elif name == "sheetData":
            self.below = True
        elif name == "mergeCells":
            self.over = True

    def _put(self) -> None:
        raw = self.taken() if self.held else ""
        cell = self._value(raw)
        if not cell:
            return
        if self.style in self.unseen and self._sign(raw) in self.unseen[self.style]:
            cell = [cells.UNSEEN, ""]
        self.empty = 0
        self.cells += 1
        if self.place >= MOST_COLUMNS:
            raise Unreadable(f"工作表超过 {MOST_COLUMNS} 列：请删除数据以外的单元格")
        if self.place in self.hidden_columns:
            if not self.hidden:
                self.left_columns.add(self.place)
        elif self.place in self.row:
            raise damaged()
        else:
            self.row[self.place] = cell

    def _sign(self, raw: str) -> str:
        """Which section of its format shows a value: that of texts, or one of the three of numbers."""
        if self.kind not in {"n", "d"}:
            return "@"
        return "-" if raw.strip()[:1] == "-" else "+" if raw.strip("0.Ee+- \t\r\n") else "0"

    def _value(self, raw: str) -> Cell:
        if self.kind == "s":
            place = raw.strip()
            if not (place.isascii() and place.isdigit() and int(place) < len(self.strings)):
                raise damaged()
            return self.strings[int(place)]
        if self.kind in {"inlineStr", "str"}:
            return cells.text(from_cell(raw))
        if self.kind == "e":
            return [cells.ERROR, raw.strip()[:20] or "#N/A"]
        raw = raw.strip()
        if not raw:
            return [cells.NO_RESULT, ""] if self.formula else ""
        if self.kind == "b":
            return "是" if raw in TRUE else "否"
        if self.kind == "d":
            return raw[:19].replace("T", " ").removesuffix(" 00:00:00")
        style = int(self.style) if self.style.isdigit() else 0
        kind = self.kinds[style] if style < len(self.kinds) else ""
        return cells.number(raw, kind, from_1904=self.from_1904)

    def _ended(self) -> None:
        if not self.row:
            return
        if self.hidden:
            self.left_count += 1
            if len(self.left_rows) < 5:
                self.left_rows.append(self.number)
        else:
            self.ready.append((self.number, [self.row.get(place, "") for place in range(max(self.row) + 1)]))
        self.row = {}


class Workbook:
    """The sheets of an Excel file and their rows."""

    kind = "xlsx"

    def __init__(self, content: bytes) -> None:
        self.archive = Archive(content)
        root = self._root()
        book = Sheets()
        self.archive.whole(root, book)
        related = self._related(root)
        known = {key: target for key, (kind, target) in related.items() if kind == "worksheet"}
        self.from_1904 = book.from_1904
        found = [(name, hidden, known[key]) for name, hidden, key in book.found if key in known]
        if not found or len(book.found) > MOST_SHEETS:
            raise Unreadable(
                "Excel 文件里没有可读的工作表" if not found else f"工作表超过 {MOST_SHEETS} 个：请只保留数据"
            )
        self.sheets = [(name, hidden) for name, hidden, _ in found]
        self.targets = [target for _, _, target in found]
        styles = self._styles(related)
        self.strings, self.kinds, self.unseen = self._strings(related), styles.kinds(), styles.unseen()
        self.last: Rows | None = None

    def _root(self) -> str:
        """The workbook's own part."""
        if "_rels/.rels" in self.archive.parts:
            top = Relations()
            self.archive.whole("_rels/.rels", top)
            for kind, target in top.found.values():
                if kind == "officeDocument":
                    return target.lstrip("/")
        if "xl/workbook.xml" not in self.archive.parts:
            raise Unreadable("不是有效的 Excel 文件：请用 Excel 或 WPS 另存为 .xlsx")
        return "xl/workbook.xml"

    def _related(self, root: str) -> dict[str, tuple[str, str]]:
        folder, name = posixpath.split(root)
        found = Relations()
        self.archive.whole(f"{folder}/_rels/{name}.rels".lstrip("/"), found)
        return {
            key: (kind, posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/"))
            for key, (kind, target) in found.found.items()
        }

    def _optional(self, related: dict[str, tuple[str, str]], wanted: str) -> str:
        """The part of a kind, nothing where the file has none."""
        targets = (target for kind, target in related.values() if kind == wanted)
        return next((target for target in targets if target.lower() in self.archive.parts), "")

    def _strings(self, related: dict[str, tuple[str, str]]) -> list[Cell]:
        table = Strings()
        if part := self._optional(related, "sharedStrings"):
            self.archive.whole(part, table)
        return table.found

    def _styles(self, related: dict[str, tuple[str, str]]) -> Styles:
        styles = Styles()
        if part := self._optional(related, "styles"):
            self.archive.whole(part, styles)
        return styles

    def rows(self, sheet: int, *, whole: bool = True) -> Iterator[tuple[int, list[Cell]]]:
        """Every row of a sheet that holds anything, with its number as a spreadsheet shows it; `whole` reads on to
        what stands below the rows."""
        self.last = reader = Rows(self.strings, self.kinds, self.unseen, from_1904=self.from_1904)
        part = self.targets[sheet]
        parsing = self.archive.parse(part, reader)
        for seen, _ in enumerate(parsing, 1):
            yield from reader.ready
            reader.ready.clear()
            if reader.below and not whole:
                return
            if reader.empty > EMPTY_TAIL and not reader.below:
                parsing.close()
                reader.depth = reader.elements = 0
                for _ in self.archive.parse(part, reader, self._below(part, seen, reader.number)):
                    pass
                return

    def _below(self, part: str, seen: int, number: int) -> Iterator[bytes]:
        """What stands below a sheet's rows, as a sheet without any, where its last thousands of cells were empty:
        formats reach down to a sheet's last row, and are only looked through."""
        tail, wide, below = b"", False, False
        for count, block in enumerate(self.archive.blocks(part)):
            if below:
                yield block
                continue
            wide = wide or (count == 0 and block[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE})
            if count < seen and not wide:
                tail = block[-_LONGEST_END:]
                continue
            self.archive.spend(scanned=len(block))
            piece = tail + block
            end = _SHEET_END.search(piece)
            if wide or _VALUE.search(piece, 0, end.start() if end else len(piece)):
                raise Unreadable(f"第 {number} 行之前有数千个空行，其后还有内容：请删除空行或多余的内容")
            if end:
                below = True
                yield b"<%bworksheet><%bsheetData>" % (end[1], end[1]) + piece[end.start() :]
            tail = piece[-_LONGEST_END:]

    def told(self) -> dict[str, object]:
        """What was left out of the sheet read last."""
        if self.last is None:
            return {}
        columns = [cells.letters(place) for place in sorted(self.last.left_columns)]
        return {
            "hidden_rows": self.last.left_count,
            "first_hidden": self.last.left_rows,
            "hidden_columns": columns,
            "merged": self.last.merged,
            "from_1904": self.from_1904,
        }
