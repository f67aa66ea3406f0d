"""What one application keeps between requests: the objects of which it has one each, and what was made once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, TypeVar

from cachetools import TTLCache
from flask import Flask

Made = TypeVar("Made")


class Kept:
    """Filled as it is asked. One lock for all: what is made under it needs a moment and no database."""

    def __init__(self) -> None:
        self._lock = RLock()  # some are made of others
        self._ones: dict[str, Any] = {}

    def one(self, name: str, make: Callable[[], Made], over: Callable[[Made], bool] = lambda _made: False) -> Made:
        """The application's one object of this name: made when it is first asked for, and when it is over."""
        with self._lock:
            if name not in self._ones or over(self._ones[name]):
                self._ones[name] = make()
            made: Made = self._ones[name]
            return made

    def once(
        self,
        name: str,
        key: Hashable,
        make: Callable[[], Made],
        *,
        most: int,
        seconds: float = math.inf,
        over: Callable[[Made], bool] = lambda _made: False,
    ) -> Made:
        """What `make` gave for a key: at most so many of this name, each for so long and until it is over.

        Two who ask at the same moment may both make it: it is made outside the lock, for it may ask the database.
        """
        store: TTLCache[Hashable, Made] = self.one(name, lambda: TTLCache(most, seconds))
        with self._lock:
            found = store.get(key)
        if found is None or over(found):
            found = make()
            with self._lock:
                store[key] = found
        return found

    def get(self, name: str) -> Any:
        """The object of this name if there is one yet."""
        return self._ones.get(name)

    def forget(self, name: str) -> None:
        """Make it anew when it is next asked for."""
        with self._lock:
            self._ones.pop(name, None)


def kept_of(app: Flask) -> Kept:
    """What an application keeps."""
    found: Kept = app.extensions.setdefault("kept", Kept())
    return found
