"""The one exception of the rules: a code of the platform, to be put into the call's envelope."""

from __future__ import annotations


class Fault(Exception):
    """The platform says no. `message` replaces the code's documented text."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
