"""An index of the text in a model's `__searched__` columns, kept by the database itself: to look for is to look up.

A text is cut into all its runs of three characters (grams), from every place, a line break before and between the
columns. A text of three or more is looked for by its own runs, a shorter one by what runs begin with. What is found may
hold more than was asked for (`holds` decides), never less: a row whose text is beyond these rules is always found.
Triggers write the grams, so every way of writing keeps them true: SQLite in FTS5, PostgreSQL in a `tsvector` with GIN,
MariaDB in a table of grams, whose FULLTEXT reads all rows of a common word. Nothing here folds other letters than the
databases do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from app.data.engine import INDEX
from app.data.tenancy import scope_of

MOST = 600  # rows that an answer names
RUN = 3  # characters of a gram
LONGEST = 2000  # characters of a row's text; beyond it, the row is always found
CHUNK = 5000  # rows that are indexed in one statement
SAMPLE, COMMON = 400, 8  # so many among the newest rows make a short text common
EVER = "any"  # the gram of a row that is always found
# MariaDB takes more for equal than letters of another case. These characters it takes for nothing else; a row with any
# other is always found, a text with one is scanned for. Newer collations take wide signs for narrow ones: of those that
# are common in Chinese names no gram is asked for.
_CHINESE = "\u3001-\u303f\u4e00-\u9fff"
_WIDE = "\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f"
_SIGNS = f"\u00b7\u2014\u2018-\u201d\u2026\uffe5{_WIDE}"
_PLAIN = re.compile(f"[\n -~{_CHINESE}{_SIGNS}]+")
_SAME = re.compile(f"[^!(),:;?{_WIDE}]+")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in _WIDE}


class Found(NamedTuple):
    """Numbers of rows that may hold a text. `whole`: no other row does."""

    keys: list[int]
    whole: bool


class Kind(NamedTuple):
    """How one kind of database keeps the index; each takes (quoted table, its index, whole text, columns)."""

    make: Callable[[str, str, Callable[[str], str], Sequence[str]], list[str]]
    fill: Callable[[str, str, Callable[[str], str]], list[str]]
    ready: Callable[[str], list[str]]  # once it is filled
    drop: Callable[[str, str], list[str]]
    whole: Callable[[str, Sequence[str]], str]  # a row's text, of the row that is named


def dialect_of(bind: Any) -> str:
    name: str = bind.dialect.name
    return "mysql" if name == "mariadb" else name


def _changed(columns: Sequence[str], unequal: str) -> str:
    return " OR ".join(unequal.format(f"OLD.{name}", f"NEW.{name}") for name in columns)


# SQLite: FTS5 without the text itself. What a changed row held is told by the trigger.


def _sqlite_grams(whole: str) -> str:
    return (
        f"(WITH RECURSIVE run(t) AS (SELECT {whole} UNION ALL SELECT substr(t, 2) FROM run WHERE length(t) > 1) "
        f"SELECT CASE WHEN length({whole}) > {LONGEST} THEN '{EVER}' "
        "ELSE (SELECT group_concat(hex(substr(t, 1, 3)), ' ') FROM run) END)"
    )


def _sqlite_whole(row: str, columns: Sequence[str]) -> str:
    return "char(10) || lower(" + " || char(10) || ".join(f"coalesce({row}.{name}, '')" for name in columns) + ")"


def _sqlite_make(table: str, index: str, whole: Callable[[str], str], columns: Sequence[str]) -> list[str]:
    put = f"INSERT INTO {index}(rowid, grams) VALUES (NEW.id, {_sqlite_grams(whole('NEW'))});"
    take = f"INSERT INTO {index}({index}, rowid, grams) VALUES ('delete', OLD.id, {_sqlite_grams(whole('OLD'))});"
    named = ", ".join(columns)
    return [
        f"CREATE VIRTUAL TABLE {index} USING fts5(grams, content='', columnsize=0, detail=none, tokenize='ascii')",
        f"CREATE TRIGGER {index}_insert AFTER INSERT ON {table} BEGIN {put} END",
        f"CREATE TRIGGER {index}_update AFTER UPDATE OF {named} ON {table} "
        f"WHEN {_changed(columns, '{} IS NOT {}')} BEGIN {take} {put} END",
        f"CREATE TRIGGER {index}_delete AFTER DELETE ON {table} BEGIN {take} END",
    ]


def _sqlite_fill(table: str, index: str, whole: Callable[[str], str]) -> list[str]:
    grams = _sqlite_grams(whole("held"))
    return [f"INSERT INTO {index}(rowid, grams) SELECT id, {grams} FROM {table} AS held WHERE id BETWEEN :a AND :b"]


def _sqlite_drop(_table: str, index: str) -> list[str]:
    return [
        *(f"DROP TRIGGER IF EXISTS {index}_{verb}" for verb in ("insert", "update", "delete")),
        f"DROP TABLE IF EXISTS {index}",
    ]


# PostgreSQL: a table with one tsvector a row, which goes with its row.

_FUNCTION = f"""
CREATE OR REPLACE FUNCTION search_grams(whole text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE folded text := lower(whole);
BEGIN
  IF length(folded) > {LONGEST} THEN RETURN array_to_tsvector(ARRAY['{EVER}']); END IF;
  RETURN (SELECT array_to_tsvector(array_agg(DISTINCT encode(convert_to(substr(folded, place, 3), 'UTF8'), 'hex')))
    FROM generate_series(1, length(folded)) AS place);
END $$
"""
_ASKED = """
CREATE OR REPLACE FUNCTION search_asked(wanted text) RETURNS tsquery LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE folded text := lower(wanted); ends text := CASE WHEN length(folded) < 3 THEN ':*' ELSE '' END;
BEGIN
  RETURN (SELECT '(' || string_agg('''' || encode(convert_to(substr(folded, place, 3), 'UTF8'), 'hex') || '''' || ends,
    ' & ') || ') | any' FROM generate_series(1, greatest(1, length(folded) - 2)) AS place);
END $$
"""


def _postgres_whole(row: str, columns: Sequence[str]) -> str:
    return " || ".join(f"chr(10) || coalesce({row}.{name}, '')" for name in columns)


def _postgres_make(table: str, index: str, whole: Callable[[str], str], columns: Sequence[str]) -> list[str]:
    row = f"FOR EACH ROW {{}}EXECUTE FUNCTION {index}_keep()"
    changed, named = _changed(columns, "{} IS DISTINCT FROM {}"), ", ".join(columns)
    return [
        _FUNCTION,
        _ASKED,
        f"CREATE TABLE {index} (id BIGINT PRIMARY KEY REFERENCES {table} (id) ON DELETE CASCADE, grams tsvector)",
        f"CREATE FUNCTION {index}_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO {index} (id, grams) VALUES (NEW.id, search_grams({whole('NEW')})) "
        "ON CONFLICT (id) DO UPDATE SET grams = EXCLUDED.grams; RETURN NULL; END $$",
        f"CREATE TRIGGER {index}_insert AFTER INSERT ON {table} {row.format('')}",
        f"CREATE TRIGGER {index}_update AFTER UPDATE OF {named} ON {table} {row.format(f'WHEN ({changed}) ')}",
    ]


def _postgres_fill(table: str, index: str, whole: Callable[[str], str]) -> list[str]:
    grams = f"search_grams({whole('held')})"
    rows = f"SELECT id, {grams} FROM {table} AS held WHERE id BETWEEN :a AND :b"
    return [f"INSERT INTO {index} (id, grams) {rows} ON CONFLICT DO NOTHING"]


def _postgres_ready(index: str) -> list[str]:
    # A search reads what waits to be sorted in, too: not more than this of it.
    sorted_in = f"CREATE INDEX {index}_grams ON {index} USING gin (grams) WITH (gin_pending_list_limit = 256)"
    return [sorted_in, f"ANALYZE {index}"]


def _postgres_drop(table: str, index: str) -> list[str]:
    return [
        *(f"DROP TRIGGER IF EXISTS {index}_{verb} ON {table}" for verb in ("insert", "update")),
        f"DROP FUNCTION IF EXISTS {index}_keep()",
        f"DROP TABLE IF EXISTS {index}",
    ]


# MariaDB: one row a gram. The triggers stand apart from any session's collation.


def _maria_whole(row: str, columns: Sequence[str]) -> str:
    return "LOWER(CONCAT(" + ", ".join(f"'\\n', COALESCE({row}.{name}, '')" for name in columns) + "))"


def _maria_runs(whole: str) -> str:
    """Its runs, each once."""
    odd = f"CHAR_LENGTH({whole}) > {LONGEST} OR {whole} REGEXP '[^\\\\x00-\\\\x7f{_CHINESE}{_SIGNS}]'"
    return (
        f"SELECT DISTINCT IF({odd}, '{EVER}', CAST(SUBSTR({whole}, seq, 3) AS BINARY)) AS gram "
        f"FROM seq_1_to_{LONGEST} WHERE seq <= CHAR_LENGTH({whole})"
    )


def _maria_make(table: str, index: str, whole: Callable[[str], str], columns: Sequence[str]) -> list[str]:
    def body(*steps: str) -> str:
        return f"FOR EACH ROW BEGIN DECLARE held MEDIUMTEXT CHARACTER SET utf8mb4; {' '.join(steps)} END"

    runs = _maria_runs("held")
    put = f"SET held = {whole('NEW')}; INSERT IGNORE INTO {index} (gram, id) SELECT gram, NEW.id FROM ({runs}) AS runs;"
    take = (
        f"SET held = {whole('OLD')}; DELETE kept FROM ({runs}) AS runs "
        f"STRAIGHT_JOIN {index} AS kept ON kept.gram = runs.gram AND kept.id = OLD.id;"
    )
    changed = _changed(columns, "NOT ({} <=> {} COLLATE utf8mb4_bin)")
    return [
        f"CREATE TABLE {index} (gram VARBINARY(12) NOT NULL, id BIGINT NOT NULL, PRIMARY KEY (gram, id))",
        f"CREATE TRIGGER {index}_insert AFTER INSERT ON {table} {body(put)}",
        f"CREATE TRIGGER {index}_update AFTER UPDATE ON {table} {body(f'IF {changed} THEN', take, put, 'END IF;')}",
        f"CREATE TRIGGER {index}_delete AFTER DELETE ON {table} {body(take)}",
    ]


def _maria_fill(table: str, index: str, whole: Callable[[str], str]) -> list[str]:
    runs = _maria_runs("held").replace("SELECT DISTINCT", "SELECT DISTINCT id,").replace("FROM ", "FROM texts JOIN ", 1)
    texts = f"SELECT id, {whole('rows_')} AS held FROM {table} AS rows_ WHERE id BETWEEN :a AND :b"
    return [f"INSERT IGNORE INTO {index} (id, gram) WITH texts AS ({texts}) {runs}"]


KINDS = {
    "sqlite": Kind(_sqlite_make, _sqlite_fill, lambda _index: [], _sqlite_drop, _sqlite_whole),
    "postgresql": Kind(_postgres_make, _postgres_fill, _postgres_ready, _postgres_drop, _postgres_whole),
    "mysql": Kind(_maria_make, _maria_fill, lambda _index: [], _sqlite_drop, _maria_whole),
}


def build(connection: Connection, table: str, columns: Sequence[str]) -> None:
    """Make a table's index and its triggers, or make them again, and fill it with the rows that are there."""
    kind, quote = KINDS[dialect_of(connection)], connection.dialect.identifier_preparer.quote
    names = [quote(name) for name in columns]
    quoted, index = quote(table), INDEX + table

    def whole(row: str) -> str:
        return kind.whole(row, names)

    drop(connection, table)
    for statement in kind.make(quoted, index, whole, names):
        connection.exec_driver_sql(statement)
    first, last = connection.execute(text(f"SELECT min(id), max(id) FROM {quoted}")).one()
    for start in range(first or 0, (last or -1) + 1, CHUNK):
        for statement in kind.fill(quoted, index, whole):
            connection.execute(text(statement), {"a": start, "b": start + CHUNK - 1})
    for statement in kind.ready(index):
        connection.exec_driver_sql(statement)


def drop(connection: Connection, table: str) -> None:
    """Take a table's index and its triggers away."""
    quote = connection.dialect.identifier_preparer.quote
    for statement in KINDS[dialect_of(connection)].drop(quote(table), INDEX + table):
        connection.exec_driver_sql(statement)


# Looking up.


def find(session: Session, model: type[Any], columns: Sequence[str], wanted: str) -> Found | None:
    """Rows of a model that may hold a text in one of the columns; None where the index is no help.

    A merchant's session is never told: its rows are few, and the index knows nothing of whose they are.
    """
    if scope_of(session).is_merchant or not set(columns) <= set(getattr(model, "__searched__", ())):
        return None
    name, table = dialect_of(session.get_bind()), model.__tablename__
    question = _ASK[name](INDEX + table, wanted)
    if question is None:
        return None
    if name == "sqlite" and len(wanted) < RUN and (newest := _newest(session, table, columns, wanted)):
        return Found(newest, whole=False)
    statement, values = question
    keys = list(session.execute(text(f"{statement} LIMIT {MOST + 1}"), values).scalars())
    return Found(keys[:MOST], len(keys) <= MOST)


def _grams(wanted: str) -> list[str]:
    return list(dict.fromkeys(wanted[at : at + RUN] for at in range(max(1, len(wanted) - RUN + 1))))


def _folded(wanted: str) -> str:
    return re.sub("[A-Z]", lambda match: match[0].lower(), wanted)


def _hex(gram: str) -> str:
    return gram.encode().hex()


def _ask_sqlite(index: str, wanted: str) -> tuple[str, dict[str, Any]] | None:
    folded = _folded(wanted)
    if "\x00" in folded:
        return None
    begins = " *" if len(folded) < RUN else ""
    asked = " AND ".join(f'"{_hex(gram)}"{begins}' for gram in _grams(folded))
    return f"SELECT rowid FROM {index} WHERE {index} MATCH :asked", {"asked": f"({asked}) OR {EVER}"}


def _ask_postgres(index: str, wanted: str) -> tuple[str, dict[str, Any]] | None:
    return f"SELECT id FROM {index} WHERE grams @@ search_asked(:wanted)", {"wanted": wanted}


def _ask_maria(index: str, wanted: str) -> tuple[str, dict[str, Any]] | None:
    """The rows of up to four grams; the optimiser begins with the rarest, of which it knows the number."""
    wanted = wanted.translate(_NARROW).lower()
    grams = [gram for gram in _grams(wanted) if _SAME.fullmatch(gram)]
    if not grams or not _PLAIN.fullmatch(wanted):
        return None
    ever = f"(SELECT id FROM {index} WHERE gram = '{EVER}' LIMIT {MOST + 1})"
    if len(wanted) < RUN:
        begins = wanted.encode()
        asked = f"(SELECT DISTINCT id FROM {index} WHERE gram >= :first AND gram < :after LIMIT {MOST + 1})"
        return f"{asked} UNION {ever}", {"first": begins, "after": begins + b"\xff"}
    some = grams[:: -(-len(grams) // 4)]
    joined = "".join(
        f" JOIN {index} AS g{at} ON g{at}.id = g0.id AND g{at}.gram = :gram{at}" for at in range(1, len(some))
    )
    asked = f"(SELECT g0.id FROM {index} AS g0{joined} WHERE g0.gram = :gram0 LIMIT {MOST + 1})"
    return f"{asked} UNION {ever}", {f"gram{at}": gram.encode() for at, gram in enumerate(some)}


_ASK: dict[str, Callable[[str, str], tuple[str, dict[str, Any]] | None]] = {
    "sqlite": _ask_sqlite,
    "postgresql": _ask_postgres,
    "mysql": _ask_maria,
}


def _newest(session: Session, table: str, columns: Sequence[str], wanted: str) -> list[int]:
    """The newest rows with a text that many of them hold: FTS5 gathers all rows of a short one before the first."""
    quote = session.get_bind().dialect.identifier_preparer.quote
    names = [quote(name) for name in columns]
    plain = wanted.lower() == wanted.upper()  # nothing to fold
    sought = names if plain else [f"lower({name})" for name in names]
    held, values = " OR ".join(f"instr({name}, :wanted)" for name in sought), {"wanted": _folded(wanted)}
    rows = f"SELECT id, {', '.join(names)} FROM {quote(table)} ORDER BY id DESC LIMIT"
    common = f"(SELECT count(*) FROM ({rows} {SAMPLE}) WHERE {held}) >= {COMMON}"
    many = f"LIMIT CASE WHEN {common} THEN {MOST} ELSE 0 END"  # decided before the first row
    found = text(f"SELECT id FROM ({rows} {MOST * SAMPLE // COMMON}) WHERE {held} {many}")
    keys = list(session.execute(found, values).scalars().all())
    return keys if len(keys) == MOST else []


def missing(session: Session, model: type[Any], sample: int = 100) -> int:
    """Of the oldest and the newest rows, how many the index lacks."""
    held = _HELD[dialect_of(session.get_bind())].format(index=INDEX + model.__tablename__)
    columns = [getattr(model, name) for name in model.__searched__]
    ends = (select(model.id, *columns).order_by(way).limit(sample) for way in (model.id, model.id.desc()))
    rows = {row[0]: row[1:] for end in ends for row in session.execute(end)}
    return sum(session.execute(text(held), _first_gram(key, texts)).first() is None for key, texts in rows.items())


_HELD = {
    "sqlite": "SELECT 1 FROM {index} WHERE {index} MATCH :asked AND rowid = :id",
    "postgresql": "SELECT 1 FROM {index} WHERE grams @@ search_asked(:gram) AND id = :id",
    "mysql": f"SELECT 1 FROM {{index}} WHERE gram IN (:bytes, '{EVER}') AND id = :id",
}


def _first_gram(key: int, texts: Sequence[str | None]) -> dict[str, Any]:
    gram = "".join("\n" + (one or "") for one in texts)[:3]
    folded = _folded(gram)
    return {"id": key, "gram": gram, "asked": f'"{_hex(folded)}" OR {EVER}', "bytes": folded.encode()}


def forget(connection: Connection) -> None:
    """Take away what the indexes share, after the last of them."""
    if dialect_of(connection) == "postgresql":
        connection.exec_driver_sql("DROP FUNCTION IF EXISTS search_grams(text), search_asked(text)")


def indexed(base: type[Any]) -> list[type[Any]]:
    """The models below a base that say which of their columns are searched."""
    found = {mapper.class_.__tablename__: mapper.class_ for mapper in base.registry.mappers if _is_searched(mapper)}
    return list(found.values())


def _is_searched(mapper: Any) -> bool:
    return hasattr(mapper.class_, "__searched__")


def clear(connection: Connection, tables: Sequence[str]) -> None:
    """Empty the indexes of tables whose rows are all about to go another way than one by one."""
    for table in tables:
        index = INDEX + table
        if dialect_of(connection) == "sqlite":
            connection.exec_driver_sql(f"INSERT INTO {index}({index}) VALUES ('delete-all')")
        else:
            connection.exec_driver_sql(f"DELETE FROM {index}")
