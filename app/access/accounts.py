"""Users: made, let in by a link, given another password, disabled. Whatever ends a credential ends what it opened.

Nobody but its owner sees a password: who makes an account, or resets its password, gets a link to hand on, by which the
owner sets one. Every function works in the session it is given and leaves the commit to its caller.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from flask import Flask
from flask_appbuilder.security.sqla.models import Role
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access import api_keys, passwords, sessions, throttle, two_factor
from app.access.roles import ADMIN
from app.data import texts
from app.data.clock import utcnow
from app.data.engine import let_go, rows_changed, taken
from app.data.secrets import keyring
from app.errors import Refused
from app.i18n.sentence import say
from app.models.api_key import PasswordLink
from app.models.kit.audit import record
from app.models.kit.task import Task, TaskState
from app.models.kit.user import MERCHANT_ROLES, PLATFORM_ROLES, ConsoleUser
from app.models.merchant import SPACE, Merchant
from app.notices.tell import tell

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{1,63}")
STAFF_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,54}")  # with what is added no longer than the others
NAME_RULE = "用户名应为 2 至 64 位字母、数字或 . _ @ -，以字母或数字开头"
STAFF_NAME_RULE = "用户名应为 2 至 55 位字母、数字或 . _ -，以字母或数字开头"
MAIL = re.compile(r"[^@\s<>\"',;]{1,64}@[^@\s<>\"',;]{1,120}\.[^@\s<>\"',;.]{1,24}")
RESET, INVITE = "reset", "invite"
LINK_PATH = "/login/link"  # the page that takes the token from behind the #
LINK_LIFE = timedelta(minutes=30)
LINK_SAID = timedelta(hours=24)  # how long everything done says by whose link the password was set
LINK_GONE = "这个链接无效、已经用过或已过期：请联系给您链接的人重新获取"
LONGEST_FULL_NAME = 64


def login_name(user_name: str, merchant: Merchant | None) -> str:
    """A user name as it is stored and typed at log-in; Refused when it has the wrong form.

    The people of a merchant are named in its own space: `anna` is `anna@abcdefgh`, and nobody learns from a name that
    is taken whom others employ. The platform's people have no names in such a space.
    """
    user_name = user_name.strip().lower()
    if merchant is not None:
        user_name = user_name.removesuffix(merchant.user_suffix)
        if not STAFF_NAME.fullmatch(user_name):
            raise Refused(STAFF_NAME_RULE, field="username")
        return user_name + merchant.user_suffix
    if not USER_NAME.fullmatch(user_name):
        raise Refused(NAME_RULE, field="username")
    if SPACE.fullmatch(user_name, user_name.rfind("@")):
        raise Refused("以 @ 和 8 位字母或数字结尾的用户名只用于商户用户：请换一个", field="username")
    return user_name


def checked_full_name(full_name: str) -> str:
    """A person's name as it is stored; Refused for one that is too long, or holds what cannot be seen."""
    full_name = texts.checked(full_name, "姓名", field="full_name")
    if len(full_name) > LONGEST_FULL_NAME:
        raise Refused(say("姓名最多 {longest_full_name} 个字", longest_full_name=LONGEST_FULL_NAME), field="full_name")
    return full_name


def checked_mail(email: str) -> str:
    """A mail address as it is stored, empty for none. It is nobody's alone: it names no account."""
    email = email.strip()
    if email and (not MAIL.fullmatch(email) or texts.fault(email)):
        raise Refused("邮箱的格式不正确", field="email")
    return email


def check_roles(role_names: Collection[str], merchant: Merchant | None) -> None:
    """Refuse roles of the wrong face: a platform user has no merchant, a merchant's user always has one."""
    allowed = PLATFORM_ROLES if merchant is None else MERCHANT_ROLES
    if not role_names or not set(role_names) <= set(allowed):
        raise Refused("请至少选择一个角色" if not role_names else "所选角色不适用于此账号", field="roles")


def find_roles(session: Session, role_names: Collection[str]) -> list[Any]:
    return list(session.scalars(select(Role).where(Role.name.in_(role_names))))


