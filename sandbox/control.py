"""The control API under /_sandbox/api/: never delayed, limited or dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .authorization import authorize, push_ticket, revoke
from .calls import Fields
from .consent import confirm, invitation, say
from .errors import Fault
from .faults import OUTAGES
from .journal import KEPT, Journal
from .packages import decide, take_down
from .push import ConsolePusher
from .seed import new_app, new_thirdparty, populate
from .simulation import Platform
from .state import App, Kind, Settings, Subject, ThirdParty, Token, World

_VERDICTS = ("approve", "reject", "random")
_MOST_APPS = 20_000
_APP_FIELDS = {
    "name": str,
    "intro": str,
    "icon": str,
    "subject_name": str,
    "personal": bool,
    "banned": bool,
    "subject_banned": bool,
    "name_reset": bool,
    "deleted": bool,
    "processing": bool,
    "template_of": str,
    "verdict": str,
    "reason": str,
    "hosts": list,
}
_EXPIRED_KINDS = {
    "component": (Kind.COMPONENT_V2, Kind.COMPONENT_V1),
    "authorizer": (Kind.AUTHORIZER_V2, Kind.AUTHORIZER_V1, Kind.CLIENT),
    "refresh": (Kind.REFRESH_V2, Kind.REFRESH_V1),
    "ticket": (Kind.TICKET,),
    "code": (Kind.CODE,),
    "link": (Kind.LINK, Kind.PRE_AUTH),
}


class BadControl(Exception):
    """A control request that makes no sense; its text goes back with HTTP 400."""


class Control:
    """Each method is one address; `actions` names them."""

    def __init__(
        self, platform: Platform, pusher: ConsolePusher, journal: Journal, restart: Callable[[], None]
    ) -> None:
        self.platform = platform
        self.pusher = pusher
        self.journal = journal
        self._restart = restart
        self.actions: dict[str, Callable[[Fields], Fields]] = {
            "thirdparty": self.thirdparty,
            "apps": self.add_apps,
            "settings": self.settings,
            "expire": self.expire,
            "revoke": self.revoke,
            "ticket": self.ticket,
            "audit": self.audit,
            "push": self.push,
            "consent": self.consent,
            "advance": self.advance,
            "reset": self.reset,
        }
        self.reads: dict[str, Callable[[dict[str, str]], Fields]] = {
            "state": self.state,
            "effects": self.effects,
            "journal": self.rows,
            "pushes": lambda query: {"pushes": list(self.pusher.log)},
        }

    def act(self, name: str, body: Fields) -> Fields:
        """Run a POST action; `apps/<appid>` changes one mini-program."""
        if name.startswith("apps/"):
            answer = self.change_app(name.removeprefix("apps/"), body)
        elif name in self.actions:
            answer = self.actions[name](body)
        else:
            raise BadControl(f"unknown action {name}")
        self.platform.changed = True
        return answer

    # what there is

    def state(self, query: dict[str, str]) -> Fields:
        world = self.platform.world
        return {
            "now": self.platform.now(),
            "base_url": self.platform.base_url,
            "seed": world.seed,
            "clock_offset": world.clock_offset,
            "settings": asdict(world.settings),
            "thirdparties": [_thirdparty_row(owner) for owner in world.thirdparties.values()],
            "apps": [_app_row(app) for app in world.apps.values()],
        }

    def effects(self, query: dict[str, str]) -> Fields:
        apps = self.platform.world.apps
        chosen = [self._app(query["appid"])] if query.get("appid") else list(apps.values())
        return {app.appid: {**asdict(app.effects), "uploads": app.uploads, "released": app.released} for app in chosen}

    def rows(self, query: dict[str, str]) -> Fields:
        text = query.get("since", "0")
        rows = self.journal.since(int(text) if text.isdigit() else 0)
        return {"rows": rows, "kept": KEPT}

    # third-party apps and mini-programs

    def thirdparty(self, body: Fields) -> Fields:
        """Add one, or change one; `removed` takes it away."""
        fields_ = dict(body)
        appid = _text(fields_, "appid")
        fields_.pop("appid")
        known = {
            "secret",
            "token",
            "aes_key",
            "name",
            "authorization_url",
            "message_url",
            "auth_domain",
            "removed",
        }
        _only(fields_, known)
        owner = self.platform.world.thirdparties.get(appid)
        if owner is None:
            for name in ("secret", "token", "aes_key"):
                _text(fields_, name)
            owner = new_thirdparty(self.platform, appid, **fields_)
        else:
            for name, value in fields_.items():
                setattr(owner, name, value)
        owner.ticket_delivered = False
        push_ticket(self.platform, owner)
        return {"thirdparty": _thirdparty_row(owner)}

    def add_apps(self, body: Fields) -> Fields:
        fields_ = dict(body)
        count = int(fields_.pop("count", 1))
        if not 1 <= count <= _MOST_APPS:
            raise BadControl(f"count: 1..{_MOST_APPS}")
        owner = self._owner(fields_.pop("authorized_to", ""))
        permissions = [int(one) for one in fields_.pop("permissions", [1, 2, 3])]
        appid = fields_.pop("appid", "")
        if appid and (count > 1 or self.platform.app(appid)):
            raise BadControl("appid: exists already, or count > 1")
        first = len(self.platform.world.apps)
        made = [new_app(self.platform, first + number, appid=appid) for number in range(count)]
        for app in made:
            self._change(app, fields_)
            if owner:
                self.platform.drop(authorize(self.platform, owner, app, permissions))
        return {"apps": [_app_row(app) for app in made]}

    def change_app(self, appid: str, body: Fields) -> Fields:
        app = self.platform.world.apps.get(appid)
        if app is None:
            raise BadControl(f"unknown mini-program {appid}")
        self._change(app, body)
        return {"app": _app_row(app)}

    def _change(self, app: App, body: Fields) -> None:
        for name, value in body.items():
            if name in _APP_FIELDS:
                setattr(app, name, _typed(value, _APP_FIELDS[name], name))
            elif name == "subject_verified":
                app.subject = Subject.VERIFIED if _typed(value, bool, name) else Subject.UNVERIFIED
            elif name == "subject":
                app.subject = Subject(value)
            elif name == "has_category":
                app.categories, app.category_ids = _categories(_typed(value, bool, name))
            elif name == "taken_down":
                take_down(app)
            elif name == "permissions":
                app.permissions = sorted(int(one) for one in value)
            else:
                raise BadControl(f"unknown field {name}")

    # switches

    def settings(self, body: Fields) -> Fields:
        settings = self.platform.world.settings
        known = {field.name: field for field in fields(Settings)}
        for name, value in body.items():
            if name not in known:
                raise BadControl(f"unknown setting {name}")
            _check_setting(name, value)
            default = getattr(settings, name)
            setattr(settings, name, _typed(value, type(default), name))
        return {"settings": asdict(settings)}

    def advance(self, body: Fields) -> Fields:
        """Move the sandbox's clock forward and do what became due."""
        seconds = float(body.get("seconds", 0))
        if seconds < 0:
            raise BadControl("seconds: the clock only goes forward")
        self.platform.world.clock_offset += seconds
        self.platform.tick()
        return {"now": self.platform.now()}

    def reset(self, body: Fields) -> Fields:
        """Everything as at the first start (`seed`: with another one), third-party addresses kept."""
        old = self.platform.world
        fresh = World(seed=int(body.get("seed", old.seed)))
        fresh.settings.audit_seconds = old.settings.audit_seconds
        addresses = {
            owner.appid: (owner.authorization_url, owner.message_url, owner.auth_domain)
            for owner in old.thirdparties.values()
        }
        self.platform.replace(fresh)
        populate(self.platform)
        for owner in fresh.thirdparties.values():
            owner.authorization_url, owner.message_url, owner.auth_domain = addresses.get(owner.appid, ("", "", ""))
        self.journal.clear()
        self.pusher.log.clear()
        self._restart()
        return {"apps": len(fresh.apps)}

    # things that happen

    def expire(self, body: Fields) -> Fields:
        """End tokens now: of one mini-program or third-party app, or of all when no appid is given."""
        kinds = _EXPIRED_KINDS.get(str(body.get("kind")))
        if kinds is None:
            raise BadControl(f"kind: one of {', '.join(_EXPIRED_KINDS)}")
        appid = str(body.get("appid", ""))
        now, count = self.platform.now(), 0
        for token in self.platform.world.tokens.values():
            if token.kind in kinds and _belongs(token, appid) and token.expires_at > now:
                token.expires_at = now
                count += 1
        return {"expired": count}

    def revoke(self, body: Fields) -> Fields:
        app = self._app(_text(body, "appid"))
        if not app.authorized_to:
            raise BadControl("this mini-program is not authorised")
        revoke(self.platform, app)
        return {"revoked": app.appid}

    def ticket(self, body: Fields) -> Fields:
        appid = str(body.get("appid", ""))
        owner = self._owner(appid)
        chosen = [owner] if owner else list(self.platform.world.thirdparties.values())
        tickets = {one.appid: push_ticket(self.platform, one) for one in chosen if not one.removed}
        return {"pushed": list(tickets), "tickets": tickets}

    def audit(self, body: Fields) -> Fields:
        app = self._app(_text(body, "appid"))
        if app.audit is None or app.audit.status != 0:
            raise BadControl("no version of this mini-program is in audit")
        decide(self.platform, app, body.get("verdict") or "approve", str(body.get("reason", "")))
        return {"status": app.audit.status}

    def push(self, body: Fields) -> Fields:
        """Any event, also unknown or forged (signature, tail, stale, garbage)."""
        event = dict(body.get("event") or {})
        owner = self._owner(body.get("thirdparty", "")) or next(iter(self.platform.world.thirdparties.values()))
        appid = str(body.get("appid", ""))
        if appid:
            event = {"AppId": appid, "TpAppId": owner.appid, **event}
        copies = int(body.get("copies", 1))
        self.pusher.send(owner, event, copies=copies, forge=str(body.get("forge", "")))
        return {"pushed": copies}

    def consent(self, body: Fields) -> Fields:
        """The browser's confirmation without a browser."""
        text = dict(parse_qs(urlsplit(_text(body, "link")).query)).get("x", [""])[0]
        permissions = [int(one) for one in body.get("permissions", [1, 2])]
        try:
            invited = invitation(self.platform, text, Kind.LINK)
            app, address = confirm(
                self.platform,
                invited,
                str(body.get("appid", "")),
                permissions,
                delay=float(body.get("delay", 0.3)),
            )
        except Fault as fault:
            raise BadControl(f"{fault.code} {say(fault)}") from None
        return {"redirect_url": address, "appid": app.appid}

    def _app(self, appid: str) -> App:
        app = self.platform.app(appid)
        if app is None:
            raise BadControl(f"unknown mini-program {appid}")
        return app

    def _owner(self, appid: str) -> ThirdParty | None:
        owner = self.platform.thirdparty(appid) if appid else None
        if appid and owner is None:
            raise BadControl(f"unknown third-party app {appid}")
        return owner


