"""Passwords: which ones are taken, how they are hashed and checked, and made-up ones."""

from __future__ import annotations

import secrets

from flask import current_app
from werkzeug.security import check_password_hash, generate_password_hash
from zxcvbn import zxcvbn

from app.errors import Refused
from app.extensions import the_app
from app.i18n.sentence import say
from app.kept import kept_of

SHORTEST = 12
LONGEST = 128
STRONG_ENOUGH = 3  # zxcvbn's scale of 0 to 4: 3 withstands an attack on a stolen hash for a while
LOOKED_AT = 64  # the time zxcvbn takes grows with the square of the length
RULE = f"至少 {SHORTEST} 个字符，不含用户名，不用常见的词、连续或重复的字符"


def check_password_strength(password: str, user_name: str, *, field: str = "password") -> None:
    """Refused when a password is too short, common, or made of the user's name."""
    if len(password) < SHORTEST:
        raise Refused(say("密码至少要 {shortest} 个字符", shortest=SHORTEST), field=field)
    if len(password) > LONGEST:
        raise Refused(say("密码最多 {longest} 个字符", longest=LONGEST), field=field)
    if "\0" in password or not password.isprintable():
        raise Refused("密码含有不能输入的字符", field=field)
    if len(user_name) >= 3 and user_name.lower() in password.lower():
        raise Refused("密码不能含有用户名", field=field)
    known = [user_name, "douzhou", "douyin", "抖舟", "抖音"]
    if zxcvbn(password[:LOOKED_AT], user_inputs=known)["score"] < STRONG_ENOUGH:
        raise Refused("这个密码太常见或太好猜：请换一个，例如几个不相关的词连在一起", field=field)


def hash_password(password: str) -> str:
    return generate_password_hash(password, method=current_app.config.get("FAB_PASSWORD_HASH_METHOD", "scrypt"))


def matches(password: str, hashed: str | None) -> bool:
    """Whether a password is the one. Takes the same time when there is nobody to compare it with."""
    if "\0" in password or not password or len(password) > LONGEST:
        password, hashed = "x", None
    try:
        right = check_password_hash(hashed or _nobodys_hash(), password)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can carry
        return False
    return right and hashed is not None


def _nobodys_hash() -> str:
    return kept_of(the_app()).one("nobodys_hash", lambda: hash_password(secrets.token_urlsafe(24)))


def new_password() -> str:
    """A password to be given out once: 16 characters without the ones that look alike."""
    letters = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return "".join(secrets.choice(letters) for _ in range(16))