def create_user(
    session: Session,
    user_name: str,
    role_names: Collection[str],
    *,
    merchant: Merchant | None = None,
    full_name: str = "",
    email: str = "",
    password: str | None = None,
    must_change: bool = False,
) -> ConsoleUser:
    """A new user; without a password it gets in by a link only (`invite`).

    The user's `username` is the one to log in with: see `login_name`.
    """
    user_name, full_name, email = login_name(user_name, merchant), checked_full_name(full_name), checked_mail(email)
    check_roles(role_names, merchant)
    _refuse_taken(session, user_name)
    let_go(session)
    if password is not None:
        passwords.check_password_strength(password, user_name)
    hashed = passwords.hash_password(password) if password is not None else None
    user = ConsoleUser(
        username=user_name,
        first_name=full_name or (user_name.removesuffix(merchant.user_suffix) if merchant else user_name),
        last_name="",
        email=email,
        active=True,
        password=hashed,
        password_changed_at=utcnow() if hashed else None,
        must_change_password=must_change or not hashed,
        merchant_id=merchant.id if merchant is not None else None,
    )
    user.roles = find_roles(session, role_names)
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        session.rollback()
        if "username" not in taken(error, ConsoleUser.__table__):
            raise
        raise _name_taken(user_name) from None  # by somebody else, while the hash was worked out
    return user


def _refuse_taken(session: Session, user_name: str) -> None:
    if session.scalars(select(ConsoleUser.id).where(ConsoleUser.username == user_name)).first() is not None:
        raise _name_taken(user_name)


def _name_taken(user_name: str) -> Refused:
    return Refused(say("用户名「{name}」已被使用：请换一个", name=user_name), field="username")


def end_credentials(session: Session, user: ConsoleUser, *, keep: str | None = None) -> None:
    """End the user's sessions (but the one named by its hash), every token given out so far, and links not yet used."""
    user.credential_generation = (user.credential_generation or 0) + 1
    session.execute(
        delete(PasswordLink).where(PasswordLink.user_id == user.id).execution_options(synchronize_session=False)
    )
    sessions.end_all(session, user.id, but=keep)


def set_password(
    session: Session, user: ConsoleUser, password: str, *, must_change: bool, keep: str | None = None
) -> None:
    """Store a password that has been checked; other sessions and tokens end."""
    let_go(session)
    user.password = passwords.hash_password(password)
    user.password_changed_at = utcnow()
    user.must_change_password = must_change
    end_credentials(session, user, keep=keep)


def change_own_password(session: Session, user: ConsoleUser, old: str, new: str, *, keep: str | None) -> None:
    """A user's own change: the old password is asked (and guesses are counted), the other sessions end."""
    attempt = throttle.begin_again(session, user.username)
    if not passwords.matches(old, user.password):
        raise Refused("当前密码不正确", field="old_password")
    if passwords.matches(new, user.password):
        raise Refused("新密码与当前密码相同：请换一个", field="password")
    passwords.check_password_strength(new, user.username)
    set_password(session, user, new, must_change=False, keep=keep)
    throttle.forgive(session, attempt)
    record(session, "password_change", subject=user)


def reset_password(session: Session, user: ConsoleUser) -> str:
    """The old password and all that it opened end; gives the token of a link by which the owner sets another.

    The owner is told. The second factor stays on. Refused for a user who is disabled: no link would let them in.
    """
    if not user.active:
        raise Refused("用户已停用：请先启用，再重置密码")
    user.password, user.must_change_password = None, True
    token = _new_link(session, user, RESET)
    throttle.forgive_user(session, user.username)
    record(session, "password_reset", subject=user)
    tell_owner(
        session,
        user,
        "密码已被重置",
        say("{who} 重置了您的密码，您的所有登录已结束。如果不是您要求的，请联系平台管理员。", who=_asking(session)),
    )
    return token


def invite(session: Session, user: ConsoleUser) -> str:
    """The token of a link by which the owner of a new account sets its first password."""
    return _new_link(session, user, INVITE)


def _new_link(session: Session, user: ConsoleUser, kind: str) -> str:
    end_credentials(session, user)  # earlier links too
    token = api_keys.new_text()
    session.add(
        PasswordLink(
            token_hash=_link_hash(token),
            user_id=user.id,
            kind=kind,
            by_name=_asking(session)[:64],
            expires_at=utcnow() + LINK_LIFE,
        )
    )
    return token


def link_url(app: Flask, token: str) -> str:
    """The link to hand on. What it opens is behind the `#`, so that it reaches no server's log and no Referer."""
    return f"{app.config['PUBLIC_URL']}{LINK_PATH}#{token}"


def _asking(session: Session) -> str:
    return str((session.info.get("actor") or {}).get("name") or "系统")


