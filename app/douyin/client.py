"""The only HTTP to Douyin: `DouyinClient` owns the connections, `Douyin.send(call)` gives a typed reply."""

from __future__ import annotations

import email.utils
import random
import re
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Protocol, TypeVar, cast

import msgspec
import requests
from requests.adapters import HTTPAdapter

from app.deadline import POOLS, deadline, remaining
from app.douyin import answer as answers
from app.douyin.contract import Call, Host, Place, Token, Upload
from app.douyin.errors import TOO_FAST, too_many
from app.douyin.hush import hush_urllib3
from app.errors import DouyinError, DouzhouError, ErrorKind, Held, NoAnswer, NotGranted
from app.i18n.sentence import ours, say
from app.redaction import redact, redact_mapping

R = TypeVar("R")

MAX_ANSWER_BYTES = 4 * 2**20
_CHUNK = 2**14
_RECORD_LIMIT = 2_000
_VALUE_LIMIT = 500
_RESENDS = 2
_CONNECT_TIMEOUT = 5.0
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
class _Request:
    """A call laid out for the wire."""

    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def put(self, place: Place, name: str, value: Any) -> None:
        if isinstance(value, Upload):
            self.files[name] = value
        elif place is Place.JSON:
            self.json[name] = value
        else:
            texts = {Place.QUERY: self.query, Place.HEADER: self.headers, Place.FORM: self.form}[place]
            texts[name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def record(self) -> dict[str, Any]:
        files = {name: repr(upload) for name, upload in self.files.items()}
        shown = redact_mapping({**self.query, **self.json, **self.form, **files})
        return {key: _shorten(value) for key, value in shown.items()}


@dataclass(frozen=True)
class _Answer:
    status: int
    raw: bytes
    content_type: str
    log_id: str | None
    retry_after: str | None


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
        self.session = _session(pool_size)
        hush_urllib3()

    def bind(self, tokens: Tokens) -> Douyin:
        """The same connections, speaking with these credentials."""
        return Douyin(self, tokens)

    def close(self) -> None:
        self.session.close()


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

    def _lay_out(self, call: Call[Any], value: str) -> _Request:
        route, request = call.route, _Request()
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

    def _exchange(self, call: Call[R], request: _Request, until: float, trace: _Trace) -> R:
        found = _transfer(self._client, call, request, until)
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

    def _record(self, call: Call[Any], request: _Request, trace: _Trace) -> None:
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


class _Adapter(HTTPAdapter):
    """Connections that keep the total deadline."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = dict(POOLS)


def _session(pool_size: int) -> requests.Session:
    session = requests.Session()
    # Neither proxies nor .netrc of the machine: a credential must not travel where the operator did not say.
    session.trust_env = False
    # One session serves every tenant: a cookie of one tenant's answer must not go out with another's call.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": "douzhou", "Accept": "application/json"})
    adapter = _Adapter(pool_connections=len(Host), pool_maxsize=pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _refuse_ungranted(call: Call[Any], granted: frozenset[int] | None) -> None:
    """Where the sets are known and the call's is documented, what was not granted is not asked for."""
    needed = call.route.permission
    if needed is not None and granted is not None and needed not in granted:
        raise NotGranted(say("商户没有授予「{name}」：请让商户重新授权并勾选它", name=ours(needed.word)))


def _transfer(client: DouyinClient, call: Call[Any], request: _Request, until: float) -> _Answer | NoAnswer:
    """The answer, or why there is none. Returned instead of raised, so that the library's exception, with
    the address and its secrets in it, is not left hanging in the new one's context."""
    mark = deadline.set(until)
    try:
        response = client.session.request(
            call.route.method,
            client.urls[call.route.host] + call.route.path,
            params=request.query,
            timeout=_timeouts(),
            stream=True,
            allow_redirects=False,
            **_body(request),
        )
        with response:
            return _collect(response)
    except requests.RequestException as error:
        return _failure(error)
    except (UnicodeError, ValueError):
        # A header or address that cannot be put on the wire at all.
        return NoAnswer("请求无法发出：地址或凭据的格式不对", sent=False)
    except OSError:
        return NoAnswer("与抖音的连接中断")
    finally:
        deadline.reset(mark)


def _body(request: _Request) -> dict[str, Any]:
    if request.files:
        files = {name: (item.name, item.content, item.content_type) for name, item in request.files.items()}
        return {"data": request.form, "files": files, "headers": request.headers}
    if request.json:
        headers = {**request.headers, "Content-Type": "application/json"}
        return {"data": msgspec.json.encode(request.json), "headers": headers}
    return {"headers": request.headers}


def _timeouts() -> tuple[float, float]:
    """Connect, read. A third of the time for connecting leaves some for a second address of the same host."""
    left = max(remaining(), 0.001)
    return min(_CONNECT_TIMEOUT, max(left / 3, 0.001)), left


def _collect(response: requests.Response) -> _Answer | NoAnswer:
    """The whole body, decompressed piece by piece, so that neither size nor slowness is without a limit."""
    pieces, size = [], 0
    for piece in response.iter_content(_CHUNK):
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            return NoAnswer("抖音的答复过大")
        if not remaining():
            return NoAnswer("等待抖音答复超时")
        pieces.append(piece)
    headers = response.headers
    return _Answer(
        status=response.status_code,
        raw=b"".join(pieces),
        content_type=headers.get("Content-Type", "").lower(),
        log_id=headers.get("x-tt-logid"),
        retry_after=headers.get("Retry-After"),
    )


def _failure(error: requests.RequestException) -> NoAnswer:
    """Only what surely kept the request from leaving is `sent=False`: no connection, a bad certificate."""
    if isinstance(error, requests.ConnectTimeout):
        return NoAnswer("连接抖音超时", sent=False)
    if isinstance(error, ValueError) and not isinstance(error, requests.JSONDecodeError):
        return NoAnswer("请求无法发出：地址或凭据的格式不对", sent=False)
    causes = {type(cause).__name__ for cause in _causes(error)}
    if causes & {
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "SSLCertVerificationError",
    }:
        return NoAnswer("无法连接抖音服务器", sent=False)
    if isinstance(error, requests.Timeout) or causes & {"ReadTimeoutError", "TimeoutError"}:
        return NoAnswer("等待抖音答复超时")
    return NoAnswer("与抖音的连接中断")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it wraps, as cause, as argument or as `reason`."""
    queue: list[object] = [error]
    for _ in range(20):
        found = queue.pop(0) if queue else None
        if isinstance(found, BaseException):
            yield found
            queue += [*found.args, found.__cause__, getattr(found, "reason", None)]
        elif found is None and not queue:
            return


def _read(call: Call[R], found: _Answer, trace: _Trace) -> R:
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


def _is_file(call: Call[Any], found: _Answer) -> bool:
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


def _shorten(value: Any) -> Any:
    long = isinstance(value, str) and len(value) > _VALUE_LIMIT
    return f"{value[:_VALUE_LIMIT]}… ({len(value)})" if long else value


def _show_object(body: dict[str, Any]) -> str:
    return msgspec.json.encode(redact_mapping(body)).decode()[:_RECORD_LIMIT]


def _show_text(raw: bytes) -> str:
    return redact(raw[: _RECORD_LIMIT * 2].decode("utf-8", "replace"))[:_RECORD_LIMIT]
