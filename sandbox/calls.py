"""What a handler of an operation gets and gives, and the table of handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .contract import Operation
from .errors import Fault
from .simulation import Platform
from .state import App, ThirdParty

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not an envelope: a file, a page, a redirect."""

    media: str
    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0


@dataclass(slots=True)
class Call:
    """A request whose path, token, permission and parameters were found good."""

    platform: Platform
    operation: Operation
    query: Fields
    body: Fields
    token: str = ""
    owner: ThirdParty | None = None
    target: App | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def thirdparty(self) -> ThirdParty:
        if self.owner is None:
            raise Fault(40003)
        return self.owner

    @property
    def app(self) -> App:
        if self.target is None:
            raise Fault(40004)
        return self.target

    @property
    def is_v1(self) -> bool:
        return self.operation.style.value != "err_no"


Answer = Fields | Raw
Handler = Callable[[Call], Answer | Awaitable[Answer]]
HANDLERS: dict[str, Handler] = {}


def handles(*operation_ids: str) -> Callable[[Handler], Handler]:
    """Register a handler; its answer's fields are added to the operation's envelope of success."""

    def register(handler: Handler) -> Handler:
        for name in operation_ids:
            HANDLERS[name] = handler
        return handler

    return register
