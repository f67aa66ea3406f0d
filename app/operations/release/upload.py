"""Uploading code from a template (上传代码)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.types import words_of
from app.douyin.development import (
    UploadCode,
)
from app.errors import Refused
from app.i18n.sentence import Foreign, ours, say
from app.models import MiniProgram, Template, Version, VersionState
from app.models.kit.operation import OperationRun
from app.models.kit.user import OPERATORS
from app.models.version import next_number, parse_number
from app.operations import template
from app.operations.proof import Kept, Sight, Work, event
from app.operations.registry import Area, Look, operation
from app.operations.release import stages
from app.operations.release.checks import RESUBMITTABLE, SEEN_SUBMITTED
from app.operations.release.ext import build_ext, check_ext, refuse_secrets, secrets_near
from app.operations.release.reconcile import Reconciler
from app.operations.release.versions import note, versions_of


def _check_number(number: str) -> str:
    parse_number(number)
    return number


def _check_id(text: str) -> str:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise Refused("模板编号应为数字", field="template_id")
    return text


def _check_description(text: str) -> str:
    if len(text) > 400:
        raise Refused("版本说明最多 400 字", field="description")
    return text


def template_choices(session: Session, app: MiniProgram) -> list[tuple[str, str]]:
    """The templates that may be uploaded to a mini-program, newest first: (number, words)."""
    known = select(Template).where(Template.third_party_app_id == app.third_party_app_id, Template.gone.is_(False))
    newest = session.scalars(known.order_by(Template.added_at.desc(), Template.id.desc()).limit(200))
    return [
        (item.template_id, Foreign(f"{item.version}　{item.description[:40]}（{item.template_id}）")) for item in newest
    ]


@dataclass(frozen=True)
class UploadParams:
    """What to upload. `template_id` is text: it can exceed 2^53."""

    template_id: str = field(metadata={"label": "模板", "choices": template_choices, "check": _check_id})
    version: str = field(metadata={"label": "版本号", "help": "X.Y.Z，须大于已提交过的版本", "check": _check_number})
    description: str = field(metadata={"label": "版本说明", "check": _check_description})
    ext: str = field(
        default="",
        metadata={
            "label": "ext.json",
            "help": "留空则按商户资料生成",
            "multiline": True,
            "as_typed": True,
            "check": check_ext,
        },
    )


def _upload_mark(run: OperationRun) -> str:
    return f"[抖舟#{run.id}]"


def _propose_upload(app: MiniProgram, session: Session) -> Mapping[str, Any]:
    numbers = list(versions_of(session, app))
    newest = session.scalars(
        select(Template)
        .where(Template.third_party_app_id == app.third_party_app_id, Template.gone.is_(False))
        .order_by(Template.added_at.desc(), Template.id.desc())
    ).first()
    return {
        "template_id": newest.template_id if newest else "",
        "version": next_number(numbers),
        "description": newest.description if newest else "",
        "ext": build_ext(app, app.merchant),
    }


def _check_upload(app: MiniProgram, work: Work, params: UploadParams) -> str:
    if template.find(work, app.third_party_app_id, params.template_id) is None:
        raise Refused("模板不存在或已删除：请先同步模板列表", field="template_id")
    for number, row in versions_of(work.session, app).items():
        unseen = row.state == VersionState.SUPERSEDED and not row.ever_submitted
        if number == params.version and row.state not in RESUBMITTABLE and not unseen:
            raise Refused(
                say(
                    "版本 {number} {state}：请使用更大的版本号",
                    number=number,
                    state=ours(words_of(VersionState)[row.state]),
                ),
                field="version",
            )
        # Only what Douyin saw submitted binds: a number that was uploaded by mistake does not.
        submitted = row.ever_submitted or row.state in SEEN_SUBMITTED
        if submitted and parse_number(number) > parse_number(params.version):
            raise Refused(say("版本号须大于已提交过的 {number}", number=number), field="version")
    ext = params.ext or build_ext(app, app.merchant)
    if json.loads(ext)["extAppid"] != app.appid:
        raise Refused(say("ext.json 的 extAppid 应为本小程序的 {appid}", appid=app.appid), field="ext")
    secrets = secrets_near(work.session, app)
    work.session.commit()  # looking for them takes its time: not under the one writer of SQLite
    refuse_secrets(ext, secrets)
    return ext


def _took_upload(app: MiniProgram, work: Work, params: UploadParams, _kept: Kept, sight: Sight) -> Mapping[str, Any]:
    _uploaded(app, work, params, sight.found.reconciler)
    return {"version": params.version}


def _uploaded(app: MiniProgram, work: Work, params: UploadParams, reconciler: Reconciler) -> None:
    row = reconciler.rows.get(params.version)
    if row is None:
        row = Version(
            merchant_id=app.merchant_id, mini_program_id=app.id, number=params.version, state=VersionState.UPLOADED
        )
        work.session.add(row)
    else:
        row.move_to(VersionState.UPLOADED)
    row.description, row.template_id = params.description, params.template_id
    row.ext_json = params.ext or build_ext(app, app.merchant)
    row.uploaded_at, row.submitted_at, row.reason, row.reason_detail = utcnow(), None, "", {}
    app.uploaded_version = params.version
    for other in reconciler.rows.values():
        if other is not row and other.state == VersionState.UPLOADED:
            other.move_to(VersionState.SUPERSEDED)
    work.session.flush()
    note(work.session, app, "uploaded", params.description, version=row, run=work.run)


def _may_upload(app: MiniProgram, _look: Look) -> str | None:
    return "小程序还没有认领到商户：请先在「待认领」中认领" if app.merchant_id is None else None


@operation(
    "上传代码",
    area=Area.RELEASE,
    roles=OPERATORS,
    order=10,
    params=UploadParams,
    reads={"version": "版本号"},
    proof=event(stages.look, happened=stages.uploaded, take=_took_upload),
    propose=_propose_upload,
    ready=_may_upload,
    confirm="把模板上传为小程序的测试版本",
)
def upload_code(app: MiniProgram, work: Work, params: UploadParams) -> Mapping[str, Any]:
    """提交代码: the app then has a new test version. The description carries the run's id for the read-back."""
    ext = _check_upload(app, work, params)
    sight, mark = work.look(), _upload_mark(work.run)
    work.intend(sight, version=params.version, mark=mark)
    work.douyin.send(
        UploadCode(
            template_id=int(params.template_id),
            user_version=params.version,
            user_desc=f"{params.description} {mark}",
            ext_json=json.dumps(json.loads(ext), ensure_ascii=False),
        )
    )
    _uploaded(app, work, params, sight.found.reconciler)
    return {"version": params.version}
