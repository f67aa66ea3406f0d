"""Phone numbers as people type them: one form for each, whatever stands around and within it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data import phones
from app.data.phones import Phone

MOBILE, LANDLINE, EXTENDED = Phone("13800138000"), Phone("0571-88880003"), Phone("0571-88880003", "801")
SPELLINGS = {
    "13800138000": MOBILE,
    "138 0013 8000": MOBILE,
    "138-0013-8000": MOBILE,
    "138.0013.8000": MOBILE,
    "138\u20110013\u20118000": MOBILE,
    "138\u00a00013\u30008000": MOBILE,
    "\u202d13800138000\u202c": MOBILE,
    "１３８００１３８０００": MOBILE,
    "(138)00138000": MOBILE,
    "86 13800138000": MOBILE,
    "8613800138000": MOBILE,
    "+86-138-0013-8000": MOBILE,
    "+86 138 0013 8000": MOBILE,
    "＋８６ 13800138000": MOBILE,
    "(+86) 138 0013 8000": MOBILE,
    "0086 138 0013 8000": MOBILE,
    "013800138000": MOBILE,
    "tel:13800138000": MOBILE,
    "手机号：13800138000": MOBILE,
    "电话 138 0013 8000": MOBILE,
    "0571-88880003": LANDLINE,
    "057188880003": LANDLINE,
    "0571 8888 0003": LANDLINE,
    "(0571)88880003": LANDLINE,
    "（0571）8888-0003": LANDLINE,
    "+86 571 8888 0003": LANDLINE,
    "+86 (0571) 88880003": LANDLINE,
    "0086-571-88880003": LANDLINE,
    "0571-88880003-801": EXTENDED,
    "0571-8888-0003-801": EXTENDED,
    "0571-88880003转801": EXTENDED,
    "0571 88880003 转 801": EXTENDED,
    "0571-88880003 分机：801": EXTENDED,
    "0571-88880003#801": EXTENDED,
    "0571-88880003 ext. 801": EXTENDED,
    "0571-88880003x801": EXTENDED,
    "+86 571 88880003 转 801": EXTENDED,
    "010-88880003": Phone("010-88880003"),
    "02088880003": Phone("020-88880003"),
    "0312-8888000": Phone("0312-8888000"),
    "400-800-8888": Phone("4008008888"),
    "4008-008-888": Phone("4008008888"),
    "400 800 8888 转 1": Phone("4008008888", "1"),
    "400-800-8888-1": Phone("4008008888", "1"),
    "800-810-8888": Phone("8008108888"),
    "+852 9123 4567": Phone("+85291234567"),
    "00852 91234567": Phone("+85291234567"),
    "+1 (650) 253-0000": Phone("+16502530000"),
}
SEVERAL = {
    "13800138000/13900139000": ["13800138000", "13900139000"],
    "13800138000、13900139000": ["13800138000", "13900139000"],
    "13800138000，13900139000": ["13800138000", "13900139000"],
    "13800138000；0571-88880003-801": ["13800138000", "0571-88880003-801"],
    "13800138000 13900139000": ["13800138000", "13900139000"],
    "138 0013 8000 139 0013 9000": ["13800138000", "13900139000"],
    "13800138000\n13900139000": ["13800138000", "13900139000"],
    "手机：13800138000 电话：0571-88880003": ["13800138000", "0571-88880003"],
    "13800138000 或 +86 138 0013 8000": ["13800138000"],
}
NONE = [
    "",
    "12",
    "1380013800",
    "138001380001",
    "88880003",
    "王女士",
    "王女士13800138000",
    "0571-88880003/4",
    "0.1",
    "1e11",
]
NONE += [
    "tt13800138000",
    "7184300000000000001",
    "+",
    "138****8000",
    "13800138000 12",
    "1" * 200,
    "12 " * 60,
    "٠١٢٣٤٥٦٧٨٩٠",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_is_one_number(text: str) -> None:
    assert phones.read(text) == [SPELLINGS[text]]
    assert phones.one(text) == SPELLINGS[text]


@pytest.mark.parametrize("text", SEVERAL)
def test_several_numbers_are_told_apart(text: str) -> None:
    assert [str(phone) for phone in phones.read(text)] == SEVERAL[text]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_number_is_none(text: str) -> None:
    assert phones.read(text) == [] and phones.one(text) is None


@pytest.mark.parametrize("phone", sorted({*SPELLINGS.values()}))
def test_what_is_kept_is_read_as_itself(phone: Phone) -> None:
    assert phones.read(str(phone)) == [phone]


def test_a_number_is_shown_without_its_middle() -> None:
    shown = {str(phone): phone.masked for phone in SPELLINGS.values()}
    assert shown["13800138000"] == "138****8000"
    assert shown["0571-88880003-801"] == "0571-****0003-801"
    assert shown["4008008888"] == "400****888"
    assert shown["+85291234567"] == "+85****4567"
    assert all(len(mask) <= 20 and phones.masks(mask) for mask in shown.values())
    assert not phones.masks("13800138000") and not phones.masks("****")


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.text("  -.()", max_size=6), st.integers(3, 8))
def test_a_mobile_number_is_the_same_however_it_is_cut(number: str, between: str, place: int) -> None:
    for country in ("", "+86 ", "86-", "0086"):
        assert phones.read(f"{country}{number[:place]}{between}{number[place:]}") == [Phone(number)]


@given(st.text(max_size=60))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    for phone in phones.read(text):
        assert phones.read(str(phone)) == [phone] and len(phone.masked) <= 20


@given(st.text("0123456789+-() x#/", max_size=60))
def test_digits_and_signs_are_read_without_a_fault(text: str) -> None:
    for phone in phones.read(text):
        assert phones.read(str(phone)) == [phone] and len(phone.masked) <= 20
