"""The authorisation link that a merchant is sent."""

from __future__ import annotations

from datetime import timedelta
from secrets import token_urlsafe

from flask import current_app
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.douyin.authorization import GenAuthLink
from app.errors import DouyinError, ErrorKind, NoAnswer, Refused
from app.i18n.sentence import ours, say
from app.link import connection, holds
from app.models import (
    AuthorizationLink,
    LinkState,
    Merchant,
    MerchantState,
    ThirdPartyApp,
)
from app.models.kit.audit import Actor
from app.operations.onboarding.arrival import LINK_LIFE, signer

LINK_PAUSE = timedelta(seconds=60)


# Links


def make_link(
    session: Session,
    merchant: Merchant,
    third_party_app: ThirdPartyApp,
    *,
    actor: Actor,
    expected_appid: str = "",
) -> AuthorizationLink:
    """A link bound to the merchant; commits. `expected_appid`: re-authorisation of this app only.

    Raises Refused, DouyinError or NoAnswer; the link is then void.
    """
    if merchant.state != MerchantState.ACTIVE:
        raise Refused(say("商户「{name}」已停用：请先恢复", name=str(merchant)))
    if not third_party_app.active:
        raise Refused(say("第三方应用「{name}」已停用", name=str(third_party_app)))
    if _link_is_held(third_party_app):
        raise Refused(say("一分钟内刚试过，抖音不接受：{fault}", fault=ours(third_party_app.link_fault)))
    session.info.setdefault("actor", actor.info(""))
    link = AuthorizationLink(
        merchant_id=merchant.id,
        third_party_app_id=third_party_app.id,
        expected_appid=expected_appid,
        expires_at=utcnow() + LINK_LIFE,
    )
    session.add(link)
    douyin = connection.bind(session, third_party_app)
    session.commit()
    state = signer().dumps([link.id, token_urlsafe(8)])
    address = f"{current_app.config['PUBLIC_URL']}/douyin/authorized/{state}"
    try:
        url = douyin.send(GenAuthLink(redirect_uri=address)).link
        if not url.startswith(("https://", "http://")):
            raise DouyinError(say("抖音返回的授权链接不可用"), err_no=0, kind=ErrorKind.ANSWER)
    except (Refused, DouyinError, NoAnswer) as error:
        link.state, link.failure = LinkState.VOID, ours(error.message)
        session.commit()
        if isinstance(error, DouyinError) and error.kind is ErrorKind.LINK:
            third_party_app.link_fault, third_party_app.link_fault_at = holds.fault_sentence(error), utcnow()
            session.commit()
        raise
    third_party_app.link_fault, third_party_app.link_fault_at = "", None
    link.url = url
    session.commit()
    return link


def _link_is_held(owner: ThirdPartyApp) -> bool:
    """The settings of its authorisation page were refused: tried once a minute, not by everybody who clicks."""
    return owner.link_fault_at is not None and utcnow() - owner.link_fault_at < LINK_PAUSE
