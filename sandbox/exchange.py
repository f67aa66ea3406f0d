"""One platform call from request to outcome: weather, gateway, journal."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable

from .calls import Answer, Raw
from .contract import Operation
from .errors import Fault
from .faults import Fate, Outcome, Weather
from .gateway import Request, authenticate, failure, permit, route, run, success
from .journal import Journal
from .simulation import Platform

_JSON = "application/json"


class Exchange:
    """Answers the platform's paths."""

    def __init__(self, platform: Platform, journal: Journal, weather: Weather) -> None:
        self.platform = platform
        self.journal = journal
        self.weather = weather

    def serve(self, request: Request) -> Outcome | Awaitable[Outcome]:
        """An outcome, or something to wait for when the call itself waits for the console."""
        platform = self.platform
        platform.tick()
        outage = self.weather.outage(platform.world.settings, request.path)
        operation = route(platform.contract, request)
        if outage:
            return self._end(request, operation, outage, lost="" if outage.fate is Fate.SEND else "outage")
        if operation is None:
            body = b'{"message": "404 page not found"}'
            return self._end(request, None, Outcome(Fate.SEND, 404, _JSON, body))
        if self.weather.drops(platform, request, "before"):
            return self._end(request, operation, Outcome(Fate.ABORT), lost="drop_before")
        try:
            self.weather.refuse(platform, operation)
            shown = authenticate(platform, operation, request)
            self.weather.limit(platform, shown)
            permit(operation, shown)
            answer = run(platform, operation, request, shown)
        except Fault as fault:
            return self._refused(request, operation, fault)
        if inspect.isawaitable(answer):
            return self._wait(request, operation, answer)
        return self._answered(request, operation, answer)

    async def _wait(self, request: Request, operation: Operation, answer: Awaitable[Answer]) -> Outcome:
        try:
            return self._answered(request, operation, await answer)
        except Fault as fault:
            return self._refused(request, operation, fault)

    def _refused(self, request: Request, operation: Operation, fault: Fault) -> Outcome:
        return self._send(request, operation, Raw(_JSON, failure(self.platform, operation, fault)))

    def _answered(self, request: Request, operation: Operation, answer: Answer) -> Outcome:
        raw = answer if isinstance(answer, Raw) else Raw(_JSON, success(self.platform, operation, answer))
        return self._send(request, operation, raw)

    def _send(self, request: Request, operation: Operation, raw: Raw) -> Outcome:
        if self.weather.drops(self.platform, request, "after"):
            return self._end(request, operation, Outcome(Fate.ABORT), lost="drop_after")
        delay = raw.delay + self.weather.delay(self.platform)
        return self._end(request, operation, Outcome(Fate.SEND, raw.status, raw.media, raw.body, raw.headers, delay))

    def _end(self, request: Request, operation: Operation | None, outcome: Outcome, lost: str = "") -> Outcome:
        self.journal.add(
            request,
            at=self.platform.now(),
            operation_id=operation.id if operation else "",
            status=0 if lost else outcome.status,
            answer=outcome.body,
            media=outcome.media,
            lost=lost,
        )
        return outcome
