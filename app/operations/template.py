"""Templates (模板): sync template mini-programs, drafts and templates; make a draft a template; delete one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.data.engine import insert_missing
from app.douyin import template as douyin_template
from app.douyin.errors import misfit
from app.douyin.template import AddTemplate, DeleteTemplate, ListTemplateApps, ListTemplates
from app.errors import Held, NoAnswer
from app.link.connection import bind_app
from app.link.exchange import in_one_commit
from app.models import MiniProgram, Template, TemplateApp, ThirdPartyApp
from app.models.kit.user import OPERATORS
from app.operations.proof import DONE, NOT_DONE, Kept, Settlement, Sight, Verdict, Work, event, goal
from app.operations.registry import Area, Look, NoParams, operation


def _at(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _store(session: Session, owner_id: int, apps: Any, templates: Any) -> None:
    _store_apps(session, owner_id, apps)
    _store_templates(session, owner_id, templates)


def _believe(session: Session, model: type[Any], owner_id: int, found: Sequence[Any]) -> None:
    """An answer of nothing, where there were several, is no news of their end. Raises DouyinError of kind ANSWER."""
    if found:
        return
    there = select(func.count()).select_from(model).where(model.third_party_app_id == owner_id, model.gone.is_(False))
    if (session.scalar(there) or 0) > 1:
        raise misfit("列表为空", "")


def _store_apps(session: Session, owner_id: int, found: tuple[douyin_template.TemplateApp, ...]) -> None:
    _believe(session, TemplateApp, owner_id, found)
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
    _believe(session, Template, owner_id, found)
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


@operation(
    "同步模板",
    on=ThirdPartyApp,
    roles=OPERATORS,
    mutates=False,
    reads={"template_apps": "模板小程序数", "drafts": "草稿数", "templates": "模板数", "latest": "最新模板"},
    order=70,
)
def sync_templates(owner: ThirdPartyApp, work: Work, params: NoParams) -> Mapping[str, Any]:
    """获取模板小程序列表 and 获取模板列表: what stands at Douyin; ours that are gone there are marked so."""
    apps = work.douyin.send(ListTemplateApps()).tpl_app_list
    templates = work.douyin.send(ListTemplates()).template_list
    _store(work.session, owner.id, apps, templates)
    newest = max(templates, key=lambda item: (item.create_time or 0, item.template_id), default=None)
    return {
        "template_apps": len(apps),
        "drafts": sum(1 for item in apps if item.draft_id),
        "templates": len(templates),
        "latest": newest.user_version if newest is not None else "",
    }


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


def _look_at_templates(row: TemplateApp | Template, work: Work, _params: NoParams) -> Sight:
    found = work.douyin.send(ListTemplates()).template_list
    _believe(work.session, Template, row.third_party_app_id, found)
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
    "添加为模板",
    on=TemplateApp,
    area=Area.TEMPLATE,
    reads={"template_id": "模板编号"},
    roles=OPERATORS,
    order=70,
    ready=_has_draft,
    confirm="把草稿添加为模板，最多 200 个",
    proof=event(_look_at_templates, happened=_added, take=_took_added),
)
def add_template(app: TemplateApp, work: Work, params: NoParams) -> Mapping[str, Any]:
    """添加模板: the answer does not name the new template, so the list is read again."""
    work.intend(work.look(), version=app.draft_version)
    work.douyin.send(AddTemplate(draft_id=int(app.draft_id)))
    sight, kept = _look_at_templates(app, work, params), Kept.of(work.run)
    _store_templates(work.session, app.third_party_app_id, sight.found)
    made = _new(kept, sight.facts) if kept is not None else []
    return {"template_id": made[0]} if len(made) == 1 else {}


def _is_gone(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return wanted["template_id"] not in facts["templates"]


def _took_gone(template: Template, _work: Work, _params: NoParams, _kept: Kept, _sight: Sight) -> Mapping[str, Any]:
    template.gone = True
    return {"template_id": template.template_id}


def _still_there(template: Template, _look: Look) -> str | None:
    return "模板已经删除" if template.gone else None


@operation(
    "删除模板",
    on=Template,
    area=Area.TEMPLATE,
    by="template_id",
    reads={"template_id": "模板编号"},
    roles=OPERATORS,
    order=70,
    ready=_still_there,
    danger=True,
    confirm="删除后不能再用它上传；已上线的小程序不受影响",
    proof=goal(_look_at_templates, stands=_is_gone, take=_took_gone),
)
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
    return dict(session.execute(statement).all())
