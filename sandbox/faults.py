"""The sandbox's bad weather: latency, errors, dropped answers, outages, limits; all of it seeded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

from .contract import Operation, Style
from .errors import Fault
from .gateway import Request, Shown
from .simulation import Platform
from .state import Settings


class Fate(StrEnum):
    """What becomes of a connection."""

    SEND = "send"
    ABORT = "abort"
    HANG = "hang"
    HALF = "half"


@dataclass(slots=True)
class Outcome:
    """What the server does with a request; `delay` in seconds."""

    fate: Fate
    status: int = 200
    media: str = "application/json"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0


_OUTAGES = {
    "refuse": Outcome(Fate.ABORT),
    "hang": Outcome(Fate.HANG),
    "500": Outcome(Fate.SEND, 500, "text/plain", b"Internal Server Error"),
    "html": Outcome(Fate.SEND, 200, "text/html", "<html><body>系统维护中</body></html>".encode()),
    "empty": Outcome(Fate.SEND, 200, "application/json", b""),
    "half": Outcome(Fate.HALF, 200, "application/json", b'{"err_no": 0, "err_msg": "succ'),
}
OUTAGES = ("off", *_OUTAGES)


class Weather:
    """Judges each platform call before and after its effect."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def outage(self, settings: Settings, path: str) -> Outcome | None:
        return _OUTAGES.get(settings.outage) if _listed(settings.outage_paths, path) else None

    def drops(self, platform: Platform, request: Request, when: str) -> bool:
        """`when`: "before" or "after" the effect. The counted drops come first, then the rates."""
        settings = platform.world.settings
        left: int = getattr(settings, f"drop_{when}_next")
        if left > 0 and settings.drop_path in request.path:
            setattr(settings, f"drop_{when}_next", left - 1)
            platform.changed = True
            return True
        rate: float = getattr(settings, f"drop_{when}_rate")
        if rate <= 0 or not _listed(settings.drop_paths, request.path):
            return False
        return platform.chance(rate, f"drop-{when}")

    def refuse(self, platform: Platform, operation: Operation) -> None:
        """Raise what stands before any token: blocked address, made-up errors."""
        settings = platform.world.settings
        if settings.ip_blocked:
            raise Fault(28005079 if not operation.core and operation.style is Style.V2 else 40006)
        if settings.error_next > 0 and settings.error_path in operation.path:
            settings.error_next -= 1
            raise Fault(settings.error_code)
        if platform.chance(settings.error_rate, "error"):
            default = 28001005 if operation.style is Style.V2 else 40000
            raise Fault(settings.error_code or default)

    def limit(self, platform: Platform, shown: Shown) -> None:
        """Calls a second, by mini-program, or by third-party app for its own calls. Real seconds."""
        most = platform.world.settings.rate_limit
        if not most:
            return
        key = shown.app.appid if shown.app else shown.owner.appid if shown.owner else ""
        second = int(time.monotonic())
        before, count = self._counts.get(key, (second, 0))
        count = count + 1 if before == second else 1
        self._counts[key] = (second, count)
        if key and count > most:
            raise Fault(28003018)

    def delay(self, platform: Platform) -> float:
        settings = platform.world.settings
        if not settings.latency_ms and not settings.latency_jitter_ms:
            return 0.0
        jitter = settings.latency_jitter_ms * platform.share("latency") if settings.latency_jitter_ms else 0.0
        return (settings.latency_ms + jitter) / 1000


def _listed(paths: list[str], path: str) -> bool:
    return not paths or any(part in path for part in paths)