def _link_hash(token: str) -> str:
    return keyring().fingerprint(f"password-link:{token}")


def find_link(session: Session, *, token: str = "", token_hash: str = "") -> PasswordLink | None:
    """A link that still counts, by its token or what is kept of it."""
    alive = (PasswordLink.token_hash == (token_hash or _link_hash(token)), PasswordLink.expires_at > utcnow())
    return session.scalars(select(PasswordLink).where(*alive).execution_options(populate_existing=True)).first()


def set_by_link(session: Session, user: ConsoleUser, link: PasswordLink, password: str) -> None:
    """The owner's own password, by a link that is used up. Refused for a weak one, and when another was quicker."""
    kind, by_name, alive = link.kind, link.by_name, (PasswordLink.token_hash == link.token_hash,)
    passwords.check_password_strength(password, user.username)
    let_go(session)
    hashed = passwords.hash_password(password)
    used = delete(PasswordLink).where(*alive, PasswordLink.expires_at > utcnow())
    if not rows_changed(session, used):
        raise Refused(LINK_GONE)
    user.password, user.password_changed_at, user.must_change_password = hashed, utcnow(), False
    user.link_kind, user.link_by, user.link_until = kind, by_name, utcnow() + LINK_SAID
    end_credentials(session, user)
    record(session, "password_set", subject=user)
    if kind == RESET:
        tell_owner(
            session,
            user,
            "已通过重置链接设置新密码",
            say("链接由 {who} 生成。如果不是您设置的，请联系平台管理员。", who=by_name),
        )


def tell_owner(session: Session, user: ConsoleUser, title: str, body: str) -> None:
    """Tell the owner of an account what became of its credentials by another's hand."""
    tell(
        session,
        "account_security",
        title=title,
        body=body,
        users=[user.id],
        merchant_id=user.merchant_id,
        dedup=secrets.token_hex(12),
    )


def change_roles(session: Session, user: ConsoleUser, role_names: Collection[str]) -> None:
    """Give a user other roles; what it has open ends, so that no page is left with the old ones."""
    check_roles(role_names, user.merchant)
    if ADMIN not in role_names:
        check_not_last_admin(session, user)
    user.roles = find_roles(session, role_names)
    end_credentials(session, user)


def set_active(session: Session, user: ConsoleUser, *, active: bool) -> None:
    """Enable or disable; disabling ends sessions, tokens and API keys at once, and a running task after its chunk.

    Refused for the last administrator.
    """
    if not active:
        check_not_last_admin(session, user)
        end_credentials(session, user)
        api_keys.revoke_all(session, user)
        running = update(Task).where(Task.user_id == user.id, Task.state == TaskState.RUNNING)
        session.execute(running.values(cancel_asked=True).execution_options(synchronize_session=False))
    user.active = active


def reset_second_factor(session: Session, user: ConsoleUser) -> None:
    """Turn a user's second factor off by someone else's hand; what the user has open ends."""
    if not two_factor.is_on(session, user.id):
        raise Refused("此用户没有开启两步验证")
    two_factor.remove(session, user, action="two_factor_reset")
    end_credentials(session, user)
    tell_owner(
        session,
        user,
        "两步验证已被重置",
        say("{who} 关闭了您的两步验证，您的所有登录已结束。如果不是您要求的，请联系平台管理员。", who=_asking(session)),
    )


def set_profile(session: Session, user: ConsoleUser, full_name: str, email: str) -> None:
    """A user's own name and mail address; Refused for one of the wrong form."""
    user.first_name = checked_full_name(full_name) or user.username
    user.email = checked_mail(email)


def check_not_last_admin(session: Session, user: ConsoleUser) -> None:
    """Refused when nobody could administer the platform without this user.

    Counted behind a lock that is held until the caller commits: of two administrators who remove each other at the same
    moment one is refused. (SQLite has one writer.)
    """
    if user.merchant_id is not None:
        return
    session.execute(select(Role.id).where(Role.name == ADMIN).with_for_update(key_share=True))
    able = select(ConsoleUser.id).where(
        ConsoleUser.roles.any(Role.name == ADMIN), ConsoleUser.active.is_(True), ConsoleUser.password.is_not(None)
    )
    held = set(session.scalars(able))  # a statement of its own: it sees what the lock was waited for
    if held == {user.id}:
        raise Refused("这是最后一个可用的平台管理员：请先为他人授予该角色", field="roles")
