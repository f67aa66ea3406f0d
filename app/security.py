"""Who asks: cookie or JWT -> user -> scope of the session; permissions from the table of roles; 登录商户.

One credential counts in a request: with a bearer token in it, the cookie is not looked at. The user is loaded
once a request, in a session of its own, and detached; the request's session gets its scope from it, once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Response, current_app, flash, g, has_request_context, jsonify, redirect, request, session, url_for
from flask_appbuilder.security.sqla.manager import SecurityManager as FabSecurityManager
from flask_login import current_user, login_user
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app import api_keys, twofactor, websession
from app.database import reading, writing
from app.errors import Refused
from app.extensions import db
from app.models.audit import record
from app.models.base import utcnow
from app.models.merchant import Merchant, MerchantState
from app.models.operation import Door
from app.models.user import MERCHANT_ROLES, PLATFORM_ROLES, ConsoleUser
from app.operations import SYSTEM, Actor
from app.passwords import check_password_strength, hash_password
from app.roles import OPERATIONS, OWNER, can, is_platform, may_act_as_merchant, may_operate
from app.tenancy import LOGIN, PLATFORM, merchant_scope, set_scope
from app.throttle import TooManyAttempts

ACTING_LIFE = timedelta(minutes=30)
SHORTEST_REASON = 4
WEB = "web"
PROOF_MINUTES = 10
OWN_ACCOUNT = "ProfileView"
# The screens of one's own account: while logged in as a merchant there is no account.
OWN_VIEWS = frozenset({OWN_ACCOUNT, "TwoFactorView", "ApiKeyView"})
# What an operator's file would take out of a merchant's space: exports are made on the platform's own pages.
NOT_ACTING = frozenset({"can_export"})
# Where a user may still go whose password must be changed first, or who must set up the second factor first.
BEFORE_CHANGE = frozenset({"ProfileView.password", "LoginView.logout"})
BEFORE_ENROLMENT = frozenset({"TwoFactorView.enrol", "ProfileView.confirm", "LoginView.logout"})
API = "/api/v1/"
CLOSED = "用户已停用，或须先登录控制台修改密码、开启两步验证"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Acting:
    """A platform user at work as a merchant (登录商户)."""

    merchant_id: int
    merchant_name: str
    until: datetime
    reason: str
    by: str


@dataclass(frozen=True)
class Principal:
    """Who asks in this request: a user with the roles that count now."""

    user: ConsoleUser
    role_names: frozenset[str]
    acting: Acting | None = None

    @property
    def merchant_id(self) -> int | None:
        return self.acting.merchant_id if self.acting else self.user.merchant_id

    def actor(self) -> Actor:
        return Actor(
            id=self.user.id,
            name=self.user.username,
            address=_address(),
            merchant_id=self.merchant_id,
            on_behalf_of=self.acting.merchant_name[:64] if self.acting else "",
            via=self.user.via,
        )


def principal() -> Principal | None:
    """Who asks in this request; None for a visitor who is not known, and outside requests."""
    return g.get("principal") if has_request_context() else None


def current_actor() -> Actor:
    """Who asks, as operations and the audit log want it; the system outside requests."""
    known = principal()
    if known is not None:
        return known.actor()
    return Actor(None, "未登录", _address()) if has_request_context() else SYSTEM


def current_role_names() -> frozenset[str]:
    """The roles that count in this request; while logged in as a merchant those of its owner."""
    known = principal()
    return known.role_names if known is not None else frozenset()


def acting() -> Acting | None:
    """As which merchant a platform user is at work, for the banner; None in ordinary sessions."""
    known = principal()
    return known.acting if known is not None else None


def face_of(user: ConsoleUser) -> str | None:
    """`platform` or `merchant`; None for a user that fits neither, who is let in nowhere."""
    names = user.role_names
    if names and names <= set(PLATFORM_ROLES) and user.merchant_id is None:
        return "platform"
    if names and names <= set(MERCHANT_ROLES) and user.merchant_id is not None:
        return "merchant"
    return None


def may_enter(user: ConsoleUser | None) -> bool:
    """Whether a user may work at all: active, of one face, its merchant not suspended."""
    if user is None or not user.active or face_of(user) is None:
        return False
    return user.merchant is None or user.merchant.state == MerchantState.ACTIVE


@contextmanager
def login_session(actor: Actor | None = None) -> Iterator[Session]:
    """A session of its own that may read what is needed to know who asks."""
    made = db.session.session_factory()
    set_scope(made, LOGIN)
    made.info["actor"] = (actor or current_actor()).info(WEB)
    try:
        yield made
    finally:
        made.close()


def _load(session: Session, *conditions: Any) -> ConsoleUser | None:
    statement = select(ConsoleUser).where(*conditions)
    statement = statement.options(joinedload(ConsoleUser.roles), joinedload(ConsoleUser.merchant))
    return session.scalars(statement).unique().first()


def _user(pk: Any) -> ConsoleUser | None:
    """A user who may enter, detached; looked up once a request."""
    if not str(pk).isascii() or not str(pk).isdigit() or len(str(pk)) > 9:
        return None
    held = g.setdefault("users", {})
    if pk not in held:
        held[pk] = _loaded(int(pk))
    user: ConsoleUser | None = held[pk]
    return user if may_enter(user) else None


def _loaded(pk: int) -> ConsoleUser | None:
    """The user whom the browser's session brought along, else one that is asked for."""
    brought: ConsoleUser | None = g.get("session_user")
    if brought is not None and brought.id == pk:
        return brought
    with reading(), login_session(SYSTEM) as own:
        return _load(own, ConsoleUser.id == pk)


