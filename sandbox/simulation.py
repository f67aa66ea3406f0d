"""The sandbox's inside: the world, its clock, its seeded dice, its secrets and what is due when."""

from __future__ import annotations

import hashlib
import heapq
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from .contract import Contract
from .state import App, Kind, ThirdParty, Token, World

LIFETIME = {
    Kind.TICKET: 10_800,
    Kind.COMPONENT_V2: 7_200,
    Kind.COMPONENT_V1: 7_200,
    Kind.LINK: 86_400,
    Kind.CODE: 3_600,
    Kind.AUTHORIZER_V2: 7_200,
    Kind.AUTHORIZER_V1: 7_200,
    Kind.REFRESH_V2: 2_592_000,
    Kind.REFRESH_V1: 2_592_000,
    Kind.CLIENT: 7_200,
}
_PREFIX = {
    Kind.COMPONENT_V2: "clt.",
    Kind.CLIENT: "clt.",
    Kind.AUTHORIZER_V2: "isvact.",
    Kind.REFRESH_V2: "isvrft.",
    Kind.CODE: "code-",
    Kind.PRE_AUTH: "pre-",
}
_REMEMBERED_AFTER_END = 86_400


class Pusher(Protocol):
    """Sends events to the third-party app's addresses."""

    def event(self, thirdparty: ThirdParty, event: dict[str, Any], *, delay: float = 0.0) -> None: ...

    def ticket(self, thirdparty: ThirdParty, ticket: str) -> None: ...


class Platform:
    """One world and the few things every rule needs of it. Single-threaded: only the event loop calls it."""

    def __init__(self, world: World, contract: Contract, pusher: Pusher, *, base_url: str) -> None:
        self.world = world
        self.contract = contract
        self.pusher = pusher
        self.base_url = base_url
        self.changed = False
        self._due: list[tuple[float, int, str, str]] = []
        self._sequence = 0
        self._of_app: dict[str, set[str]] = defaultdict(set)
        self.on_due: dict[str, Callable[[Platform, str, float], None]] = {}
        self._index()

    def _index(self) -> None:
        self._of_app.clear()
        for text, token in self.world.tokens.items():
            self._of_app[token.appid].add(text)

    def replace(self, world: World) -> None:
        """Another world in the same house; nothing is due any more."""
        self.world = world
        self._due.clear()
        self._index()
        self.changed = True

    # time

    def now(self) -> float:
        return time.time() + self.world.clock_offset

    def later(self, when: float, kind: str, key: str) -> None:
        """Call `on_due[kind](platform, key, when)` once the sandbox's clock reaches `when`."""
        self._sequence += 1
        heapq.heappush(self._due, (when, self._sequence, kind, key))

    def tick(self) -> None:
        """Do all that is due, in order of time."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            when, _, kind, key = heapq.heappop(self._due)
            self.on_due[kind](self, key, when)
            self.changed = True

    def absolute(self, address: str) -> str:
        """Own pictures are kept without the host, which may change from start to start."""
        return self.base_url + address if address.startswith("/") else address

    # seeded dice

    def draw(self, purpose: str) -> bytes:
        """32 bytes that follow from the seed, the purpose, and how many were drawn for that purpose before.

        Purposes are independent of each other: reading versions more often changes no token and no verdict.
        """
        count = self.world.counters[purpose] = self.world.counters.get(purpose, 0) + 1
        self.changed = True
        return hashlib.sha256(f"{self.world.seed}/{purpose}/{count}".encode()).digest()

    def secret(self, kind: Kind) -> str:
        """A new token text with the prefix the platform's samples show; hex only for the V1 generation."""
        return _PREFIX.get(kind, "") + self.draw(kind).hex()[:40]

    def number(self, purpose: str, *, digits: int = 16) -> int:
        most: int = 10**digits
        return int.from_bytes(self.draw(purpose)[:8], "big") % most

    def chance(self, rate: float, purpose: str) -> bool:
        """True with probability `rate`; draws nothing at 0 or 1, so that idle switches change no run."""
        if rate <= 0 or rate >= 1:
            return rate >= 1
        return self.share(purpose) < rate

    def share(self, purpose: str) -> float:
        """A number in [0, 1)."""
        return int.from_bytes(self.draw(purpose)[:8], "big") / 2**64

    # tokens

    def issue(
        self,
        kind: Kind,
        thirdparty: str,
        *,
        appid: str = "",
        lifetime: float = 0,
        detail: dict[str, Any] | None = None,
    ) -> str:
        text = self.secret(kind)
        end = self.now() + (lifetime or LIFETIME[kind])
        self.world.tokens[text] = Token(kind, thirdparty, end, appid=appid, detail=detail or {})
        self._of_app[appid].add(text)
        return text

    def token(self, text: str, *kinds: Kind) -> Token | None:
        """The token of one of these kinds, alive or not."""
        found = self.world.tokens.get(text)
        return found if found and found.kind in kinds else None

    def alive(self, text: str, *kinds: Kind) -> Token | None:
        found = self.token(text, *kinds)
        return found if found and found.expires_at > self.now() else None

    def drop(self, text: str) -> None:
        found = self.world.tokens.pop(text, None)
        if found:
            self._of_app[found.appid].discard(text)
            self.changed = True

    def tokens_of(self, appid: str, *kinds: Kind) -> list[str]:
        """Token texts of a mini-program; all kinds when none is named."""
        texts = sorted(self._of_app.get(appid, ()))
        return [text for text in texts if not kinds or self.world.tokens[text].kind in kinds]

    def prune(self) -> None:
        """Forget tokens that ended a day ago; until then they answer `expired`, afterwards `not valid`."""
        limit = self.now() - _REMEMBERED_AFTER_END
        for text in [text for text, token in self.world.tokens.items() if token.expires_at < limit]:
            self.drop(text)
        self.world.used_codes = {c: at for c, at in self.world.used_codes.items() if at > limit}

    # rows

    def app(self, appid: str) -> App | None:
        found = self.world.apps.get(appid)
        return None if found is None or found.deleted else found

    def thirdparty(self, appid: str) -> ThirdParty | None:
        found = self.world.thirdparties.get(appid)
        return None if found is None or found.removed else found
