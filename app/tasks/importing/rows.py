"""The rows of one file into one table: what a row says, which row it means, what becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session, selectinload

from app.data import names, texts
from app.data.engine import reading
from app.data.engine import taken as columns_taken
from app.data.names import twin_of, twinned
from app.data.written import LONGEST_WORD
from app.errors import Refused
from app.i18n.sentence import chained, ours, say
from app.redaction import redact
from app.tasks.importing.columns import Column, ImportSpec
from app.tasks.importing.layout import Layout
from app.tasks.spreadsheets.cells import ERROR, MERGED, NO_RESULT, ROUNDED, UNCLEAR, UNSEEN, Cell, letters, shown
from app.tasks.spreadsheets.read import Line

QUOTED = 30  # characters of a cell that a sentence names
Change = list[str]  # a column's label, the value before, the value after
# How many rows of each outcome are kept to be shown; their numbers are counted whatever they are.
SHOWN = {"updated": 100, "created": 50, "same": 10, "skipped": 10}


@dataclass
class Wish:
    """One row of the file: which row it means, what it says of it, and what of that cannot be (label, why)."""

    line: int
    cells: list[Cell]
    mark: Any
    values: dict[str, Any]
    wrong: list[tuple[str, str]]


@dataclass
class Taken:
    """What became of some rows: how many of each outcome, some of each to be shown, and those refused."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: list[list[Any]] = field(default_factory=list)  # outcome, line, name, changes
    refused: list[tuple[int, str, str]] = field(default_factory=list)  # line, columns, reasons

    def refuse(self, line: int, *wrong: tuple[str, str]) -> None:
        labels = dict.fromkeys(label for label, _ in wrong if label)
        self.refused.append((line, "、".join(labels), chained([why for _, why in wrong])))

    def note(self, outcome: str, line: int, name: str, changes: list[Change]) -> None:
        self.counts[outcome] += 1
        if self.counts[outcome] <= SHOWN[outcome]:
            self.shown.append([outcome, line, name, changes])

    def add(self, other: Taken) -> None:
        self.counts += other.counts
        self.shown += other.shown
        self.refused += other.refused


class Held:
    """The rows that a chunk may mean: by the mark that the console gave them, else by their key."""

    def __init__(self, session: Session, spec: ImportSpec, wishes: Sequence[Wish]) -> None:
        self.spec = spec
        marks = [wish.mark for wish in wishes if wish.mark is not None]
        keys = [wish.values[spec.key] for wish in wishes if spec.key in wish.values]
        self.by_mark = {getattr(row, spec.mark): row for row in _rows(session, spec, spec.mark, marks)}
        self.by_key = {folded(getattr(row, spec.key)): row for row in _rows(session, spec, spec.key, keys)}

    def row_of(self, wish: Wish) -> Any:
        """The row that is meant, None for a new one. Refused for a mark of none, and for a key that another has."""
        key = wish.values.get(self.spec.key)
        named = None if key is None else self.by_key.get(folded(key))
        if wish.mark is None:
            return named
        row, label = self.by_mark.get(wish.mark), self.spec.column(self.spec.mark).label
        if row is None:
            raise Refused(
                say("{label}「{text}」不存在：新增的行请留空这一列", label=ours(label), text=wish.mark[:QUOTED]),
                field=self.spec.mark,
            )
        if named is not None and named is not row:
            raise Refused(
                say("{label}「{text}」已被另一行使用", label=ours(self.spec.key_column.label), text=str(key)[:QUOTED]),
                field=self.spec.key,
            )
        return row

    def renamed(self, before: Any, row: Any) -> None:
        """A key is another's to take once its row has given it up."""
        if before is not None:
            self.by_key.pop(folded(before), None)
        self.by_key[folded(getattr(row, self.spec.key))] = row


def _rows(session: Session, spec: ImportSpec, name: str, values: Sequence[Any]) -> Sequence[Any]:
    if not values:
        return ()
    related = [selectinload(getattr(spec.model, column.name)) for column in spec.columns if column.related]
    twin = twin_of(spec.model, name)
    among = getattr(spec.model, name).in_(values)
    if twin:
        among |= getattr(spec.model, twin).in_([folded(value) for value in values])
    return session.scalars(select(spec.model).where(among).options(*related)).all()


