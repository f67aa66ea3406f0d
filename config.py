"""Every setting of the product, read from the environment once; nothing else reads the environment."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from zxcvbn import zxcvbn
from zxcvbn.matching import omnimatch

ROOT = Path(__file__).resolve().parent
LOOKED_AT = 72  # characters: the time zxcvbn takes grows with the square of the length
GUESSES = 24  # powers of ten: 32 random hex digits are 10^28 at the least, a sentence's 10^16 and more
READABLE = 0.6  # of random characters a third at most look like a word or a run by chance
MOST_HOPS = 8


class SettingError(Exception):
    """A setting that cannot be started with; the sentence says what to do."""


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    raw = env.get(name, "").strip()
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise SettingError(f"{name} 应为不小于 0 的数字（must be a number >= 0），现在是 {raw!r}：请修改 .env。")
    return value


def _flag(env: Mapping[str, str], name: str) -> bool:
    raw = env.get(name, "").strip().lower()
    if raw not in {"", "0", "1", "true", "false", "yes", "no", "on", "off"}:
        raise SettingError(f"{name} 应为 0 或 1（must be 0 or 1），现在是 {raw!r}：请修改 .env。")
    return raw in {"1", "true", "yes", "on"}


def _hashes(word: bytes) -> Iterator[bytes]:
    """What hashes make of a word, as bytes and as people write them."""
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2s", "blake2b"):
        digest = hashlib.new(name, word, usedforsecurity=False).digest()
        yield from (digest, digest.hex().encode(), base64.b64encode(digest), base64.b64encode(digest).rstrip(b"="))


# A hash of nothing, or of a word that stands for a key, looks random and everybody knows it.
_WORDS = (b"", b"0", b"\0", b"test", b"secret", b"password", b"changeme")
KNOWN = frozenset(made for word in _WORDS for end in (b"", b"\n") for made in _hashes(word + end))


def guessable(secret: str) -> bool:
    """Whether a text was not made at random: short, repeated, a run of the keyboard or two that alternate, for the
    most part words, or what a hash makes of nothing."""
    if len(secret) < 32 or len(set(secret)) < 8 or {secret.encode(), secret.lower().encode()} & KNOWN:
        return True
    looked_at = secret[:LOOKED_AT]
    if (
        len({ord(after) - ord(before) for before, after in zip(looked_at, looked_at[1:], strict=False)}) < 10
    ):  # random ones have 13
        return True
    if zxcvbn(looked_at)["guesses_log10"] < GUESSES:
        return True
    found = [
        match for match in omnimatch(looked_at) if match["pattern"] in {"dictionary", "repeat", "sequence", "spatial"}
    ]
    told = {place for match in found if len(match["token"]) >= 4 for place in range(match["i"], match["j"] + 1)}
    return len(told) >= READABLE * len(looked_at)


def patterned(key: bytes) -> bool:
    """Whether bytes were not made at random: few different ones, in even steps, a text that can be guessed, or what a
    hash makes of nothing."""
    if key in KNOWN:
        return True
    steps = {(after - before) % 256 for before, after in zip(key, key[1:], strict=False)}
    if min(len(set(key)), len(steps)) < len(key) // 2:
        return True
    return key.isascii() and guessable(key.decode())


def _checked_secret(env: Mapping[str, str]) -> str:
    secret = env.get("SECRET_KEY", "")
    if guessable(secret):
        raise SettingError(
            "SECRET_KEY 缺失或过弱（missing or weak）：请在 .env 中设置至少 32 个随机字符，"
            "可用 python3 -c 'import secrets; print(secrets.token_urlsafe(48))' 生成。"
        )
    return secret


def _checked_keys(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingError(
            f"{name} 缺失（missing）：请在 .env 中设置，格式见 .env.example；"
            "可用 python3 -c 'import base64,os; print(base64.b64encode(os.urandom(32)).decode())' 生成密钥。"
        )
    return value


def _engine_options(url: str) -> dict[str, Any]:
    # Without `hide_parameters` the error of a failed statement, and so the log, holds all its values.
    options: dict[str, Any] = {"hide_parameters": True}  # the pool's: app/data/pool.py
    if url.startswith("sqlite"):
        return options | {"connect_args": {"timeout": 30}}
    options |= {"pool_pre_ping": True}
    if url.startswith("mysql"):
        options |= {"isolation_level": "READ COMMITTED", "pool_recycle": 3600}
    return options


def _database_url(env: Mapping[str, str]) -> str:
    url = env.get("DATABASE_URL", "").strip() or f"sqlite:///{ROOT / 'var' / 'douzhou.db'}"
    if not url.startswith(("sqlite:", "postgresql+psycopg:", "mysql+pymysql:")):
        raise SettingError(
            "DATABASE_URL 应以 sqlite:///、postgresql+psycopg:// 或 mysql+pymysql:// 开头"
            "（unsupported database）：请修改 .env。"
        )
    return url


def _refuse_unused(env: Mapping[str, str]) -> None:
    """A setting that nothing follows must not look as if it were followed."""
    if env.get("REDIS_URL", "").strip():
        raise SettingError(
            "REDIS_URL 目前没有任何功能使用（not used yet）：多个进程通过数据库协作，请从 .env 中去掉 REDIS_URL。"
        )


def _proxy_hops(env: Mapping[str, str], public_url: str) -> int:
    """How many proxies are believed. Behind HTTPS it must be said: unsaid, all clients would be the proxy's address."""
    raw = env.get("PROXY_HOPS", "").strip()
    if not raw and public_url.startswith("https://"):
        raise SettingError(
            "PUBLIC_URL 为 https 时必须写明 PROXY_HOPS（must be set）：请在 .env 中填写前面反向代理的层数，"
            "例如 nginx 一层填 1；没有代理填 0。"
        )
    if raw and not (raw.isascii() and raw.isdecimal() and int(raw) <= MOST_HOPS):
        raise SettingError(
            f"PROXY_HOPS 应为 0 到 {MOST_HOPS} 的整数（must be a whole number），现在是 {raw!r}：请修改 .env。"
        )
    return int(raw or 0)


