"""模板: bound template mini-programs, their drafts, the template list; also files of the third-party app."""

from __future__ import annotations

from .calls import Call, Fields, Raw, handles
from .errors import Fault
from .simulation import Platform
from .state import App, Template

_MOST_TEMPLATES = 200


def _bound(call: Call) -> list[App]:
    apps = call.platform.world.apps
    return [apps[appid] for appid in call.thirdparty.template_apps]


def _template_app(app: App) -> Fields:
    row: Fields = {"tpl_app_id": app.appid, "app_name": app.name}
    draft = app.draft
    if draft:
        row |= {
            "nick_name": draft.nick_name,
            "user_version": draft.user_version,
            "user_desc": draft.user_desc,
            "draft_id": draft.draft_id,
            "create_time": draft.create_time,
        }
    return row


@handles("list_template_apps", "list_template_apps_v1")
def list_template_apps(call: Call) -> Fields:
    fields = {"tpl_app_list": [_template_app(app) for app in _bound(call)]}
    return fields if call.is_v1 else {"data": fields}


@handles("list_drafts_v1")
def list_drafts(call: Call) -> Fields:
    drafts = [app.draft for app in _bound(call) if app.draft]
    return {
        "draft_list": [
            {name: getattr(d, name) for name in ("draft_id", "user_version", "user_desc", "create_time")}
            for d in drafts
        ]
    }


@handles("list_templates", "list_templates_v1")
def list_templates(call: Call) -> Fields:
    rows = [
        {name: getattr(t, name) for name in ("template_id", "user_version", "user_desc", "create_time")}
        for t in call.thirdparty.templates
    ]
    fields = {"template_list": rows}
    return fields if call.is_v1 else {"data": fields}


@handles("add_template", "add_template_v1")
def add_template(call: Call) -> Fields:
    """The new template's id is not told: the caller lists again. Every second id lies beyond 2^53."""
    wanted = call.body["draft_id"]
    draft = next((app.draft for app in _bound(call) if app.draft and app.draft.draft_id == wanted), None)
    if draft is None:
        raise Fault(40034)
    owner = call.thirdparty
    if len(owner.templates) >= _MOST_TEMPLATES:
        raise Fault(40035)
    number = new_template_id(call.platform, big=len(owner.templates) % 2 == 0)
    moment = int(call.platform.now())
    owner.templates.append(Template(number, draft.user_version, draft.user_desc, moment))
    call.platform.changed = True
    return {}


def new_template_id(platform: Platform, *, big: bool) -> int:
    return (
        7_184_300_000_000_000_000 + platform.number("template")
        if big
        else 70_000 + platform.number("template", digits=6)
    )


@handles("delete_template", "delete_template_v1")
def delete_template(call: Call) -> Fields:
    owner, wanted = call.thirdparty, call.body["template_id"]
    left = [template for template in owner.templates if template.template_id != wanted]
    if len(left) == len(owner.templates):
        raise Fault(40029)
    owner.templates = left
    call.platform.changed = True
    return {}


def _check_file(platform: Platform) -> tuple[str, str]:
    world = platform.world
    if not world.check_file:
        world.check_file = [platform.draw("file").hex()[:10] + ".txt", platform.draw("content").hex()[:32]]
    return world.check_file[0], world.check_file[1]


@handles("get_webview_check_file")
def check_file(call: Call) -> Fields:
    name, content = _check_file(call.platform)
    return {"data": {"file_name": name, "file_content": content}}


@handles("download_webview_check_file_v1")
def download_check_file(call: Call) -> Raw:
    name, content = _check_file(call.platform)
    disposition = f"attachment; filename={name}"
    return Raw("text/plain", content.encode(), headers=(("Content-Disposition", disposition),))


@handles("upload_tp_material", "upload_tp_material_v1")
def upload_material(call: Call) -> Fields:
    kind = call.body["material_type"]
    if kind not in (1, 2) or not call.body["material_file"]:
        raise Fault(40001)
    path = f"tos-sandbox/{kind}/{call.platform.draw('material').hex()[:24]}"
    call.thirdparty.materials[path] = kind
    return {"data": {"path": path}}
