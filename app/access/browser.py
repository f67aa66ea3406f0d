"""A browser's log-in: begun, proved anew, ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import current_app, session
from flask_login import login_user
from sqlalchemy.orm import Session

from app.access import sessions, two_factor
from app.access.principal import Acting, has_bearer, login_session, principal
from app.access.roles import is_platform
from app.data.clock import utcnow
from app.data.engine import reading
from app.models.kit.audit import SYSTEM, record
from app.models.kit.user import ConsoleUser
from app.models.merchant import Merchant

PROOF_MINUTES = 10


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
    sessions.renew()


def recently_proved(minutes: int = PROOF_MINUTES) -> bool:
    """Whether whoever sits at this browser has lately proved to be its user; never while logged in as a merchant."""
    known, proved_at = principal(), session.get("proved_at")
    if known is None or known.acting or has_bearer() or not proved_at:
        return False
    return utcnow() - datetime.fromisoformat(proved_at) < timedelta(minutes=minutes)


def must_enrol(user: ConsoleUser) -> bool:
    """Whether REQUIRE_2FA keeps a user, for whom no code was asked in a browser, from everything else."""
    if not current_app.config["REQUIRE_2FA"] or not is_platform(user.role_names):
        return False
    with reading(), login_session(SYSTEM) as own:
        return not two_factor.is_on(own, user.id)


def sign_out() -> None:
    """End the browser session at once; being logged in as a merchant ends with it."""
    known = principal()
    if known is not None:
        with login_session(known.actor()) as own:
            if known.acting:
                record_end(own, known.acting)
            record(own, "logout", subject=own.get(ConsoleUser, known.user.id))
            own.commit()
    session.clear()


def record_end(own: Session, ended: Acting) -> None:
    record(own, "log_in_as_end", subject=own.get(Merchant, ended.merchant_id), reason=ended.reason)
