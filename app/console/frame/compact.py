"""Templates without the indentation of their source: a tenth of a page was blanks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

_INDENT = re.compile(r"\s*\n\s*")
_EXACT = re.compile(r"(</?(?:pre|textarea)\b)")  # between these blanks are shown


class Compact(Extension):
    """Of the blanks between two lines of a template one line break stays, which a browser reads as the same."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        exact = False
        for token in stream:
            if token.type != "data":
                yield token
                continue
            parts = []
            for part in _EXACT.split(token.value):
                if _EXACT.fullmatch(part):
                    exact = not part.startswith("</")
                parts.append(part if exact else _INDENT.sub("\n", part))
            yield Token(token.lineno, "data", "".join(parts))