def _belongs(token: Token, appid: str) -> bool:
    return not appid or appid in (token.appid, token.thirdparty)


def _check_setting(name: str, value: Any) -> None:
    if name == "verdict" and value not in _VERDICTS:
        raise BadControl(f"verdict: one of {', '.join(_VERDICTS)}")
    if name == "outage" and str(value) not in OUTAGES:
        raise BadControl(f"outage: one of {', '.join(OUTAGES)}")


def _typed(value: Any, kind: type, name: str) -> Any:
    """JSON values as they are, form values as the field's type."""
    if kind is bool:
        return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "on", "yes")
    if kind is list:
        parts = value if isinstance(value, list) else str(value).split(",")
        return [str(part).strip() for part in parts if str(part).strip()]
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise BadControl(f"{name}: not a {kind.__name__}") from None


def _text(body: Fields, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadControl(f"{name}: missing")
    return value


def _only(body: Fields, known: set[str]) -> None:
    unknown = set(body) - known
    if unknown:
        raise BadControl(f"unknown field {', '.join(sorted(unknown))}")


def _categories(wanted: bool) -> tuple[list[str], list[str]]:
    return (["生活服务-家政-上门服务"], ["401,415,422"]) if wanted else ([], [])


def _thirdparty_row(owner: ThirdParty) -> Fields:
    row = asdict(owner)
    row["templates"] = [{**one, "template_id": str(one["template_id"])} for one in row["templates"]]
    return row


def _app_row(app: App) -> Fields:
    """A mini-program as the control API tells it; secrets and long lists left out."""
    row = {
        name: getattr(app, name)
        for name in (
            "appid",
            "name",
            "intro",
            "icon",
            "subject",
            "subject_name",
            "personal",
            "banned",
            "subject_banned",
            "name_reset",
            "deleted",
            "template_of",
            "categories",
            "hosts",
            "authorized_to",
            "permissions",
            "auth_time",
            "verdict",
            "reason",
        )
    }
    row["subject_verified"] = app.subject is Subject.VERIFIED
    row["draft"] = {**asdict(app.draft), "draft_id": str(app.draft.draft_id)} if app.draft else None
    row["latest"] = max(app.latest.values(), key=lambda one: one.number).version if app.latest else ""
    row["audit"] = {"version": app.audit.build.version, "status": app.audit.status} if app.audit else None
    row["current"] = app.online[-1].build.version if app.online else ""
    return row
