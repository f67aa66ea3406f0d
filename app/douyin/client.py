"""The only HTTP to Douyin: `DouyinClient` owns the connections, `Douyin.send(call)` gives a typed reply."""

from __future__ import annotations

import email.utils
import random
import re
import time
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar, cast

import msgspec

from app.douyin import answer as answers
from app.douyin.contract import Call, Host, Place, Token
from app.douyin.errors import TOO_FAST, too_many
from app.douyin.wire import Answer, Request, Wire
from app.errors import DouyinError, DouzhouError, ErrorKind, Held, NoAnswer, NotGranted
from app.i18n.sentence import ours, say
from app.redaction import redact, redact_mapping

R = TypeVar("R")

_RECORD_LIMIT = 2_000
_RESENDS = 2
_WAIT = re.compile(r"[0-9]{1,8}")
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500


class Tokens(Protocol):
    """Whoever keeps the credentials of one third-party app and, if `appid` is set, of one authorised app."""

    @property
    def component_appid(self) -> str: ...

    @property
    def appid(self) -> str | None: ...

    @property
    def granted(self) -> frozenset[int] | None:
        """Permission sets that the authorised app's merchant has granted; None where that is not known."""

    def get(self, token: Token) -> str:
        """A token believed valid."""

    def refused(self, token: Token, value: str) -> None:
        """Douyin called `value` wrong or expired: the next `get` must not give it again."""


class Pace(Protocol):
    """How fast requests may be sent."""

    def take(self) -> None:
        """Block until one more may be."""

    def slower(self) -> None:
        """Douyin called it too fast."""


class Gate(Protocol):
    """Knows whether the platform can be spoken to at all."""

    def admit(self, call: Call[Any], tokens: Tokens) -> None:
        """Let the call pass, or raise Held: it is then not sent."""

    def note(self, call: Call[Any], tokens: Tokens, *, answered: bool, error: DouzhouError | None) -> None:
        """What became of a call that passed. `answered`: a well-formed envelope came, whatever its code."""


@dataclass(frozen=True)
class CallRecord:
    """One request as it may be stored: secrets masked. `outcome` is ok, error or no_answer; `at` is UTC."""

    name: str
    method: str
    host: str
    path: str
    component_appid: str
    appid: str | None
    at: datetime
    ms: int
    http_status: int | None
    err_no: int | None
    log_id: str
    outcome: str
    request: dict[str, Any]
    answer: str


@dataclass
class _Shown:
    """The token that a request showed last."""

    token: str = field(default="", repr=False)


