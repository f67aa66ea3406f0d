"""Many rows for the benchmarks of whole pages: merchants with a mini-program each, versions, events, runs, calls.

`fill(engine, count)` works on any of the databases, in an empty, migrated one. Everything follows from the row's
number, so two runs hold the same rows but for the times, which end now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Table
from sqlalchemy.engine import Engine

from app.data.clock import utcnow
from app.data.secrets import KeyRing
from app.models import (
    ApiCall,
    InboundEvent,
    Industry,
    JobRun,
    Merchant,
    MiniProgram,
    OperationRun,
    Template,
    ThirdPartyApp,
    Version,
    VersionEvent,
)
from app.redaction import mask_phone

TRADES = ("鲜花", "餐饮", "美容", "教育", "宠物", "家政", "服装", "旅行")
PLACES = ("朝阳", "海淀", "浦东", "静安", "天河", "南山", "武侯", "西湖", "玄武", "雁塔")
SHOPS = ("花店", "面馆", "美容院", "书院", "宠物店", "家政", "服装店", "旅行社")
CONTACTS = ("张经理", "李店长", "王老板", "陈女士", "刘先生")
SHARES = (12, 51, 74, 84, 89, 92, 94, 95, 96, 97, 98, 99, 100)  # of the templates, newest first, adding up
TEMPLATES = len(SHARES)
CHUNK = 5000
DAYS = 30
LARGE = "7301234567890123"
OUTCOMES = ("ok", "ok", "ok", "ok", "ok", "ok", "error", "ok", "ok", "no_answer")


def fill(engine: Engine, count: int, keyring: KeyRing | None = None) -> None:
    """`count` mini-programs with what belongs to them; phones can be looked for where a key ring is given."""
    now = utcnow()
    for model, rows in _all(count, now, keyring):
        _insert(engine, model.__table__, rows)
    _settle(engine)


def _settle(engine: Engine) -> None:
    """What a database in use does by itself: know its numbers, and on PostgreSQL which pages an index alone answers."""
    if engine.dialect.name == "mysql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE")


def name_of(number: int) -> str:
    """The name of a merchant and of its mini-program."""
    return f"{PLACES[number % 10]}{SHOPS[number * 7 % 8]}{number}号"


def phone_of(number: int) -> str:
    return f"138{number:08d}"


def _all(count: int, now: datetime, keyring: KeyRing | None) -> list[tuple[Any, Iterator[dict[str, Any]]]]:
    return [
        (Industry, _industries()),
        (ThirdPartyApp, _owner(now)),
        (Template, _templates(now)),
        (Merchant, _merchants(count, keyring)),
        (MiniProgram, _mini_programs(count, now)),
        (Version, _versions(count, now)),
        (VersionEvent, _events(count, now)),
        (OperationRun, _runs(count, now)),
        (ApiCall, _calls(count, now)),
        (JobRun, _jobs(min(count, 50_000), now)),
        (InboundEvent, _pushes(count // 2, now)),
    ]


def _insert(engine: Engine, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    statement, chunk = table.insert(), []
    with engine.connect() as connection:
        for row in rows:
            chunk.append(row)
            if len(chunk) == CHUNK:
                connection.execute(statement, chunk)
                connection.commit()
                chunk = []
        if chunk:
            connection.execute(statement, chunk)
        connection.commit()


def _industries() -> Iterator[dict[str, Any]]:
    for number, trade in enumerate(TRADES, 1):
        yield {"id": number, "name": trade, "position": number}


def _owner(now: datetime) -> Iterator[dict[str, Any]]:
    yield {
        "id": 1,
        "row_uid": "0" * 32,
        "appid": "ttbench000000000001",
        "name": "基准应用",
        "active": True,
        "ticket_at": now,
        "fault": "",
    }


def _templates(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1, TEMPLATES + 1):
        yield {
            "id": number,
            "third_party_app_id": 1,
            "template_id": f"{LARGE}{number:03d}",
            "version": f"2.{number}.0",
            "description": "新的首页与支付流程",
            "added_at": now - timedelta(days=number),
            "gone": False,
        }


def template_of(number: int) -> str:
    """Most shops run one of the few latest templates, some old ones stay behind."""
    place = next(at for at, limit in enumerate(SHARES, 1) if number * 37 % 100 < limit)
    return f"{LARGE}{place:03d}"


def _merchants(count: int, keyring: KeyRing | None) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        phone = phone_of(number)
        yield {
            "id": number,
            "row_uid": f"{number:032d}",
            "key": f"m_{number:012d}",
            "name": name_of(number),
            "industry_id": number % 8 + 1,
            "contact": CONTACTS[number % 5],
            "phone_masked": mask_phone(phone),
            "phone_hash": keyring.fingerprint(phone) if keyring else None,
            "subject_type": "company",
            "commission_rate": 5,
            "plan": "专业版" if number % 3 else "基础版",
            "expires_on": date(2031, 6, 30),
            "state": "suspended" if number % 50 == 0 else "active",
            "remarks": "",
        }


def stage_of(number: int) -> tuple[str, str]:
    """(state of the authorisation, state of the audit), in the shares of a grown fleet."""
    state = "revoked" if number % 40 == 0 else "cleared" if number % 97 == 0 else "authorized"
    audit = {0: "auditing", 1: "approved", 2: "rejected", 3: ""}.get(number % 17, "released")
    return state, audit


def _mini_programs(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    info = {"app_name": "基准", "app_introduction": "简介" * 40, "app_categories": []}
    for number in range(1, count + 1):
        state, audit = stage_of(number)
        live = "" if audit == "" or number % 11 == 0 else "1.0.1"
        yield {
            "id": number,
            "merchant_id": None if number % 1000 == 0 else number * 31 % count + 1,
            "third_party_app_id": 1,
            "appid": f"tt{number:018x}",
            "name": name_of(number),
            "intro": "新鲜每一天",
            "icon_url": "",
            "subject_name": f"{PLACES[number % 10]}{number}科技有限公司",
            "info": info,
            "state": state,
            "permissions": [1] if number % 333 == 0 else [1, 2, 3],
            "authorized_at": now - timedelta(days=number % 300),
            "refresh_expires_at": now + timedelta(days=3 if number % 500 == 0 else 20),
            "token_fault": "",
            "uploaded_version": "1.0.2" if audit else "",
            "audit_version": "1.0.2" if audit else "",
            "audit_state": audit,
            "audit_since": now - timedelta(hours=number % 90) if audit == "auditing" else None,
            "live_version": live,
            "live_template_id": template_of(number) if live else "",
            "remarks": "",
            "row_version": 1,
        }


def _versions(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    ext = '{"extEnable": true, "ext": {"shop": "' + "配置" * 60 + '"}}'
    for number in range(1, count + 1):
        sent = now - timedelta(minutes=number % (DAYS * 1440) + 200)
        state = stage_of(number)[1] or "uploaded"
        decided = state in {"approved", "rejected", "released"}
        yield {
            "id": number,
            "merchant_id": None if number % 1000 == 0 else number * 31 % count + 1,
            "mini_program_id": number,
            "number": "1.0.2",
            "description": "修复已知问题，优化体验",
            "template_id": template_of(number),
            "ext_json": ext,
            "state": state,
            "uploaded_at": sent - timedelta(hours=1),
            "submitted_at": None if state == "uploaded" else sent,
            "decided_at": sent + timedelta(minutes=20 + number % 170) if decided else None,
            "released_at": sent + timedelta(minutes=195) if state == "released" else None,
            "audit_note": "",
            "hosts": ["douyin"],
            "reason": "页面空白，请补充内容" if state == "rejected" else "",
            "reason_detail": {},
            "screenshots": [],
            "attachments": {},
            "taken_down": False,
            "row_version": 1,
        }


def _events(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    key = 0
    for number in range(1, count + 1):
        kinds = ("uploaded", "auditing", "rejected" if number % 9 == 0 else "approved", "released")
        for step, kind in enumerate(kinds):
            key += 1
            yield {
                "id": key,
                "merchant_id": None if number % 1000 == 0 else number * 31 % count + 1,
                "mini_program_id": number,
                "version_id": number,
                "number": "1.0.2",
                "at": now - timedelta(minutes=number * 7 % (DAYS * 2 * 1440) - step * 30 + 100),
                "kind": kind,
                "actor_name": "bench",
                "log_id": "",
                "text": "",
                "detail": {},
            }


def _runs(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        state = "failed" if number % 25 == 0 else "unknown" if number % 5003 == 0 else "succeeded"
        made = now - timedelta(seconds=(count - number) * 20)
        yield {
            "id": number,
            "merchant_id": None if number % 1000 == 0 else number * 31 % count + 1,
            "operation": "upload_code",
            "subject_type": "mini_program",
            "subject_id": number,
            "mini_program_id": number,
            "appid": f"tt{number:018x}",
            "actor_name": "bench",
            "actor_ip": "127.0.0.1",
            "door": "batch",
            "params": {},
            "state": state,
            "lock_key": f"mini_program:{number}",
            "attempts": 1,
            "settles": 0,
            "not_before": made,
            "error_kind": "",
            "message": "抖音繁忙" if state == "failed" else "",
            "advice": "",
            "log_id": f"20260101{number:012d}",
            "result": {},
            "created_at": made,
            "started_at": made,
            "finished_at": None if state == "unknown" else made + timedelta(seconds=2),
        }


def _calls(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        yield {
            "id": number,
            "at": now - timedelta(seconds=(count - number) * 10),
            "name": "upload_code",
            "method": "POST",
            "host": "open.douyin.com",
            "path": "/api/apps/v1/microapp/upload",
            "component_appid": "ttbench000000000001",
            "appid": f"tt{number:018x}",
            "ms": 80 + number % 200,
            "http_status": 200,
            "err_no": 0,
            "log_id": f"20260101{number:012d}",
            "outcome": OUTCOMES[number % 10],
            "request": {},
            "answer": "",
        }


def _jobs(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    names = ("sync_audits", "process_events", "refresh_tokens", "sync_templates", "housekeeping")
    for number in range(1, count + 1):
        started = now - timedelta(seconds=(count - number) * 5)
        yield {
            "id": number,
            "job": names[number % 5],
            "slot": str(number),
            "started_at": started,
            "finished_at": started + timedelta(seconds=1),
            "outcome": "ok",
            "result": "没有变化",
            "actor_name": "",
        }


def _pushes(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1, count + 1):
        at = now - timedelta(seconds=(count - number) * 20)
        yield {
            "id": number,
            "row_uid": f"{number:032d}",
            "unique_key": f"{number:064d}",
            "third_party_app_id": 1,
            "receiver": "message",
            "event": "PACKAGE_AUDIT",
            "appid": f"tt{number:018x}",
            "event_at": at,
            "received_at": at,
            "summary": {},
            "state": "done",
            "verdict": "已处理",
            "attempts": 1,
            "copies": 1,
            "not_before": at,
            "processed_at": at,
        }
