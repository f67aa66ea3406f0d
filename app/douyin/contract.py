"""What an endpoint of the Douyin Open Platform is: tokens, hosts, envelopes, `Route`, `Call` and `Reply`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, IntEnum, StrEnum
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_type_hints,
)

import msgspec

from app.redaction import redact_value

DOCS = "https://developer.open-douyin.com/docs/resource/zh-CN/thirdparty/API/smallprogram"

# What a token may look like. A line break or a blank in one would end up in a request header.
TokenText = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+\Z")]
AppId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
# What is not of this form is no version, however much it looks like one; the second may also say that there is none.
VersionNumber = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+\Z", max_length=32)]
VersionOrNone = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+\.[0-9]+\.[0-9]+)?\Z", max_length=32)]
# Bounds keep a nonsense number from overflowing a date or a database column further up.
Seconds = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_214_400)]
VendorId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# Annotation of a field that may be absent but never misread: in another shape than declared it refuses the answer.
STRICT = "strict"
# Annotation of a text that is a web address, or of an object with some in it: others than https are read as absent.
ADDRESS = "address"
WebAddress = Annotated[str, ADDRESS]
WithAddresses = Annotated[dict[str, Any], ADDRESS]


class Token(StrEnum):
    """Which credential a call needs. The generations are not interchangeable."""

    NONE = "none"
    COMPONENT = "component"
    COMPONENT_V1 = "component_v1"
    AUTHORIZER = "authorizer"
    AUTHORIZER_V1 = "authorizer_v1"
    CLIENT = "client"


class Host(StrEnum):
    """Which of the platform's hosts answers; the addresses are the client's settings."""

    OPEN = "open"
    MICROAPP = "microapp"
    TOUTIAO = "toutiao"


Again = Literal["read", "harmless", "never"]


class Place(Enum):
    """Where a parameter or the token stands in the request."""

    HEADER = "header"
    QUERY = "query"
    JSON = "json"
    FORM = "form"
    FILE = "file"


class PermissionSet(IntEnum):
    """权限集 a merchant grants when authorising; `word` is the platform's Chinese name."""

    DEVELOP = 1
    BASIC_INFO = 2
    OPERATION = 3
    DATA = 4
    ADVERTISING = 5
    PAYMENT = 6
    TRAFFIC_OWNER = 7
    PROMOTION_TASK = 8

    @property
    def word(self) -> str:
        return _PERMISSION_WORDS[self]


_PERMISSION_WORDS = {
    PermissionSet.DEVELOP: "开发管理权限",
    PermissionSet.BASIC_INFO: "基本信息设置权限",
    PermissionSet.OPERATION: "运营管理权限",
    PermissionSet.DATA: "数据分析权限",
    PermissionSet.ADVERTISING: "广告管理权限",
    PermissionSet.PAYMENT: "支付服务权限",
    PermissionSet.TRAFFIC_OWNER: "流量主权限",
    PermissionSet.PROMOTION_TASK: "小程序推广计划-任务管理权限",
}


class OpenIntEnum(IntEnum):
    """A vendor's state number. One that is not listed yet becomes a member named `UNKNOWN_<n>`."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if type(value) is not int or abs(value) >= 2**31:
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"UNKNOWN_{value}", value
        return member


@dataclass(frozen=True)
class Envelope:
    """How an answer is wrapped.

    `codes` and `messages` are the names the code and text go by, inside the object `inside` if that is set;
    `payload` is the name of the reply's object, None when the reply stands beside the code. `flat` answers
    carry a code only on failure, and then perhaps as text.
    """

    codes: tuple[str, ...]
    messages: tuple[str, ...]
    payload: str | None = "data"
    inside: str | None = None
    flat: bool = False
    file: bool = False


V2 = Envelope(("err_no",), ("err_msg",))
V2_TOP = Envelope(("err_no",), ("err_msg",), payload=None)
V1 = Envelope(("errno",), ("message",))
V1_TOP = Envelope(("errno",), ("message",), payload=None)
FLAT = Envelope(("errno", "err_no"), ("message", "err_msg"), payload=None, flat=True)
CENSOR_V1 = Envelope(("error",), ("message",), payload=None)
CLIENT_TOKEN = Envelope(("error_code",), ("description",), inside="data", flat=True)
FILE_V1 = Envelope(("errno",), ("message",), file=True)


@dataclass(frozen=True)
class Route:
    """Where a call goes. `again` says what a second time does: `read` changes nothing, `harmless` changes what may be
    changed twice; both may be sent again when no answer came. `never` is read back instead. `doc`: the platform's page.
    """

    method: Literal["GET", "POST"]
    path: str
    token: Token
    permission: PermissionSet | None = None
    again: Again = field(default="never", kw_only=True)
    doc: str = field(kw_only=True)
    host: Host = field(default=Host.OPEN, kw_only=True)
    envelope: Envelope = field(default=V2, kw_only=True)

    @property
    def carry(self) -> Place:
        """Where the token stands: each host has its own custom, whatever the token's generation."""
        return {Host.OPEN: Place.HEADER, Host.MICROAPP: Place.QUERY, Host.TOUTIAO: Place.JSON}[self.host]


