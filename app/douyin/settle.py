"""代入驻: having a merchant's company settle on the platform; exists in the older generation only."""

from __future__ import annotations

from app.douyin.contract import DOCS, V1, Call, Host, OpenIntEnum, Reply, Route, Token, WebAddress

_PAGES = f"{DOCS}/developer-settle"


class QualificationType(OpenIntEnum):
    """资质类型."""

    ENTERPRISE = 1
    SOLE_TRADER = 2
    PARTY_OR_GOVERNMENT = 3
    PUBLIC_INSTITUTION = 4
    HONG_KONG_MACAO_TAIWAN = 5
    SOCIAL_ORGANISATION = 6
    OVERSEAS = 7
    OTHER = 100


class CompanyType(OpenIntEnum):
    """公司类型."""

    LIMITED = 1
    ONE_NATURAL_PERSON = 2
    HELD_BY_NATURAL_PERSONS = 3
    ONE_LEGAL_PERSON = 4
    SHARES = 5
    OTHER = 100


class ApplyStatus(OpenIntEnum):
    """代入驻状态."""

    ACCOUNT_FAILED = 1
    IN_PROGRESS = 2
    FAILED = 3
    SUCCEEDED = 4


class SettleApplied(Reply):
    apply_id: str


class SettleStatus(Reply):
    """`verify_url` is the bank account check, there once the application has succeeded."""

    apply_status: ApplyStatus
    verify_url: WebAddress = ""
    fail_reason: str = ""


class SettlePreCheck(Call[None]):
    """代入驻预审。Optional. Capital in yuan; `credit_end_date` YYYY-MM-DD, "0" = for ever."""

    operation_id = "settle_pre_check"
    route = Route(
        "POST",
        "/openapi/v1/settle/pre_check",
        Token.COMPONENT_V1,
        doc=f"{_PAGES}/predict-check",
        host=Host.MICROAPP,
        envelope=V1,
    )
    qualification_type: QualificationType
    company_name: str
    credit_code: str
    credit_end_date: str
    company_type: CompanyType
    legal_person_name: str
    registered_nation_code: int | None = None
    registered_province_code: int | None = None
    registered_city_code: int | None = None
    registered_address: str
    registered_capital: int


class SettleApply(Call[SettleApplied]):
    """发起代入驻请求。10 new phone numbers a day; the result is pushed within 10 working days."""

    operation_id = "settle_apply"
    route = Route(
        "POST",
        "/openapi/v1/settle/apply",
        Token.COMPONENT_V1,
        doc=f"{_PAGES}/settle-apply",
        host=Host.MICROAPP,
        envelope=V1,
    )
    mobile: str
    qualification_type: QualificationType
    company_name: str
    credit_code: str
    credit_end_date: str
    company_type: CompanyType
    legal_person_name: str
    registered_nation_code: int | None = None
    registered_province_code: int | None = None
    registered_city_code: int | None = None
    registered_address: str
    registered_capital: int
    credit_image_path: str
    category_code: str
    business_person_name: str
    business_id_card: str
    business_mobile: str
    company_introduction: str | None = None
    business_province_code: int | None = None
    business_city_code: int | None = None
    business_address: str | None = None
    employee_count: int | None = None
    company_website: str | None = None


class SettleGetApplyStatus(Call[SettleStatus]):
    """查询代入驻状态。"""

    operation_id = "settle_get_apply_status"
    route = Route(
        "GET",
        "/openapi/v1/settle/get_apply_status",
        Token.COMPONENT_V1,
        again="read",
        doc=f"{_PAGES}/get-apply-status",
        host=Host.MICROAPP,
        envelope=V1,
    )
    apply_id: str
