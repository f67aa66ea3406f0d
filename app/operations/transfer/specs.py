"""What can be imported: one specification per kind of row."""

from __future__ import annotations

from app.errors import Refused
from app.models.merchant import MERCHANT_STATE_WORDS, SUBJECT_WORDS, Industry, Merchant
from app.operations.merchants import check_merchant, keep_phone, phone_number
from app.operations.transfer.columns import Column, ImportSpec, by_name, halved, of_model
from app.secrets import keyring


def _phone(text: str) -> str:
    """A number; or, as an export writes it, its mask."""
    text = halved(text)
    return text if "*" in text else phone_number(text)


def _put_phone(merchant: Merchant, number: str) -> bool:
    if "*" in number:
        if number == merchant.phone_masked:
            return False
        raise Refused("手机号带有星号：请填写完整号码，或留空保持不变", field="phone")
    if merchant.phone_hash == keyring().fingerprint(number):
        return False
    keep_phone(merchant, number)
    return True


MERCHANTS = ImportSpec(
    model=Merchant,
    noun="商户",
    key="name",
    mark="key",
    columns=(
        of_model(
            Merchant, "name", "商户名称", example="爱丽丝花店", help="在控制台中唯一；没有商户标识时按它识别已有商户"
        ),
        by_name("industry", "行业", Industry, "name", required=True, example="餐饮", help="行业列表中的名称"),
        of_model(Merchant, "contact", "联系人", example="王女士"),
        Column(
            "phone", "手机号", _phone, example="13800138000", apply=_put_phone,
            show=lambda row: row.phone_masked,
            help="加密保存，页面只显示 138****8000；导出文件里带星号的号码表示不修改",
        ),
        of_model(Merchant, "subject_type", "主体类型", SUBJECT_WORDS, example="企业"),
        of_model(Merchant, "commission_rate", "佣金比例（%）", example="5.5", help="0 到 100，可带两位小数"),
        of_model(Merchant, "plan", "套餐", example="专业版"),
        of_model(Merchant, "expires_on", "套餐到期日", example="2027-12-31"),
        of_model(Merchant, "state", "状态", MERCHANT_STATE_WORDS, example="正常"),
        of_model(Merchant, "remarks", "备注", example=""),
        Column(
            "key", "商户标识", lambda text: halved(text).lower(),
            help="导出的文件带有，改名后也能找到原来的商户；新增时留空",
        ),
    ),
    check=check_merchant,
    aliases={"名称": "name", "电话": "phone", "联系电话": "phone", "佣金": "commission_rate", "到期日": "expires_on"},
)  # fmt: skip

INDUSTRIES = ImportSpec(
    model=Industry,
    noun="行业",
    key="name",
    mark="id",
    columns=(
        of_model(Industry, "name", "行业名称", example="餐饮", help="唯一；没有编号时按它识别已有行业"),
        of_model(Industry, "position", "排序", example="10", help="小的在前"),
        of_model(Industry, "id", "编号", required=False, help="导出的文件带有，改名后也能找到原来的行业；新增时留空"),
    ),
    aliases={"名称": "name"},
)

SPECS: dict[str, ImportSpec] = {"merchants": MERCHANTS, "industries": INDUSTRIES}
