"""域名: the check file that proves a webview domain (业务域名) to be ours."""

from __future__ import annotations

from app.douyin.contract import DOCS, FILE_V1, Call, Host, Reply, Route, Token

_PAGE = f"{DOCS}/domain/download"
_V2_PAGE = f"{DOCS}/domain/get-webview-check-file-info"


class CheckFile(Reply):
    """To be served at https://<domain>/<file_name> before the domain is added."""

    file_name: str
    file_content: str


class GetWebviewCheckFile(Call[CheckFile]):
    """获取域名校验文件信息。"""

    operation_id = "get_webview_check_file"
    # The platform spells it so, in its table and in its example.
    route = Route(
        "GET", "/api/tpapp/v2/doamin/get_webview_check_file_info/", Token.COMPONENT, again="read", doc=_V2_PAGE
    )


class DownloadWebviewCheckFileV1(Call[bytes]):
    """下载域名校验文件。Answers the file itself."""

    operation_id = "download_webview_check_file_v1"
    route = Route(
        "GET",
        "/openapi/v1/tp/download/webview_file",
        Token.COMPONENT_V1,
        again="read",
        doc=_PAGE,
        host=Host.MICROAPP,
        envelope=FILE_V1,
    )
