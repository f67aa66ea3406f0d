"""Puts the parts together and runs them: socket, clock tick, pushes, state file, clean end."""

from __future__ import annotations

import asyncio
import gc
import importlib
import pkgutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from . import client_token, contract, seed
from .authorization import ticket_due
from .connection import Connection
from .control import Control
from .exchange import Exchange
from .faults import Weather
from .journal import Journal
from .packages import audit_due, rollback_due
from .push import ConsolePusher
from .settle import settle_due
from .simulation import Platform
from .site import Site
from .state import DEFAULT_APPID, World, restore, save, save_gently

_TICK = 0.05
_SAVE_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    port: int
    console: str = ""
    state: Path | None = None
    seed: int = 1
    audit_seconds: float = 20.0
    journal: Path | None = None


def load_handlers() -> None:
    """Import every module here: what answers an operation is known by being defined."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("__"):
            importlib.import_module(f"{__package__}.{module.name}")


class Server:
    """One sandbox in one process."""

    def __init__(self, options: Options) -> None:
        self.options = options
        known = contract.load()
        client_token.register(known)
        load_handlers()
        gc.collect()
        saved = bool(options.state and options.state.exists())
        world = restore(options.state) if saved and options.state else World(seed=options.seed)
        world.settings.audit_seconds = options.audit_seconds
        self.pusher = ConsolePusher()
        shown = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104 - compared only
        self.platform = Platform(world, known, self.pusher, base_url=f"http://{shown}:{options.port}")
        self.pusher.platform = self.platform
        self.journal = Journal(options.journal)
        if not saved:
            seed.populate(self.platform)
        self._point_to_console()
        control = Control(self.platform, self.pusher, self.journal, restart=self._resume)
        self.site = Site(Exchange(self.platform, self.journal, Weather()), control)
        self.connections: set[Connection] = set()
        self._next_save = 0.0

    def _point_to_console(self) -> None:
        console = self.options.console.rstrip("/")
        if not console:
            return
        owner = self.platform.world.thirdparties[DEFAULT_APPID]
        base = f"{console}/douyin/callback/{owner.appid}"
        owner.authorization_url, owner.message_url = f"{base}/authorization", f"{base}/message"
        owner.auth_domain = console.split("://", 1)[-1]

    def _resume(self) -> None:
        """Put back into the diary what a world has pending; tickets are due at once."""
        platform, world = self.platform, self.platform.world
        platform.on_due = {
            "ticket": ticket_due,
            "audit": audit_due,
            "rollback": rollback_due,
            "settle": settle_due,
        }
        for app in world.apps.values():
            if app.audit and app.audit.status == 0:
                platform.later(app.audit.decide_at, "audit", app.appid)
            if app.rollback_at:
                platform.later(app.rollback_at, "rollback", app.appid)
        for one in world.settlements.values():
            if one.status == 2:
                platform.later(one.created_at + world.settings.audit_seconds, "settle", one.apply_id)
        for owner in world.thirdparties.values():
            owner.ticket_delivered = False
            owner.next_ticket_at = platform.now()
            platform.later(platform.now(), "ticket", owner.appid)

    async def run(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.pusher.loop = loop
        stopped = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopped.set)
        server = await loop.create_server(lambda: Connection(self.site, self.connections), sock=listener, backlog=512)
        self._resume()
        print(f"抖音沙箱已就绪 Douyin sandbox ready: {self.platform.base_url}/_sandbox/", flush=True)
        ticking = asyncio.create_task(self._tick())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait((ticking, stopping), return_when=asyncio.FIRST_COMPLETED)
        ticking.cancel()
        await asyncio.wait((ticking,))  # a save under way must have let go of its file before the last one
        server.close()
        for connection in list(self.connections):
            connection.close()
        self.pusher.close()
        self._save()
        self.journal.flush()
        if not ticking.cancelled():
            ticking.result()

    async def _tick(self) -> None:
        while True:
            self.platform.tick()
            if self.platform.changed and time.monotonic() >= self._next_save:
                await self._save_gently()
            self.journal.flush()
            await asyncio.sleep(_TICK)

    async def _save_gently(self) -> None:
        """At most once a second, and no more than a tenth of the time."""
        self.platform.changed = False
        if self.options.state is None:
            return
        started = time.monotonic()
        await save_gently(self.platform.world, self.options.state)
        ended = time.monotonic()
        self._next_save = ended + max(_SAVE_EVERY, 9 * (ended - started))

    def _save(self) -> None:
        """The last one, whole."""
        if self.options.state:
            save(self.platform.world, self.options.state)