def _address() -> str:
    return (request.remote_addr or "")[:64] if has_request_context() else ""


def _bearer() -> bool:
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def _api_key() -> str:
    """The API key that the request brings; empty for a JWT, and away from the API."""
    held = request.headers["Authorization"][7:].strip() if _bearer() and request.path.startswith(API) else ""
    return held if held.startswith(api_keys.PREFIX) else ""


def adopt(known: Principal, door: Door | str) -> None:
    """Make a principal the request's: the scope of its session, once, and the actor of its audit rows."""
    scoped = db.session()
    set_scope(scoped, PLATFORM if known.merchant_id is None else merchant_scope(known.merchant_id))
    scoped.info["actor"] = known.actor().info(door)
    g.principal = known
    g.user = known.user


def _principal_of(user: ConsoleUser) -> Principal:
    held = session.get("acting")
    if not held:
        return Principal(user, user.role_names)
    until = datetime.fromisoformat(held["until"])
    as_merchant = Acting(held["merchant_id"], held["merchant_name"], until, held["reason"], user.username)
    return Principal(user, frozenset({OWNER}), as_merchant)


def sign_in(user: ConsoleUser, *, second: bool = False) -> None:
    """Begin a user's browser session under a new id; of the visitor's, only the language is kept.

    `second`: a code was given too. A user's own session that begins anew keeps that.
    """
    locale = (user.preferences or {}).get("locale") or session.get("locale")
    second = second or (session.get("_user_id") == str(user.id) and bool(session.get("second")))
    session.clear()
    if locale:
        session["locale"] = locale
    session["gen"] = user.credential_generation
    session["second"] = second
    login_user(user)
    prove()


def prove() -> None:
    """The user has just given the password (and code): note it, under a new session id."""
    session["proved_at"] = utcnow().isoformat()
    websession.renew()


def recently_proved(minutes: int = PROOF_MINUTES) -> bool:
    """Whether whoever sits at this browser has lately proved to be its user; never while logged in as a merchant."""
    known, proved_at = principal(), session.get("proved_at")
    if known is None or known.acting or _bearer() or not proved_at:
        return False
    return utcnow() - datetime.fromisoformat(proved_at) < timedelta(minutes=minutes)


def must_enrol(user: ConsoleUser) -> bool:
    """Whether REQUIRE_2FA keeps a user, for whom no code was asked in a browser, from everything else."""
    if not current_app.config["REQUIRE_2FA"] or not is_platform(user.role_names):
        return False
    with reading(), login_session(SYSTEM) as own:
        return not twofactor.is_on(own, user.id)


def sign_out() -> None:
    """End the browser session at once; being logged in as a merchant ends with it."""
    known = principal()
    if known is not None:
        with login_session(known.actor()) as own:
            if known.acting:
                _record_end(own, known.acting)
            record(own, "logout", subject=own.get(ConsoleUser, known.user.id))
            own.commit()
    session.clear()


def _record_end(own: Session, ended: Acting) -> None:
    record(own, "log_in_as_end", subject=own.get(Merchant, ended.merchant_id), reason=ended.reason)


