"""How much of a spreadsheet is read at most, and the refusal of one that is too much: what both processes know."""

from __future__ import annotations

MOST_ROWS = 200_000  # that hold anything
SHEET_ROWS = 1_048_576  # of any spreadsheet, empty ones counted
MOST_COLUMNS = 60
MOST_SHEETS = 50
MOST_ENTRIES = 2000  # of an archive
MOST_DECLARED = 256 * 1024 * 1024  # bytes of an archive's parts, as its directory has it
MOST_PARSED = 128 * 1024 * 1024  # bytes of XML
MOST_SCANNED = 512 * 1024 * 1024  # bytes that are only looked through, behind the last row
MOST_ELEMENTS = 7_000_000  # of one part
MOST_CELLS = 2_500_000  # of a sheet, that hold anything
SURE_AFTER = 500_000  # elements, from which a part's whole number is reckoned by its length
MOST_STYLES = 65_536
MOST_MERGED = 10_000  # ranges of merged cells in a sheet
LONGEST_TAG = 1024 * 1024  # bytes of XML that the parser may have to hold at once
MOST_DEPTH = 24
MOST_NAMES = 1000  # of elements, in one part
MOST_STRINGS = 32 * 1024 * 1024  # characters of the table of shared texts
MOST_TEXT = 64 * 1024 * 1024  # bytes of all rows together, each time that a shared text is named
LONGEST_CELL = 32_767
LONGEST_SHOWN = 200  # characters of a cell
MOST_SHOWN = 300_000  # characters in all; behind them every cell has a few
FEW = 20
LOOKED_AT = 20  # rows of every sheet that are shown and searched for the heads
CPU_SECONDS = 20
SECONDS = 45  # by the clock, for a machine that has other things to do
MEMORY = 640 * 1024 * 1024


class Unreadable(Exception):
    """A file that is damaged, of another kind, or more than is read; the text is a sentence for who sent it."""


def damaged() -> Unreadable:
    return Unreadable("Excel 文件已损坏：请重新保存后再上传")


def too_much() -> Unreadable:
    return Unreadable("Excel 文件解压后过大，已拒绝：请只保留数据，或改用 CSV")
