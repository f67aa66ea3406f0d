"""The process that reads an uploaded spreadsheet, and may die of it: `python -P -S -m spreadsheets.child`.

It imports nothing of the product, opens no file and no connection, and limits its own processor time and memory.
In: the file's length (a line), the file, then the number of the sheet wanted (a line). Out, as JSON lines: what the
sheets are called and how they begin; then each row as `[number, cells]`; at last an object with how many there were.
A file that cannot be read ends with `{"refused": sentence}`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from typing import Any

from .cells import Cell
from .delimited import Delimited
from .limits import (
    CPU_SECONDS,
    FEW,
    LONGEST_SHOWN,
    LOOKED_AT,
    MEMORY,
    MOST_ROWS,
    MOST_SHOWN,
    MOST_TEXT,
    Unreadable,
    damaged,
    too_much,
)
from .xlsx import Workbook

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def confine() -> None:
    """Limits that the system holds, and a place behind those who answer people."""
    for kind, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a system that knows no such limit, or has a lower one
            resource.setrlimit(kind, (most, most))
    os.nice(5)


def send(value: Any) -> int:
    """One line; how many bytes it had."""
    line = _encode(value).encode("utf-8", "replace") + b"\n"
    sys.stdout.buffer.write(line)
    return len(line)


def look(book: Workbook | Delimited) -> dict[str, Any]:
    """The sheets, and how those that are shown begin."""
    sheets, size = [], 0
    for place, (name, hidden) in enumerate(book.sheets):
        rows: list[Any] = []
        for number, cells in () if hidden else book.rows(place, whole=False):
            short = [_short(cell, LONGEST_SHOWN if size < MOST_SHOWN else FEW) for cell in cells]
            size += sum(len(cell if isinstance(cell, str) else cell[1]) for cell in short)
            rows.append((number, short))
            if len(rows) == LOOKED_AT:
                break
        sheets.append({"name": name, "hidden": hidden, "rows": rows})
    return {"kind": book.kind, "sheets": sheets}


def _short(cell: Cell, most: int) -> Cell:
    """As much of a cell as a page shows: one long text may be named by every cell."""
    return cell[:most] if isinstance(cell, str) else [cell[0], cell[1][:most]]


def rows(book: Workbook | Delimited, sheet: int) -> dict[str, Any]:
    """All rows of a sheet; then what is said of them."""
    count = size = 0
    for row in book.rows(sheet):
        count += 1
        size += send(row)
        if count > MOST_ROWS + 1:  # and their heads
            raise Unreadable(f"超过 {MOST_ROWS} 行：请拆分后分别导入")
        if size > MOST_TEXT:
            raise Unreadable("文件里的文字太多，已拒绝：请拆分后分别导入")
    return {"rows": count, **book.told()}


def main() -> None:
    confine()
    source = sys.stdin.buffer
    content = source.read(int(source.readline()))
    try:
        book = Workbook(content) if content[:4] == b"PK\x03\x04" else Delimited(content)
        send(look(book))
        sys.stdout.buffer.flush()
        wanted = source.readline()
        if wanted.strip():
            send(rows(book, int(wanted)))
    except Unreadable as refused:
        send({"refused": str(refused)})
    except (ValueError, LookupError, ArithmeticError):  # what no program writes: a style of 5,000 digits, no such code
        send({"refused": str(damaged())})
    except MemoryError:
        book = None
        send({"refused": str(too_much())})
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
