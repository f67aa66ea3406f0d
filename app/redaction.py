"""What may never be printed, and how it is masked: pure functions for logs, errors and the Douyin client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

# Names whose values are secrets wherever they stand: JSON, query strings, key=value in a log line.
SECRET_NAMES = (
    "access_token",
    "access-token",
    "component_access_token",
    "component_appsecret",
    "component_ticket",
    "authorizer_access_token",
    "authorizer_refresh_token",
    "authorization_code",
    "AuthorizationCode",
    "pre_auth_code",
    "client_secret",
    "session_key",
    "Ticket",
    "ticket",
    "secret",
    "app_secret",
    "aes_key",
    "encoding_aes_key",
    "token",
    "refresh_token",
    "password",
    "Encrypt",
    "MsgSignature",
    "code",
    "anonymous_code",
    "authorization",
    "cookie",
    "api_key",
    "csrf_token",
    "business_id_card",
    "totp",
    "otp",
)
PHONE_NAMES = ("phone", "mobile", "business_mobile", "phone_number", "purePhoneNumber", "phoneNumber")

_SECRET = "|".join(sorted((re.escape(name) for name in SECRET_NAMES), key=len, reverse=True))
_NAME = rf"(?i)(\b(?:{_SECRET})\b\\*[\"']?\s*[=:]\s*)"
_QUOTED = re.compile(_NAME + r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")  # with blanks and all
_ESCAPED = re.compile(_NAME + r"""(\\+["'])[^"'\\]*""")  # JSON within JSON
_PLAIN = re.compile(_NAME + r"""(["']?)[^"'&\s,;)}\]\\]+""")  # query strings, words; quotes that never close
_COOKIES = re.compile(r"(?im)\b((?:set-)?cookie:\s*)[^\r\n\"']+")
_PREFIXED = re.compile(r"\b(?:(?:clt|isvact|isvrft|whs)[.-][A-Za-z0-9._~+/=-]{6,}|dz_[A-Za-z0-9]{20,})")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}")
_PHONE = re.compile(r"(?a)(?<![\w.])(?:\+?86[- ]?)?(1[3-9]\d)\d{4}(\d{4})(?!\w)")  # a Chinese letter is no \w
_HASH = re.compile(r"\b(?:scrypt|pbkdf2)(?::\w+)*\$[^$\s'\"]+\$[0-9a-fA-F]+")  # of a password
# What databases say of a row that they refuse names its values: PostgreSQL in a line of its own, in its language.
_REFUSED_ROW = re.compile(r"(?s)((?:^|\n|\\n)(?:DETAIL|详细信息|描述)[:：] *).*?(?=(?:\n|\\n)(?:\[SQL|\n|\\n)|\Z)")
_DUPLICATE = re.compile(r"(?s)(\bDuplicate entry )'.*?'(?= for key )")
# Without any of these nothing below can match: most texts have none, and are looked through once instead of ten times.
_SUSPECT = re.compile(r"(?i)[=:：]|[0-9]{11}|bearer|clt|isva|isvr|whs|dz_|scrypt|pbkdf2|duplicate")
_LOWER_SECRET = frozenset(name.lower() for name in SECRET_NAMES)
_LOWER_PHONE = frozenset(name.lower() for name in PHONE_NAMES)


def redact(text: str) -> str:
    """The same text with tokens, secrets, phone numbers, passwords' hashes and refused rows masked."""
    return _masked(text) if _SUSPECT.search(text) else text


def _masked(text: str) -> str:
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _COOKIES.sub(rf"\1{MASK}", text)
    text = _QUOTED.sub(rf'\1"{MASK}"', text)
    text = _ESCAPED.sub(rf"\1\2{MASK}", text)
    text = _PLAIN.sub(rf"\1\2{MASK}", text)
    text = _PREFIXED.sub(MASK, text)
    text = _HASH.sub(MASK, text)
    text = _REFUSED_ROW.sub(rf"\1{MASK}", text)
    text = _DUPLICATE.sub(rf"\1{MASK}", text)
    return _PHONE.sub(r"\1****\2", text)


def mask_phone(phone: str) -> str:
    """`13800138000` -> `138****8000`; anything shorter than eleven characters is masked whole."""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else MASK


def redact_value(name: str, value: Any) -> Any:
    """One named value, masked by its name, else by what its text looks like; containers are walked."""
    lowered = name.lower()
    if lowered in _LOWER_SECRET and not isinstance(value, Mapping | list | tuple):
        return MASK if value not in (None, "") else value
    if lowered in _LOWER_PHONE and isinstance(value, str):
        return mask_phone(value)
    if isinstance(value, Mapping):
        return {key: redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(name, item) for item in value]
    return redact(value) if isinstance(value, str) else value


def redact_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every secret and phone number is masked, at any depth."""
    return {key: redact_value(key, value) for key, value in values.items()}
