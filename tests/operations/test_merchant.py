"""Rules of a merchant's own data: its phone number in one form, those of old brought into it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data import phones
from app.data.phones import Phone, hashed
from app.data.secrets import keyring
from app.models import Merchant
from app.models.kit.audit import AuditEntry
from app.operations import merchant as merchants
from tests.conftest import Actors


def stored(session: Session, merchant: Merchant, number: str, mask: str = "x") -> None:
    """A number as it was kept once."""
    merchant.phone_sealed, merchant.phone_masked = keyring().seal(number, Merchant.phone.bound_to(merchant)), mask
    merchant.phone_hash = keyring().fingerprint(number)
    session.commit()


def rehash(app: Flask) -> tuple[str, str]:
    done = app.test_cli_runner().invoke(args=["phones", "rehash"])
    assert done.exit_code == 0, done.output
    return done.stdout.strip(), done.stderr.strip()


def test_numbers_of_old_are_brought_into_the_one_form(app: Flask, session: Session, actors: Actors) -> None:
    with app.app_context():
        stored(session, actors.alice, "+8613800138000", "+86****8000")
        stored(session, actors.bob, "057188880003-801")
        changed = {row.id: row.changed_at for row in (actors.alice, actors.bob)}
        entries = session.scalar(sa.select(sa.func.count(AuditEntry.id)))
        session.rollback()
        assert rehash(app) == ("merchant 2", "")
        session.expire_all()
        assert (actors.alice.phone, actors.alice.phone_masked) == ("13800138000", "138****8000")
        assert actors.alice.phone_hash == hashed(Phone("13800138000"))
        assert (actors.bob.phone, actors.bob.phone_masked) == ("0571-88880003-801", "0571-****0003-801")
        assert actors.bob.phone_hash == keyring().fingerprint("0571-88880003")
        assert {row.id: row.changed_at for row in (actors.alice, actors.bob)} == changed
        assert session.scalar(sa.select(sa.func.count(AuditEntry.id))) == entries  # nobody changed a number
        session.rollback()
        assert rehash(app) == ("merchant 0", "")


def test_it_goes_on_where_it_was_stopped_and_past_what_cannot_be_read(
    app: Flask, session: Session, actors: Actors, monkeypatch: object
) -> None:
    with app.app_context():
        stored(session, actors.alice, "12")
        stored(session, actors.bob, "+86 13800138000")
        first = min(actors.alice.id, actors.bob.id)
        alice = actors.alice.id
        done = merchants.reread_phones(session, first)  # what stands behind a row alone
        assert done is not None and done.last == max(actors.alice.id, actors.bob.id)
        assert merchants.reread_phones(session, done.last) is None
        session.rollback()
        out, err = rehash(app)
        assert f"merchant {alice}: " in err
        session.expire_all()
        assert session.get_one(Merchant, alice).phone == "12"


def test_a_number_that_somebody_changes_meanwhile_stays(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        stored(session, actors.alice, "+8613800138000")
        table, key, one = Merchant.__table__, actors.alice.id, phones.one
        other = keyring().seal("13900139000", Merchant.phone.bound_to(actors.alice))

        def meanwhile(text: str) -> Phone | None:
            session.execute(sa.update(table).where(table.c.id == key).values(phone_sealed=other, phone_masked="new"))
            return one(text)

        session.rollback()
        monkeypatch.setattr(merchants.phones, "one", meanwhile)
        done = merchants.reread_phones(session, 0)
        monkeypatch.undo()
        session.expire_all()
        held = session.get_one(Merchant, key)
        assert done is not None and done.changed == 0
        assert (held.phone, held.phone_masked) == ("13900139000", "new")


def test_further_numbers_are_marked_once() -> None:
    others = [Phone("13900139000"), Phone("0571-88880003", "801")]
    once = merchants.with_other_numbers("老客户", others)
    assert once == "老客户\n【其他号码】13900139000\n【其他号码】0571-88880003-801"
    assert merchants.with_other_numbers(once, others) == once
    assert merchants.with_other_numbers("", others[:1]) == "【其他号码】13900139000"
