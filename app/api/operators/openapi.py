"""The description of the REST API (OpenAPI 3): what the asker may call, in Chinese, with every parameter.

FAB writes the paths and the models' schemas; here what the role may not do is left out, the operations' parameters are
added from their registry, and the texts that FAB has in English are replaced.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

from flask import current_app, request
from flask_appbuilder.api import BaseApi, expose, protect
from flask_appbuilder.api.manager import OpenApi as FabOpenApi

from app.access.principal import current_role_names
from app.access.roles import ADMIN, AUDITOR, OPERATOR, OWNER, READS, may_operate
from app.api.operators.models import ReadApi
from app.api.operators.operations import LARGEST, PAGE
from app.extensions import appbuilder, the_app
from app.kept import kept_of
from app.models import Door, RunState
from app.operations.registry import OPERATIONS, Operation
from app.web.guard import LISTS

VERSION = "v1"
MOST = 32  # descriptions that are kept
ARGUMENT = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
TAGS = {"OpenApi": "接口文档", "Menu": "菜单", "Security": "登录"}
ABOUT = (
    "调用时在请求头中写 Authorization: Bearer 加 API 密钥（在「我的账号」中新建），或登录接口给出的令牌。"
    "能看到和能做的与所属用户在控制台中的权限相同。"
)
ANSWERS = {
    "200": "成功",
    "202": "已接受，仍在进行",
    "400": "请求的内容有误",
    "401": "没有登录，或密钥、令牌无效",
    "403": "角色或密钥的权限范围不允许",
    "404": "没有找到，或不属于您",
    "422": "内容无法处理",
    "429": "操作太频繁",
    "500": "系统出错",
}
TEXTS = {
    "OpenApi.get": "这份文档（OpenAPI 3），可导入 Postman 等工具",
    "MenuApi.get_menu_data": "当前用户的菜单",
    "SecurityApi.login": "用用户名和密码换取令牌（JWT，30 分钟有效）；开启了两步验证的用户还要给出 otp",
    "SecurityApi.refresh": "用 refresh_token 换取新的令牌和下一个 refresh_token；每个只能用一次，重复使用会结束登录",
    "SecurityApi.logout": "结束这次登录：它的令牌和 refresh_token 立即失效",
    "OperationsApi.post": "在一个小程序、模板或第三方应用上执行操作；最多等 3 秒，没做完时回答 202，之后按编号查询",
    "OperationsApi.get": "查询一次操作",
    "OperationsApi.get_list": "操作列表，新的在前；下一页用 before 加上一页给出的 next",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "run_id": {"description": "操作记录的编号"},
    "version": {"description": "接口的版本"},
    "page_size": {
        "description": f"一页的条数，不写为 {PAGE}",
        "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST},
    },
    "before": {"description": "只要编号比它小的，即更早的", "schema": {"type": "integer", "minimum": 1}},
    "state": {"description": "状态", "schema": {"type": "string", "enum": [*map(str, RunState)]}},
    "operation": {"description": "操作名", "schema": {"type": "string"}},
    "appid": {"description": "对象的 AppID", "schema": {"type": "string", "minLength": 1}},
    "batch_id": {"description": "所属批次", "schema": {"type": "string", "minLength": 1}},
    "door": {"description": "从哪里发起", "schema": {"type": "string", "enum": [*map(str, Door)]}},
}
TYPES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}
RUN = {
    "id": ("integer", "操作记录的编号"),
    "operation": ("string", "操作名"),
    "appid": ("string", "对象的 AppID"),
    "state": ("string", "queued 等待、running 进行中、succeeded 成功、failed 失败、unknown 结果未知"),
    "err_no": ("integer", "抖音的错误码"),
    "message": ("string", "结果，一句话"),
    "advice": ("string", "处理建议"),
    "log_id": ("string", "抖音日志编号"),
    "result": ("object", "抖音返回的内容"),
    "answer": ("array", "结果给人看的说明，逐行给出 label 和 value；没有时为空"),
    "params": ("object", "参数"),
    "door": ("string", "从哪里发起"),
    "actor": ("string", "操作人"),
    "attempts": ("integer", "尝试次数"),
    "batch_id": ("string", "所属批次"),
    "created_at": ("string", "发起时间（UTC）"),
    "finished_at": ("string", "结束时间（UTC），没结束时为空"),
}
TOKENS = {
    "access_token": ("string", "令牌，写在请求头 Authorization: Bearer 之后"),
    "refresh_token": ("string", "用来换取新令牌；请求中 refresh 为 true 时给出"),
}
# What a call that went well gives, by its view, or by view and function.
GIVEN = {
    "OperationsApi": RUN,
    "OperationsApi.get_list": {
        "result": ("array", "操作，每项与按编号查询的相同"),
        "next": ("integer", "下一页的 before；没有更早的时为空"),
    },
    "SecurityApi": TOKENS,
    "MenuApi": {"result": ("array", "菜单项，按层级排列：名称、文字、地址、图标")},
}
FAULT = {"type": "object", "properties": {"message": {"type": "string", "description": "给人看的一句话"}}}


def description() -> dict[str, Any]:
    """The API as the asker may use it; made once for each set of roles, and not to be changed."""
    key = (current_role_names(), current_app.config["OWNERS_MAY_SUBMIT"], request.host_url)
    return kept_of(the_app()).once("openapi", key, _described, most=MOST)


def _described() -> dict[str, Any]:
    spec = FabOpenApi._create_api_spec(VERSION)
    views = [view for view in appbuilder().baseviews if _is_api(view)]
    for view in views:
        view.add_api_spec(spec)
    made: dict[str, Any] = spec.to_dict()
    made["info"]["description"] = ABOUT
    paths: dict[str, Any] = {}
    for view, path, method, function in itertools.chain.from_iterable(map(_routes, views)):
        told = made["paths"].get(path, {}).get(method)
        if told is not None and _allowed(view, function):
            paths.setdefault(path, {})[method] = _told(view, function, told)
    made["paths"] = dict(sorted(paths.items(), key=lambda item: (next(iter(item[1].values()))["tags"], item[0])))
    made["components"]["responses"] = {code: _answer(text) for code, text in ANSWERS.items() if code >= "400"}
    made["components"]["securitySchemes"]["api_key"]["description"] = "API 密钥（dz_ 开头）"
    return made


def _is_api(view: Any) -> bool:
    return isinstance(view, BaseApi) and (view.version == VERSION or isinstance(view, FabOpenApi))


def _routes(view: Any) -> Iterator[tuple[Any, str, str, str]]:
    """(view, path, method, function) of every address of an API."""
    for rule in current_app.url_map.iter_rules():
        name, _, function = rule.endpoint.rpartition(".")
        if name == view.endpoint:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield view, ARGUMENT.sub(r"{\1}", rule.rule), method.lower(), function


def _allowed(view: Any, function: str) -> bool:
    permission = view.get_method_permission(function)
    if function == "post" and view.endpoint == "OperationsApi" and not offered():
        return False
    return permission is None or appbuilder().sm.has_access(f"can_{permission}", view.class_permission_name)


def _told(view: Any, function: str, told: dict[str, Any]) -> dict[str, Any]:
    """One call in Chinese."""
    told = told | {"tags": [TAGS.get(tag, tag) for tag in told.get("tags", [])]}
    text = TEXTS.get(f"{view.endpoint}.{function}")
    if isinstance(view, ReadApi):
        told |= _told_list(view) if function == "get_list" else _told_item(view)
    elif text:
        told |= {"summary": text, "description": text}
    told["parameters"] = [ARGUMENTS.get(item["name"], {}) | item for item in told.get("parameters", [])]
    if view.endpoint == "OperationsApi" and function == "post":
        told["requestBody"] = _operations_body()
    told["responses"] = {
        code: _answer(ANSWERS.get(code, "")) | {"content": _content(view, function, code, answer)}
        for code, answer in _answers(told)
    }
    return told


def _answers(told: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = {str(code): answer for code, answer in told.get("responses", {}).items()}
    if told.get("security"):
        found = {**found, "401": {}, "403": {}}
    return [(code, found[code]) for code in sorted(found) if code != "422"]


def _content(view: Any, function: str, code: str, answer: dict[str, Any]) -> dict[str, Any]:
    held: dict[str, Any] = answer.get("content", {})
    given = GIVEN.get(f"{view.endpoint}.{function}", GIVEN.get(view.endpoint)) if code < "300" else None
    if not given:
        return held or {"application/json": {"schema": FAULT}}
    shown = _fields(given)
    if (view.endpoint, function) == ("OperationsApi", "get_list"):
        shown["result"]["items"] = {"type": "object", "properties": _fields(RUN)}
    return _json(shown)


def _fields(given: dict[str, tuple[str, str]]) -> dict[str, dict[str, Any]]:
    return {name: {"type": kind, "description": text} for name, (kind, text) in given.items()}


def _answer(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": FAULT}}}


# Models.


def _told_list(view: Any) -> dict[str, Any]:
    text = f"{view.openapi_spec_tag}列表"
    row = {"$ref": f"#/components/schemas/{type(view).__name__}.get_list"}
    answer = {"count": {"type": "integer", "description": "符合条件的总数"}, "result": {"type": "array", "items": row}}
    return {
        "summary": text,
        "description": text,
        "parameters": [
            {
                "in": "query",
                "name": "q",
                "required": False,
                "description": _about_query(view),
                "schema": {"type": "string"},
                "example": f"(page:0,page_size:25,order_column:{view.order_columns[0]},order_direction:desc)",
            },
        ],
        "responses": {"200": {"content": _json(answer)}, "400": {}},
    }


def _about_query(view: Any) -> str:
    operators = view.datamodel.get_filters(view.search_columns).get_search_filters()
    known = {name: [kind.arg_name for kind in operators.get(name, ())] for name in view.search_columns}
    columns = "；".join(f"{name}（{'、'.join(sorted({*held} - LISTS))}）" for name, held in known.items())
    return (
        "Rison 或 JSON 对象：page（从 0 起）、page_size（最多 100）、order_column、order_direction（asc、desc）、"
        "columns、filters（每项有 col、opr、value）。"
        f"可筛选的列和条件：{columns}。可排序的列：{'、'.join(view.order_columns)}。"
    )


def _told_item(view: Any) -> dict[str, Any]:
    text = f"按编号查询{view.openapi_spec_tag}"
    row = {"$ref": f"#/components/schemas/{type(view).__name__}.get"}
    key = {"in": "path", "name": "pk", "required": True, "description": "编号", "schema": {"type": "integer"}}
    answer = {"id": {"type": "integer"}, "result": row}
    return {
        "summary": text,
        "description": text,
        "parameters": [key],
        "responses": {"200": {"content": _json(answer)}, "404": {}},
    }


def _json(properties: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object", "properties": properties}}}


# Operations.


def offered() -> list[Operation]:
    """The operations that the asker may do."""
    owners = bool(current_app.config["OWNERS_MAY_SUBMIT"])
    return [op for op in OPERATIONS.values() if may_operate(current_role_names(), op.name, owners)]


def _operations_body() -> dict[str, Any]:
    found = offered()
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_operation_schema(op) for op in found]},
                "examples": {op.name: {"summary": op.title, "value": example(op)} for op in found},
            }
        },
    }


def _operation_schema(op: Operation) -> dict[str, Any]:
    fields = dataclasses.fields(op.params)
    needed = [item.name for item in fields if _is_needed(item)]
    params = {"type": "object", "properties": {item.name: param(op, item) for item in fields}}
    return {
        "type": "object",
        "title": op.name,
        "description": op.title,
        "required": ["operation", "appid", *(["params"] if needed else [])],
        "properties": {
            "operation": {"type": "string", "enum": [op.name]},
            "appid": {"type": "string", "description": "小程序、模板小程序或第三方应用的 AppID，或模板编号"},
            "params": params | ({"required": needed} if needed else {}),
        },
    }


def _is_needed(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def param(op: Operation, item: dataclasses.Field[Any]) -> dict[str, Any]:
    """The schema of one parameter of an operation."""
    hint, told = get_type_hints(op.params)[item.name], item.metadata
    kind = dict(TYPES.get(hint, {"type": "array", "items": {"type": "string"}}))
    words = "：".join(str(told[name]) for name in ("label", "help") if told.get(name))
    if item.default not in (dataclasses.MISSING, "", None):
        kind["default"] = item.default
    return kind | {"description": words}


def example(op: Operation) -> dict[str, Any]:
    """A body to begin with: the parameters that must be given, empty."""
    blank: dict[str, Any] = {"string": "", "integer": 0, "boolean": False, "array": []}
    fields = [item for item in dataclasses.fields(op.params) if _is_needed(item)]
    return {
        "operation": op.name,
        "appid": "",
        "params": {item.name: blank[param(op, item)["type"]] for item in fields},
    }


class OpenApi(FabOpenApi):
    """`GET /api/v1/_openapi`."""

    roles = {ADMIN: READS, OPERATOR: READS, AUDITOR: READS, OWNER: READS}

    @expose("/<version>/_openapi")
    @protect()
    def get(self, version: str) -> Any:
        """The description.
        ---
        get:
          parameters:
            - {in: path, name: version, required: true, schema: {type: string, enum: [v1]}}
          responses:
            200: {description: OpenAPI}
            404: {description: No such version}
        """
        return self.response(200, **description()) if version == VERSION else self.response_404()
