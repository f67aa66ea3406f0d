"""Imports: a file's rows become rows of a table, a chunk a transaction, known again by their key.

A dry run does the same and writes nothing. What a chunk did, how far the file is and what it refused are committed
together, so a worker that dies is taken over at the next chunk.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.data import storage
from app.data.engine import let_go, rows_changed
from app.errors import Refused
from app.i18n.sentence import chained, changed, packed, say
from app.models.kit.audit import record
from app.models.kit.task import Task, TaskKind, TaskState
from app.redaction import redact
from app.tasks.export import file_name
from app.tasks.importing.columns import ImportSpec
from app.tasks.importing.heads import chosen, found_in, head_row, heads_at, matched
from app.tasks.importing.layout import Layout
from app.tasks.importing.rows import SHOWN, Importer, Taken, cell_at
from app.tasks.queue import Hold, wake
from app.tasks.spreadsheets.cells import returned
from app.tasks.spreadsheets.read import Line, Table, check_kind, opened, pack
from app.tasks.spreadsheets.write import writer
from app.tasks.tables import import_of

CHUNK = 500
SHOWN_ERRORS = 100
REASON = "失败原因"
MODES = {"both": "新增并更新", "add": "仅新增（已有的跳过）", "update": "仅更新（没有的跳过）"}


@dataclass(frozen=True)
class Looked:
    """What reading an uploaded file gave: its rows, packed, the row of its heads, how many rows follow, its hash."""

    kept: bytes
    kind: str
    head: int
    total: int
    digest: str


def look(spec: ImportSpec, name: str, content: bytes, sheet: int | None = None, *, person: int | None = None) -> Looked:
    """Read a file, once and to its end: the sheet that is named, else the one that the import's heads are on.

    `person` is who waits for it: of one person one file is read at a time.
    Refused, with what to do, when it cannot be read or holds no rows.
    """
    check_kind(name, content)
    with opened(content, person) as book:
        if sheet is not None and not (0 <= sheet < len(book.sheets) and book.sheets[sheet].rows):
            raise Refused("请选择有内容的工作表", field="sheet")
        place = found_in(spec, book.sheets) if sheet is None else sheet
        if not book.sheets[place].rows:
            names = [one.name for one in book.sheets if one.hidden]
            hidden = say("文件里没有数据（隐藏的工作表不导入：{names}）", names=names)
            raise Refused(hidden if names else "文件里没有数据", field="file")
        kept = pack(book, place)
    table = Table(kept)
    head = head_row(spec, table.first)
    return Looked(kept, table.kind, head, rows_below(table, head), hashlib.sha256(content).hexdigest())


def rows_below(table: Table, head: int) -> int:
    """How many rows follow that of the heads. Refused for a sheet that holds nothing else."""
    count = table.count - sum(1 for number, _ in table.first if number <= head)
    if count > 0:
        return count
    name = table.sheets[table.sheet].name
    where = say("工作表「{name}」", name=name) if name else say("文件")
    empty = say("{where}里只有表头，没有数据", where=where)
    left = left_out(table)
    raise Refused(say("{empty}（{left}）", empty=empty, left=chained(left)) if left else empty, field="file")


def left_out(table: Table) -> list[str]:
    """What is hidden in a file and so not imported, in words."""
    said: list[str] = []
    about = table.about
    if names := [sheet.name for sheet in table.sheets if sheet.hidden]:
        said.append(say("隐藏的工作表不导入：{names}", names=names))
    if count := about.get("hidden_rows"):
        first = "、".join(str(number) for number in about["first_hidden"])
        more = " 等" if count > len(about["first_hidden"]) else ""
        said.append(f"隐藏或被筛选掉的 {count} 行不导入：第 {first}{more} 行")
    if columns := about.get("hidden_columns"):
        said.append(say("隐藏的列不导入：{names}", names=columns))
    return said


def table_of(task: Task) -> Table:
    """What was kept of a task's file."""
    return Table(storage.read_sealed(task.params["kept"]))


