"""Whose a mini-program is: claimed by a merchant, given to one, revoked."""

from __future__ import annotations

from flask import Flask
from flask_appbuilder import Model
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.link import faults
from app.link.exchange import (
    in_one_commit,
    note,
)
from app.models import (
    AuthorizationState,
    Merchant,
    MerchantState,
    MiniProgram,
    OperationRun,
    RunState,
)
from app.notices.tell import tell

# Claims


def claim(session: Session, mini_program: MiniProgram, merchant: Merchant) -> None:
    """Give a mini-program that waits (待认领) to a merchant, with its history; commits."""
    if mini_program.merchant_id == merchant.id:
        return
    if mini_program.merchant_id is not None:
        raise Refused(say("小程序「{name}」已属于另一个商户", name=str(mini_program)))
    if merchant.state != MerchantState.ACTIVE:
        raise Refused(say("商户「{name}」已停用：请先恢复", name=str(merchant)))
    give(session, mini_program, merchant.id)
    note(session, mini_program, "note", say("由商户「{name}」认领", name=str(merchant)))
    session.commit()


# The end of an authorisation


def revoke(app: Flask, appid: str, reason: str) -> bool:
    """The authorisation is over: state, tokens, queued runs, timeline in one commit. False: it was so."""
    return in_one_commit(app, lambda session: _revoke_once(session, appid, reason))


def _revoke_once(session: Session, appid: str, reason: str) -> bool:
    row = session.scalar(select(MiniProgram).where(MiniProgram.appid == appid))
    if row is None or not row.may_move(AuthorizationState.REVOKED):
        return False
    row.move_to(AuthorizationState.REVOKED)
    row.unauthorized_at, row.held_at = utcnow(), None
    row.token_fault = ""
    faults.forget(session, row)
    stopped = {
        "state": RunState.FAILED,
        "message": say("{reason}，之后没有发送", reason=ours(reason)),
        "hold": "",
        "finished_at": utcnow(),
    }
    table = OperationRun.__table__
    queued = update(table).where(table.c.mini_program_id == row.id, table.c.state == RunState.QUEUED)
    session.execute(queued.values(**stopped))
    note(session, row, "revoked", reason)
    tell(
        session,
        "authorization_revoked",
        subject=row,
        dedup=f"{row.id}:{row.unauthorized_at.timestamp():.0f}",
        title=say("「{name}」的授权已取消", name=str(row)),
        body=say("{reason}。需要继续使用时，请让商户重新授权。", reason=ours(reason)),
    )
    return True


def give(session: Session, row: MiniProgram, merchant_id: int) -> None:
    """The mini-program and every row that belongs to it; the caller commits."""
    row.merchant_id = merchant_id
    session.flush()
    for table in Model.metadata.sorted_tables:
        if "mini_program_id" in table.c and "merchant_id" in table.c:
            moved = update(table).where(table.c.mini_program_id == row.id).values(merchant_id=merchant_id)
            session.execute(moved)
