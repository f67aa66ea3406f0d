"""The numbers of rows, as they come from outside."""

from __future__ import annotations

import re
from typing import Any

GREATEST_INTEGER = 2**31 - 1  # what an INTEGER column holds; PostgreSQL refuses the question for more
_KEY = re.compile(r"[0-9]{1,10}")


def parse_key(text: Any) -> int | None:
    """A row's number as it stands in a URL or form; None when it is none."""
    return int(text) if _KEY.fullmatch(str(text)) and int(text) <= GREATEST_INTEGER else None
