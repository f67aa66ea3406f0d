"""内容安全: whether an image may be shown."""

from __future__ import annotations

from app.douyin.contract import CENSOR_V1, DOCS, V2_TOP, Call, Host, PermissionSet, Reply, Route, Token

_V3_PAGE = (
    "https://developer.open-douyin.com/docs/resource/zh-CN/mini-app/develop/server/basic-abilities"
    "/content-security/picture-detect-v3"
)


class Prediction(Reply):
    """One model's verdict: `hit` = the image shows what `model_name` looks for."""

    model_name: str = ""
    hit: bool


class Verdict(Reply):
    predicts: tuple[Prediction, ...]

    @property
    def hits(self) -> tuple[str, ...]:
        """The models that found something; empty = the image may be shown."""
        return tuple(item.model_name for item in self.predicts if item.hit)


class CensorImage(Call[Verdict]):
    """图片检测V3。`image` is an address, `image_data` base64, used when there is no address."""

    operation_id = "censor_image"
    route = Route(
        "POST",
        "/api/apps/v1/censor/image/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        again="read",
        doc=_V3_PAGE,
        envelope=V2_TOP,
    )
    app_id: str
    image: str | None = None
    image_data: str | None = None


class CensorImageV1(Call[Verdict]):
    """图片检测。As the newer one; the token stands in the body."""

    operation_id = "censor_image_v1"
    route = Route(
        "POST",
        "/api/apps/censor/image",
        Token.AUTHORIZER_V1,
        PermissionSet.DEVELOP,
        again="read",
        doc=f"{DOCS}/auth-app-manage/develop/picture-detect",
        host=Host.TOUTIAO,
        envelope=CENSOR_V1,
    )
    app_id: str
    image: str | None = None
    image_data: str | None = None
