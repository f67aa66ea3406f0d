"""Imports: a file's rows become rows of a table, a chunk a transaction, known again by their key.

A dry run does the same and writes nothing. What a chunk did, how far the file is and what it refused are committed
together, so a worker that dies is taken over at the next chunk.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import storage
from app.database import let_go
from app.errors import Refused
from app.models.audit import record
from app.models.task import Task, TaskKind, TaskState
from app.operations.transfer.columns import Column, ImportSpec, bare, matched
from app.operations.transfer.export import file_name
from app.operations.transfer.files import XlsxWriter, kind_of, rows_of, writer
from app.operations.transfer.importer import SHOWN, Importer, Line, Taken, cell_at
from app.operations.transfer.queue import Hold, wake
from app.operations.transfer.specs import SPECS
from app.redaction import redact

CHUNK = 500
SHOWN_ERRORS = 100
SHOWN_ROWS = 10
REASON = "失败原因"
MODES = {"both": "新增并更新", "add": "仅新增（已有的跳过）", "update": "仅更新（没有的跳过）"}


@dataclass(frozen=True)
class Looked:
    """What a look into an uploaded file found: its kind, heads, which of them are known, how many rows, hash."""

    kind: str
    heads: list[str]
    places: dict[str, int]
    total: int
    digest: str


def look(spec: ImportSpec, name: str, content: bytes) -> Looked:
    """Read a file once, to its end. Refused, with what to do, when it cannot be imported at all."""
    kind = kind_of(name, content)
    heads, lines = table_of(kind, content)
    places = matched(spec, heads)
    total = sum(1 for _ in lines)
    if not total:
        raise Refused("文件里只有表头，没有数据", field="file")
    return Looked(kind, heads, places, total, hashlib.sha256(content).hexdigest())


def table_of(kind: str, content: bytes) -> tuple[list[str], Iterator[Line]]:
    """A file's heads and its rows that hold anything."""
    rows = enumerate(rows_of(kind, content), 1)
    _number, heads = next(((number, cells) for number, cells in rows if any(cells)), (0, []))
    while heads and not heads[-1]:
        heads = heads[:-1]
    return heads, ((number, cells) for number, cells in rows if any(cells))


def first_lines(task: Task) -> tuple[list[str], list[Line]]:
    """The heads and the first rows of a task's file, for a look."""
    heads, lines = table_of(task.params["kind"], storage.read_sealed(task.input_key))
    return heads, list(itertools.islice(lines, SHOWN_ROWS))


def template(spec: ImportSpec, kind: str) -> io.BytesIO:
    """An empty file with the import's heads and one row as an example, in a spreadsheet explained on a second sheet."""
    target = io.BytesIO()
    out = writer(kind, target, [column.label for column in spec.columns], spec.noun)
    out.row([column.example for column in spec.columns])
    if isinstance(out, XlsxWriter):
        out.sheet("填写说明", ["列名", "必填", "填写说明", "示例"], [18, 14, 60, 24])
        for column in spec.columns:
            out.row([column.label, needed(column), "；".join(allowed(column)), column.example])
        out.row([])
        out.row(["更新已有记录时，空单元格表示不修改。列的顺序不限，不需要的列可以删除。"])
    out.close()
    target.seek(0)
    return target


def needed(column: Column) -> str:
    return "新增时必填" if column.required else "选填"


def allowed(column: Column) -> list[str]:
    """What may stand in a column, in words."""
    offered = f"可选：{'、'.join(column.values)}" if column.values else column.rule
    return [part for part in (column.help, offered) if part]


def unread(heads: Sequence[str], places: dict[str, int], exported: Sequence[str]) -> tuple[list[str], list[str]]:
    """The heads of a file that the import leaves: those that the list's export writes, and those that nobody knows."""
    used, known = set(places.values()), {bare(label) for label in exported}
    rest = [head for place, head in enumerate(heads) if place not in used and head not in {"", REASON}]
    return [head for head in rest if bare(head) in known], [head for head in rest if bare(head) not in known]


