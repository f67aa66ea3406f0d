"""The second factor: time-based codes (TOTP, RFC 6238) that count once, and recovery codes that count once.

Every function works in the session it is given and leaves the commit to its caller.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from datetime import datetime

import pyotp
import segno
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing, rows_changed
from app.data.secrets import keyring
from app.errors import Refused
from app.models.api_key import TwoFactor
from app.models.kit.audit import record
from app.models.kit.user import ConsoleUser

ISSUER = "Douzhou"
STEP_SECONDS = 30
DRIFT = 1  # steps that a phone's clock may be off, to either side
RECOVERY_CODES = 10
RECOVERY_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike
WRONG_CODE = "验证码不正确，或已经用过"


def row_of(session: Session, user_id: int, *, lock: bool = False) -> TwoFactor | None:
    """A user's second factor, confirmed or not; read anew, and locked if asked."""
    statement = select(TwoFactor).where(TwoFactor.user_id == user_id).execution_options(populate_existing=True)
    return session.scalars(statement.with_for_update() if lock else statement).first()


def is_on(session: Session, user_id: int) -> bool:
    """Whether a code is asked of the user."""
    confirmed = TwoFactor.confirmed_at.is_not(None)
    return session.scalars(select(TwoFactor.user_id).where(TwoFactor.user_id == user_id, confirmed)).first() is not None


def begin(session: Session, user: ConsoleUser) -> None:
    """A new secret that counts once a code of it has been given. Refused when the second factor is on."""
    held = row_of(session, user.id, lock=True)
    if held is not None and held.confirmed_at is not None:
        raise Refused("两步验证已经开启")
    held = held or insert_missing(session, TwoFactor, {"user_id": user.id})[0]
    held.secret, held.created_at, held.last_step = pyotp.random_base32(), utcnow(), 0
    session.flush()


def waiting_secret(session: Session, user_id: int) -> str | None:
    """The secret that waits for its first code; None without one, and once it is confirmed: it is not shown again."""
    held = row_of(session, user_id)
    return held.secret if held is not None and held.confirmed_at is None else None


def address(secret: str, user_name: str) -> str:
    """What an authenticator app reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=user_name, issuer_name=ISSUER)


def picture(secret: str, user_name: str) -> str:
    """The QR code as the address of an SVG."""
    code = segno.make(address(secret, user_name), error="m")
    return str(code.svg_data_uri(scale=5, border=2, dark="#000", light="#fff"))


def confirm(session: Session, user: ConsoleUser, code: str) -> list[str]:
    """Turn it on by a first code; gives the recovery codes, to be shown once. Refused for a wrong code."""
    held = row_of(session, user.id, lock=True)
    if held is None or held.confirmed_at is not None:
        raise Refused("请先开始设置两步验证")
    if not _spend_step(session, held, _plain(code)):
        raise Refused(WRONG_CODE, field="code")
    held.confirmed_at = utcnow()
    codes = _new_codes(held)
    session.flush()
    record(session, "two_factor_on", subject=user)
    return codes


def check(session: Session, user: ConsoleUser, code: str) -> bool:
    """Whether a code, or a recovery code, is right; either is used up by it."""
    held = row_of(session, user.id, lock=True)
    if held is None or held.confirmed_at is None:
        return False
    plain = _plain(code)
    if len(plain) == 6 and plain.isascii() and plain.isdigit():
        return _spend_step(session, held, plain)
    return _spend_recovery(session, user, held, plain)


def _plain(code: str) -> str:
    """A code as typed, full-width or with blanks and hyphens, as it is compared."""
    text = code[:64].encode(errors="replace").decode()  # JSON can carry halves of characters
    return "".join(unicodedata.normalize("NFKC", text).split()).replace("-", "").lower()


def step_at(moment: datetime) -> int:
    return int(moment.timestamp()) // STEP_SECONDS


def _spend_step(session: Session, held: TwoFactor, code: str) -> bool:
    """Find the code's step and take it, and those before it, out of use; of two at once one gets it."""
    totp, now = pyotp.TOTP(held.secret or ""), step_at(utcnow())
    steps = range(now - DRIFT, now + DRIFT + 1)
    right = [step for step in steps if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())]
    if not right:
        return False
    unused = (TwoFactor.user_id == held.user_id, TwoFactor.last_step < right[-1])
    taken = rows_changed(session, update(TwoFactor).where(*unused).values(last_step=right[-1]))
    session.refresh(held, ["last_step"])
    return bool(taken)


def _spend_recovery(session: Session, user: ConsoleUser, held: TwoFactor, code: str) -> bool:
    hashed = _hashed(held.user_id, code)
    if hashed not in held.recovery_hashes:  # keyed hashes: how long the look takes tells nothing of a code
        return False
    held.recovery_hashes = [other for other in held.recovery_hashes if other != hashed]
    session.flush()
    record(session, "recovery_code_used", subject=user, left=len(held.recovery_hashes))
    return True


def _hashed(user_id: int, code: str) -> str:
    return keyring().fingerprint(f"recovery:{user_id}:{code}")


def _new_codes(held: TwoFactor) -> list[str]:
    codes = ["".join(secrets.choice(RECOVERY_LETTERS) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    held.recovery_hashes = [_hashed(held.user_id, code) for code in codes]
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def codes_left(session: Session, user_id: int) -> int:
    """How many recovery codes have not been used."""
    held = row_of(session, user_id)
    return len(held.recovery_hashes) if held is not None else 0


def renew_codes(session: Session, user: ConsoleUser) -> list[str]:
    """Other recovery codes; the old ones are worth nothing. Refused when the second factor is off."""
    held = row_of(session, user.id, lock=True)
    if held is None or held.confirmed_at is None:
        raise Refused("请先开启两步验证")
    codes = _new_codes(held)
    record(session, "recovery_codes_renew", subject=user)
    return codes


def remove(session: Session, user: ConsoleUser, *, action: str) -> None:
    """Turn it off: `two_factor_off` by the user itself, `two_factor_reset` by an administrator."""
    session.execute(
        delete(TwoFactor).where(TwoFactor.user_id == user.id).execution_options(synchronize_session="fetch")
    )
    record(session, action, subject=user)
