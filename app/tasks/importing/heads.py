"""Where an import's table lies in a file: on which sheet, under which row of heads, and which column is which."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from app.errors import Refused
from app.i18n.sentence import listed, ours, say
from app.redaction import redact
from app.tasks.importing.columns import ImportSpec
from app.tasks.spreadsheets.cells import Cell, shown
from app.tasks.spreadsheets.read import Line, Sheet, Table

SAID = 12  # heads of a file that a sentence names
LONGEST_HEAD = 60  # characters; a longer text is none
MOST_NAMED = 5  # sheets that are not read
NOT_IMPORTED = ""  # what a person chooses for a column that stays out


def bare(head: str) -> str:
    """A head without its unit, its star and its blanks: what two heads have in common."""
    return re.sub(r"\(.*|[*\s]", "", unicodedata.normalize("NFKC", head)).lower()


def _names(spec: ImportSpec) -> dict[str, str]:
    """The import's columns by every head that people use for them."""
    names = {bare(column.label): column.name for column in spec.columns}
    names |= {column.name: column.name for column in spec.columns}
    return names | {bare(alias): name for alias, name in spec.aliases.items()}


def found_in(spec: ImportSpec, sheets: Sequence[Sheet]) -> int:
    """The sheet that most likely holds the table: the one with the best heads, which count half without data below;
    where none has heads that we know, the one that begins with the most cells."""
    return max(range(len(sheets)), key=lambda place: (*_worth(spec, sheets[place]), -place))


def _worth(spec: ImportSpec, sheet: Sheet) -> tuple[float, int]:
    if sheet.hidden or not sheet.rows:
        return -1, 0
    best = max(_score(spec, line) for line in sheet.rows)
    return best / (1 if len(sheet.rows) > 1 else 2), sum(1 for _, cells in sheet.rows for cell in cells if cell)


def head_row(spec: ImportSpec, rows: Sequence[Line]) -> int:
    """The number of the row that holds the heads: the one with the most that we know; else the first with a row below
    that is no title, which stands alone in its row. 0 where there are no rows."""
    if not rows:
        return 0
    best = max(rows, key=lambda line: (_score(spec, line), -line[0]))
    if _score(spec, best):
        return best[0]
    return next((number for number, cells in rows[:-1] if sum(1 for cell in cells if cell) > 1), rows[0][0])


def _score(spec: ImportSpec, line: Line) -> int:
    names = _names(spec)
    known = {names[bare(head)] for head in map(shown, line[1]) if bare(head) in names}
    return len(known) + len(known & {spec.key, spec.mark})


def heads_at(rows: Sequence[Line], number: int) -> list[str]:
    """The texts of a row of heads, without the empty ones behind the last. Refused where there is no such row."""
    heads = next(([shown(cell) for cell in cells] for line, cells in rows if line == number), [])
    while heads and not heads[-1]:
        heads.pop()
    if not heads:
        raise Refused("请选择表头所在的行", field="head")
    return heads


def known_in(spec: ImportSpec, heads: Sequence[str]) -> dict[str, int]:
    """The first place of each of the import's columns whose head a file has: what a person need not choose."""
    names = _names(spec)
    found: dict[str, int] = {}
    for place, head in enumerate(heads):
        if name := names.get(bare(head)):
            found.setdefault(name, place)
    return found


def matched(spec: ImportSpec, heads: Sequence[str], where: str = "") -> dict[str, int]:
    """The same, of a file whose heads are clear. Refused for a head that stands twice, or no key."""
    found, names = known_in(spec, heads), _names(spec)
    twice = [head for place, head in enumerate(heads) if found.get(names.get(bare(head), ""), place) != place]
    if twice:
        raise Refused(say("表头「{head}」重复：请只保留一列", head=twice[0]), field="file")
    if spec.key not in found and spec.mark not in found:
        label = spec.key_column.label
        read = [redact(head)[:20] for head in heads if head][:SAID]  # it may be a row of data
        lacking = say("缺少表头「{label}」：{where}读到的表头是 {heads}", label=ours(label), where=where, heads=read)
        raise Refused(lacking, field="file")
    return found


def chosen(spec: ImportSpec, heads: Sequence[str], said: Mapping[str, str]) -> dict[str, int]:
    """The same, as a person said it: our column by the place of theirs. Refused for two of one, or no key."""
    found: dict[str, int] = {}
    for place, head in enumerate(heads):
        name = said.get(str(place), NOT_IMPORTED)
        if not name:
            continue
        label = spec.column(name).label
        if name in found:
            raise Refused(
                say(
                    "「{one}」和「{other}」都对应了{label}：请只选一列",
                    one=heads[found[name]],
                    other=head,
                    label=ours(label),
                ),
                field="map",
            )
        found[name] = place
    if spec.key not in found and spec.mark not in found:
        raise Refused(say("请选择哪一列是{label}", label=ours(spec.key_column.label)), field="map")
    return found


def unread(heads: Sequence[str], places: dict[str, int], exported: Sequence[str]) -> tuple[list[str], list[str]]:
    """The heads of a file that the import leaves: those that the list's export writes, and those that nobody knows."""
    used, known = set(places.values()), {bare(label) for label in exported}
    rest = [head for place, head in enumerate(heads) if place not in used and head]
    return [head for head in rest if bare(head) in known], [head for head in rest if bare(head) not in known]


def _known_by(cell: Cell) -> str:
    """What a cell has in common with heads of its kind; nothing for one that is none."""
    if not isinstance(cell, str) or len(cell) > LONGEST_HEAD:
        return ""
    return bare(cell) or cell


class Heads:
    """A table's heads, by which another row of heads is known: further down, above, or on another sheet."""

    def __init__(self, spec: ImportSpec, heads: Sequence[str], places: Mapping[str, int]) -> None:
        own = {_known_by(heads[place]): name for name, place in places.items() if place < len(heads)}
        self._names = _names(spec) | own
        self._texts = {_known_by(head) for head in heads if head} | self._names.keys()
        self._keys, self._places = {spec.key, spec.mark}, places

    def stand_in(self, cells: Sequence[Cell]) -> bool:
        """Whether a row is one of heads: the key's and another that we know, or nothing but heads."""
        texts = [_known_by(cell) for cell in cells if cell]
        found = {self._names[text] for text in texts if text in self._names}
        return bool(found & self._keys) and (len(found) > 1 or self._texts.issuperset(texts))

    def are_in_place(self, cells: Sequence[Cell]) -> bool:
        """Whether a row of heads has every column of the import where the table has it."""
        texts = [_known_by(cell) for cell in cells]
        return all(place < len(texts) and self._names.get(texts[place]) == name for name, place in self._places.items())

    def elsewhere(self, table: Table, head: int) -> Iterator[str]:
        """What looks like a table and is not read, in words: above the heads, and on other sheets that are shown."""
        if above := [number for number, cells in table.first if number < head and self.stand_in(cells)]:
            yield f"第 {above[0]} 行也像是表头，它与第 {head} 行之间的内容不导入：请拆成单独的文件"
        names = [one.name for place, one in enumerate(table.sheets) if place != table.sheet and self._begin(one)]
        if names:
            first = listed(names[:MOST_NAMED])
            first = say("{names}…", names=first) if len(names) > MOST_NAMED else first
            yield say("一次只导入一个工作表，另有 {count} 个像是数据的没有读取：{names}", count=len(names), names=first)

    def _begin(self, sheet: Sheet) -> bool:
        return any(self.stand_in(cells) for _, cells in sheet.rows[:-1])
