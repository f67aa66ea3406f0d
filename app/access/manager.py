"""FAB's security manager with our users and roles as code: cookie or JWT -> user, permissions from the table of roles.

One credential counts in a request: with a bearer token in it, the cookie is not looked at.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import current_app, flash, g, redirect, request, session, url_for
from flask_appbuilder.security.sqla.manager import SecurityManager as FabSecurityManager
from flask_login import current_user

from app.access import sessions
from app.access.browser import must_enrol, record_end
from app.access.keys import enter_by_key, key_given
from app.access.principal import WEB, Acting, Principal, adopt, has_bearer, login_session, principal, user_of
from app.access.roles import OWNER, can, may_act_as_merchant, may_operate, view_roles
from app.data.clock import utcnow
from app.data.engine import reading
from app.models.kit.audit import SYSTEM
from app.models.kit.operation import Door
from app.models.kit.user import ConsoleUser
from app.operations.registry import OPERATIONS

OWN_ACCOUNT = "ProfileView"
# What an operator's file would take out of a merchant's space: exports are made on the platform's own pages.
NOT_ACTING = frozenset({"can_export"})


def _principal_of(user: ConsoleUser) -> Principal:
    held = session.get("acting")
    if not held:
        return Principal(user, user.role_names)
    until = datetime.fromisoformat(held["until"])
    as_merchant = Acting(held["merchant_id"], held["merchant_name"], until, held["reason"], user.username)
    return Principal(user, frozenset({OWNER}), as_merchant)


class SecurityManager(FabSecurityManager):
    """FAB's manager with our users and roles as code: no permission is read from the database."""

    user_model = ConsoleUser

    def create_login_manager(self, app: Any) -> Any:
        manager = super().create_login_manager(app)
        manager.login_view = "LoginView.login"
        manager.session_protection = None  # it hashes a header that anyone can send
        return manager

    def register_views(self) -> None:
        """None of FAB's: the views' floor registers ours (app/views/account/profile.py)."""

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
        user = None if has_bearer() else user_of(pk)
        if user is None or session.get("gen") != user.credential_generation:
            return None
        if session.get("acting") and not may_act_as_merchant(user.role_names):
            return None
        return user

    def load_user_jwt(self, _jwt_header: Any, jwt_data: dict[str, Any]) -> ConsoleUser | None:
        """The token's user; None when its log-in has ended, or the user's credentials have changed since."""
        user = user_of(jwt_data.get("sub"))
        if user is None or jwt_data.get("gen") != user.credential_generation or user.must_change_password:
            return None
        if must_enrol(user):
            return None
        with reading(), login_session(SYSTEM) as own:
            g.api_session = sessions.find_api(own, jwt_data.get("sid"), user.id)
        if g.api_session is None:
            return None
        adopt(Principal(user, user.role_names), Door.REST)
        return user

    def before_request(self) -> Any:
        """Adopt the cookie's user before any view runs; an address without sessions has no user either."""
        g.user, g.principal, g.users = self.lm.anonymous_user(), None, {}
        if text := key_given():
            return enter_by_key(text)
        if not sessions.has_session(request.path):
            return None
        if not current_user.is_authenticated:
            if "_user_id" in session and not has_bearer():
                session.clear()  # the user was disabled, or its credentials changed
            return None
        known = _principal_of(current_user._get_current_object())
        if known.acting and known.acting.until <= utcnow():
            return self._end_of_acting(known, known.acting)
        adopt(known, WEB)
        open_ = view_roles()
        if known.user.must_change_password and not known.acting and request.endpoint not in open_.before_change:
            return redirect(url_for("ProfileView.password"))
        first = open_.before_change | open_.before_enrolment
        enrolled = known.acting or session.get("second") or request.endpoint in first
        if not enrolled and must_enrol(known.user):
            return redirect(url_for("TwoFactorView.enrol"))
        return None

    def _end_of_acting(self, known: Principal, acting: Acting) -> Any:
        with login_session(known.actor()) as own:
            record_end(own, acting)
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
        """FAB's way in, which knows no throttle and no second factor, is shut: app/access/sign_in.py is the way."""

    def find_user(self, username: str | None = None, email: str | None = None) -> ConsoleUser | None:
        """A user by name, for FAB's commands; by a mail address nobody: it may be several people's."""
        return super().find_user(username=username) if username and not email else None

    @staticmethod
    def extract_api_key_from_request() -> str | None:
        return key_given() or None

    def validate_api_key(self, _text: str) -> ConsoleUser | None:
        """FAB asks for the key's user once more; `before_request` has let it in, or there is none."""
        return self.current_user

    # Permissions: from the table, never from the database.

    def has_access(self, permission_name: str, view_name: str) -> bool:
        known = principal()
        if known is None or (known.acting and (view_name in view_roles().own or permission_name in NOT_ACTING)):
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
        return can(known.role_names, "menu_access", view) and not (known.acting and view in view_roles().own)