def log_in_as(merchant: Merchant, reason: str) -> Acting:
    """Work as a merchant for half an hour (登录商户). There is no way back: ending it signs out. Commits.

    Refused without a reason, for a suspended merchant, and for whoever may not.
    """
    known = principal()
    if known is None or known.acting or _bearer() or not may_act_as_merchant(known.role_names):
        raise Refused("没有登录商户的权限")
    reason = reason.strip()
    if not SHORTEST_REASON <= len(reason) <= 200:
        raise Refused(f"请写明登录商户的原因（{SHORTEST_REASON} 至 200 个字）", field="reason")
    if merchant.state != MerchantState.ACTIVE:
        raise Refused(f"商户「{merchant}」已停用，不能登录")
    begun = Acting(merchant.id, merchant.name, utcnow() + ACTING_LIFE, reason, known.user.username)
    own = db.session()
    own.info["actor"] = Principal(known.user, known.role_names, begun).actor().info(WEB)
    record(own, "log_in_as", subject=merchant, reason=reason, until=begun.until)
    own.commit()
    sign_in(known.user)
    session["acting"] = {
        "merchant_id": begun.merchant_id, "merchant_name": begun.merchant_name, "reason": reason,
        "until": begun.until.isoformat(),
    }  # fmt: skip
    return begun


class SecurityManager(FabSecurityManager):
    """FAB's manager with our users and roles as code: no permission is read from the database."""

    user_model = ConsoleUser

    def create_login_manager(self, app: Any) -> Any:
        manager = super().create_login_manager(app)
        manager.login_view = "LoginView.login"
        manager.session_protection = None  # it hashes a header that anyone can send
        return manager

    def register_views(self) -> None:
        """None of FAB's: the views' floor registers ours (app/views/account.py)."""

    @property
    def auth_view(self) -> Any:
        return self._registered("LoginView")

    @property
    def user_view(self) -> Any:
        return self._registered(OWN_ACCOUNT)

    def _registered(self, name: str) -> Any:
        return next((view for view in self.appbuilder.baseviews if view.endpoint == name), None)

    # Who asks.

    def load_user(self, pk: Any) -> ConsoleUser | None:
        """The cookie's user, for Flask-Login."""
        user = None if _bearer() else _user(pk)
        if user is None or session.get("gen") != user.credential_generation:
            return None
        if session.get("acting") and not may_act_as_merchant(user.role_names):
            return None
        return user

    def load_user_jwt(self, _jwt_header: Any, jwt_data: dict[str, Any]) -> ConsoleUser | None:
        """The token's user; None when its log-in has ended, or the user's credentials have changed since."""
        user = _user(jwt_data.get("sub"))
        if user is None or jwt_data.get("gen") != user.credential_generation or user.must_change_password:
            return None
        if must_enrol(user):
            return None
        with reading(), login_session(SYSTEM) as own:
            g.api_session = websession.find_api(own, jwt_data.get("sid"), user.id)
        if g.api_session is None:
            return None
        adopt(Principal(user, user.role_names), Door.REST)
        return user

    def before_request(self) -> Any:
        """Adopt the cookie's user before any view runs; an address without sessions has no user either."""
        g.user, g.principal, g.users = self.lm.anonymous_user(), None, {}
        if text := _api_key():
            return _enter_by_key(text)
        if not websession.has_session(request.path):
            return None
        if not current_user.is_authenticated:
            if "_user_id" in session and not _bearer():
                session.clear()  # the user was disabled, or its credentials changed
            return None
        known = _principal_of(current_user._get_current_object())
        if known.acting and known.acting.until <= utcnow():
            return self._end_of_acting(known)
        adopt(known, WEB)
        if known.user.must_change_password and not known.acting and request.endpoint not in BEFORE_CHANGE:
            return redirect(url_for("ProfileView.password"))
        enrolled = known.acting or session.get("second") or request.endpoint in BEFORE_ENROLMENT | BEFORE_CHANGE
        if not enrolled and must_enrol(known.user):
            return redirect(url_for("TwoFactorView.enrol"))
        return None

    def _end_of_acting(self, known: Principal) -> Any:
        with login_session(known.actor()) as own:
            _record_end(own, known.acting)  # type: ignore[arg-type]
            own.commit()
        session.clear()
        self.lm._update_request_context_with_user()
        flash("登录商户的时限已到，请重新登录", "warning")
        return redirect(url_for("LoginView.login"))

    @property
    def current_user(self) -> ConsoleUser | None:
        known = principal()
        return known.user if known else None

    def auth_user_db(self, _username: str, _password: str) -> None:
        """FAB's way in, which knows no throttle and no second factor, is shut: app/signin.py is the way."""

    def find_user(self, username: str | None = None, email: str | None = None) -> ConsoleUser | None:
        """A user by name, for FAB's commands; by a mail address nobody: it may be several people's."""
        return super().find_user(username=username) if username and not email else None  # type: ignore[no-any-return]

    @staticmethod
    def extract_api_key_from_request() -> str | None:
        return _api_key() or None

    def validate_api_key(self, _text: str) -> ConsoleUser | None:
        """FAB asks for the key's user once more; `before_request` has let it in, or there is none."""
        return self.current_user

    # Permissions: from the table, never from the database.

    def has_access(self, permission_name: str, view_name: str) -> bool:
        known = principal()
        if known is None or (known.acting and (view_name in OWN_VIEWS or permission_name in NOT_ACTING)):
            return False
        if permission_name == "menu_access":
            return view_name in self.get_user_menu_access([view_name])
        if permission_name in OPERATIONS:
            owners = bool(current_app.config["OWNERS_MAY_SUBMIT"])
            return can(known.role_names, "can_show", view_name) and may_operate(
                known.role_names, permission_name, owners
            )
        return can(known.role_names, permission_name, view_name)

    def is_item_public(self, _permission_name: str, _view_name: str) -> bool:
        return False

    def get_public_role(self) -> None:
        return None

    def get_public_permissions(self) -> list[Any]:
        return []

    def get_user_roles(self, user: Any) -> list[Any]:
        return list(user.roles) if getattr(user, "is_authenticated", False) else []

    def get_user_menu_access(self, menu_names: list[str] | None = None) -> set[str]:
        """The menu entries, of those named, that the roles may see; a category with any of its own."""
        known = principal()
        if known is None:
            return set()
        if "menu_seen" not in g:
            g.menu_seen = self._menu_of(known)
        seen: set[str] = g.menu_seen
        return seen if menu_names is None else seen & set(menu_names)

    def _menu_of(self, known: Principal) -> set[str]:
        seen: set[str] = set()
        for item in self.appbuilder.menu.get_list():
            inner = {child.name for child in item.childs if self._sees(known, child)}
            seen |= inner
            if inner or (not item.childs and self._sees(known, item)):
                seen.add(item.name)
        return seen

    def _sees(self, known: Principal, item: Any) -> bool:
        view = getattr(item.baseview, "class_permission_name", None) or str(item.href).split(".", 1)[0]
        return can(known.role_names, "menu_access", view) and not (known.acting and view in OWN_VIEWS)


