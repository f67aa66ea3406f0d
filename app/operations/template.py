"""Templates (模板): sync template mini-programs, drafts and templates; make a draft a template; delete one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.douyin import template as douyin_template
from app.douyin.template import AddTemplate, DeleteTemplate, ListTemplateApps, ListTemplates
from app.models import MiniProgram, Template, TemplateApp, ThirdPartyApp
from app.operations import Look, NoParams, Work, credentials, operation
from app.operations.proof import DONE, NOT_DONE, Kept, Settlement, Sight, Verdict, event, goal
from app.tenancy import PLATFORM, app_scope


def _at(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _store_apps(session: Session, owner_id: int, found: tuple[douyin_template.TemplateApp, ...]) -> None:
    known = {row.appid: row for row in session.scalars(select(TemplateApp).filter_by(third_party_app_id=owner_id))}
    for item in found:
        row = known.pop(item.tpl_app_id, None) or TemplateApp(third_party_app_id=owner_id, appid=item.tpl_app_id)
        row.name, row.gone = item.app_name[:64], False
        row.draft_id = str(item.draft_id or "")
        row.draft_version = (item.user_version or "")[:32]
        row.draft_description = (item.user_desc or "")[:500]
        row.draft_by, row.draft_at = (item.nick_name or "")[:64], _at(item.create_time)
        session.add(row)
    for row in known.values():
        row.gone = True


def _store_templates(session: Session, owner_id: int, found: tuple[douyin_template.Template, ...]) -> None:
    known = {row.template_id: row for row in session.scalars(select(Template).filter_by(third_party_app_id=owner_id))}
    for item in found:
        text_id = str(item.template_id)
        row = known.pop(text_id, None) or Template(third_party_app_id=owner_id, template_id=text_id)
        row.version, row.description = item.user_version[:32], item.user_desc[:500]
        row.added_at, row.gone = _at(item.create_time), False
        session.add(row)
    for row in known.values():
        row.gone = True


@operation("同步模板", on=ThirdPartyApp, mutates=False)
def sync_templates(owner: ThirdPartyApp, work: Work, params: NoParams) -> Mapping[str, Any]:
    """获取模板小程序列表 and 获取模板列表: what stands at Douyin; ours that are gone there are marked so."""
    apps = work.douyin.send(ListTemplateApps()).tpl_app_list
    templates = work.douyin.send(ListTemplates()).template_list
    _store_apps(work.session, owner.id, apps)
    _store_templates(work.session, owner.id, templates)
    return {"template_apps": len(apps), "templates": len(templates)}


def sync(flask_app: Flask, third_party_app_id: int) -> str:
    """The same for the scheduled job; a sentence with the counts. Raises DouyinError or NoAnswer."""
    with app_scope(flask_app, PLATFORM) as session:
        owner = session.get_one(ThirdPartyApp, third_party_app_id)
        douyin = credentials.bind(session, owner)
        session.commit()
        apps = douyin.send(ListTemplateApps()).tpl_app_list
        templates = douyin.send(ListTemplates()).template_list
        _store_apps(session, owner.id, apps)
        _store_templates(session, owner.id, templates)
        session.commit()
        return f"{len(apps)} 个模板小程序，{len(templates)} 个模板"


def _look_at_templates(row: TemplateApp | Template, work: Work, _params: NoParams) -> Sight:
    found = work.douyin.send(ListTemplates()).template_list
    return Sight({"templates": {str(item.template_id): item.user_version for item in found}}, found)


def _new(kept: Kept, facts: Mapping[str, Any]) -> list[str]:
    """Numbers that were not there before, of the version that the draft had."""
    there = facts["templates"].items()
    return [key for key, version in there if key not in kept.before["templates"] and version == kept.wanted["version"]]


def _added(kept: Kept, facts: Mapping[str, Any]) -> Settlement:
    """One new template of that version is ours; of several nobody can say whose they are."""
    made = _new(kept, facts)
    if len(made) > 1:
        return Settlement(
            Verdict.ASK, f"抖音侧在此期间新增了多个 {kept.wanted['version']} 模板，无法判断哪个是本次添加的"
        )
    return DONE if made else NOT_DONE


def _took_added(app: TemplateApp, work: Work, _params: NoParams, kept: Kept, sight: Sight) -> Mapping[str, Any]:
    _store_templates(work.session, app.third_party_app_id, sight.found)
    return {"template_id": _new(kept, sight.facts)[0]}


def _has_draft(app: TemplateApp, _look: Look) -> str | None:
    return None if app.draft_id else "该模板小程序没有草稿：请先用开发者工具上传代码，再同步模板"


@operation(
    "添加为模板", on=TemplateApp, ready=_has_draft, confirm="把草稿添加为模板，最多 200 个",
    proof=event(_look_at_templates, happened=_added, take=_took_added),
)  # fmt: skip
def add_template(app: TemplateApp, work: Work, params: NoParams) -> Mapping[str, Any]:
    """添加模板: the answer does not name the new template, so the list is read again."""
    work.intend(work.look(), version=app.draft_version)
    work.douyin.send(AddTemplate(draft_id=int(app.draft_id)))
    sight, kept = _look_at_templates(app, work, params), Kept.of(work.run)
    _store_templates(work.session, app.third_party_app_id, sight.found)
    made = _new(kept, sight.facts) if kept is not None else []
    return {"template_id": made[-1]} if made else {}


def _is_gone(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return wanted["template_id"] not in facts["templates"]


def _took_gone(template: Template, _work: Work, _params: NoParams, _kept: Kept, _sight: Sight) -> Mapping[str, Any]:
    template.gone = True
    return {"template_id": template.template_id}


def _still_there(template: Template, _look: Look) -> str | None:
    return "模板已经删除" if template.gone else None


@operation(
    "删除模板", on=Template, ready=_still_there, danger=True, confirm="删除后不能再用它上传；已上线的小程序不受影响",
    proof=goal(_look_at_templates, stands=_is_gone, take=_took_gone),
)  # fmt: skip
def delete_template(template: Template, work: Work, params: NoParams) -> Mapping[str, Any]:
    """删除模板: the row is kept for history."""
    work.intend(work.look(), template_id=template.template_id)
    work.douyin.send(DeleteTemplate(template_id=int(template.template_id)))
    template.gone = True
    return {"template_id": template.template_id}


def in_use(session: Session) -> dict[str, int]:
    """How many mini-programs run each template, by template id."""
    statement = (
        select(MiniProgram.live_template_id, func.count())
        .where(MiniProgram.live_template_id != "")
        .group_by(MiniProgram.live_template_id)
    )
    return {template_id: count for template_id, count in session.execute(statement)}  # noqa: C416  (dict() asks a Result for keys)