@dataclass
class _Trace:
    """What is known of one exchange so far, for the observer."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)
    outcome: str = "no_answer"
    answered: bool = False
    http_status: int | None = None
    err_no: int | None = None
    log_id: str = ""
    answer: str = ""


class DouyinClient:
    """Connections to the platform's hosts, shared by all threads of a process.

    `timeout` is the total time in seconds one `send` may take, waiting for the pace and resending included.
    `on_call` gets a `CallRecord` after every request; on the sending thread; must be quick and not raise.
    `gate` is asked before and told after every request.
    """

    def __init__(
        self,
        *,
        open_url: str,
        microapp_url: str,
        toutiao_url: str,
        timeout: float,
        pace: Pace | None = None,
        gate: Gate | None = None,
        on_call: Callable[[CallRecord], None] | None = None,
        pool_size: int = 64,
    ) -> None:
        urls = {Host.OPEN: open_url, Host.MICROAPP: microapp_url, Host.TOUTIAO: toutiao_url}
        self.urls = {host: url.rstrip("/") for host, url in urls.items()}
        self.timeout = timeout
        self.pace = pace
        self.gate = gate
        self.on_call = on_call
        self.wire = Wire(pool_size)

    def bind(self, tokens: Tokens) -> Douyin:
        """The same connections, speaking with these credentials."""
        return Douyin(self, tokens)

    def close(self) -> None:
        self.wire.close()


class Douyin:
    """A client with credentials: `send(call)` gives the call's reply.

    Raises DouyinError when Douyin refused (no effect), NoAnswer when nobody can tell (`sent`), and whatever
    `tokens.get` raises.
    """

    def __init__(self, client: DouyinClient, tokens: Tokens) -> None:
        self._client = client
        self.tokens = tokens

    def send(self, call: Call[R]) -> R:
        until = time.monotonic() + self._client.timeout
        kind, shown = call.route.token, _Shown()
        _refuse_ungranted(call, self.tokens.granted)
        try:
            return self._resend(call, shown, until)
        except DouyinError as error:
            if error.kind is not ErrorKind.TOKEN or kind is Token.NONE or time.monotonic() >= until:
                raise
        # A refused token means the request had no effect, so that even a change may be sent once more.
        self.tokens.refused(kind, shown.token)
        return self._resend(call, shown, until)

    def knock(self, call: Call[Any], seconds: float) -> bool:
        """Whether the platform answers this read within so many seconds, if only with a refusal."""
        try:
            self._once(call, _Shown(), time.monotonic() + seconds)
        except DouyinError as error:
            return error.kind is not ErrorKind.ANSWER
        except NoAnswer:
            return False
        return True

    def _token(self, kind: Token) -> str:
        return "" if kind is Token.NONE else self.tokens.get(kind)

    def _resend(self, call: Call[R], shown: _Shown, until: float) -> R:
        for pause in _pauses(call):
            try:
                return self._once(call, shown, until)
            except Held:
                raise
            except NoAnswer:
                if time.monotonic() + pause >= until:
                    raise
            time.sleep(pause)
        return self._once(call, shown, until)

    def _once(self, call: Call[R], shown: _Shown, until: float) -> R:
        if self._client.pace is not None:
            self._client.pace.take()
        # After the pace: whoever waited must not send with a token that was taken back meanwhile.
        shown.token = self._token(call.route.token)
        if time.monotonic() >= until:
            raise NoAnswer("等待发送的时间太长，请求没有发出", sent=False)
        if self._client.gate is not None:
            self._client.gate.admit(call, self.tokens)
        request, trace = self._lay_out(call, shown.token), _Trace()
        failure: DouzhouError | None = None
        try:
            reply = self._exchange(call, request, until, trace)
            trace.outcome = "ok"
        except DouyinError as error:
            trace.outcome, trace.err_no, failure = "error", error.err_no, error
            if error.err_no in TOO_FAST and self._client.pace is not None:
                self._client.pace.slower()
            raise
        except NoAnswer as error:
            failure = error
            raise
        finally:
            self._record(call, request, trace)
            if self._client.gate is not None:
                self._client.gate.note(call, self.tokens, answered=trace.answered, error=failure)
        return reply

    def _lay_out(self, call: Call[Any], value: str) -> Request:
        route, request = call.route, Request()
        for parameter in call.parameters():
            request.put(parameter.place, parameter.name, parameter.value)
        if route.token is Token.NONE:
            return request
        if route.carry is Place.HEADER:
            request.headers["access-token"] = value
        elif route.carry is Place.JSON:
            request.json["access_token"] = value
        else:
            component = route.token is Token.COMPONENT_V1
            request.query["component_appid"] = self.tokens.component_appid
            request.query["component_access_token" if component else "authorizer_access_token"] = value
        return request

    def _exchange(self, call: Call[R], request: Request, until: float, trace: _Trace) -> R:
        where = self._client.urls[call.route.host] + call.route.path
        found = self._client.wire.transfer(call.route.method, where, request, until)
        if isinstance(found, NoAnswer):
            raise found
        trace.http_status = found.status
        trace.log_id = answers.log_id_of(None, found.log_id)
        if found.status == _TOO_MANY:
            trace.answered = True
            raise too_many(_retry_after(found.retry_after), trace.log_id)
        if found.status >= _SERVER_ERROR:
            trace.answer = _show_text(found.raw)
            raise NoAnswer(say("抖音服务器故障（HTTP {status}）", status=found.status))
        if _is_file(call, found):
            trace.err_no, trace.answer, trace.answered = 0, f"<{len(found.raw)} bytes>", True
            return cast("R", found.raw)
        return _read(call, found, trace)

    def _record(self, call: Call[Any], request: Request, trace: _Trace) -> None:
        if self._client.on_call is None:
            return
        record = CallRecord(
            name=call.operation_id,
            method=call.route.method,
            host=call.route.host.value,
            path=call.route.path,
            component_appid=self.tokens.component_appid,
            appid=self.tokens.appid,
            at=trace.at,
            ms=round((time.monotonic() - trace.started) * 1000),
            http_status=trace.http_status,
            err_no=trace.err_no,
            log_id=trace.log_id,
            outcome=trace.outcome,
            request=request.record(),
            answer=trace.answer,
        )
        self._client.on_call(record)


def _refuse_ungranted(call: Call[Any], granted: frozenset[int] | None) -> None:
    """Where the sets are known and the call's is documented, what was not granted is not asked for."""
    needed = call.route.permission
    if needed is not None and granted is not None and needed not in granted:
        raise NotGranted(say("商户没有授予「{name}」：请让商户重新授权并勾选它", name=ours(needed.word)))


def _read(call: Call[R], found: Answer, trace: _Trace) -> R:
    try:
        body = answers.decode(found.raw)
    except NoAnswer:
        trace.answer = _show_text(found.raw)
        raise
    trace.answer = _show_object(body)
    trace.log_id = answers.log_id_of(body, found.log_id)
    trace.answered = answers.is_enveloped(call, body)
    reply = answers.read(call, body, status=found.status, log_id=trace.log_id)
    trace.err_no = 0
    return reply


def _is_file(call: Call[Any], found: Answer) -> bool:
    """File answers are bytes on success and JSON on failure, with the same HTTP status."""
    wanted = call.route.envelope.file and found.status == _OK and bool(found.raw)
    start = found.raw.removeprefix(BOM_UTF8).lstrip()
    return wanted and "html" not in found.content_type and not start.startswith((b"{", b"<"))


def _retry_after(header: str | None) -> float:
    """Seconds to wait, from either form of the header: 1 to 600, 10 when unreadable."""
    if header and _WAIT.fullmatch(header.strip()):
        return float(min(max(int(header), 1), 600))
    try:
        when = email.utils.parsedate_to_datetime(header or "")
        seconds = (when.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 10.0
    return min(max(seconds, 1.0), 600.0)


def _pauses(call: Call[Any]) -> list[float]:
    """Before each resending; jittered, lest all workers come back at once."""
    jitter = random.random
    return [0.1 * 3**n * (0.5 + jitter()) for n in range(_RESENDS)] if call.again != "never" else []


def _show_object(body: dict[str, Any]) -> str:
    return msgspec.json.encode(redact_mapping(body)).decode()[:_RECORD_LIMIT]


def _show_text(raw: bytes) -> str:
    return redact(raw[: _RECORD_LIMIT * 2].decode("utf-8", "replace"))[:_RECORD_LIMIT]
