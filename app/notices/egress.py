"""To an address that others name: to a public host only, over TLS, ten seconds in all.

One POST to what a person entered, without redirects; one GET of what Douyin names, with a few, each checked.

The host is resolved once and that answer is both checked and connected to, so a name that resolves differently a
moment later (DNS rebinding) leads nowhere else. The certificate is still checked against the name.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import certifi
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from app.addresses import THIS_MACHINE
from app.deadline import POOLS, deadline, remaining
from app.errors import Refused

SECONDS = 10.0
MOST = 16 * 1024  # bytes of an answer that are read
LONGEST = 1000  # characters of an address
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 3
BLOCK = 64 * 1024
CA_FILE = certifi.where()
# Not known as private to the library: addresses that carry another one, old and reserved ranges, a cloud's service.
_INSIDE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "::/96",
        "fec0::/10",
        "100::/64",
        "3fff::/20",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "168.63.129.16/32",
    )
)


class Undelivered(Exception):
    """A message that did not arrive; `lasting`: a retry cannot help. `str()` is a Chinese sentence without secrets."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.lasting = lasting


@dataclass(frozen=True)
class Answer:
    """What came back: the HTTP status and the beginning of the body."""

    status: int
    text: str


def check_address(address: str, *, local: bool = False) -> SplitResult:
    """The parts of an address that may be sent to, resolved once for a try. Refused says what is wrong.

    `local` (demo and tests) also allows this machine, and there plain HTTP.
    """
    parts = _parts(address, local=local)
    try:
        _resolve(parts, local=local)
    except Undelivered as problem:
        raise Refused(str(problem), field="url") from None
    return parts


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """What is done here has so many seconds in all; whatever fails of it is Undelivered."""
    token = deadline.set(time.monotonic() + seconds)
    try:
        yield
    except Refused as refused:
        raise Undelivered(refused.message, lasting=True) from None
    except (HTTPError, OSError, ValueError, LookupError) as problem:
        raise Undelivered(_words(problem, seconds)) from None
    finally:
        deadline.reset(token)


def post(address: str, body: bytes, headers: Mapping[str, str], *, local: bool = False) -> Answer:
    """Send it; any status is an answer. Undelivered: nothing came back in time, or it may not be sent there."""
    with _within(SECONDS):
        parts = _parts(address, local=local)
        return _send(parts, _resolve(parts, local=local), body, headers)


def fetch(address: str, *, most: int, local: bool = False) -> bytes:
    """What stands at an address, at most `most` bytes of it, counted as they come; up to three redirects.

    Undelivered when it may not be asked, does not answer in time, answers otherwise than 200, or with more than that.
    """
    with _within(SECONDS):
        for _ in range(MOST_REDIRECTS + 1):
            found = _got(address, most, local=local)
            if isinstance(found, bytes):
                return found
            address = found
        raise Undelivered("重定向次数过多", lasting=True)


def _got(address: str, most: int, *, local: bool) -> bytes | str:
    """The content, or the address that is to be asked instead."""
    parts = _parts(address, local=local)
    # As it is stored: what is packed could unfold into more than was counted.
    with _opened("GET", parts, _resolve(parts, local=local), b"", {"Accept-Encoding": "identity"}) as answer:
        if answer.status in REDIRECTS:
            target: str = urljoin(address, answer.headers.get("Location", ""))
            return target
        if answer.status != 200:
            raise Undelivered(f"对方应答 {answer.status}", lasting=400 <= answer.status < 500)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Undelivered("对方的应答经过压缩", lasting=True)
        content = bytearray()
        while block := answer.read(BLOCK, decode_content=False):
            content += block
            if len(content) > most:
                raise Undelivered("内容过大", lasting=True)
        return bytes(content)


def post_home(address: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
    """The same to our own address, as the configuration names it: it may be inside, and over plain HTTP.

    Never for an address that a person entered.
    """
    with _within(seconds):
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        return _send(parts, [(str(item[4][0]), int(item[4][1])) for item in found], body, headers)


def _parts(address: str, *, local: bool) -> SplitResult:
    if len(address) > LONGEST or any(ord(letter) <= 32 or letter == "\\" or ord(letter) > 126 for letter in address):
        raise Refused("地址应为不含空格和中文的网址", field="url")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Refused("地址不是有效的网址", field="url") from None
    plain = parts.scheme == "http" and local and host in THIS_MACHINE
    if (parts.scheme != "https" and not plain) or not host:
        raise Refused("地址应以 https:// 开头", field="url")
    if parts.username is not None or parts.password is not None:
        raise Refused("地址中不能包含用户名和密码", field="url")
    return parts


def _resolve(parts: SplitResult, *, local: bool) -> list[tuple[str, int]]:
    """(number, port) of every address of the host; refused when one of them is not public."""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Undelivered("域名无法解析，请检查地址") from None
    places = [(str(item[4][0]), int(item[4][1])) for item in found]
    if not places or any(not _allowed(number, local=local) for number, _ in places):
        raise Undelivered("地址指向内部网络，不能使用", lasting=True)
    return places


def _allowed(number: str, *, local: bool) -> bool:
    try:
        address = ipaddress.ip_address(number.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return local
    inside = any(address in network for network in _INSIDE if network.version == address.version)
    return address.is_global and not address.is_multicast and not address.is_reserved and not inside


def _send(parts: SplitResult, places: list[tuple[str, int]], body: bytes, headers: Mapping[str, str]) -> Answer:
    with _opened("POST", parts, places, body, headers) as answer:
        return Answer(answer.status, answer.read(MOST, decode_content=False).decode("utf-8", "replace"))


@contextmanager
def _opened(
    method: str, parts: SplitResult, places: list[tuple[str, int]], body: bytes, headers: Mapping[str, str]
) -> Iterator[Any]:
    """The answer, whose body is not read yet; the caller has set the deadline."""
    number, port = places[0]
    options: dict[str, Any] = {}
    if parts.scheme == "https":
        name = parts.hostname
        options = {"server_hostname": name, "assert_hostname": name, "cert_reqs": "CERT_REQUIRED", "ca_certs": CA_FILE}
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    with POOLS[parts.scheme](number, port, **options) as pool:
        answer = pool.urlopen(
            method,
            target,
            body=body or None,
            headers={"Host": parts.netloc, "User-Agent": "douzhou", **headers},
            redirect=False,
            retries=False,
            assert_same_host=False,
            preload_content=False,
            timeout=Timeout(connect=remaining(), read=remaining()),
        )
        try:
            yield answer
        finally:
            answer.close()


def _words(problem: Exception, seconds: float) -> str:
    """The kind of failure in words; the library's own text names the address."""
    name = type(getattr(problem, "reason", None) or problem).__name__
    if name == "gaierror":
        return "域名无法解析，请检查地址"
    if "SSL" in name or "Certificate" in name:
        return "对方的 HTTPS 证书无效"
    if "Timeout" in name:
        return f"{seconds:.0f} 秒内没有应答"
    return f"连接不上对方服务器（{name}）"
