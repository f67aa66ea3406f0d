"""Rules of a merchant's own data that its form and its import share."""

from __future__ import annotations

import re
import unicodedata

from app.errors import Refused
from app.models.merchant import Merchant
from app.redaction import mask_phone
from app.secrets import keyring

_MOBILE = re.compile(r"(?a)1[3-9]\d{9}")
_PHONE = re.compile(r"(?a)1[3-9]\d{9}|0\d{2,3}-?\d{7,8}(?:-\d{1,6})?|[48]00\d{7}|\+\d{6,15}")
_ABROAD = re.compile(r"(?a)(?:\+|00)?86-?(?=1[3-9]\d{9}$)")
_SEVERAL = re.compile(r"(?a)\d{7,}[/、,，;；]\d{7,}")


def phone_number(text: str) -> str:
    """A phone number without the blanks, brackets, country code and dashes people type; a landline keeps its dashes,
    which set its extension off. Refused when it is none, or two."""
    number = re.sub(r"[\s()]", "", unicodedata.normalize("NFKC", text))
    bare = re.sub(r"[-‐-―]", "", number)
    if _MOBILE.fullmatch(_ABROAD.sub("", bare)):
        return _ABROAD.sub("", bare)
    if _SEVERAL.search(bare):
        raise Refused("这里有多个号码：请只填写一个", field="phone")
    number = bare if re.fullmatch(r"(?a)[48]00\d{7}|\+\d+", bare) else number
    if not _PHONE.fullmatch(number):
        raise Refused("手机号格式不正确，例如 138 0013 8000", field="phone")
    return number


def keep_phone(merchant: Merchant, text: str) -> None:
    """Seal a phone number with its mask and its search hash; Refused when it is none."""
    number = phone_number(text)
    merchant.phone = number
    merchant.phone_masked = mask_phone(number)
    merchant.phone_hash = keyring().fingerprint(number)


def check_merchant(merchant: Merchant) -> None:
    """Refuse a commission that is none."""
    if not 0 <= (merchant.commission_rate or 0) <= 100:
        raise Refused("佣金比例应在 0 到 100 之间", field="commission_rate")