@dataclass(frozen=True)
class Wire:
    """Annotation of a field whose name or place is not the usual: a GET's in the query, a POST's in JSON."""

    place: Place | None = None
    name: str | None = None


@dataclass(frozen=True)
class Upload:
    """A file to send as multipart/form-data."""

    name: str
    content: bytes
    content_type: str = "application/octet-stream"

    def __repr__(self) -> str:
        return f"<{self.name}, {len(self.content)} bytes>"


@dataclass(frozen=True)
class Parameter:
    """One parameter as the wire wants it: its place, its name there, its value (None is left out)."""

    place: Place
    name: str
    value: Any


def _masked_repr(value: Any) -> str:
    """A repr that may be logged: every field that is a secret by its name is masked."""
    names = (item.name for item in fields(value))
    shown = (f"{name}={redact_value(name, getattr(value, name))!r}" for name in names)
    return f"{type(value).__name__}({', '.join(shown)})"


R = TypeVar("R")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Reply:
    """Base of the answers: every subclass becomes a frozen keyword-only dataclass; its repr masks secrets."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclass(frozen=True, kw_only=True, repr=False)(cls)

    def __repr__(self) -> str:
        return _masked_repr(self)

    @classmethod
    def prepare(cls, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object with the platform's odd spellings evened out; most replies need nothing."""
        return payload


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Call(Generic[R]):
    """Base of the endpoints: `class GetThing(Call[ThingReply])`, fields = parameters.

    Every subclass becomes a frozen, keyword-only dataclass. The docstring starts with the platform's name of
    the endpoint. `Call[None]` answers nothing of interest, `Call[bytes]` a file. `about_platform` marks calls
    whose parameters are the third-party app's own settings, so that a wrong one concerns every app.
    """

    operation_id: ClassVar[str] = ""
    route: ClassVar[Route]
    about_platform: ClassVar[bool] = False
    reply_type: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.reply_type = get_args(vars(cls)["__orig_bases__"][0])[0]
        dataclass(frozen=True, kw_only=True, repr=False)(cls)

    def __repr__(self) -> str:
        return _masked_repr(self)

    @property
    def again(self) -> Again:
        """What sending this very call a second time does; an endpoint may know better than its route."""
        return self.route.again

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.route.again == "read"

    @classmethod
    def title(cls) -> str:
        """The platform's Chinese name of the endpoint."""
        return (cls.__doc__ or "").strip().split("。", 1)[0]

    def parameters(self) -> Iterator[Parameter]:
        """The parameters that are set; nested dataclasses become plain objects."""
        for name, place, wire_name in wires(type(self)):
            value = getattr(self, name)
            if value is not None:
                plain = value if isinstance(value, Upload) else msgspec.to_builtins(value)
                yield Parameter(place, wire_name, plain)


def wires(call: type[Call[Any]]) -> tuple[tuple[str, Place, str], ...]:
    """Of every field of an endpoint: its name, its place in the request, its name there."""
    kind: Any = call
    return _wires(kind)


@cache
def _wires(call: Any) -> tuple[tuple[str, Place, str], ...]:
    rule = Place.QUERY if call.route.method == "GET" else Place.JSON
    hints = get_type_hints(call, include_extras=True)
    found = []
    for name in (item.name for item in fields(call)):
        marks = [mark for mark in get_args(hints[name])[1:] if isinstance(mark, Wire)] or [Wire()]
        found.append((name, marks[0].place or rule, marks[0].name or name))
    return tuple(found)
