"""What may be typed for a third-party app, beside its field; what holds its row and its AppID."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.engine import writing
from app.errors import Refused
from app.i18n.sentence import Sentence
from app.models import AuthorizationCode, Credential, CredentialKind, InboundEvent, ThirdPartyApp
from app.operations.third_party_app import checked, release, rename
from tests.conftest import COMPONENT, Actors, refresh

GOOD_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


@pytest.mark.parametrize(
    ("name", "typed", "kept"),
    [
        ("appid", "  tt0123456789abcdef\n", "tt0123456789abcdef"),
        ("appid", "ttsandbox000000001", "ttsandbox000000001"),
        ("secret", "\u3000s3cret-._~!\u00a0", "s3cret-._~!"),
        ("token", "t", "t"),
        ("aes_key", f" {GOOD_KEY} ", GOOD_KEY),
        ("aes_key", "djRISeYWSZheq//qaF5xEXZpkInps5fD8F3kDMit/O4", "djRISeYWSZheq//qaF5xEXZpkInps5fD8F3kDMit/O4"),
    ],
)
def test_what_the_platform_shows_is_taken_without_the_blanks_around_it(name: str, typed: str, kept: str) -> None:
    assert checked(name, typed) == kept


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("aes_key", GOOD_KEY[:-1], "应为 43 个字符，现在是 42 个"),
        ("aes_key", GOOD_KEY + "A", "现在是 44 个"),
        ("aes_key", GOOD_KEY + "=", "不含末尾的「=」"),
        ("aes_key", GOOD_KEY[:-1] + "=", "不允许的字符「=」"),
        ("aes_key", "消" * 43, "不允许的字符「消」（第 1 个字符）"),
        ("aes_key", "Ａ" + GOOD_KEY[1:], "全角字符「Ａ」（第 1 个字符）"),
        ("aes_key", GOOD_KEY[:-1] + "-", "不允许的字符「-」"),
        ("aes_key", GOOD_KEY[:20] + "\u200b" + GOOD_KEY[20:], "看不见的字符（第 21 个字符，U+200B）"),
        ("aes_key", "\ufeff" + GOOD_KEY, "U+FEFF"),
        ("token", "tok\u2060en", "看不见的字符（第 4 个字符，U+2060）"),
        ("token", "tok en", "空格或换行（第 4 个字符）"),
        ("token", "tok\u00a0en", "空格或换行（第 4 个字符）"),
        ("token", "ｔoken", "全角字符「ｔ」"),
        ("token", "令牌", "不允许的字符「令」"),
        ("token", "x" * 256, "最多 255 个字符"),
        ("secret", "a\x00b", "U+0000"),
        ("secret", "é", "不允许的字符「é」"),
        ("secret", " \u3000 ", "请填写 AppSecret"),
        ("appid", "wx0123456789abcdef", "应以 tt 开头"),
        ("appid", "tt", "应以 tt 开头"),
        ("appid", "tt-other", "应以 tt 开头"),
        ("appid", "ｔt0123456789abcdef", "全角字符「ｔ」"),
        ("appid", "tt012345６789abcdef", "全角字符「６」"),
        ("appid", "tt0123\u200d456789abcdef", "看不见的字符"),
        ("appid", "", "请填写 AppID"),
    ],
)
def test_what_could_never_work_is_named(name: str, typed: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        checked(name, typed)
    assert said in refused.value.message
    assert refused.value.field == name


def test_the_command_checks_the_same(session: Session) -> None:
    for bad in ({"aes_key": GOOD_KEY + "="}, {"token": "令牌"}, {"secret": "a b"}):
        with pytest.raises(Refused) as refused:
            setting_up.add_third_party_app(session, "tt1", "", COMPONENT | bad)
        assert refused.value.field == next(iter(bad))
    with pytest.raises(Refused):
        setting_up.add_third_party_app(session, "1", "", COMPONENT)
    for bad in ([], {"secret": 1}, {**COMPONENT, "token": None}):
        with pytest.raises(Refused, match="三项"):
            setting_up.add_third_party_app(session, "tt1", "", bad)
    assert session.scalars(sa.select(ThirdPartyApp)).all() == []


def test_the_command_keeps_what_was_meant(session: Session) -> None:
    typed = {name: f" {value}\n" for name, value in COMPONENT.items()}
    with writing():
        row = setting_up.add_third_party_app(session, f" {COMPONENT['appid']} ", "", typed)
    assert (row.appid, row.secret, row.token, row.aes_key) == tuple(COMPONENT.values())


# What names it


def given(session: Session, row: ThirdPartyApp) -> None:
    """A token and a code, as every app has them that has had a ticket."""
    with writing():
        refresh(session)
        token = Credential(
            key=f"component:{row.appid}:",
            kind=CredentialKind.COMPONENT,
            third_party_app_id=row.id,
            expires_at=utcnow(),
            lease_owner="another",
            generation=4,
        )
        token.access_token = "component-token"
        row.ticket, row.ticket_at = "ticket", utcnow()
        code = AuthorizationCode(code_hash="h", third_party_app_id=row.id, claimed_at=utcnow())
        session.add_all([token, code])
        session.commit()


def test_its_credentials_go_with_the_row(session: Session, third_party_app: ThirdPartyApp) -> None:
    given(session, third_party_app)
    with writing():
        refresh(session)
        release(session, third_party_app)
        session.delete(third_party_app)
        session.commit()
    for model in (ThirdPartyApp, Credential, AuthorizationCode):
        assert session.scalars(sa.select(model)).all() == []


def test_another_ones_credentials_stay(session: Session, third_party_app: ThirdPartyApp) -> None:
    with writing():
        other = setting_up.add_third_party_app(session, "ttother", "", COMPONENT)
    given(session, other)
    with writing():
        refresh(session)
        release(session, third_party_app)
        session.commit()
    assert session.scalars(sa.select(Credential.third_party_app_id)).all() == [other.id]


def event(owner: int) -> InboundEvent:
    return InboundEvent(unique_key="k", third_party_app_id=owner, receiver="message", event="PUSH")


def test_what_names_it_holds_the_row_and_is_said(session: Session, actors: Actors) -> None:
    row = session.get_one(ThirdPartyApp, actors.alice_app.third_party_app_id)
    with writing():
        refresh(session)
        session.add(event(row.id))
        session.commit()
        with pytest.raises(Refused, match="还有2 个小程序、1 条事件推送属于它"):
            release(session, row)
        row.appid = "ttnew"
        with pytest.raises(Refused, match="AppID 不能再改：已有2 个小程序、1 条事件推送属于它") as refused:
            rename(session, row)
        session.rollback()
    assert refused.value.field == "appid"


def test_a_new_appid_forgets_what_was_the_other_ones(session: Session, third_party_app: ThirdPartyApp) -> None:
    given(session, third_party_app)
    with writing():
        refresh(session)
        third_party_app.appid = "ttnew"
        third_party_app.fault = "40003"
        rename(session, third_party_app)
        session.commit()
    refresh(session)
    kept: Any = session.scalars(sa.select(Credential)).one()
    assert (kept.key, kept.generation, kept.access_token, kept.lease_owner) == ("component:ttnew:", 5, None, None)
    row = session.get_one(ThirdPartyApp, third_party_app.id)
    assert (row.ticket, row.ticket_at, row.fault) == (None, None, "")


def test_a_letter_that_was_typed_is_no_word_of_ours() -> None:
    with pytest.raises(Refused) as refused:
        checked("token", "是")
    assert isinstance(refused.value.message, Sentence)
    assert "是" in refused.value.message.in_language("en")
