"""Exports: a list's rows as a file, in chunks, from the keys that matched when somebody asked."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data import storage
from app.data.clock import SHANGHAI, utcnow
from app.data.engine import reading
from app.models.kit.task import Task
from app.tasks.queue import Hold
from app.tasks.spreadsheets.write import writer
from app.tasks.tables import ExportSpec, export_of

CHUNK = 1000
IN_MEMORY = 4 * 1024 * 1024  # of a file in the making; beyond that it is on disk


def file_name(title: str, kind: str) -> str:
    """What the reader's browser calls the file: 商户_20250301-180500.xlsx."""
    return f"{title}_{utcnow().astimezone(SHANGHAI):%Y%m%d-%H%M%S}.{kind}"


def chunks_of(session: Session, spec: ExportSpec, keys: Sequence[int]) -> Iterator[list[list[Any]]]:
    """The rows' cells in the order of the keys, a thousand at a time; rows that are gone meanwhile are left out.

    The session's scope holds: a key of somebody else's row finds nothing.
    """
    for start in range(0, len(keys), CHUNK):
        part = list(keys[start : start + CHUNK])
        with reading():
            found = session.scalars(select(spec.model).where(spec.model.id.in_(part)).options(*spec.loading()))
            rows = {row.id: row for row in found}
            cells = [[column.read(rows[key]) for column in spec.columns] for key in part if key in rows]
            session.expunge_all()
            session.rollback()  # no transaction stays open while the file is written
        yield cells


def write_file(
    session: Session, spec: ExportSpec, kind: str, keys: Sequence[int], told: Callable[[int], None] = lambda _done: None
) -> IO[bytes]:
    """The export as a file, at its beginning; `told` hears how many keys are done after each chunk."""
    target = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  (handed to the caller)
    out = writer(kind, target, [column.label for column in spec.columns], spec.title)
    for number, rows in enumerate(chunks_of(session, spec, keys), 1):
        for cells in rows:
            out.row(cells)
        told(min(number * CHUNK, len(keys)))
    out.close()
    target.seek(0)
    return target


def keep_keys(keys: Sequence[int]) -> str:
    """Put the keys of a large export into the storage: eight bytes each."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as stream:
        stream.write(array("q", keys).tobytes())
        stream.seek(0)
        return storage.put("keys", "bin", stream)


def kept_keys(key: str) -> Sequence[int]:
    found = array("q")
    found.frombytes(storage.read(key))
    return found


def run(hold: Hold, task: Task) -> tuple[str, dict[str, Any]]:
    """Make the file of an export task; gives (sentence, what else to write into the task)."""
    spec, kind = export_of(task.view), str(task.params.get("format"))
    keys = kept_keys(task.input_key)
    name = task.output_name or file_name(spec.title, kind)
    with write_file(hold.session, spec, kind, keys, hold.step) as made:
        key = storage.put("exports", kind, made)
    return f"已导出 {len(keys)} 行", {"output_key": key, "output_name": name, "input_key": "", "done": len(keys)}
