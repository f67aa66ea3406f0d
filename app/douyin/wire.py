"""One request and its answer: laid out, sent by `requests` within a total deadline, read within a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from requests.utils import check_header_validity

from app.deadline import POOLS, deadline, remaining
from app.douyin.contract import Host, Place, Upload
from app.douyin.hush import hush_urllib3
from app.errors import NoAnswer
from app.redaction import redact_mapping

MAX_ANSWER_BYTES = 4 * 2**20
HEADERS = {"User-Agent": "douzhou", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
_CHUNK = 2**14
_VALUE_LIMIT = 500
_CONNECT_TIMEOUT = 5.0


@dataclass
class Request:
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
        """As it may be kept: secrets masked, long values cut."""
        files = {name: repr(upload) for name, upload in self.files.items()}
        shown = redact_mapping({**self.query, **self.json, **self.form, **files})
        return {key: _shorten(value) for key, value in shown.items()}


@dataclass(frozen=True)
class Answer:
    """What came back, whole and decompressed."""

    status: int
    raw: bytes
    content_type: str
    log_id: str | None
    retry_after: str | None


class _Adapter(HTTPAdapter):
    """Connections that keep the total deadline."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = dict(POOLS)


class Wire:
    """Connections to the platform's hosts, for all threads of a process.

    Requests go to the adapter without a `requests.Session`: neither proxies nor .netrc of the machine count, and no
    cookie of one tenant's answer goes out with another's call.
    """

    def __init__(self, connections: int) -> None:
        self._adapter = _Adapter(pool_connections=len(Host), pool_maxsize=connections)
        hush_urllib3()

    def transfer(self, method: str, url: str, request: Request, until: float) -> Answer | NoAnswer:
        """The answer, or why there is none; `until` by the monotonic clock. Returned instead of raised, so that the
        library's exception, with the address and its secrets in it, is not left hanging in the new one's context."""
        mark = deadline.set(until)
        try:
            with self._adapter.send(_prepared(method, url, request), stream=True, timeout=_timeouts()) as response:
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

    def close(self) -> None:
        self._adapter.close()


def _prepared(method: str, url: str, request: Request) -> requests.PreparedRequest:
    made = requests.PreparedRequest()
    if request.files:
        files = {name: (item.name, item.content, item.content_type) for name, item in request.files.items()}
        headers = {**HEADERS, **request.headers}
        made.prepare(method, url, headers, files, request.form, request.query)
        return made
    # By hand: our own addresses need none of the reading that `prepare` gives one, at half a call's price.
    made.method, made.hooks = method, default_hooks()
    made.url = f"{url}?{urlencode(request.query)}" if request.query else url
    made.headers = CaseInsensitiveDict(HEADERS)
    for header in request.headers.items():
        check_header_validity(header)
    made.headers.update(request.headers)
    if request.json:
        made.body = msgspec.json.encode(request.json)
        made.headers["Content-Type"] = "application/json"
    made.prepare_content_length(made.body)
    return made


def _timeouts() -> tuple[float, float]:
    """Connect, read. A third of the time for connecting leaves some for a second address of the same host."""
    left = max(remaining(), 0.001)
    return min(_CONNECT_TIMEOUT, max(left / 3, 0.001)), left


def _collect(response: requests.Response) -> Answer | NoAnswer:
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
    return Answer(
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


def _shorten(value: Any) -> Any:
    long = isinstance(value, str) and len(value) > _VALUE_LIMIT
    return f"{value[:_VALUE_LIMIT]}… ({len(value)})" if long else value