def heads_of(spec: ImportSpec, task: Task, table: Table) -> tuple[list[str], dict[str, int]]:
    """The heads of a task's file, and which place each of the import's columns has. Refused where that is not clear."""
    heads = heads_at(table.first, task.params["head"])
    if task.params.get("map") is not None:
        return heads, chosen(spec, heads, task.params["map"])
    return heads, matched(spec, heads, where_of(table, task.params["head"]))


def where_of(table: Table, head: int) -> str:
    """Where the heads were read, for a sentence."""
    name = table.sheets[table.sheet].name
    return say("在工作表「{name}」第 {row} 行", name=name, row=head) if name else say("在第 {row} 行", row=head)


def files_of(task: Task) -> list[str]:
    """The keys of all that the storage keeps for a task."""
    params = task.params
    unfiled = params.get("unfiled") or [""]
    return [key for key in (task.input_key, params.get("kept"), *params.get("parts", []), unfiled[0]) if key]


def imported_before(session: Session, view: str, digest: str, but: int = 0) -> Task | None:
    """The latest import of the very same file into the same list that ran to its end."""
    statement = select(Task).where(
        Task.kind == TaskKind.IMPORT,
        Task.view == view,
        Task.input_hash == digest,
        Task.id != but,
        Task.state == TaskState.SUCCEEDED,
    )
    newest = session.scalars(statement.order_by(Task.id.desc()).limit(20))
    return next((task for task in newest if not task.params.get("dry")), None)


def start(session: Session, task: Task) -> None:
    """From the dry run to the import itself; commits. Refused unless the dry run is over and nobody was quicker."""
    if not task.params.get("dry") or task.state != TaskState.SUCCEEDED:
        raise Refused(_BEGUN)
    record(session, "import", subject=task, file=task.input_name, rows=task.total, mode=MODES[task.params["mode"]])
    _again(session, task, {"dry": False})


def choose(session: Session, task: Task, *, sheet: int, head: int, said: dict[str, str] | None) -> None:
    """Check a file again as a person says it is to be read: which sheet, which row of heads, which column is which.

    Commits. Another sheet is read from the file again, and its heads are looked for anew. Refused when the import has
    begun, or where what was said cannot be.
    """
    if not task.params.get("dry") or not task.is_over or not task.input_key:
        raise Refused(_BEGUN)
    spec, table = import_of(task.view), table_of(task)
    changed: dict[str, Any] = {"head": head, "map": said}
    name, content, before, person = task.input_name, task.input_key, task.params["kept"], task.user_id
    let_go(session)
    if sheet == table.sheet:
        heads = heads_at(table.first, head)
        if said is not None:
            chosen(spec, heads, said)
        _again(session, task, changed, total=rows_below(table, head))
        return
    looked = look(spec, name, storage.read_sealed(content), sheet, person=person)
    kept = storage.put_sealed("tables", looked.kept)
    try:
        _again(session, task, {"kept": kept, "head": looked.head, "map": None}, total=looked.total)
    except Refused:
        storage.delete(kept)
        raise
    storage.delete(before)


_BEGUN = "这次导入已经开始或已结束"
_LASTING = ("kind", "mode", "dry", "kept", "head", "map")  # what a task's next run needs to know


def _again(session: Session, task: Task, changed: dict[str, Any], **values: Any) -> None:
    """To the queue once more, as if it were new; commits. Refused when somebody was quicker."""
    params = {name: task.params.get(name) for name in _LASTING} | changed
    spent = [task.output_key, *task.params.get("parts", [])]
    begun = rows_changed(
        session,
        update(Task)
        .where(Task.id == task.id, Task.state == task.state, Task.finished_at == task.finished_at)
        .values(
            state=TaskState.QUEUED,
            params=params,
            done=0,
            failed=0,
            attempts=0,
            message="",
            finished_at=None,
            cancel_asked=False,
            output_key="",
            **values,
        ),
    )
    if begun != 1:
        session.rollback()
        raise Refused(_BEGUN)
    session.commit()
    for key in filter(None, spent):
        storage.delete(key)
    wake()


# The task.


