"""What of a sheet's layout rows cannot say themselves: merged cells, heads that stand again, another table below, and
from which day days are counted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from app.data.written import counted_from_1900
from app.tasks.importing.columns import ImportSpec
from app.tasks.importing.heads import Heads
from app.tasks.spreadsheets.cells import MERGED, Cell, letters

Range = Sequence[int]  # first row and column, last row and column


class Layout:
    """A sheet below its heads; `about` is what is kept of it. Rows are asked for in order: what stands in one may tell
    of those below."""

    def __init__(
        self, spec: ImportSpec, heads: Sequence[str], places: Mapping[str, int], about: Mapping[str, Any]
    ) -> None:
        self._heads = Heads(spec, heads, places)
        ranges: list[Range] = sorted(about.get("merged", ()), key=lambda one: one[0])
        by_place = {place: [one for one in ranges if one[1] <= place <= one[3]] for place in places.values()}
        self._merged = {place: found for place, found in by_place.items() if found}
        days = [places[column.name] for column in spec.columns if column.is_day and column.name in places]
        self._old_days = days if about.get("from_1904") else []
        self._other = 0  # the row where another table begins, under which the columns are not ours

    def read(self, number: int, cells: list[Cell]) -> list[Cell]:
        """A row's cells: those that are merged into another's marked as such, days counted as in other workbooks."""
        for place in self._merged:
            if name := self._merged_at(number, place):
                cells += [""] * (place + 1 - len(cells))
                cells[place] = [MERGED, name]
        for place in self._old_days:
            if place < len(cells) and isinstance(cell := cells[place], str):
                cells[place] = counted_from_1900(cell)
        return cells

    def unfit(self, number: int, cells: Sequence[Cell]) -> str:
        """Why a row is none of the table's, nothing for one that is."""
        if self._heads.stand_in(cells):
            if self._heads.are_in_place(cells):
                self._other = 0
                return "这一行又是表头，不是数据：请删除这一行"
            self._other = number
        return f"第 {self._other} 行起是另一张表，列与上面的不同：请拆成单独的文件" if self._other else ""

    def _merged_at(self, number: int, place: int) -> str:
        """The merged cells of which one is part, by their name; nothing for one that has a value of its own, as the
        first of them has."""
        ranges = self._merged[place]
        after = bisect_right(ranges, number, key=lambda one: one[0])
        if not after:
            return ""
        top, left, bottom, right = ranges[after - 1]  # a sheet's ranges have no cell in common
        if number > bottom or (number, place) == (top, left):
            return ""
        return f"{letters(left)}{top}:{letters(right)}{bottom}"
