"""The parts of an Excel file that are read whole: relations, the workbook's sheets, styles, shared texts.

Names are taken without the prefix that a writer gave them, and everything is counted.
"""

from __future__ import annotations

import re

from . import cells
from .cells import Cell
from .limits import LONGEST_CELL, MOST_DEPTH, MOST_NAMES, MOST_SHEETS, MOST_STRINGS, MOST_STYLES, Unreadable, damaged
from .values import from_cell

TRUE = frozenset({"1", "true", "on"})
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
Attributes = dict[str, str]


class Reader:
    """Handlers of one part: local names, whatever prefix a writer gave them, and how many there were."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.elements = self.depth = self.cells = 0
        self.over = False

    def local(self, name: str) -> str:
        found = self.names.get(name)
        if found is None:
            if len(self.names) >= MOST_NAMES:
                raise damaged()
            found = self.names[name] = name.rpartition(":")[2]
        return found

    def start(self, name: str, attributes: Attributes) -> None:
        self.elements += 1
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise damaged()
        self.begin(self.local(name), attributes)

    def end(self, name: str) -> None:
        self.depth -= 1
        self.finish(self.local(name))

    def begin(self, name: str, attributes: Attributes) -> None: ...
    def finish(self, name: str) -> None: ...
    def data(self, text: str) -> None: ...


class Relations(Reader):
    """A part's relations: the kind's last word and the target by its key."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, tuple[str, str]] = {}

    def begin(self, name: str, attributes: Attributes) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.found[attributes.get("Id", "")] = kind, attributes.get("Target", "").replace("\\", "/")


class Sheets(Reader):
    """The workbook's sheets in order, and whether its days are counted from 1904."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, bool, str]] = []
        self.from_1904 = False

    def begin(self, name: str, attributes: Attributes) -> None:
        if name == "workbookPr":
            self.from_1904 = attributes.get("date1904") in TRUE
        elif name == "sheet" and len(self.found) <= MOST_SHEETS:
            key = next((value for label, value in attributes.items() if label.rpartition(":")[2] == "id"), "")
            hidden = attributes.get("state", "visible") != "visible"
            self.found.append((attributes.get("name", "")[:64], hidden, key))


class Styles(Reader):
    """What each cell style's number format makes of a number."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[int, str] = {}
        self.numbers: list[int] = []
        self.section = ""

    def begin(self, name: str, attributes: Attributes) -> None:
        if name in {"cellXfs", "numFmts"}:
            self.section = name
        elif name == "xf" and self.section == "cellXfs":
            self.numbers.append(whole_number(attributes.get("numFmtId", "0")))
            if len(self.numbers) > MOST_STYLES:
                raise damaged()
        elif name == "numFmt" and self.section == "numFmts":
            self.codes[whole_number(attributes.get("numFmtId", "0"))] = attributes.get("formatCode", "")[:255]

    def finish(self, name: str) -> None:
        if name == self.section:
            self.section = ""

    def kinds(self) -> list[str]:
        return [cells.kind_of_format(number, self.codes) for number in self.numbers]

    def unseen(self) -> dict[str, str]:
        """The values that a style shows nothing of, by its number as cells have it."""
        found = {str(style): cells.unseen(number, self.codes) for style, number in enumerate(self.numbers)}
        return {style: values for style, values in found.items() if values}


class Texts(Reader):
    """Collects what is written between a text's tags; the reading aids of East Asian texts are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[str] = []
        self.length = 0
        self.taking = self.aside = False

    def data(self, text: str) -> None:
        if self.taking:
            self.held.append(text)
            self.length += len(text)
            if self.length > LONGEST_CELL * 2:
                raise Unreadable(f"有超过 {LONGEST_CELL} 个字的单元格：请检查文件")

    def taken(self) -> str:
        found = self.held[0] if len(self.held) == 1 else "".join(self.held)
        self.held.clear()
        self.length = 0
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), found) if "_x" in found else found


class Strings(Texts):
    """The table of shared texts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Cell] = []
        self.total = 0

    def begin(self, name: str, _attributes: Attributes) -> None:
        if name == "t":
            self.taking = not self.aside
        elif name == "rPh":
            self.aside = True

    def finish(self, name: str) -> None:
        if name == "t":
            self.taking = False
        elif name == "rPh":
            self.aside = False
        elif name == "si":
            text = self.taken()
            self.total += len(text) + 1
            if self.total > MOST_STRINGS:
                raise Unreadable("Excel 文件里的文字太多，已拒绝：请拆分后分别导入")
            self.found.append(cells.text(from_cell(text)))


def whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise damaged()
    return int(text)
