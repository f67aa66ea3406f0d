"""The catalogue of a language: its translations, and finished sentences of ours recognised by them."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from app.i18n.compiled import compiled
from app.i18n.language import LANGUAGES

FOLDER = Path(__file__).resolve().parent / "translations"
NOTHING = "∅"  # a translation that leaves a word out: gettext takes an empty one for a missing one
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SPACES = re.compile(r"\s+")
SLOT = re.compile(r"\{(\d+)\}")
ANY_PLACE = re.compile(r"\{(\w+)\}")  # a numbered one, or one of `say`: `{name}`
# What sentences are put together with, the strongest first, and what stands for it in another language.
JOINTS = {
    "\n": "\n",
    "。": ". ",
    "；": "; ",
    " · ": " · ",
    "：": ": ",
    "，": ", ",
    "、": ", ",
    "（": " (",
    "）": ")",
    "「": " “",
    "」": "”",
    "…": "…",
    " ": " ",
}


@dataclass(frozen=True)
class Pattern:
    """A sentence with places, `已保存{0}「{1}」`, by which a finished one is recognised."""

    anchor: str  # its longest fixed part: what a text must hold to be tried at all
    shape: re.Pattern[str]
    slots: tuple[str, ...]
    named: frozenset[str]  # those in 「」: names of rows, mostly
    target: str
    weight: int  # letters of its fixed parts


class Catalogue:
    """One language's translations of Chinese texts, by exact words and by pattern."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self.exact = {source: "" if target == NOTHING else target for source, target in entries if target}
        made = [_pattern(source, target) for source, target in self.exact.items() if ANY_PLACE.search(source)]
        # The most said first; of equals the one that begins with words: 剩 3 天 is 剩 {0}, not {0} 天.
        self.patterns = sorted(made, key=lambda item: (-item.weight, item.shape.pattern.startswith("(")))
        self.say = lru_cache(maxsize=4096)(self._say)

    def find(self, text: str) -> str | None:
        """The translation of a whole message; None when there is none."""
        return self.exact.get(SPACES.sub(" ", text).strip())

    def _say(self, text: str) -> str:
        before, core, after = edges(text)
        found = self._whole(core, depth=2)
        return f"{before}{self._in_parts(core) if found is None else found}{after}"

    def _whole(self, text: str, depth: int) -> str | None:
        found = self.find(text)
        if found is not None or depth == 0:
            return found
        for pattern in self.patterns:
            match = pattern.shape.fullmatch(text) if pattern.anchor in text else None
            if match:
                return self._filled(pattern, match, depth)
        return None

    def _filled(self, pattern: Pattern, match: re.Match[str], depth: int) -> str:
        parts = {}
        for number, value in zip(pattern.slots, match.groups(), strict=True):
            parts[number] = self._slot(value, depth - 1, named=number in pattern.named)
        return ANY_PLACE.sub(lambda slot: parts.get(slot[1], ""), pattern.target)

    def _slot(self, value: str, depth: int, *, named: bool) -> str:
        """What stands in a sentence's place. A name stays as it is, unless it is a word of ours (a state's, a noun)."""
        if not CHINESE.search(value):
            return value
        known = self.find(value) if named else self._whole(value, depth)
        if known is None and named:
            words = [self.find(part) for part in value.split("、")]
            return value if None in words else JOINTS["、"].join(word or "" for word in words)
        return self._in_parts(value) if known is None else known

    def _in_parts(self, text: str) -> str:
        """Sentences that were put together, one by one; what nothing knows stays as it is."""
        joint = next((joint for joint in JOINTS if joint in text), None)
        if joint is None or not CHINESE.search(text):
            return text
        parts = text.split(joint)
        shown = [self._part(part) for part in parts]
        return text if shown == parts else JOINTS[joint].join(shown)

    def _part(self, text: str) -> str:
        before, core, after = edges(text)
        known = self._whole(core, depth=1) if CHINESE.search(core) else core
        return f"{before}{self._in_parts(core) if known is None else known}{after}"


def edges(text: str) -> tuple[str, str, str]:
    """The blanks that a text begins with, the text without them, the blanks that it ends with."""
    core = text.strip()
    begins = len(text) - len(text.lstrip())
    return text[:begins], core, text[begins + len(core) :]


def _pattern(source: str, target: str) -> Pattern:
    parts = ANY_PLACE.split(source)
    fixed, slots = parts[::2], tuple(parts[1::2])
    shape = "(.*?)".join(re.escape(part) for part in fixed)
    named = frozenset(slot for slot, before in zip(slots, fixed, strict=False) if before.endswith("「"))
    return Pattern(max(fixed, key=len), re.compile(shape, re.DOTALL), slots, named, target, sum(map(len, fixed)))


def source(name: str) -> Path:
    """Where the words of a language are kept."""
    return FOLDER / name / "LC_MESSAGES" / "messages.po"


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(name: str) -> Catalogue:
    """A language's catalogue, read once, compiled before where it was not; making an application reads them all."""
    path = source(name)
    if not path.exists():
        return Catalogue(())
    words: Any = gettext.GNUTranslations(BytesIO(compiled(path)))
    held: dict[Any, str] = words._catalog  # it has no other way to all
    return Catalogue((source, target) for source, target in held.items() if isinstance(source, str) and source)
