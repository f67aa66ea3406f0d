"""素材: files uploaded for the third-party app itself."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

from app.douyin.contract import DOCS, Call, Place, Reply, Route, Token, Upload, Wire


class MaterialType(IntEnum):
    """What the file is for; the platform lists no others."""

    BUSINESS_LICENCE = 1
    APP_ICON = 2


class MaterialPath(Reply):
    path: Annotated[str, msgspec.Meta(min_length=1)]


class UploadTpMaterial(Call[MaterialPath]):
    """第三方小程序应用上传资源V2。"""

    operation_id = "upload_tp_material"
    route = Route("POST", "/api/tpapp/v2/file/upload_material/", Token.COMPONENT, doc=f"{DOCS}/upload-pic-material-v2")
    material_type: Annotated[MaterialType, Wire(place=Place.FORM)]
    material_file: Annotated[Upload, Wire(place=Place.FILE)]