def _public_url(env: Mapping[str, str]) -> str:
    url = env.get("PUBLIC_URL", "").strip().rstrip("/") or "http://127.0.0.1:8080"
    if not re.fullmatch(r"https?://[^/?#@\s]+", url):
        raise SettingError(
            "PUBLIC_URL 应形如 https://douzhou.example.com，不带路径（invalid PUBLIC_URL）：请修改 .env。"
        )
    return url


def _is_here(url: str) -> bool:
    """Whether an address leads to this machine only, in the clear."""
    host = urlsplit(url).hostname or ""
    try:
        own = ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    return own and url.startswith("http://")


def _smtp_url(env: Mapping[str, str]) -> str:
    url = env.get("SMTP_URL", "").strip()
    if url and not re.match(r"smtps?://([^/@\s]*@)?[^/@\s]+", url):
        raise SettingError(
            "SMTP_URL 应形如 smtps://用户名:密码@smtp.example.com:465?from=发件地址（invalid SMTP_URL）：请修改 .env。"
        )
    return url


def environment() -> dict[str, str]:
    """The process environment over `.env` of the project's folder (or the file named by DOUZHOU_ENV)."""
    path = Path(os.environ.get("DOUZHOU_ENV", ROOT / ".env"))
    stored = {key: value for key, value in dotenv_values(path).items() if value is not None}
    return {**stored, **os.environ}