def imported_before(session: Session, view: str, digest: str, but: int = 0) -> Task | None:
    """The latest import of the very same file into the same list that ran to its end."""
    statement = select(Task).where(
        Task.kind == TaskKind.IMPORT, Task.view == view, Task.input_hash == digest, Task.id != but,
        Task.state == TaskState.SUCCEEDED,
    )  # fmt: skip
    newest = session.scalars(statement.order_by(Task.id.desc()).limit(20))
    return next((task for task in newest if not task.params.get("dry")), None)


def start(session: Session, task: Task) -> None:
    """From the dry run to the import itself; commits. Refused unless the dry run is over and nobody was quicker."""
    if not task.params.get("dry") or task.state != TaskState.SUCCEEDED:
        raise Refused("这次导入已经开始或已结束")
    params = {name: task.params[name] for name in ("spec", "kind", "mode")} | {"dry": False}
    begun = session.execute(
        update(Task)
        .where(Task.id == task.id, Task.state == TaskState.SUCCEEDED, Task.finished_at == task.finished_at)
        .values(state=TaskState.QUEUED, params=params, done=0, failed=0, attempts=0, message="", finished_at=None)
        .execution_options(synchronize_session=False)
    )
    if begun.rowcount != 1:  # type: ignore[attr-defined]
        session.rollback()
        raise Refused("这次导入已经开始或已结束")
    if task.output_key:
        storage.delete(task.output_key)
    record(session, "import", subject=task, file=task.input_name, rows=task.total, mode=MODES[task.params["mode"]])
    session.commit()
    wake()


# The task.


def run(hold: Hold, task: Task) -> tuple[str, dict[str, Any]]:
    """The rest of an import task's file; gives (sentence, what else to write into the task)."""
    spec, params = SPECS[task.params["spec"]], dict(task.params)
    kind, dry = params["kind"], bool(params["dry"])
    let_go(hold.session)  # a great file takes its time to be opened
    heads, lines = table_of(kind, storage.read_sealed(task.input_key))
    importer = Importer(hold.session, spec, matched(spec, heads), mode=params["mode"], dry=dry)
    counts = Counter(params.get("counts") or {})
    done, failed, passed = task.done, task.failed, 0
    for chunk in _chunks(lines):
        passed += len(chunk)
        if passed <= done:
            importer.pass_over(chunk)
            continue
        taken = importer.take(chunk)
        counts, done, failed = counts + taken.counts, passed, failed + len(taken.refused)
        params = _noted(params, counts, taken)
        hold.step(done, failed, params=params)
    more: dict[str, Any] = {"params": params | {"parts": []}} | ({} if dry else {"input_key": ""})
    if failed:
        name = file_name(f"{spec.noun}导入_失败行", kind)
        more |= {"output_key": _failed_file(kind, heads, params["parts"]), "output_name": name}
        for part in params["parts"]:
            storage.delete(part)
    return told(counts, failed, dry=dry), more


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
    """The task's parameters after a chunk; what it refused is put aside for the file of failed rows."""
    rows = [*params.get("rows", []), *taken.shown]
    kept = [row for outcome, most in SHOWN.items() for row in [row for row in rows if row[0] == outcome][:most]]
    noted = params | {"counts": dict(counts), "rows": kept}
    if taken.refused:
        taken.refused.sort(key=lambda item: item[0])
        # A reason may name what stood in the cell; the task's row keeps no phone number in the clear.
        errors = [*params.get("errors", []), *([line, label, redact(why)] for line, label, why, _ in taken.refused)]
        part = "\n".join(json.dumps([cells, why], ensure_ascii=False) for _, _, why, cells in taken.refused)
        key = storage.put_sealed("parts", part.encode())
        noted |= {"errors": errors[:SHOWN_ERRORS], "parts": [*params.get("parts", []), key]}
    return noted


def _failed_file(kind: str, heads: list[str], parts: Sequence[str]) -> str:
    """The refused rows as they came, with the reason behind them; ready to be mended and sent again."""
    kept = [place for place, head in enumerate(heads) if head != REASON]
    target = io.BytesIO()
    out = writer(kind, target, [*(heads[place] for place in kept), REASON])
    for part in parts:
        for line in storage.read_sealed(part).decode().split("\n"):
            cells, why = json.loads(line)
            out.row([*(cell_at(cells, place) for place in kept), why])
    out.close()
    return storage.put_sealed("failed", target.getvalue())
