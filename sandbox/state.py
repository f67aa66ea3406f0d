"""What the sandbox remembers, and how it is kept in one file."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

DEFAULT_APPID = "ttsandbox000000001"
DEFAULT_SECRET = "sandbox-component-secret-0001"  # a sandbox's own, published on purpose
DEFAULT_TOKEN = "sandboxToken01"  # as above
DEFAULT_AES_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


class Kind(StrEnum):
    """What a secret string is."""

    COMPONENT_V2 = "component_v2"
    COMPONENT_V1 = "component_v1"
    AUTHORIZER_V2 = "authorizer_v2"
    AUTHORIZER_V1 = "authorizer_v1"
    REFRESH_V2 = "refresh_v2"
    REFRESH_V1 = "refresh_v1"
    CLIENT = "client"
    PRE_AUTH = "pre_auth"
    LINK = "link"
    CODE = "code"
    TICKET = "ticket"


class Subject(StrEnum):
    """State of the company behind a mini-program (主体认证)."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    AUDITING = "auditing"
    FAILED = "failed"


@dataclass(slots=True)
class Token:
    """Any string that opens something, with its end by the sandbox's clock (unix seconds)."""

    kind: Kind
    thirdparty: str
    expires_at: float
    appid: str = ""
    used: bool = False
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ThirdParty:
    """A third-party app (第三方小程序应用) and where its pushes go."""

    appid: str
    secret: str
    token: str
    aes_key: str
    name: str = "抖舟服务商"
    authorization_url: str = ""
    message_url: str = ""
    auth_domain: str = ""
    next_ticket_at: float = 0.0
    ticket_delivered: bool = False
    removed: bool = False
    component_v2: list[str] = field(default_factory=list)
    component_v1: list[str] = field(default_factory=list)
    special_today: list[int] = field(default_factory=lambda: [0, 0])
    template_apps: list[str] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)
    materials: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Template:
    template_id: int
    user_version: str
    user_desc: str
    create_time: int


@dataclass(slots=True)
class Draft:
    draft_id: int
    user_version: str
    user_desc: str
    create_time: int
    nick_name: str = "模板开发者"


@dataclass(slots=True)
class Build:
    """One uploaded version of a mini-program."""

    number: int
    version: str
    summary: str
    ctime: int
    template_id: int
    ext_json: str
    tag: str = ""
    submitted: bool = False


@dataclass(slots=True)
class Audit:
    """The version in, or last through, audit. status: 0 in audit, 1 passed, 2 rejected, 3 revoked."""

    build: Build
    hosts: list[str]
    note: str
    ctime: int
    decide_at: float
    status: int = 0
    approved: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    published: bool = False
    illegal: bool = False


@dataclass(slots=True)
class Release:
    build: Build
    hosts: list[str]
    ctime: int
    taken_down: bool = False


@dataclass(slots=True)
class Effects:
    """How often each thing really happened to a mini-program, whatever became of the answer."""

    upload: int = 0
    audit: int = 0
    revoke: int = 0
    release: int = 0
    rollback: int = 0
    refresh: int = 0
    exchange: int = 0
    retrieve: int = 0


@dataclass(slots=True)
class App:
    """A mini-program (小程序)."""

    appid: str
    name: str
    intro: str = ""
    icon: str = ""
    subject: Subject = Subject.VERIFIED
    subject_name: str = ""
    personal: bool = False
    banned: bool = False
    subject_banned: bool = False
    name_reset: bool = False
    deleted: bool = False
    template_of: str = ""
    draft: Draft | None = None
    categories: list[str] = field(default_factory=list)
    category_ids: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=lambda: ["douyin", "douyin_lite", "toutiao", "tt_lite"])
    authorized_to: str = ""
    permissions: list[int] = field(default_factory=list)
    auth_time: int = 0
    verdict: str = ""
    reason: str = ""
    processing: bool = False
    next_build: int = 1
    latest: dict[str, Build] = field(default_factory=dict)
    audit: Audit | None = None
    last_submit_at: float = -1e9
    online: list[Release] = field(default_factory=list)
    rolled_back: bool = False
    rollback_at: float = 0.0
    last_rollback_at: float = -1e9
    webhook_secret: str = ""
    webhook_url: str = ""
    webhook_events: dict[str, int] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)
    uploads: list[dict[str, Any]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)  # what handlers keep of their own, by a name each