class Importer:
    """The rows of one file into one table."""

    def __init__(
        self, session: Session, spec: ImportSpec, places: dict[str, int], layout: Layout, *, mode: str, dry: bool
    ) -> None:
        self.session, self.spec, self.layout, self.mode, self.dry = session, spec, layout, mode, dry
        self.columns = [(column, places[column.name]) for column in spec.columns if column.name in places]
        self.seen: dict[tuple[str, str], int] = {}
        self.meant: dict[Any, int] = {}  # a row's number, and the line that was the first to mean it
        self._labels = {column.name: column.label for column in spec.columns}
        self.related: dict[str, dict[str, int]] = {column.name: {} for column, _ in self.columns if column.related}

    def pass_over(self, lines: Sequence[Line]) -> None:
        """Lines that an earlier attempt committed: only what they are known by is remembered."""
        known = [(column, place) for column, place in self.columns if column.name in {self.spec.key, self.spec.mark}]
        for number, cells in lines:
            if self.layout.unfit(number, cells):
                continue
            for column, place in known:
                if text := texts.cleaned(shown(cell_at(cells, place)), lines=True):
                    self.seen.setdefault((column.name, folded(text[:LONGEST_WORD])), number)

    def take(self, lines: Sequence[Line]) -> Taken:
        """One chunk."""
        taken = Taken()
        with reading():
            self._find_related(lines)
            self.session.rollback()  # no lock is held while the rows are read
        wishes = []
        for line in lines:
            if why := self.layout.unfit(*line):
                taken.refuse(line[0], ("", why))
            else:
                wishes.append(self._read(*line))
        with reading(enabled=self.dry), self.session.no_autoflush:
            taken.add(self._store(wishes))
            if self.dry:
                self.session.rollback()
        return taken

    # What a row says.

    def _find_related(self, lines: Sequence[Line]) -> None:
        for column, place in self.columns:
            if column.related is None:
                continue
            model, name = column.related
            known = self.related[column.name]
            named = (
                {texts.cleaned(shown(cell_at(cells, place)), lines=True) for _, cells in lines} - known.keys() - {""}
            )
            asked = {text for text in named if len(text) <= LONGEST_WORD and not texts.fault(text)}
            attribute = getattr(model, name)
            found = self.session.execute(select(attribute, model.id).where(attribute.in_(asked)))
            known.update(dict(found.all()))

    def _read(self, number: int, cells: list[Cell]) -> Wish:
        values: dict[str, Any] = {}
        wrong: list[tuple[str, str]] = []
        for column, place in self.columns:
            cell = cell_at(cells, place)
            try:
                if not isinstance(cell, str):
                    raise Refused(_unusable(cell, f"{letters(place)}{number}"))
                if text := texts.checked(cell, column.label, lines=True):
                    values[column.name] = self._value(column, text)
                    if column.name in {self.spec.key, self.spec.mark}:
                        self._only_once(column, str(values[column.name]), number)
            except Refused as refused:
                wrong.append((column.label, refused.message))
        if not {self.spec.key, self.spec.mark} & values.keys():
            key = self.spec.key_column
            if key.label not in {label for label, _ in wrong}:
                wrong.append((key.label, f"请填写{key.label}"))
        return Wish(number, cells, values.pop(self.spec.mark, None), values, wrong)

    def _only_once(self, column: Column, text: str, number: int) -> None:
        earlier = self.seen.setdefault((column.name, folded(text)), number)
        if earlier != number:
            raise Refused(say("与第 {earlier} 行重复：同一文件里只能出现一次", earlier=earlier))

    def _value(self, column: Column, text: str) -> Any:
        if column.related is None:
            return column.parse(text)
        key = self.related[column.name].get(text)
        if key is None:
            raise Refused(
                say("{label}「{text}」不存在：请先新建，或改为已有的名称", label=ours(column.label), text=text[:QUOTED])
            )
        return key

    # What becomes of it.

    def _store(self, wishes: Sequence[Wish]) -> Taken:
        """All at once; where the database refuses, one by one, so that one bad row does not stop the others."""
        if not wishes:
            return Taken()
        try:
            if self.dry:
                return self._apply(wishes)
            with self.session.begin_nested():
                taken = self._apply(wishes)
                self.session.flush()
        except (IntegrityError, DataError) as error:
            taken = Taken()
            if len(wishes) > 1:
                for wish in wishes:
                    taken.add(self._store([wish]))
            else:
                taken.refuse(wishes[0].line, self._said_of(error))
        return taken

    def _said_of(self, error: IntegrityError | DataError) -> tuple[str, str]:
        """(column, reason) of what the database refuses."""
        if isinstance(error, DataError):
            return "", "数值超出可保存的范围"
        broken = {twinned(self.spec.model, name) for name in columns_taken(error, self.spec.model.__table__)}
        named = [column.label for column in self.spec.columns if column.attribute in broken]
        return "、".join(named), "与已有记录重复" if broken else "与已有数据冲突"

    def _apply(self, wishes: Sequence[Wish]) -> Taken:
        taken, held = Taken(), Held(self.session, self.spec, wishes)
        for wish in wishes:
            row = None
            try:
                row = self._first_to_mean(held.row_of(wish), wish.line)
                if wrong := self._wrong(wish, row):
                    taken.refuse(wish.line, *wrong)
                    continue
                before = getattr(row, self.spec.key, None)
                outcome, name, changes = self._one(wish, row)
            except Refused as refused:
                if row is not None:
                    self.session.expire(row)
                label = self.spec.column(refused.field).label if refused.field else ""
                taken.refuse(wish.line, *wish.wrong, (label, refused.message))
            else:
                taken.note(outcome, wish.line, redact(name), changes)
                if outcome == "updated":
                    held.renamed(before, row)
        return taken

    def _wrong(self, wish: Wish, row: Any) -> list[tuple[str, str]]:
        """All that is wrong with a row at once: what could not be read, what a new one lacks, what its whole says."""
        wrong = list(wish.wrong)
        if row is None and self.mode != "update":
            named = wish.values.keys() | {name for name, label in self._labels.items() if label in dict(wrong)}
            lacking = [column for column in self.spec.columns if column.required and column.name not in named]
            wrong += [(column.label, f"新增时请填写{column.label}") for column in lacking]
        if wrong:
            wrong += self._checked(wish)
        return wrong

    def _checked(self, wish: Wish) -> list[tuple[str, str]]:
        """What the whole row's check says of the values that could be read, on a row that is never kept."""
        probe = self.spec.model()
        try:
            for column, _ in self.columns:
                if column.name in wish.values:
                    column.put(probe, wish.values[column.name])
            self.spec.check(probe)
        except Refused as refused:
            return [(self._labels.get(refused.field or "", ""), refused.message)]
        return []

    def _first_to_mean(self, row: Any, line: int) -> Any:
        """The row. Refused where an earlier line meant it too, one by its mark and the other by its key."""
        if row is not None and (earlier := self.meant.setdefault(row.id, line)) != line:
            raise Refused(
                say("与第 {earlier} 行是同一条记录：同一文件里只能出现一次", earlier=earlier), field=self.spec.key
            )
        return row

    def _one(self, wish: Wish, row: Any) -> tuple[str, str, list[Change]]:
        """What becomes of one row, what it is called, and what changes in it."""
        name = str(wish.values.get(self.spec.key) or getattr(row, self.spec.key))
        if self.mode == ("update" if row is None else "add"):
            return "skipped", name, []
        if row is not None:
            name = str(getattr(row, self.spec.key))
            changes = self._put(wish, row)
            self.spec.check(row)
            return "updated" if changes else "same", name, changes
        row = self.spec.model()
        changes = self._put(wish, row, new=True)
        self.spec.check(row)
        if not self.dry:
            self.session.add(row)
        return "created", name, changes

    def _put(self, wish: Wish, row: Any, *, new: bool = False) -> list[Change]:
        """Set what the file says and the row has not; what that changed, as a person may see it: of a new row only
        what stands elsewhere than in its own cell."""
        values, known_by_key = dict(wish.values), not new and wish.mark is None
        self.spec.spread(None if new else row, values)
        places, changes = {column.name: place for column, place in self.columns}, []
        for column in self.spec.columns:
            if column.name not in values or (known_by_key and column.name == self.spec.key):
                continue
            before = column.shown(row)
            if column.put(row, values[column.name]):
                after = shown(cell_at(wish.cells, places[column.name])) if column.related else column.shown(row)
                if not new or values[column.name] != wish.values.get(column.name):
                    changes.append([column.label, redact(before), redact(after)])
        return changes


def cell_at(cells: Sequence[Cell], place: int) -> Cell:
    return cells[place] if place < len(cells) else ""


def _unusable(cell: list[str], where: str) -> str:
    """Why a cell is no value, by its name in the sheet, and what to do."""
    kind, text = cell
    if kind == ERROR:
        return f"{where} 是 {text}：请改正公式，或直接填写内容"
    if kind == NO_RESULT:
        return f"{where} 的公式没有结果：请用 Excel 或 WPS 打开并保存后再上传，或直接填写内容"
    if kind == ROUNDED:
        return f"{where} 是科学计数法（{text}），末几位可能已丢失：请设为文本格式后重新填写"
    if kind == UNCLEAR:
        return f"{where} 的格式只对一部分数显示百分号：请把单元格格式改为常规后填写数字"
    if kind == MERGED:
        return f"{text} 是合并单元格，只有左上角的一格有内容：请取消合并，在每一行填写"
    if kind == UNSEEN:
        return f"{where} 的数字格式使内容不显示：请把单元格格式改为常规后检查内容"
    return f"{where} 是 16 位以上的数字，末几位已丢失：请设为文本格式后重新填写"


def folded(key: Any) -> str:
    """What a key is compared by: two that read the same are one."""
    return names.folded(str(key))
