"""An import's own template: heads, rows that may be sent as they are, what may stand where, lists to choose from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tasks.importing.columns import Column, ImportSpec
from app.tasks.spreadsheets.write import XlsxWriter, writer

EXAMPLES = 2  # rows
MOST_OFFERED = 200  # names of another table in a list
LONGEST = 100  # characters of an example; a longer text is left out, which an import takes for "as it is"
WIDTH = 18


def template(session: Session, spec: ImportSpec, kind: str) -> io.BytesIO:
    """A file with the import's heads and examples out of what the session may see; in a spreadsheet with drop-down
    lists, text cells where digits count, and a sheet that explains the columns."""
    target = io.BytesIO()
    offered = {column.name: options(session, column) for column in spec.columns}
    rows = examples(session, spec, offered)
    out = writer(kind, target, [column.label for column in spec.columns], spec.noun, _formats(spec))
    for row in rows:
        out.row([row.get(column.name, "") for column in spec.columns])
    if isinstance(out, XlsxWriter):
        _offer(out, spec, offered)
        _explain(out, spec, rows[0] if rows else {})
    out.close()
    target.seek(0)
    return target


def options(session: Session, column: Column) -> list[str]:
    """What a column may hold, where that is a few words: those of its type, or the names of the rows that it means."""
    if column.related is None:
        return list(column.values)
    model, name = column.related
    attribute = getattr(model, name)
    found = session.scalars(select(attribute).order_by(model.id).limit(MOST_OFFERED + 1)).all()
    return [] if len(found) > MOST_OFFERED else list(found)


def examples(session: Session, spec: ImportSpec, offered: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The latest rows as an import would take them back unchanged; where there are none, one that it would take.

    The mark is left out (a copied one would rename its row), and so is what is shown masked. Nothing where a row that
    another must name does not exist yet.
    """
    found = session.scalars(select(spec.model).order_by(spec.model.id.desc()).limit(EXAMPLES)).all()
    if found:
        return [{column.name: _written(spec, column, row) for column in spec.columns} for row in found]
    if any(column.related and not offered[column.name] for column in spec.columns):
        return []
    made = {column.name: column.example for column in spec.columns}
    return [made | {column.name: offered[column.name][0] for column in spec.columns if column.related}]


def _written(spec: ImportSpec, column: Column, row: Any) -> Any:
    """A row's value as it stands in a file."""
    if column.name == spec.mark or column.show:
        return ""
    value = getattr(row, column.name)
    if column.related:
        return getattr(value, column.related[1])
    value = column.kind.exported(value)
    return "" if isinstance(value, str) and (len(value) > LONGEST or "\n" in value) else value


def _formats(spec: ImportSpec) -> list[str]:
    """Cells of a text keep every digit of a phone number or an identifier; the others are a spreadsheet's own."""
    return ["@" if column.is_text else "General" for column in spec.columns]


def _offer(out: XlsxWriter, spec: ImportSpec, offered: Mapping[str, Sequence[str]]) -> None:
    """Drop-down lists, out of a sheet that people may read too."""
    listed = [column for column in spec.columns if offered[column.name]]
    if not listed:
        return
    title = "可选值"
    for number, column in enumerate(listed):
        out.choose_from(spec.columns.index(column), title, number, len(offered[column.name]))
    out.sheet(title, [column.label for column in listed], [WIDTH] * len(listed))
    for place in range(max(len(offered[column.name]) for column in listed)):
        out.row([offered[column.name][place] if place < len(offered[column.name]) else "" for column in listed])


def _explain(out: XlsxWriter, spec: ImportSpec, example: Mapping[str, Any]) -> None:
    out.sheet("填写说明", ["列名", "必填", "填写说明", "示例"], [18, 14, 60, 24])
    for column in spec.columns:
        shown = example.get(column.name) or ("" if column.related else column.example)
        out.row([column.label, needed(column), "；".join(allowed(column)), shown])
    out.row([])
    out.row(["更新已有记录时，空单元格表示不修改。列的顺序不限，不需要的列可以删除。"])


def needed(column: Column) -> str:
    return "新增时必填" if column.required else "选填"


def allowed(column: Column) -> list[str]:
    """What may stand in a column, in words."""
    offered = f"可选：{'、'.join(column.values)}" if column.values else column.rule
    return [part for part in (column.help, offered) if part]
