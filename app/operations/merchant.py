"""Rules of a merchant's own data that its form and its import share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.data import phones
from app.data.engine import rows_changed
from app.data.phones import Phone
from app.data.secrets import SealBroken, keyring
from app.errors import Refused
from app.models.merchant import Merchant

CHUNK = 500


def with_other_numbers(remarks: str, others: list[Phone]) -> str:
    """Remarks with the further numbers of somebody, each marked and in a line of its own, once."""
    lines = remarks.split("\n") if remarks else []
    marked = (f"【其他号码】{phone}" for phone in others)
    return "\n".join([*lines, *(line for line in marked if line not in lines)])


def check_merchant(merchant: Merchant) -> None:
    """Refuse a commission that is none."""
    if not 0 <= (merchant.commission_rate or 0) <= 100:
        raise Refused("佣金比例应在 0 到 100 之间", field="commission_rate")


@dataclass
class Reread:
    """How a reading of stored phone numbers went, as far as the row with the number `last`."""

    last: int = 0
    changed: int = 0
    unread: list[int] = field(default_factory=list)  # merchants whose number is left as it is


def reread_phones(session: Session, after: int) -> Reread | None:
    """Bring the stored numbers of the next few hundred merchants into the form that searches ask for; None at the end.

    Commits. What somebody changes meanwhile stays. To do it again changes nothing, so it may stop anywhere.
    """
    held = select(Merchant).where(Merchant.id > after).order_by(Merchant.id).limit(CHUNK)
    rows = session.scalars(held).all()
    if not rows:
        return None
    done = Reread(rows[-1].id)
    for row in rows:
        if row.phone_sealed is not None:
            _reread(session, row, done)
    session.commit()
    session.expunge_all()
    return done


def _reread(session: Session, row: Merchant, done: Reread) -> None:
    try:
        kept = row.phone or ""
    except SealBroken:
        done.unread.append(row.id)
        return
    phone = phones.one(kept)
    if phone is None:
        done.unread.append(row.id)
        return
    new = {"phone_masked": phone.masked, "phone_hash": phones.hashed(phone)}
    if str(phone) == kept and all(getattr(row, name) == value for name, value in new.items()):
        return
    if str(phone) != kept:
        new["phone_sealed"] = keyring().seal(str(phone), Merchant.phone.bound_to(row))
    same = update(Merchant).where(Merchant.id == row.id, Merchant.phone_sealed == row.phone_sealed)
    done.changed += rows_changed(session, same.values(**new, changed_at=Merchant.changed_at))