def run(hold: Hold, task: Task) -> tuple[str, dict[str, Any]]:
    """The rest of an import task's file; gives (sentence, what else to write into the task).

    Nothing is read from the file or written into the storage while a transaction is open.
    """
    spec, params = import_of(task.view), dict(task.params)
    dry, done, failed, passed = bool(params["dry"]), task.done, task.failed, 0
    if not params.get("kept"):
        raise Refused("请重新上传文件")  # it was sent to an earlier release
    let_go(hold.session)
    table = table_of(task)
    heads, places = heads_of(spec, task, table)
    layout = Layout(spec, heads, places, table.about)
    importer = Importer(hold.session, spec, places, layout, mode=params["mode"], dry=dry)
    counts = Counter(params.get("counts") or {})
    params = _filed(params)
    for chunk in _chunks(lines_below(table, params["head"], layout)):
        passed += len(chunk)
        if passed <= done:
            importer.pass_over(chunk)
            continue
        taken = importer.take(chunk)
        counts, done, failed = counts + taken.counts, passed, failed + len(taken.refused)
        params = _noted(params, counts, taken)
        hold.step(done, failed, params=params)
        let_go(hold.session)
        params = _filed(params)
    more: dict[str, Any] = {"params": params | {"parts": []}} | ({} if dry else {"input_key": ""})
    if failed:
        name = file_name(f"{spec.noun}导入_失败行", params["kind"])
        more |= {"output_key": _failed_file(table, params, layout), "output_name": name}
        for part in params["parts"]:
            storage.delete(part)
    return told(counts, failed, dry=dry), more


def lines_below(table: Table, head: int, layout: Layout) -> Iterator[Line]:
    """The rows under the heads."""
    return ((number, layout.read(number, cells)) for number, cells in table.rows() if number > head)


def told(counts: Counter[str], failed: int, *, dry: bool) -> str:
    """What came of it, in one sentence."""
    words = f"新增 {counts['created']}，更新 {counts['updated']}，无变化 {counts['same']}，跳过 {counts['skipped']}"
    return f"校验完成：将{words}，有错误 {failed} 行" if dry else f"{words}，失败 {failed} 行"


def _chunks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    chunk: list[Line] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _noted(params: dict[str, Any], counts: Counter[str], taken: Taken) -> dict[str, Any]:
    """The task's parameters after a chunk, with what it refused; that goes into a file when the chunk is committed."""
    rows = [*params.get("rows", []), *taken.shown]
    kept = [row for outcome, most in SHOWN.items() for row in [row for row in rows if row[0] == outcome][:most]]
    noted = params | {"counts": dict(counts), "rows": kept}
    if taken.refused:
        taken.refused.sort(key=lambda item: item[0])
        # A reason may name what stood in the cell; the task's row keeps no phone number in the clear.
        errors = [
            *params.get("errors", []),
            *([line, label, packed(changed(why, redact))] for line, label, why in taken.refused),
        ]
        part = json.dumps([[line, why] for line, _, why in taken.refused], ensure_ascii=False)
        noted |= {"errors": errors[:SHOWN_ERRORS], "unfiled": storage.sealed("parts", part.encode())}
    return noted


def _filed(params: dict[str, Any]) -> dict[str, Any]:
    """Put what the last chunk refused into its file: outside its transaction, and again after a worker's death."""
    if not params.get("unfiled"):
        return params
    key, sealed = params["unfiled"]
    storage.keep(key, sealed)
    return params | {"unfiled": None, "parts": [*params.get("parts", []), key]}


def _failed_file(table: Table, params: dict[str, Any], layout: Layout) -> str:
    """The refused rows as they came, with the reason behind them; ready to be mended and sent again."""
    why = {line: reason for part in params["parts"] for line, reason in json.loads(storage.read_sealed(part))}
    heads = heads_at(table.first, params["head"])
    kept = [place for place, head in enumerate(heads) if head != REASON]
    target = io.BytesIO()
    out = writer(params["kind"], target, [*(heads[place] for place in kept), REASON])
    for number, cells in lines_below(table, params["head"], layout):
        if number in why:
            out.row([*(returned(cell_at(cells, place)) for place in kept), why[number]])
    out.close()
    return storage.put_sealed("failed", target.getvalue())
