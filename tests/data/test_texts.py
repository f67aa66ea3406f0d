"""How a text that people type is kept: composed, without what cannot be seen, with plain blanks."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data import texts
from app.errors import Refused

FAMILY = "👩\u200d👩\u200d👧"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
LETTERS = st.text(
    st.one_of(
        st.sampled_from(
            "花店Aé1# \u3000\u00a0\u200b\u200d\ufe0f\u202e\u0301\u20e3\n\r\t👩👧❤\U0001f3fb\U0001f3f4\U000e0067\U000e007f"
        ),
        st.characters(),
    ),
    max_size=30,
)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("零宽\u200b店", "零宽店"),
        ("\ufeff零\u2060宽\u3164店\u00ad", "零宽店"),
        ("店\u202e反", "店反"),
        ("\u2066店\u2069\u200e", "店"),
        ("店\ufffc", "店"),
        ("cafe\u0301", "caf\u00e9"),
        ("e\u200b\u0301", "\u00e9"),
        ("　花　　店 ", "花 店"),
        ("花\u00a0\u2003 店", "花 店"),
        ("\u3000", ""),
        ("\u2800\u200b", ""),
        ("花（店）Ａ", "花（店）Ａ"),
        ("葛\U000e0100城", "葛城"),
        ("花\u200d店\ufe0f", "花店"),
    ],
)
def test_what_is_not_seen_makes_no_difference(typed: str, kept: str) -> None:
    assert texts.cleaned(typed) == kept


@pytest.mark.parametrize(
    "emoji",
    [
        FAMILY,
        "❤\ufe0f",
        "❤\ufe0f\u200d🔥",
        "1\ufe0f\u20e3",
        SCOTLAND,
        "👍🏽",
        "🇨🇳",
        "✂\ufe0e",
        "▶\ufe0f",
        "Ⓜ\ufe0f",
        "▪\ufe0f",
        "◀\ufe0e",
        "◽\ufe0f",
    ],
)
def test_an_emoji_stays_whole(emoji: str) -> None:
    assert texts.cleaned(f"\u200b花{emoji}\u200b店") == f"花{emoji}店"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("👩\u200d", "👩"), ("👩\u200d\u200b👧", "👩👧"), ("\u200d👩", "👩"), ("😀\ufe0f\ufe0f", "😀\ufe0f")],
)
def test_a_joiner_joins_pictures_or_goes(typed: str, kept: str) -> None:
    assert texts.cleaned(typed) == kept


def test_lines_and_what_is_indented_stay() -> None:
    typed = "第一行\u3000 \r\n\u3000\u3000第\u200b二行\r\tx\u2028三\n\n"
    assert texts.cleaned(typed, lines=True) == "第一行\n  第二行\n\tx\n三"


@given(LETTERS, st.booleans())
def test_cleaning_twice_changes_nothing(text: str, lines: bool) -> None:
    once = texts.cleaned(text, lines=lines)
    assert texts.cleaned(once, lines=lines) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip() and "\u200b" not in once and "\u202e" not in once and "\u3000" not in once


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20))
def test_letters_digits_and_signs_stay(text: str) -> None:
    """But for the fillers, which are letters that nobody sees."""
    plain = "".join(letter for letter in text if letter not in "\u115f\u1160\u3164\uffa0\u2800\ufffc")
    assert texts.cleaned(plain) == unicodedata.normalize("NFC", plain)


@pytest.mark.parametrize("odd", ["\x00", "\x07", "\x1b", "\x7f", "\x9f", "\ud800", "\uffff"])
def test_what_no_text_may_hold_is_refused(odd: str) -> None:
    for lines in (False, True):
        with pytest.raises(Refused, match="名称"):
            texts.checked(f"走{odd}查", "名称", lines=lines)


def test_what_is_not_cleaned_is_kept_letter_for_letter() -> None:
    assert texts.allowed("a\u200b\u3000 b", "密钥") == "a\u200b\u3000 b"
    with pytest.raises(Refused):
        texts.allowed("a\u202eb", "密钥")
