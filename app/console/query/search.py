"""Text within a column: by the text index where there is one, then the cheapest way that each database has for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Boolean, String, bindparam, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app.data import text_index
from app.data.names import folded, twin_of
from app.data.text_index import Found

ESCAPE = "/"
SOME = "douzhou_some"  # the statement's option that names some of its rows


class _Inside(FunctionElement[bool]):
    """Whether a column holds a text, letter by letter."""

    type = Boolean()
    inherit_cache = True


class _Like(FunctionElement[bool]):
    """Whether a column matches a pattern, whatever the case of its letters."""

    type = Boolean()
    inherit_cache = True


@compiles(_Inside)
def _instr(element: Any, compiler: Any, **options: Any) -> str:
    column, text = (compiler.process(item, **options) for item in element.clauses)
    return f"(instr({column}, {text}) > 0)"


@compiles(_Inside, "postgresql")
def _strpos(element: Any, compiler: Any, **options: Any) -> str:
    column, text = (compiler.process(item, **options) for item in element.clauses)
    return f"(strpos({column}, {text}) > 0)"


@compiles(_Like)
def _like(element: Any, compiler: Any, **options: Any) -> str:
    column, pattern = (compiler.process(item, **options) for item in element.clauses)
    return f"({column} LIKE {pattern} ESCAPE '{ESCAPE}')"  # SQLite and MariaDB's collation make no case


@compiles(_Like, "postgresql")
def _ilike(element: Any, compiler: Any, **options: Any) -> str:
    column, pattern = (compiler.process(item, **options) for item in element.clauses)
    return f"({column} ILIKE {pattern} ESCAPE '{ESCAPE}')"


def holds(column: Any, text: str) -> Any:
    """The condition that a column holds a text, wildcards taken literally, whatever the case of its letters.

    Chinese and digits have no case: for them the search compares bytes, which halves its cost.
    """
    if text.lower() == text.upper():
        return _Inside(column, bindparam(None, text, String()))
    escaped = text.replace(ESCAPE, ESCAPE * 2).replace("%", f"{ESCAPE}%").replace("_", f"{ESCAPE}_")
    return _Like(column, bindparam(None, f"%{escaped}%", String()))


def looks(model: type[Any], columns: Iterable[str], text: str) -> list[tuple[str, str]]:
    """(column, text) for a text within any of some columns: beside a name also what both read as."""
    found = []
    for name in columns:
        found.append((name, text))
        if (twin := twin_of(model, name)) and (read := folded(text)):
            found.append((twin, read))
    return found


def equals(model: type[Any], name: str, text: str) -> Any:
    """The condition that a column is a text, or reads as it where it has a twin."""
    return or_(*(getattr(model, column) == sought for column, sought in looks(model, [name], text)))


def within(model: type[Any], columns: Iterable[str], text: str) -> Any:
    """The condition that any of some columns holds a text."""
    return or_(*(holds(getattr(model, name), sought) for name, sought in looks(model, columns, text)))


def found_by_index(session: Any, model: type[Any], columns: Iterable[str], texts: Iterable[str]) -> Found | None:
    """The rows that may hold any of some texts in any of some columns; None where only a scan tells."""
    names, whole = list(columns), True
    keys: dict[int, None] = {}
    for text in texts:
        found = text_index.find(session, model, names, text)
        if found is None:
            return None
        keys |= dict.fromkeys(found.keys)
        whole = whole and found.whole
    return Found(list(keys), whole)


def narrowed(query: Any, session: Any, model: type[Any], columns: Iterable[str], texts: Iterable[str]) -> Any:
    """A query for text, held to the rows that the index names; where there are too many, some stand in `SOME`."""
    sought = [look for text in texts for look in looks(model, columns, text)]
    names, values = (list(dict.fromkeys(items)) for items in zip(*sought, strict=True))
    found = found_by_index(session, model, names, values)
    if found is None:
        return query
    if found.whole:
        return query.filter(model.id.in_(found.keys))
    return query.execution_options(**{SOME: tuple(found.keys)})