class Config:
    """Settings as Flask's `from_object` reads them; made from an environment mapping.

    Raises SettingError with one sentence when a setting is missing, weak or contradicts another.
    """

    # Flask-AppBuilder: our own tables, templates and permission check (docs/tenancy.md says why).
    APP_NAME = "抖舟"
    FAB_CREATE_DB = False
    FAB_UPDATE_PERMS = False
    FAB_ADD_SECURITY_API = False
    FAB_ADD_SECURITY_VIEWS = True
    FAB_ADD_SECURITY_PERMISSION_VIEW = False
    FAB_ADD_SECURITY_VIEW_MENU_VIEW = False
    FAB_ADD_SECURITY_PERMISSION_VIEWS_VIEW = False
    FAB_ADD_OPENAPI_VIEWS = False  # ours: app/api/operators/openapi.py and app/views/account/api_page.py
    FAB_API_MAX_PAGE_SIZE = 100
    FAB_API_KEY_ENABLED = True  # FAB asks app/access/keys.py, which knows our own keys
    FAB_INDEX_VIEW = "app.views.dashboard.DashboardView"
    AUTH_TYPE = 1
    AUTH_RATE_LIMITED = False  # ours counts failures per user and address, in the database, over processes
    FAB_SECURITY_MANAGER_CLASS = "app.access.manager.SecurityManager"
    BABEL_DEFAULT_LOCALE = "zh"
    BABEL_DEFAULT_TIMEZONE = "Asia/Shanghai"
    LANGUAGES = {"zh": {"flag": "cn", "name": "中文"}, "en": {"flag": "gb", "name": "English"}}
    APP_THEME = ""
    APP_ICON = ""
    RATELIMIT_ENABLED = False
    SQLALCHEMY_TRACK_MODIFICATIONS = False
    WTF_CSRF_ENABLED = True
    WTF_CSRF_TIME_LIMIT = None  # a token lives as long as its server-side session
    SESSION_COOKIE_NAME = "douzhou"
    SESSION_COOKIE_HTTPONLY = True
    SESSION_COOKIE_SAMESITE = "Lax"
    PERMANENT_SESSION_LIFETIME = timedelta(hours=12)
    MAX_FORM_MEMORY_SIZE = 1024 * 1024  # the fields of a form with files; all bodies: app/web/bodies.py
    JWT_ACCESS_TOKEN_EXPIRES = timedelta(minutes=30)
    JWT_IDENTITY_CLAIM = "sub"
    FAB_ROLES: dict[str, Any] = {}

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = environment() if env is None else env
        self.DEMO = _flag(env, "DEMO")
        self.DEBUG = False
        if _flag(env, "FLASK_DEBUG") and not self.DEMO:
            raise SettingError("FLASK_DEBUG 只能在演示环境（DEMO=1）中打开：请从 .env 或环境变量中去掉它。")
        self.SECRET_KEY = _checked_secret(env)
        self.JWT_SECRET_KEY = self.SECRET_KEY + ":jwt"
        self.DATA_KEYS = _checked_keys(env, "DATA_KEYS")
        self.INDEX_KEY = _checked_keys(env, "INDEX_KEY")
        self.WORKER_THREADS = int(_number(env, "WORKER_THREADS", 64))
        self.WEB_THREADS = int(_number(env, "WEB_THREADS", 16))
        self.SQLALCHEMY_DATABASE_URI = _database_url(env)
        _refuse_unused(env)
        self.SQLALCHEMY_ENGINE_OPTIONS = _engine_options(self.SQLALCHEMY_DATABASE_URI)
        self.PUBLIC_URL = _public_url(env)
        if self.DEMO and not _is_here(self.PUBLIC_URL):
            # It may debug, and send to this machine where people name an address.
            raise SettingError(
                "DEMO=1 只用于本机演示，不能对外提供服务（this machine only）：请从 .env 或环境变量中去掉它。"
            )
        self.SESSION_COOKIE_SECURE = self.PUBLIC_URL.startswith("https://")
        self.TRUSTED_HOSTS = [host.strip() for host in env.get("TRUSTED_HOSTS", "").split(",") if host.strip()]
        self.PROXY_HOPS = _proxy_hops(env, self.PUBLIC_URL)
        self.CALLBACK_WINDOW = int(_number(env, "CALLBACK_WINDOW", 300))
        self.DOUYIN_OPEN_URL = env.get("DOUYIN_OPEN_URL") or "https://open.douyin.com"
        self.DOUYIN_MICROAPP_URL = env.get("DOUYIN_MICROAPP_URL") or "https://open.microapp.bytedance.com"
        self.DOUYIN_TOUTIAO_URL = env.get("DOUYIN_TOUTIAO_URL") or "https://developer.toutiao.com"
        self.DOUYIN_TIMEOUT = _number(env, "DOUYIN_TIMEOUT", 10.0)
        self.DOUYIN_RATE = _number(env, "DOUYIN_RATE", 50.0)
        self.DOUYIN_V1_TOKENS = _flag(env, "DOUYIN_V1_TOKENS")
        self.OWNERS_MAY_SUBMIT = _flag(env, "OWNERS_MAY_SUBMIT")
        self.REQUIRE_2FA = _flag(env, "REQUIRE_2FA")
        self.STEP_UP_ABOVE = int(_number(env, "STEP_UP_ABOVE", 20))
        self.AUDIT_STUCK_HOURS = _number(env, "AUDIT_STUCK_HOURS", 72)
        self.STORAGE_URL = env.get("STORAGE_URL", "").strip() or f"file://{ROOT / 'var' / 'storage'}"
        self.SANDBOX_URL = env.get("SANDBOX_URL", "")
        self.METRICS_TOKEN = env.get("METRICS_TOKEN", "").strip()
        self.SMTP_URL = _smtp_url(env)
        self.EMBEDDED = _flag(env, "EMBEDDED")
        self.LOG_LEVEL = (env.get("LOG_LEVEL") or "INFO").upper()
