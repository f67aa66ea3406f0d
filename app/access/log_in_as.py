"""Working as a merchant (登录商户): for half an hour, with a reason, and with no way back."""

from __future__ import annotations

from datetime import timedelta

from flask import session

from app.access.browser import sign_in
from app.access.principal import WEB, Acting, Principal, has_bearer, principal
from app.access.roles import may_act_as_merchant
from app.data import texts
from app.data.clock import utcnow
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import say
from app.models.kit.audit import record
from app.models.merchant import Merchant, MerchantState

ACTING_LIFE = timedelta(minutes=30)
SHORTEST_REASON = 4


def log_in_as(merchant: Merchant, reason: str) -> Acting:
    """Work as a merchant for half an hour (登录商户). There is no way back: ending it signs out. Commits.

    Refused without a reason, for a suspended merchant, and for whoever may not.
    """
    known = principal()
    if known is None or known.acting or has_bearer() or not may_act_as_merchant(known.role_names):
        raise Refused("没有登录商户的权限")
    reason = texts.checked(reason, "原因", field="reason", lines=True)
    if not SHORTEST_REASON <= len(reason) <= 200:
        raise Refused(
            say("请写明登录商户的原因（{shortest_reason} 至 200 个字）", shortest_reason=SHORTEST_REASON),
            field="reason",
        )
    if merchant.state != MerchantState.ACTIVE:
        raise Refused(say("商户「{name}」已停用，不能登录", name=str(merchant)))
    begun = Acting(merchant.id, merchant.name, utcnow() + ACTING_LIFE, reason, known.user.username)
    own = db.session()
    own.info["actor"] = Principal(known.user, known.role_names, begun).actor().info(WEB)
    record(own, "log_in_as", subject=merchant, reason=reason, until=begun.until)
    own.commit()
    sign_in(known.user)
    session["acting"] = {
        "merchant_id": begun.merchant_id,
        "merchant_name": begun.merchant_name,
        "reason": reason,
        "until": begun.until.isoformat(),
    }
    return begun
