"""The breaker: whether Douyin's hosts answer at all, seen by every call, shared by all processes in rows.

A host opens on refused, hanging, 5xx or HTML from two apps and two endpoints with no good answer between; the probe
counts as one of each, so that it also opens where there is only one. An endpoint that fails alone holds only itself.
A well-formed envelope, whatever its code, is an answer. While it is open a probe is made every 5 to 20 seconds by one
process of all; once it is answered, that process lets 1, 2, 4 ... calls through at a time before all may go on.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.data import process
from app.data.clock import utcnow
from app.data.engine import reading, rows_changed
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.authorization import ListAuthApps
from app.douyin.client import Douyin, DouyinClient, Tokens
from app.douyin.contract import Call, Host, Token
from app.douyin.safety import CensorImageV1
from app.douyin.template import ListDraftsV1, ListTemplates
from app.errors import DouyinError, DouzhouError, ErrorKind, Held
from app.i18n.sentence import ours, say
from app.link import holds
from app.models import AuthorizationState, Circuit, Credential, MiniProgram, ThirdPartyApp

log = structlog.get_logger(__name__)

KEPT = 1.0  # seconds a process believes what it read
PROBE_PAUSE = (5.0, 20.0)  # seconds between probes, longer each time
PROBE_SECONDS = 5.0
WIDE = 32  # calls at a time from which a host counts as back
RECENT = 15.0  # seconds for which an answer of another endpoint says that the host is there
IN_A_ROW = 3  # failures of one endpoint before it is held alone
# A read of each host, answered whatever token it carries.
PROBES: dict[Host, tuple[Call[Any], Token]] = {
    Host.OPEN: (ListAuthApps(page=1, size=1), Token.COMPONENT),
    Host.MICROAPP: (ListDraftsV1(), Token.COMPONENT_V1),
    Host.TOUTIAO: (CensorImageV1(app_id=""), Token.AUTHORIZER_V1),
}
OTHER_PROBE = ListTemplates()  # where the usual one is itself what fails


@dataclass
class _Trouble:
    """What failed at one host since its last good answer."""

    apps: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)
    count: int = 0


@dataclass(frozen=True)
class _Row:
    name: str
    state: str
    mine: bool
    due: bool


@dataclass(frozen=True)
class _Owner:
    """A third-party app that is held."""

    id: int
    sentence: str


class _Stored:
    """The tokens of a probe: what there is, however old, or none."""

    def __init__(self, component_appid: str, value: str) -> None:
        self.component_appid, self._value = component_appid, value
        self.appid, self.granted = None, None

    def get(self, _token: Token) -> str:
        return self._value

    def refused(self, _token: Token, _value: str) -> None:
        """What a probe's token is worth is nobody's news."""


class Breaker:
    """The client's gate. One per application."""

    def __init__(self, app: Flask, bind: Callable[[Flask, int], Douyin]) -> None:
        """`bind` gives Douyin with a third-party app's credentials: a probe of it is sent that way."""
        self.app, self._bind = app, bind
        self.client: DouyinClient | None = None
        self._guard = threading.Lock()
        self._hosts: dict[str, _Trouble] = {}
        self._endpoints: dict[str, _Trouble] = {}
        self._answered: dict[str, float] = {}  # when another endpoint of the host last gave an answer
        self._in_flight: dict[str, int] = {}
        self._windows: dict[str, int] = {}
        self._rows: dict[str, _Row] = {}
        self._held: dict[str, _Owner] = {}
        self._read_at = 0.0

    # Before a call

    def admit(self, call: Call[Any], tokens: Tokens) -> None:
        """Let a call pass, or raise Held. Every call that passed is told to `note`."""
        host = call.route.host.value
        if not holds.is_passing():
            self._refresh()
            if held := self._held.get(tokens.component_appid):
                raise Held(held.sentence, hold=holds.of_app(held.id))
            for name in (host, f"{host}:{call.operation_id}"):
                if name in self._rows:
                    self._pass(self._rows[name])
        with self._guard:
            full = self._in_flight.get(host, 0) >= self._windows.get(host, WIDE * WIDE)
            if full and not holds.is_passing():
                raise Held(holds.circuit_sentence(host, "closing"), hold=holds.of_circuit(host))
            self._in_flight[host] = self._in_flight.get(host, 0) + 1

    def _pass(self, row: _Row) -> None:
        """A call to what is open: it waits, unless its trial is due and this process gets it."""
        if row.state == "closing" and row.mine:
            return
        whole = ":" not in row.name
        if row.state == "open" and row.due and self._claim(row.name):
            if not whole:
                return  # the call itself is the trial
            if self._probe(Host(row.name)):
                self._back(row.name)
                return
            self._stay_open(row.name)
        raise Held(holds.circuit_sentence(row.name), hold=holds.of_circuit(row.name))

    # After a call

    def note(self, call: Call[Any], tokens: Tokens, *, answered: bool, error: DouzhouError | None) -> None:
        """What became of a call that passed: whether Douyin answered at all, and with what refusal."""
        host = call.route.host.value
        endpoint = f"{host}:{call.operation_id}"
        with self._guard:
            self._in_flight[host] = max(0, self._in_flight.get(host, 0) - 1)
        try:
            if isinstance(error, DouyinError) and error.kind is ErrorKind.PLATFORM:
                self._hold_app(tokens.component_appid, error)
            if holds.is_passing():
                return
            if answered:
                self._good(host, endpoint)
            else:
                self._bad(call, host, endpoint, tokens)
        except SQLAlchemyError as fault:  # the database is away: the next call tells the same
            log.warning("breaker_not_written", fault=type(fault).__name__)

    def _good(self, host: str, endpoint: str) -> None:
        with self._guard:
            self._hosts.pop(host, None)
            self._endpoints.pop(endpoint, None)
            self._answered[host] = time.monotonic()
            wide = host in self._windows
            if wide:
                self._windows[host] *= 2
                done = self._windows[host] >= WIDE
        if wide and done:
            self._close(host)
        if endpoint in self._rows:
            self._close(endpoint)

    def _bad(self, call: Call[Any], host: str, endpoint: str, tokens: Tokens) -> None:
        one_only = self._only_one_app()
        with self._guard:
            trouble = self._hosts.setdefault(host, _Trouble())
            alone = self._endpoints.setdefault(endpoint, _Trouble())
            for one in (trouble, alone):
                one.apps.add(tokens.appid or tokens.component_appid)
                one.endpoints.add(endpoint)
                one.count += 1
            everywhere = len(trouble.apps) > 1 and len(trouble.endpoints) > 1
            suspect = trouble.count > 1
            # Calls of the third-party app itself are all of one: a second could never be seen to fail.
            several = one_only or len(alone.apps) > 1 or tokens.appid is None
            own = alone.count >= IN_A_ROW and several
            lately = time.monotonic() - self._answered.get(host, -RECENT) < RECENT
        if host in self._rows and host not in self._windows:
            return  # known already: begun before it was
        if host in self._windows or everywhere:
            self._open(host)
        elif endpoint in self._rows:
            self._stay_open(endpoint)
        elif own and lately:
            self._open(endpoint)
        elif (suspect or own) and self._claim(host):
            self._suspected(call, host, endpoint, alone=own)

    def _only_one_app(self) -> bool:
        """Whether a second app could never be seen to fail."""
        authorized = select(MiniProgram.id).where(MiniProgram.state == AuthorizationState.AUTHORIZED).limit(2)
        with app_scope(self.app, PLATFORM) as session, reading():
            return len(session.scalars(authorized).all()) < 2

    def _suspected(self, call: Call[Any], host: str, endpoint: str, *, alone: bool) -> None:
        """Something fails, and it may be all: another read tells."""
        if not self._probe(Host(host), other_than=call.operation_id):
            self._open(host)
            return
        self._let_go(host)
        with self._guard:
            self._hosts.pop(host, None)
            self._answered[host] = time.monotonic()
        if alone:
            self._open(endpoint)

    # The rows

    def tend(self) -> None:
        """Try what is due to be tried: hosts that are away, third-party apps that are refused. Never raises."""
        try:
            self._refresh()
            for row in list(self._rows.values()):
                if row.state == "open" and row.due and ":" not in row.name and self._claim(row.name):
                    if self._probe(Host(row.name)):
                        self._back(row.name)
                    else:
                        self._stay_open(row.name)
            for owner in list(self._held.values()):
                self._try_app(owner.id)
        except SQLAlchemyError as fault:
            log.warning("breaker_not_tended", fault=type(fault).__name__)

    def holds_app(self, owner_id: int | None) -> bool:
        """Whether nothing of this third-party app is sent."""
        self._refresh()
        return any(owner.id == owner_id for owner in self._held.values())

    def sentences(self) -> list[str]:
        """What is held, in words for the pages; empty when nothing is."""
        self._refresh()
        rows, owners = list(self._rows.values()), list(self._held.values())
        return [holds.circuit_sentence(row.name, row.state) for row in rows] + [owner.sentence for owner in owners]

    def window(self) -> int | None:
        """How many calls may be in flight at the main host; None = as many as there are."""
        return self._windows.get(holds.MAIN_HOST)

    def forget(self) -> None:
        """Read the rows anew at the next call, and remember no failures: for tests and after a restore."""
        with self._guard:
            self._hosts.clear()
            self._endpoints.clear()
            self._answered.clear()
            self._windows.clear()
            self._in_flight.clear()
        self._read_at = 0.0

    def _refresh(self) -> None:
        if time.monotonic() - self._read_at < KEPT:
            return
        now = utcnow()
        with app_scope(self.app, PLATFORM) as session, reading():
            rows = list(session.scalars(select(Circuit).where(Circuit.state != "closed")))
            owners = {
                row.appid: _Owner(
                    row.id, say("第三方应用「{name}」暂停：{fault}", name=str(row), fault=ours(row.fault))
                )
                for row in session.scalars(select(ThirdPartyApp).where(holds.app_is_held()))
            }
        found = {}
        for row in rows:
            free = row.lease_until is None or row.lease_until < now
            if row.state == "closing" and free:
                continue  # it answered, and nobody has sent enough since to say more
            due = free and (row.probe_at is None or row.probe_at <= now)
            found[row.name] = _Row(row.name, row.state, row.owner == process.PROCESS and not free, due)
        with self._guard:
            self._rows, self._held = found, owners
            self._windows = {name: wide for name, wide in self._windows.items() if name in found and found[name].mine}
            self._read_at = time.monotonic()

    def _claim(self, name: str) -> bool:
        """The right to try `name`, for as long as a try lasts; one process of all has it."""
        now = utcnow()
        until = now + timedelta(seconds=self._lease())
        free = or_(Circuit.lease_until.is_(None), Circuit.lease_until < now)
        rested = or_(Circuit.probe_at.is_(None), Circuit.probe_at <= now)
        taken = update(Circuit).where(Circuit.name == name, free, rested)
        values = {"owner": process.PROCESS, "lease_until": until}
        with app_scope(self.app, PLATFORM) as session:
            won = rows_changed(session, taken.values(**values)) == 1
            if not won and session.get(Circuit, name) is None:
                won = self._make(session, name, values)
            session.commit()
            return won

    def _make(self, session: Session, name: str, values: dict[str, Any]) -> bool:
        try:
            session.execute(insert(Circuit).values(name=name, state="closed", reason="", **values))
            session.commit()
        except IntegrityError:
            session.rollback()
            return False
        return True

    def _lease(self) -> float:
        return 2 * max(PROBE_SECONDS, float(self.app.config["DOUYIN_TIMEOUT"])) + 5

    def _set(self, name: str, **values: Any) -> None:
        with app_scope(self.app, PLATFORM) as session:
            this = update(Circuit).where(Circuit.name == name)
            if rows_changed(session, this.values(**values)) != 1:
                self._make(session, name, {"owner": None})
                rows_changed(session, this.values(**values))
            if values.get("state") in {"closing", "closed"}:
                holds.release(session, holds.of_circuit(name))
            session.commit()
        self._read_at = 0.0

    def _open(self, name: str) -> None:
        """Nothing more is sent there; whoever is told so first says it in the log."""
        pause = timedelta(seconds=PROBE_PAUSE[0])
        with self._guard:
            self._windows.pop(name, None)
            known = self._rows.get(name)
        begun = {} if known is not None and known.state == "open" else {"opened_at": utcnow()}
        self._set(
            name,
            state="open",
            reason=holds.circuit_sentence(name),
            owner=None,
            lease_until=None,
            probe_at=utcnow() + pause,
            **begun,
        )
        log.warning("circuit_open", name=name)

    def _stay_open(self, name: str) -> None:
        pause = timedelta(seconds=random.uniform(*PROBE_PAUSE))
        self._set(name, state="open", owner=None, lease_until=None, probe_at=utcnow() + pause)

    def _let_go(self, name: str) -> None:
        self._set(name, owner=None, lease_until=None, probe_at=utcnow() + timedelta(seconds=PROBE_PAUSE[0]))

    def _back(self, name: str) -> None:
        """It answers again. A process that works the queue lets it through step by step; others have none to let."""
        if self.app.extensions.get("operation_wakers"):
            self._closing(name)
        else:
            self._close(name)

    def _closing(self, name: str) -> None:
        """From here on this process lets calls through, one at first, and the others wait."""
        with self._guard:
            self._hosts.pop(name, None)
            self._windows[name] = 1
        until = utcnow() + timedelta(seconds=self._lease())
        self._set(name, state="closing", owner=process.PROCESS, lease_until=until)
        self._wake()

    def _close(self, name: str) -> None:
        with self._guard:
            self._windows.pop(name, None)
        self._set(name, state="closed", reason="", owner=None, lease_until=None, probe_at=None, opened_at=None)
        self._wake()
        log.info("circuit_closed", name=name)

    def _wake(self) -> None:
        for listener in self.app.extensions.get("operation_wakers", ()):
            listener()

    # Probes

    def _probe(self, host: Host, other_than: str = "") -> bool:
        """Whether the host answers a read, whatever it says; with the token there is, or none."""
        call, kind = PROBES[host]
        if call.operation_id == other_than and host is Host.OPEN:
            call = OTHER_PROBE
        with app_scope(self.app, PLATFORM) as session, reading():
            found = session.execute(
                select(ThirdPartyApp.appid, Credential)
                .outerjoin(
                    Credential,
                    (Credential.third_party_app_id == ThirdPartyApp.id) & (Credential.kind == str(kind)),
                )
                .where(ThirdPartyApp.active.is_(True))
                .order_by(ThirdPartyApp.id)
                .limit(1)
            ).first()
            appid = found[0] if found else ""
            value = (found[1].access_token if found and found[1] else None) or "none"
        if self.client is None:
            return True
        seconds = min(PROBE_SECONDS, self.client.timeout)
        with holds.passing():
            return self.client.bind(_Stored(appid, value)).knock(call, seconds)

    def _try_app(self, owner_id: int) -> None:
        """One call a minute, of all processes, tells whether Douyin takes the third-party app again."""
        now = utcnow()
        taken = update(ThirdPartyApp).where(
            ThirdPartyApp.id == owner_id, ThirdPartyApp.held == holds.APP, ThirdPartyApp.probe_at <= now
        )
        with app_scope(self.app, PLATFORM) as session:
            mine = rows_changed(session, taken.values(probe_at=now + holds.APP_PROBE)) == 1
            session.commit()
        if not mine:
            return
        try:
            with holds.passing():
                self._bind(self.app, owner_id).send(ListAuthApps(page=1, size=1))
        except DouyinError as error:
            if error.kind is ErrorKind.PLATFORM:
                return
        except DouzhouError:
            return
        with app_scope(self.app, PLATFORM) as session:
            holds.lift_app(session, owner_id)
        self._read_at = 0.0
        self._wake()

    def _hold_app(self, component_appid: str, error: DouyinError) -> None:
        with app_scope(self.app, PLATFORM) as session:
            owner_id = session.scalar(select(ThirdPartyApp.id).where(ThirdPartyApp.appid == component_appid))
            if owner_id is not None:
                holds.hold_app(session, owner_id, holds.APP, holds.fault_sentence(error), error.err_no)
        self._read_at = 0.0
