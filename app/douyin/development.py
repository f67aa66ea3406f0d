"""开发管理: upload code, submit for audit, release, roll back, and the state of an app's versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Any

from app.addresses import is_address
from app.douyin.contract import (
    DOCS,
    STRICT,
    Call,
    OpenIntEnum,
    PermissionSet,
    Reply,
    Route,
    Token,
    UnixSeconds,
    VersionNumber,
    VersionOrNone,
    WebAddress,
    WithAddresses,
)

_PAGES = f"{DOCS}/auth-app-manage/develop"
_ROOT = "/api/apps/v1/package_version"
_ADDRESS = re.compile(r"https?://.+", re.IGNORECASE)
_FILE = re.compile(r"[^:]*[./][^:]*")


class AuditStatus(OpenIntEnum):
    """State of the version in audit."""

    AUDITING = 0
    PASSED = 1
    REJECTED = 2
    REVOKED = 3


class AuditWay(IntEnum):
    """Whether a new version goes to audit or the one that failed last goes again."""

    NORMAL = 0
    RESUBMIT = 1


class _Version(Reply):
    """What all stages tell. `summary` = the description given at upload; `ctime` in Unix seconds."""

    version: VersionNumber
    summary: str = ""
    ctime: UnixSeconds = 0
    categories: tuple[str, ...] = ()
    developer_id: str | None = None
    developer_name: str | None = None
    developer_avatar: WebAddress | None = None
    version_tag: str = ""

    @classmethod
    def prepare(cls, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """The attachments go by two spellings."""
        return {"attach_info": payload["attachInfo"], **payload} if "attachInfo" in payload else payload


class LatestVersion(_Version):
    """测试版本."""

    has_audit: bool = False
    screenshot: str | tuple[str, ...] | None = None

    @property
    def screenshots(self) -> list[str]:
        """The paths, whichever way the platform wrote them: joined by ';' or ',', or as a list."""
        written = (self.screenshot,) if isinstance(self.screenshot, str) else self.screenshot or ()
        return [path for text in written for path in _paths(text) if is_address(path) or ":" not in path]


def _paths(text: str) -> list[str]:
    """One text's paths. A separator is one only where every part is a path: an address may hold either sign itself."""
    by_both, by_documented = (_parts(text, signs) for signs in (",;", ";"))
    if all(map(_ADDRESS.fullmatch, by_both)) or all(map(_FILE.fullmatch, by_both)):
        return by_both
    whole = any(map(_ADDRESS.fullmatch, by_documented)) and not all(map(_ADDRESS.fullmatch, by_documented))
    return _parts(text, "") if whole else by_documented


def _parts(text: str, signs: str) -> list[str]:
    parts = re.split(f"[{signs}]", text) if signs else [text]
    return [part.strip() for part in parts if part.strip()]


class AuditVersion(_Version):
    """审核版本. Reasons and attachments go by the host's display name."""

    status: Annotated[AuditStatus, STRICT]
    approved_apps: tuple[str, ...] = ()
    attach_info: WithAddresses | None = None
    has_publish: bool = False
    is_illegal_version: bool = False
    reason: str = ""
    reason_detail: WithAddresses | None = None


class Rollback(Reply):
    can_rollback: bool = False
    last_version: VersionOrNone = ""


class CurrentVersion(_Version):
    """线上版本."""

    approved_apps: tuple[str, ...] = ()
    not_approved_apps: tuple[str, ...] = ()
    attach_info: WithAddresses | None = None
    has_down: bool = False
    reason: str = ""
    reason_detail: WithAddresses | None = None
    uid: int | None = None
    rollback: Rollback | None = None


class GrayVersion(_Version):
    """灰度版本. `host_gray_scale`: host -> percentage as text."""

    host_gray_scale: dict[str, Any] | None = None


class VersionsReply(Reply):
    """The app's version in each stage; None = there is none."""

    latest: Annotated[LatestVersion | None, STRICT] = None
    audit: Annotated[AuditVersion | None, STRICT] = None
    current: Annotated[CurrentVersion | None, STRICT] = None
    gray: GrayVersion | None = None


class AuditHosts(Reply):
    """Hosts that may be audited, and those where the app is online."""

    host_names: Annotated[tuple[str, ...], STRICT] = ()
    released_host_names: Annotated[tuple[str, ...], STRICT] = ()


class UploadCode(Call[None]):
    """提交代码V2。Makes the test version. `ext_json` is JSON text; `tag` "1" = test channel 1."""

    operation_id = "upload_code"
    route = Route("POST", f"{_ROOT}/upload/", Token.AUTHORIZER, PermissionSet.DEVELOP, doc=f"{_PAGES}/upload-code-v2")
    template_id: int
    user_version: str
    user_desc: str
    ext_json: str
    tag: str | None = None


class GetAuditHosts(Call[AuditHosts]):
    """获取可选审核宿主端列表V2。"""

    operation_id = "get_audit_hosts"
    route = Route(
        "GET",
        f"{_ROOT}/get_audit_hosts/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        again="read",
        doc=f"{_PAGES}/audit-hosts-v2",
    )


class SubmitAudit(Call[None]):
    """提审代码V2。A host left out loses its online version; `audit_note` at most 200 characters."""

    operation_id = "submit_audit"
    route = Route(
        "POST",
        "/api/apps/v2/package_version/audit/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        doc=f"{_PAGES}/audit-code-v2",
    )
    host_names: tuple[str, ...]
    audit_note: str | None = None
    audit_way: AuditWay | None = None
    tag: str | None = None
    is_force_skip_plugin_app_check: bool | None = None
    is_force_skip_plugin_jssdk_check: bool | None = None


class RevokeAudit(Call[None]):
    """撤回审核V2。Afterwards the audit's status is REVOKED."""

    operation_id = "revoke_audit"
    route = Route(
        "POST",
        f"{_ROOT}/revoke_audit/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        doc=f"{_PAGES}/revoke-audit-v2",
    )


class ReleaseVersion(Call[None]):
    """发布代码V2。Needs an audit that passed, of a version that was not taken down."""

    operation_id = "release_version"
    route = Route("POST", f"{_ROOT}/release/", Token.AUTHORIZER, PermissionSet.DEVELOP, doc=f"{_PAGES}/release-v2")


class RollbackVersion(Call[None]):
    """回退代码版本V2。Once per release; takes effect after three to five minutes."""

    operation_id = "rollback_version"
    route = Route("POST", f"{_ROOT}/rollback/", Token.AUTHORIZER, PermissionSet.DEVELOP, doc=f"{_PAGES}/rollback-v2")


class GetVersions(Call[VersionsReply]):
    """获取小程序版本列表信息V2。"""

    operation_id = "get_versions"
    route = Route(
        "GET",
        f"{_ROOT}/versions/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        again="read",
        doc=f"{_PAGES}/versions-v2",
    )