@dataclass(slots=True)
class Settings:
    """The switches of the control page; rates are 0..1, times are seconds unless named otherwise."""

    audit_seconds: float = 20.0
    verdict: str = "approve"
    reason: str = "页面存在空白，请补充内容后重新提交"
    latency_ms: float = 0.0
    latency_jitter_ms: float = 0.0
    error_rate: float = 0.0
    error_code: int = 0
    error_next: int = 0
    error_path: str = ""
    drop_before_rate: float = 0.0
    drop_after_rate: float = 0.0
    drop_before_next: int = 0
    drop_after_next: int = 0
    drop_path: str = ""
    unpaired_next: int = 0  # so many answers with an access token but no refresh token
    drop_paths: list[str] = field(default_factory=list)
    push_loss_rate: float = 0.0
    push_duplicate_rate: float = 0.0
    rate_limit: int = 0
    rollback_seconds: float = 240.0
    ip_blocked: bool = False
    outage: str = "off"
    outage_paths: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Settlement:
    """A 代入驻 request: 2 in progress, 3 failed, 4 succeeded."""

    apply_id: str
    thirdparty: str
    mobile: str
    created_at: float
    status: int = 2
    fail_reason: str = ""


@dataclass(slots=True)
class World:
    """Everything that is saved."""

    seed: int = 1
    counters: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    clock_offset: float = 0.0
    settings: Settings = field(default_factory=Settings)
    thirdparties: dict[str, ThirdParty] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    settlements: dict[str, Settlement] = field(default_factory=dict)
    used_codes: dict[str, float] = field(default_factory=dict)
    check_file: list[str] = field(default_factory=list)


_TABLES = ("apps", "tokens", "used_codes")
_ROWS = 200


def pieces(world: World) -> Iterator[str]:
    """The state as JSON, some rows a piece, so that a large world is neither held twice nor in the way.

    Between two pieces the world may move on; whoever needs one moment of it takes all pieces at once.
    """
    tables = {name: getattr(world, name) for name in _TABLES}
    rest = {name: getattr(world, name) for name in world.__slots__ if name not in _TABLES}
    yield json.dumps(rest, default=_plain, ensure_ascii=False)[:-1]
    for name, table in tables.items():
        yield f', "{name}": {{'
        keys, comma = list(table), ""
        for start in range(0, len(keys), _ROWS):
            rows = {key: table[key] for key in keys[start : start + _ROWS] if key in table}
            if rows:
                yield comma + json.dumps(rows, default=_plain, ensure_ascii=False)[1:-1]
                comma = ", "
        yield "}"
    yield "}"


def save(world: World, path: Path) -> None:
    """Write the whole state beside the file, then put it in its place in one step."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(pieces(world))
    beside.replace(path)


async def save_gently(world: World, path: Path) -> None:
    """As `save`, giving way to other work between the pieces."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:  # pieces are small, the disk is local
        for piece in pieces(world):
            file.write(piece)
            await asyncio.sleep(0)
    beside.replace(path)


def restore(path: Path) -> World:
    """The state that `save` wrote."""
    world: World = _build(World, json.loads(path.read_text(encoding="utf-8")))
    return world


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


_HINTS: dict[type, dict[str, Any]] = {}


def _build(kind: Any, value: Any) -> Any:
    """JSON back into the declared type; fields that are not in the file keep their default."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(arm for arm in get_args(kind) if arm is not type(None))
        return None if value is None else _build(inner, value)
    if origin is list:
        return [_build(get_args(kind)[0], item) for item in value]
    if origin is dict:
        return {key: _build(get_args(kind)[1], item) for key, item in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _HINTS.get(kind) or _hints(kind)
        return kind(**{f.name: _build(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value})
    return kind(value) if isinstance(kind, type) and issubclass(kind, StrEnum) else value


def _hints(kind: type) -> dict[str, Any]:
    found = _HINTS[kind] = get_type_hints(kind)
    return found
