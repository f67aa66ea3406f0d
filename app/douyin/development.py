"""开发管理: upload code, submit for audit, release, roll back, and the state of an app's versions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from app.douyin.contract import DOCS, Call, OpenIntEnum, PermissionSet, Reply, Route, Token, UnixSeconds

_PAGES = f"{DOCS}/auth-app-manage/develop"
_ROOT = "/api/apps/v1/package_version"


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

    version: str
    summary: str = ""
    ctime: UnixSeconds = 0
    categories: tuple[str, ...] = ()
    developer_id: str | None = None
    developer_name: str | None = None
    developer_avatar: str | None = None
    version_tag: str = ""


class LatestVersion(_Version):
    """测试版本."""

    has_audit: bool | int = 0
    screenshot: str | tuple[str, ...] | None = None

    @property
    def screenshots(self) -> list[str]:
        """The paths, whichever way the platform wrote them: joined by ';' or as a list."""
        paths = self.screenshot.split(";") if isinstance(self.screenshot, str) else self.screenshot or ()
        return [path for path in paths if path]


class AuditVersion(_Version):
    """审核版本. Reasons and attachments go by the host's display name."""

    status: AuditStatus
    approved_apps: tuple[str, ...] = ()
    attach_info: dict[str, Any] | None = None
    has_publish: bool | int = 0
    is_illegal_version: bool | int = False
    reason: str = ""
    reason_detail: dict[str, Any] | None = None


class Rollback(Reply):
    can_rollback: bool = False
    last_version: str = ""


class CurrentVersion(_Version):
    """线上版本."""

    approved_apps: tuple[str, ...] = ()
    not_approved_apps: tuple[str, ...] = ()
    attach_info: dict[str, Any] | None = None
    has_down: bool | int = 0
    reason: str = ""
    reason_detail: dict[str, Any] | None = None
    uid: int | None = None
    rollback: Rollback | None = None


class GrayVersion(_Version):
    """灰度版本. `host_gray_scale`: host -> percentage as text."""

    host_gray_scale: dict[str, Any] | None = None


class VersionsReply(Reply):
    """The app's version in each stage; None = there is none."""

    latest: LatestVersion | None = None
    audit: AuditVersion | None = None
    current: CurrentVersion | None = None
    gray: GrayVersion | None = None

    @classmethod
    def prepare(cls, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """An empty object stands for no version, and the attachments go by two spellings."""
        return {stage: _one_spelling(found) for stage, found in payload.items() if found != {}}


def _one_spelling(stage: Any) -> Any:
    if not isinstance(stage, Mapping) or "attachInfo" not in stage:
        return stage
    return {"attach_info": stage["attachInfo"], **stage}


class AuditHosts(Reply):
    """Hosts that may be audited, and those where the app is online."""

    host_names: tuple[str, ...] = ()
    released_host_names: tuple[str, ...] = ()


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
