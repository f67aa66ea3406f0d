"""Whatever changes something writes into the audit log: every POST rule is done once here, or is excused with a reason."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console.base import ConsoleView
from app.data.clock import utcnow
from app.models import AuditEntry, AuthorizationLink, InboundEvent, InboundState, Industry, MiniProgram, Task, User
from app.notices import deliveries
from tests.access.second import ENROL, enrol, make_key, secret_shown
from tests.conftest import PASSWORD, Actors, change, csrf_token, log_in, refresh
from tests.pages import submit  # noqa: F401  (a fixture)
from tests.people import NEW, SET, bearer, open_link

CHANNELS = "/notices/settings/channels"
HOOK = "https://open.feishu.cn/open-apis/bot/v2/hook/0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@dataclass
class Stage:
    """One who asks, and rows to ask for."""

    app: Flask
    session: Session
    actors: Actors
    client: FlaskClient
    name: str

    def post(self, path: str, page: str = "/account/preferences", **data: Any) -> Any:
        return self.client.post(path, data={"csrf_token": csrf_token(self.client, page), **data})

    def newest(self, model: type[Any]) -> Any:
        refresh(self.session)
        return self.session.scalars(sa.select(model).order_by(model.id.desc())).first()

    def logged(self) -> list[tuple[str, str]]:
        """(action, who) of every entry."""
        refresh(self.session)
        return [
            (row.action, row.actor_name) for row in self.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
        ]

    @property
    def shop(self) -> str:
        return f"/merchantview/edit/{self.actors.alice.id}"


@pytest.fixture
def stage(app: Flask, session: Session, full: Actors) -> Stage:  # noqa: F811
    from app.cli import setup as setting_up
    from app.data.tenancy import PLATFORM, app_scope

    with app_scope(app, PLATFORM) as own:
        setting_up.add_user(own, "chief", "platform_admin", password=PASSWORD)
        setting_up.add_user(own, "other", "operator", password=PASSWORD)
    client = app.test_client()
    log_in(client, "chief")
    return Stage(app, session, full, client, "chief")


# What is done: (what comes before, and is not counted; what is).


def _cell(at: Stage) -> Any:
    path = f"/merchantview/cell/{at.actors.alice.id}/plan"
    page = at.client.get(path).get_data(as_text=True)
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page))
    return at.post(path, **(fields | {"plan": "旗舰版"}))


def _revert(at: Stage) -> Any:
    return at.post(f"/merchantview/revert/{at.actors.alice.id}/{at.newest(AuditEntry).id}")


def _upload(at: Stage) -> Any:
    content = "商户名称,行业\n新店,餐饮\n".encode()
    page = "/merchantview/import"
    return at.post(page, page, mode="both", file=(io.BytesIO(content), "a.csv"))


def _channel(at: Stage) -> Any:
    return at.post(f"{CHANNELS}/add/feishu", f"{CHANNELS}/add/feishu", name="群", url=HOOK)


def _channel_path(at: Stage) -> str:
    from app.models import NotificationChannel

    return f"{CHANNELS}/{at.newest(NotificationChannel).id}"


def _shared(at: Stage, **more: str) -> Any:
    return at.post("/savedviews/save", view="MerchantView", name="停用", query="state=suspended", shared="1", **more)


def _shared_path(at: Stage, what: str) -> str:
    from app.models import SavedView

    return f"/savedviews/{what}/{at.newest(SavedView).id}"


def _task(at: Stage) -> Any:
    from app.models import TaskKind

    user = at.session.scalars(sa.select(User).where(User.username == "chief")).one()
    at.session.rollback()
    with at.app.app_context(), at.session.begin():
        at.session.add(Task(kind=TaskKind.EXPORT, user_id=user.id, view="MerchantView", title="导出"))


def _begin_second(at: Stage) -> Any:
    return at.post(ENROL, ENROL, step="begin")


def _confirm_second(at: Stage) -> Any:
    return at.post(ENROL, ENROL, code=pyotp.TOTP(secret_shown(at.client)).at(utcnow()))


def _enrolled(at: Stage) -> None:
    _, at.codes = enrol(at.client)  # type: ignore[attr-defined]


def _other_enrolled(at: Stage) -> None:
    client = at.app.test_client()
    log_in(client, "other")
    enrol(client)


def _other(at: Stage) -> int:
    refresh(at.session)
    return int(at.session.scalars(sa.select(User.id).where(User.username == "other")).one())


def _key_id(at: Stage) -> int:
    from app.models import ApiKey

    return int(at.newest(ApiKey).id)


def _open_link(at: Stage) -> None:
    at.post("/logout/")
    answer = at.app.test_cli_runner().invoke(args=["user", "reset-password", at.name])
    open_link(at.client, answer.output.strip().rsplit("#", 1)[1])


def _end_of_tokens(at: Stage) -> Any:
    return at.app.test_client().post("/api/v1/security/logout", headers=bearer(at.app.test_client(), at.name))


def _nothing(_at: Stage) -> None:
    """Needs no preparation."""


Act = Callable[[Stage], Any]
DONE: dict[str, tuple[Act, Act]] = {
    # what every list and form shares, once for all of them
    "export": (_nothing, lambda at: at.post("/merchantview/export", format="csv")),
    "edit": (_nothing, lambda at: submit(at.client, at.shop, remarks="改")),
    "add": (_nothing, lambda at: submit(at.client, "/industryview/add", name="新行业")),
    "delete": (
        lambda at: submit(at.client, "/industryview/add", name="空的"),
        lambda at: submit(at.client, f"/industryview/delete/{at.newest(Industry).id}"),
    ),
    "revert": (lambda at: submit(at.client, at.shop, remarks="改"), _revert),
    "save_cell": (_nothing, _cell),
    "bulk_save": (
        _nothing,
        lambda at: at.post(
            "/merchantview/bulk/", ids=str(at.actors.alice.id), count="1", columns="remarks", remarks="一起改"
        ),
    ),
    "move": (
        lambda at: submit(at.client, "/industryview/add", name="后来的"),
        lambda at: at.post(f"/industryview/move/{at.newest(Industry).id}", before=str(at.actors.alice.industry_id)),
    ),
    "import_start": (_upload, lambda at: at.post(f"/merchantview/import/{at.newest(Task).id}")),
    # one's own account
    "LoginView.login": (lambda at: at.post("/logout/"), lambda at: log_in(at.client, "chief")),
    "LoginView.logout": (_nothing, lambda at: at.post("/logout/")),
    "LoginView.set_password": (_open_link, lambda at: at.post(SET, SET, password=NEW, again=NEW)),
    "SecurityApi.logout": (_nothing, _end_of_tokens),
    "ProfileView.profile": (_nothing, lambda at: at.post("/account/", full_name="新名字", email="")),
    "ProfileView.password": (
        _nothing,
        lambda at: at.post(
            "/account/password",
            old_password=PASSWORD,
            password="another horse 电池 staple 9",
            again="another horse 电池 staple 9",
        ),
    ),
    "ProfileView.end_sessions": (_nothing, lambda at: at.post("/account/sessions/end")),
    "ApiKeyView.add": (_nothing, lambda at: make_key(at.client)),
    "ApiKeyView.revoke": (lambda at: make_key(at.client), lambda at: at.post(f"/account/keys/revoke/{_key_id(at)}")),
    "TwoFactorView.enrol": (_begin_second, _confirm_second),
    "TwoFactorView.codes": (_enrolled, lambda at: at.post("/account/two-factor/codes")),
    "TwoFactorView.off": (
        _enrolled,
        lambda at: at.post("/account/two-factor/off", password=PASSWORD, code=at.codes[0]),  # type: ignore[attr-defined]
    ),
    # what one hears of
    "NoticeSettingsView.settings": (_nothing, lambda at: at.post("/notices/settings/")),
    "NoticeSettingsView.add_channel": (_nothing, _channel),
    "NoticeSettingsView.edit_channel": (_channel, lambda at: at.post(_channel_path(at), name="别的名字", url="")),
    "NoticeSettingsView.switch_channel": (_channel, lambda at: at.post(f"{_channel_path(at)}/switch")),
    "NoticeSettingsView.delete_channel": (_channel, lambda at: at.post(f"{_channel_path(at)}/delete")),
    "NoticeSettingsView.test_channel": (_channel, lambda at: at.post(f"{_channel_path(at)}/test")),
    # views that colleagues see, tasks
    "SavedViewsView.save": (_nothing, _shared),
    "SavedViewsView.change": (_shared, lambda at: at.post(_shared_path(at, "change"), name="只给自己")),
    "SavedViewsView.update": (_shared, lambda at: at.post(_shared_path(at, "update"), query="state=active")),
    "SavedViewsView.delete": (_shared, lambda at: at.post(_shared_path(at, "delete"))),
    "TasksView.cancel": (_task, lambda at: at.post(f"/tasks/{at.newest(Task).id}/cancel")),
    # users
    "UserView.add": (
        _nothing,
        lambda at: at.post("/users/add", username="fresh", full_name="", email="", roles="operator"),
    ),
    "UserView.edit": (
        _nothing,
        lambda at: at.post(f"/users/edit/{_other(at)}", full_name="别名", email="", roles="operator", active="y"),
    ),
    "UserView.reset": (_nothing, lambda at: at.post(f"/users/reset/{_other(at)}")),
    "UserView.reset_second": (_other_enrolled, lambda at: at.post(f"/users/reset_second/{_other(at)}")),
    "UserView.revoke_key": (lambda at: make_key(at.client), lambda at: at.post(f"/users/revoke_key/{_key_id(at)}")),
    # the rest
    "LoginAsView.begin": (_nothing, lambda at: at.post(f"/loginas/{at.actors.alice.id}", reason="工单 4711：走查")),
    "AuthorizationView.void": (
        _nothing,
        lambda at: at.post(f"/authorizationview/void/{at.newest(AuthorizationLink).id}"),
    ),
    "InboundEventView.replay": (
        lambda at: change(at.session, at.newest(InboundEvent), state=InboundState.FAILED),
        lambda at: at.post(f"/inboundeventview/replay/{at.newest(InboundEvent).id}"),
    ),
    "ThirdPartyAppView.self_test": (
        _nothing,
        lambda at: at.post(f"/thirdpartyappview/self_test/{at.actors.alice_app.third_party_app_id}"),
    ),
    "JobView.run": (_nothing, lambda at: at.post("/jobs/sync_audits/run")),
    "UnclaimedMiniProgramView.claim": (
        _nothing,
        lambda at: at.post(
            f"/unclaimedminiprogramview/claim/{at.newest(MiniProgram).id}", merchant=str(at.actors.alice.id)
        ),
    ),
}
RUN = "its operation run is the record: who, when, what, how it ended, and never deleted by hand"
SAME = {"StaffView": "UserView"}  # screens that are the same code
EXCUSED = {
    "import_upload": "a check that writes no row; the import that may follow it is logged",
    "import_choose": "the same check once more, of a file that is read as a person says",
    "LoginView.code": "the log-in that it ends is logged by the same function as the one by password",
    "LoginView.link": "opens a link; its use is logged",
    "ProfileView.confirm": "says who sits there and changes nothing",
    "ProfileView.prefer": "how pages look to oneself",
    "SavedViewsView.default": "with what one's own list opens",
    "NoticesView.read": "one's own bell",
    "NoticesView.unread": "one's own bell",
    "NoticesView.read_all": "one's own bell",
    "NoticesView.retry": "sends again what was told before; the delivery's own row counts its tries",
    "SecurityApi.login": "logged by the same function as the form's",
    "SecurityApi.refresh": "its log-in is logged",
    "callbacks.authorization": "Douyin's push: kept as an event or a refused push",
    "callbacks.message": "Douyin's push: kept as an event or a refused push",
    "OperationsApi.post": RUN,
    "OperateView.perform": RUN,
    "OperationRunView.retry": RUN,
    "OperationRunView.resolve": RUN,
    "BatchView.cancel": RUN,
    "BatchView.retry": RUN,
    "AuthorizationView.add": "the link is a row with its maker's name",
}


def test_every_rule_that_changes_something_is_done_here_or_excused(app: Flask) -> None:
    shared = {view.endpoint for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)}  # type: ignore[attr-defined]
    known, missing, used = DONE.keys() | EXCUSED.keys(), [], set()
    for rule in app.url_map.iter_rules():
        if not {"POST", "PUT", "PATCH", "DELETE"} & set(rule.methods or ()):
            continue
        view, _, method = rule.endpoint.partition(".")
        names = {rule.endpoint, f"{SAME.get(view, view)}.{method}", *([method] if view in shared else [])}
        used |= names & known
        missing += [] if names & known else [rule.endpoint]
    assert not missing
    assert not known - used, "these are no rules any more"


@pytest.mark.parametrize("name", DONE)
def test_it_writes_into_the_log(stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "_try", lambda *_: None)  # nothing leaves the house
    before_it, does = DONE[name]
    before_it(stage)
    held = stage.logged()
    answer = does(stage)
    assert answer is None or isinstance(answer, str) or answer.status_code in {200, 204, 302}, answer.status
    fresh = stage.logged()[len(held) :]
    assert fresh, f"{name} left nothing in the log"
    assert {who for _action, who in fresh} == {"chief"}


def test_a_view_of_ones_own_is_nobody_elses_matter(stage: Stage) -> None:
    held = stage.logged()
    stage.post("/savedviews/save", view="MerchantView", name="自己的", query="state=active")
    assert stage.logged() == held