def _enter_by_key(text: str) -> Response | None:
    """Adopt the user of an API key: its role and scope as they are now, at most what the key's own scope covers."""
    with reading(), login_session(SYSTEM) as own:
        key = api_keys.find(own, text)
    user = _user(key.user_id) if key is not None else None
    why = api_keys.refusal(key)
    if not why and (user is None or user.must_change_password or must_enrol(user)):
        why = CLOSED
    if key is None or user is None or why:
        answer = _refused(401, "unauthorized", why)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    if not api_keys.allows(key, request.method, request.blueprint):
        return _refused(403, "forbidden", "此 API 密钥的权限范围不包含这个请求")
    adopt(Principal(user, user.role_names), Door.REST)
    if api_keys.use_is_due(key):
        with writing(), login_session(SYSTEM) as own:
            api_keys.note_use(own, key.id, _address())
            own.commit()
    return None


def _refused(status: int, code: str, message: str) -> Response:
    answer = jsonify(code=code, message=message)
    answer.status_code = status
    return answer


__all__ = [
    "Acting",
    "Principal",
    "SecurityManager",
    "TooManyAttempts",
    "acting",
    "check_password_strength",
    "current_actor",
    "current_role_names",
    "face_of",
    "hash_password",
    "is_platform",
    "log_in_as",
    "login_session",
    "may_enter",
    "principal",
    "prove",
    "recently_proved",
    "sign_in",
    "sign_out",
]
