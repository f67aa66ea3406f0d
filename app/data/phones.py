"""Phone numbers as people type them, and the one form in which each is kept, hashed and found.

A mobile number is eleven digits, a landline has a dash behind its area code, 400 and 800 numbers are ten digits, and
those of elsewhere begin with `+`. An extension stands behind a dash and is no part of what is hashed: whoever calls the
number finds whose it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from app.data import texts
from app.data.secrets import Sealed, keyring
from app.errors import Refused
from app.i18n.sentence import ours, say

REGION = "CN"
LONGEST = 100  # characters of a text that is read as numbers
MOST_WORDS = 8  # of one number: +86 (138) 0013 8000 ext 1
HIDDEN = "****"
_MOBILE = re.compile(r"(?a)1[3-9]\d{9}")
_SERVICE = re.compile(r"(?a)[48]00\d{7}")
_LANDLINE = re.compile(r"(?a)0(10|2\d|[3-9]\d\d)(\d{7,8})")  # an area that the library does not know yet
_BETWEEN_DIGITS = re.compile(r"[\s().\-\u2010-\u2015\u2212~_]")
_DIGITS = re.compile(r"(?a)\+?\d{7,17}")
_EXTENSION = re.compile(r"(?ai)(.*\d)\s*(?:转|轉|分机号?|ext(?:ension)?\.?|x|#)\s*:?\s*(\d{1,6})")
_DASHED = re.compile(r"(?a)(.*\d)\s*-\s*(\d{1,6})")
_LABEL = re.compile(r"(?i)(?:联系)?(?:手机|电话|座机|固话|tel|phone|mobile)(?:号码|号)?\s*[:.]?\s*")
_APART = re.compile(r"[/\\、,;|&\n\t]|或|和|及")


class Phone(NamedTuple):
    """A number in its one form, and an extension."""

    number: str
    extension: str = ""

    def __str__(self) -> str:
        return f"{self.number}-{self.extension}" if self.extension else self.number

    @property
    def is_mobile(self) -> bool:
        return bool(_MOBILE.fullmatch(self.number))

    @property
    def masked(self) -> str:
        """What pages show: `138****8000`, `0571-****0003-801`, `400****888`."""
        area, dash, rest = self.number.partition("-")
        if dash:
            shown = f"{area}-{HIDDEN}{rest[-4:]}"
        else:
            shown = f"{self.number[:3]}{HIDDEN}{self.number[-(4 if len(self.number) > 10 else 3) :]}"
        return f"{shown}-{self.extension}" if self.extension else shown


def read(text: str) -> list[Phone]:
    """The numbers in a text, each once, in their order; none unless all of it can be read as numbers."""
    text = unicodedata.normalize("NFKC", texts.cleaned(text, lines=True))
    if len(text) > LONGEST:
        return []
    if (whole := _one(text)) is not None:
        return [whole]
    parts = [part for part in _APART.split(text) if part.strip()]
    found: list[Phone] = []
    for part in parts:
        numbers = _in_a_row(part.split())
        if numbers is None:
            return []
        found += numbers
    return list(dict.fromkeys(found))


def one(text: str) -> Phone | None:
    """The number that a text is; None where it is none, or several."""
    found = read(text)
    return found[0] if len(found) == 1 else None


def several(text: str, label: str) -> list[Phone]:
    """The numbers that somebody typed. Refused, by the label, when they cannot be read."""
    found = read(text)
    if not found:
        raise Refused(say("{label}格式不正确，例如 138 0013 8000 或 0571-88880003 转 801", label=ours(label)))
    return found


def given(text: str, label: str) -> Phone:
    """The number that somebody typed. Refused, by the label, when it is none, or several."""
    first, *others = several(text, label)
    if others:
        raise Refused("这里有多个号码：请只填写一个，其余的写在备注里")
    return first


def hashed(phone: Phone) -> str:
    """What a number is looked up by, whatever extension it has."""
    return keyring().fingerprint(phone.number)


class SealedPhone(Sealed):
    """A phone number of a row: sealed, with its mask in `<name>_masked` and in `<name>_hash` what finds it. Set to any
    text that one types; Refused when that is no number."""

    kind = "phone"
    columns = ("sealed", "masked", "hash")

    def __set__(self, row: Any, plaintext: str | None) -> None:
        phone = given(plaintext, "手机号") if plaintext else None
        super().__set__(row, str(phone) if phone else None)
        setattr(row, f"{self.name}_masked", phone.masked if phone else "")
        setattr(row, f"{self.name}_hash", hashed(phone) if phone else None)


def masks(text: str) -> bool:
    """Whether a text is what a number is shown as."""
    return bool(re.fullmatch(rf"(?a)[+\d-]{{3,5}}{re.escape(HIDDEN)}\d{{3,4}}(?:-\d{{1,6}})?", text))


def _in_a_row(words: list[str]) -> list[Phone] | None:
    """Numbers with blanks between them, and within them; None where some of it is none."""
    if not words:
        return []
    for end in range(min(len(words), MOST_WORDS), 0, -1):
        first = _one(" ".join(words[:end]))
        if first is not None and (rest := _in_a_row(words[end:])) is not None:
            return [first, *rest]
    return None


def _one(text: str) -> Phone | None:
    text = text.strip()
    if found := _LABEL.match(text):
        text = text[found.end() :]
    return next((Phone(number, extension) for number, extension in _readings(text) if number), None)


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """(number, extension) as a text may be meant, each number empty when it is none."""
    if found := _EXTENSION.fullmatch(text):
        yield _canonical(found[1]), found[2]
    yield _canonical(text), ""
    if found := _DASHED.fullmatch(text):
        yield _canonical(found[1]), found[2]


def _canonical(text: str) -> str:
    """A number without an extension in its one form; empty when it is none."""
    bare = _BETWEEN_DIGITS.sub("", text)
    if not _DIGITS.fullmatch(bare):
        return ""
    try:
        number = phonenumbers.parse(bare, REGION)
    except NumberParseException:
        return ""
    if number.country_code != 86:
        valid = phonenumbers.is_valid_number(number)
        return phonenumbers.format_number(number, PhoneNumberFormat.E164) if valid else ""
    national = str(number.national_number)
    if _MOBILE.fullmatch(national) or _SERVICE.fullmatch(national):
        return national
    area = phonenumbers.length_of_geographical_area_code(number) if phonenumbers.is_valid_number(number) else 0
    if area:
        return f"0{national[:area]}-{national[area:]}"
    found = _LANDLINE.fullmatch(bare)
    return f"0{found[1]}-{found[2]}" if found else ""
