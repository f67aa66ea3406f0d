"""Renewing and recovering a mini-program's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import SHANGHAI, utcnow
from app.errors import Refused
from app.extensions import the_app
from app.i18n.sentence import ours, say
from app.link import connection, faults
from app.link.exchange import note, permission_words, retrieve
from app.models import (
    AuthorizationState,
    Credential,
    MiniProgram,
    OperationRun,
)
from app.models.kit.user import OPERATORS
from app.operations.onboarding.authorizations import is_listed
from app.operations.proof import Kept, Sight, Work, goal
from app.operations.registry import Area, Look, NoParams, lock_of, operation, operation_title


def look_at_tokens(row: MiniProgram, work: Work, _params: NoParams) -> Sight:
    """What is kept here of the authorisation: nothing of Douyin's changes by these verbs."""
    work.session.refresh(row)
    held = select(Credential.generation, Credential.access_token_sealed).where(
        Credential.key == faults.authorizer_slot(work.session, row).key
    )
    generation, token = work.session.execute(held).first() or (0, None)
    return Sight({"state": str(row.state), "generation": generation, "token": token is not None})


def _is_newer(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Living tokens of a later generation, of an app that is authorised."""
    newer = facts["token"] and facts["generation"] > wanted["generation"]
    return bool(newer and facts["state"] == AuthorizationState.AUTHORIZED)


def _took_tokens(row: MiniProgram, _work: Work, _params: NoParams, _kept: Kept, _sight: Sight) -> Mapping[str, Any]:
    return _held(row)


def _held(row: MiniProgram) -> Mapping[str, Any]:
    until = row.refresh_expires_at
    return {
        "permissions": permission_words(row.permissions),
        "missing": row.missing_permissions,
        "refresh_expires_at": until.isoformat() if until else "",
    }


def _read_tokens(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    until = result.get("refresh_expires_at")
    return [
        ("权限集", [ours(words) for words in result.get("permissions") or ()]),
        ("缺少权限", [ours(words) for words in result.get("missing") or ()]),
        ("授权令牌到期", f"{datetime.fromisoformat(until).astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if until else ""),
    ]


NEWER_TOKENS = goal(look_at_tokens, stands=_is_newer, take=_took_tokens)


@operation(
    "刷新凭据",
    area=Area.AUTHORIZATION,
    roles=OPERATORS,
    reads=_read_tokens,
    proof=NEWER_TOKENS,
    order=60,
    offered=False,
)
def refresh_token(row: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """Replace the mini-program's tokens now, whatever their age."""
    slot = faults.authorizer_slot(work.session, row)
    sight = work.look()
    work.intend(sight, generation=sight.facts["generation"])
    connection.keeper(the_app()).renew(slot)
    work.session.refresh(row)
    return _held(row)


@operation(
    "找回授权",
    area=Area.AUTHORIZATION,
    roles=OPERATORS,
    reads=_read_tokens,
    proof=NEWER_TOKENS,
    authorized=False,
    order=60,
)
def recover_authorization(row: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """New tokens by 找回授权码; also for an app whose end we were told of, if Douyin still lists it."""
    app, owner_id, appid = the_app(), row.third_party_app_id, row.appid
    known = row.state == AuthorizationState.AUTHORIZED
    work.session.commit()
    if not known and not is_listed(app, owner_id, appid):
        raise Refused("抖音的授权列表里没有该小程序：请让商户重新授权")
    sight = work.look()
    work.intend(sight, generation=sight.facts["generation"])
    retrieve(app, owner_id, appid)
    work.session.refresh(row)
    return _held(row)


def _is_cleared(facts: Mapping[str, Any], _wanted: Mapping[str, Any]) -> bool:
    return bool(facts["state"] == AuthorizationState.CLEARED)


def _took_cleared(_row: MiniProgram, _work: Work, _params: NoParams, _kept: Kept, _sight: Sight) -> Mapping[str, Any]:
    return {}


def _under_way(session: Session, rows: Sequence[MiniProgram]) -> Mapping[int, str]:
    """Of mini-programs of which another area's change is under way or of unknown outcome, the change's operation."""
    run = OperationRun
    found = select(run.mini_program_id, run.operation).where(
        run.mini_program_id.in_([row.id for row in rows]), run.lock.is_not(None)
    )
    own = {lock_of(row, Area.AUTHORIZATION) for row in rows}
    return {number: name for number, name in session.execute(found.where(run.lock.not_in(own))) if number is not None}


def _may_clear(row: MiniProgram, look: Look) -> str | None:
    """A look at what became of a change needs the tokens: whoever clears them waits for it, whatever its area."""
    if not row.may_move(AuthorizationState.CLEARED):
        return "授权已经清除" if row.state == AuthorizationState.CLEARED else "还没有授权"
    if name := look.at(_under_way, row):
        return say("正在进行「{title}」，请等它结束", title=ours(operation_title(name)))
    return None


@operation(
    "清除授权",
    area=Area.AUTHORIZATION,
    roles=OPERATORS,
    order=60,
    proof=goal(look_at_tokens, stands=_is_cleared, take=_took_cleared),
    ready=_may_clear,
    authorized=False,
    calls=False,
    danger=True,
    confirm="清除后本系统不再保存该小程序的凭据，也不再操作它；抖音一侧的授权须由商户自行取消",
)
def clear_authorization(row: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """Forget the tokens here. Nothing is sent: only the merchant can end the authorisation at Douyin."""
    work.intend(work.look())
    row.move_to(AuthorizationState.CLEARED)
    row.unauthorized_at, row.held_at = utcnow(), None
    row.token_fault = ""
    faults.forget(work.session, row)
    note(work.session, row, "cleared", "已清除本系统保存的授权")
    return {}
