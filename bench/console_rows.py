"""Many rows for `bench.console`: merchants, mini-programs and versions in equal number, in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import Engine

TRADES = ("鲜花", "餐饮", "美容", "教育", "宠物", "家政", "服装", "旅行")
PLACES = ("朝阳", "海淀", "浦东", "静安", "天河", "南山", "武侯", "西湖", "玄武", "雁塔")
SHOPS = ("花店", "面馆", "美容院", "书院", "宠物店", "家政", "服装店", "旅行社")
STATES = ("authorized", "authorized", "authorized", "revoked")
RARE = "墨菲斯托"  # stands in three names and reasons
COMMON = "花店"  # stands in every eighth name and reason
CHUNK = 20_000
BEGUN = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def build(engine: Engine, rows: int) -> None:
    """Fill a migrated, empty file."""
    with engine.connect() as connection:
        for table, columns, made in _tables(rows):
            _insert(connection, table, columns, made)
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


def _tables(rows: int) -> list[tuple[str, str, Iterator[tuple[Any, ...]]]]:
    return [
        ("industry", "id name position created_at changed_at", _industries()),
        ("third_party_app", "id row_uid appid name active fault created_at changed_at", _owner()),
        (
            "merchant",
            "id row_uid key name industry_id contact phone_masked subject_type commission_rate plan expires_on state "
            "remarks created_at changed_at",
            _merchants(rows),
        ),
        (
            "mini_program",
            "id merchant_id third_party_app_id appid name intro icon_url subject_name info state permissions "
            "authorized_at refresh_expires_at token_fault uploaded_version audit_version audit_state live_version "
            "live_template_id remarks row_version created_at changed_at",
            _mini_programs(rows),
        ),
        (
            "version",
            "id merchant_id mini_program_id number description template_id ext_json state uploaded_at submitted_at "
            "audit_note hosts reason reason_detail screenshots attachments taken_down row_version created_at "
            "changed_at",
            _versions(rows),
        ),
    ]


def _insert(connection: Connection, table: str, columns: str, made: Iterator[tuple[Any, ...]]) -> None:
    names = columns.split()
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    chunk: list[tuple[Any, ...]] = []
    for row in made:
        chunk.append(row)
        if len(chunk) == CHUNK:
            connection.exec_driver_sql(statement, chunk)
            chunk = []
    if chunk:
        connection.exec_driver_sql(statement, chunk)
    connection.commit()


def _at(number: int) -> str:
    """A time of its own for each row, as SQLite keeps it."""
    return (BEGUN + timedelta(seconds=number * 37)).isoformat(" ", "microseconds")


def _rare(rows: int) -> set[int]:
    return {rows // 56 * 8, rows // 24 * 8, rows // 16 * 8}


def _name(number: int, rows: int) -> str:
    if number in _rare(rows):
        return f"{RARE}{number}"
    return f"{PLACES[number % 10]}{SHOPS[number * 7 % 8]}{number}号"


def _industries() -> Iterator[tuple[Any, ...]]:
    for number, trade in enumerate(TRADES, 1):
        yield number, trade, number, _at(0), _at(0)


def _owner() -> Iterator[tuple[Any, ...]]:
    yield 1, "0" * 32, "ttbench000000000001", "基准应用", 1, "", _at(0), _at(0)


def _merchants(rows: int) -> Iterator[tuple[Any, ...]]:
    for number in range(1, rows + 1):
        state = "suspended" if number % 50 == 0 else "active"
        yield (
            number,
            f"{number:032d}",
            f"m_{number:012d}",
            _name(number, rows),
            number % 8 + 1,
            "张经理",
            "138****8000",
            "company",
            5,
            "专业版" if number % 3 else "基础版",
            "2027-06-30",
            state,
            "",
            _at(number),
            _at(number),
        )


def _mini_programs(rows: int) -> Iterator[tuple[Any, ...]]:
    info = '{"app_name": "基准", "app_introduction": "' + "简介" * 40 + '", "app_categories": []}'
    until = (datetime.now(UTC) + timedelta(days=20)).replace(tzinfo=None)
    for number in range(1, rows + 1):
        owner = number * 31 % rows + 1  # a merchant of its own, in another order than the rows
        yield (
            number,
            owner,
            1,
            f"tt{number:018x}",
            _name(number, rows),
            "新鲜每一天",
            "",
            f"{PLACES[number % 10]}科技有限公司",
            info,
            STATES[number % 4],
            "[1, 2, 3]",
            _at(number),
            until.isoformat(" ", "microseconds"),
            "",
            "1.0.2",
            "1.0.2",
            "auditing" if number % 5 else "approved",
            "1.0.1",
            "7301234567890123456",
            "",
            1,
            _at(number),
            _at(number),
        )


def _versions(rows: int) -> Iterator[tuple[Any, ...]]:
    ext = '{"extEnable": true, "ext": {"shop": "' + "配置" * 60 + '"}}'
    for number in range(1, rows + 1):
        rejected = number % 8 == 0
        place = RARE if number in _rare(rows) else COMMON
        yield (
            number,
            number * 31 % rows + 1,
            number,
            f"1.0.{number % 40}",
            "修复已知问题，优化体验",
            "7301234567890123456",
            ext,
            "rejected" if rejected else "released",
            _at(number),
            _at(number),
            "",
            '["douyin"]',
            f"页面空白，请为{place}补充内容" if rejected else "",
            "{}",
            "[]",
            "{}",
            0,
            1,
            _at(number),
            _at(number),
        )
