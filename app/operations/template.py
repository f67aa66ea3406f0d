"""Templates (模板): sync template mini-programs, drafts and templates; make a draft a template; delete one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import insert_missing
from app.douyin import template as douyin_template
from app.douyin.template import AddTemplate, DeleteTemplate, ListTemplateApps, ListTemplates
from app.errors import Held, NoAnswer
from app.models import MiniProgram, Template, TemplateApp, ThirdPartyApp
from app.operations import Look, NoParams, Settlement, Verdict, Work, operation
from app.operations.connection import bind_app
from app.operations.exchange import in_one_commit


def _at(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _store(session: Session, owner_id: int, apps: Any, templates: Any) -> None:
    _store_apps(session, owner_id, apps)
    _store_templates(session, owner_id, templates)


def _store_apps(session: Session, owner_id: int, found: tuple[douyin_template.TemplateApp, ...]) -> None:
    known = {row.appid: row for row in session.scalars(select(TemplateApp).filter_by(third_party_app_id=owner_id))}
    for item in found:
        values = {
            "name": item.app_name[:64],
            "draft_id": str(item.draft_id or ""),
            "draft_version": (item.user_version or "")[:32],
            "draft_description": (item.user_desc or "")[:500],
            "draft_by": (item.nick_name or "")[:64],
            "draft_at": _at(item.create_time),
        }
        key = {"third_party_app_id": owner_id, "appid": item.tpl_app_id}
        _put(session, TemplateApp, known.pop(item.tpl_app_id, None), key, values)
    for row in known.values():
        row.gone = True


def _store_templates(session: Session, owner_id: int, found: tuple[douyin_template.Template, ...]) -> None:
    known = {row.template_id: row for row in session.scalars(select(Template).filter_by(third_party_app_id=owner_id))}
    for item in found:
        values = {
            "version": item.user_version[:32],
            "description": item.user_desc[:500],
            "added_at": _at(item.create_time),
        }
        key = {"third_party_app_id": owner_id, "template_id": str(item.template_id)}
        _put(session, Template, known.pop(str(item.template_id), None), key, values)
    for row in known.values():
        row.gone = True


def _put(session: Session, model: type[Any], row: Any, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """What Douyin has, into the row that is known or into a new one; another sync may make that at the same moment."""
    row = row or insert_missing(session, model, key, **values)[0]
    for name, value in {**values, "gone": False}.items():
        setattr(row, name, value)


@operation("同步模板", on=ThirdPartyApp, mutates=False)
def sync_templates(owner: ThirdPartyApp, work: Work, params: NoParams) -> Mapping[str, Any]:
    """获取模板小程序列表 and 获取模板列表: what stands at Douyin; ours that are gone there are marked so."""
    apps = work.douyin.send(ListTemplateApps()).tpl_app_list
    templates = work.douyin.send(ListTemplates()).template_list
    _store(work.session, owner.id, apps, templates)
    return {"template_apps": len(apps), "templates": len(templates)}


def sync(flask_app: Flask, third_party_app_id: int) -> str:
    """The same for the scheduled job; a sentence with the counts. Raises DouyinError or NoAnswer."""
    douyin = bind_app(flask_app, third_party_app_id)
    apps = douyin.send(ListTemplateApps()).tpl_app_list
    templates = douyin.send(ListTemplates()).template_list
    in_one_commit(flask_app, lambda session: _store(session, third_party_app_id, apps, templates))
    return f"{len(apps)} 个模板小程序，{len(templates)} 个模板"


def find(work: Work, third_party_app_id: int, template_id: str) -> Template | None:
    """A template by its number. One that is not known, or gone, may have been made a moment ago: Douyin is asked once.

    Raises DouyinError, or NoAnswer(sent=False): this only looks, whatever the caller has in mind. Commits.
    """
    wanted = select(Template).filter_by(third_party_app_id=third_party_app_id, template_id=template_id)
    known: Template | None = work.session.scalar(wanted)
    if known is not None and not known.gone:
        return known
    try:
        found = work.douyin.send(ListTemplates()).template_list
    except Held:
        raise
    except NoAnswer as silence:
        raise NoAnswer(silence.message, sent=False) from None
    _store_templates(work.session, third_party_app_id, found)
    work.session.commit()
    known = work.session.scalar(wanted)
    return None if known is None or known.gone else known


def _settle_add(app: TemplateApp, work: Work, params: NoParams) -> Settlement:
    before = work.run.result.get("before")
    found = work.douyin.send(ListTemplates()).template_list
    _store_templates(work.session, app.third_party_app_id, found)
    known = set(before or ())
    made = [
        str(item.template_id)
        for item in found
        if str(item.template_id) not in known and item.user_version == app.draft_version
    ]
    if before is None or not made:  # without the list from before, nothing was sent yet
        return Settlement(Verdict.NOT_DONE)
    return Settlement(Verdict.DONE, "已核实：模板已添加", {"template_id": made[-1]})


def _has_draft(app: TemplateApp, _look: Look) -> str | None:
    return None if app.draft_id else "该模板小程序没有草稿：请先用开发者工具上传代码，再同步模板"


@operation("添加为模板", on=TemplateApp, settle=_settle_add, ready=_has_draft, confirm="把草稿添加为模板，最多 200 个")
def add_template(app: TemplateApp, work: Work, params: NoParams) -> Mapping[str, Any]:
    """添加模板: the answer does not name the new template, so the list is read again."""
    before = work.douyin.send(ListTemplates()).template_list
    # Kept with the intent: a scheduled sync may come to know the new template before an outcome is read back.
    work.run.result = {"before": [str(item.template_id) for item in before]}
    work.session.commit()
    work.douyin.send(AddTemplate(draft_id=int(app.draft_id)))
    settled = _settle_add(app, work, params)
    return dict(settled.result)


def _settle_delete(template: Template, work: Work, params: NoParams) -> Settlement:
    left = {str(item.template_id) for item in work.douyin.send(ListTemplates()).template_list}
    if template.template_id in left:
        return Settlement(Verdict.NOT_DONE)
    template.gone = True
    return Settlement(Verdict.DONE, "已核实：模板已删除")


def _still_there(template: Template, _look: Look) -> str | None:
    return "模板已经删除" if template.gone else None


@operation(
    "删除模板", on=Template, settle=_settle_delete, ready=_still_there, danger=True,
    confirm="删除后不能再用它上传；已上线的小程序不受影响",
)  # fmt: skip
def delete_template(template: Template, work: Work, params: NoParams) -> Mapping[str, Any]:
    """删除模板: the row is kept for history."""
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
