"""Operators' REST for operations: start one, look at one, list them. JWT only, so no cookie can be made to do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import current_app, request
from flask_appbuilder.api import BaseApi, expose, permission_name, protect
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import defer

from app.access.principal import current_actor, current_role_names
from app.access.roles import ADMIN, AUDITOR, OPERATOR, OWNER, READS, WRITES, may_operate
from app.errors import Refused
from app.extensions import db, the_app
from app.i18n.sentence import say
from app.models import Door, OperationRun, RunState
from app.operations import registry, runs
from app.operations.params import parse_params
from app.operations.runs import WAIT_SECONDS

PAGE, LARGEST = 25, 100  # runs on a page of the list: unasked, and at most
GREATEST = 2**63 - 1  # what the key of a run can be


def _of(members: type[RunState] | type[Door]) -> Callable[[str, str], Any]:
    """A reader of one of an enum's values."""

    def read(name: str, text: str) -> Any:
        if text not in set(members):
            raise Refused(say("{name} 应为以下之一：{values}", name=name, values="、".join(members)), field=name)
        return members(text)

    return read


def _number(name: str, text: str, greatest: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and 1 <= int(text) <= greatest):
        raise Refused(say("{name} 应为 1 到 {greatest} 的整数", name=name, greatest=greatest), field=name)
    return int(text)


def _text(name: str, text: str) -> str:
    if not text:
        raise Refused(say("{name} 不能为空", name=name), field=name)
    return text


# What a list of runs can be asked for by, and how each is read: all raise Refused, which names it.
_COLUMNS: Mapping[str, tuple[Any, Callable[[str, str], Any]]] = {
    "state": (OperationRun.state, _of(RunState)),
    "operation": (OperationRun.operation, lambda _name, text: registry.find(text).name),
    "appid": (OperationRun.appid, _text),
    "batch_id": (OperationRun.batch_id, _text),
    "door": (OperationRun.door, _of(Door)),
}


def _page(asked: Mapping[str, str]) -> tuple[int, list[ColumnElement[bool]]]:
    """How many runs are asked for, and which. Refused for what cannot be asked: left out, it would be all runs."""
    size, conditions = PAGE, list[ColumnElement[bool]]()
    for name, text in asked.items():
        if name == "page_size":
            size = _number(name, text, LARGEST)
        elif name == "before":
            conditions.append(OperationRun.id < _number(name, text, GREATEST))
        elif name in _COLUMNS:
            column, read = _COLUMNS[name]
            conditions.append(column == read(name, text))
        else:
            raise Refused(say("没有名为「{name}」的参数", name=name[:64]), field=name[:64])
    return size, conditions


class OperationsApi(BaseApi):
    """`POST /api/v1/operations/` {operation, appid, params}; `GET /api/v1/operations/<id>`, and without a number."""

    roles = {ADMIN: WRITES, OPERATOR: WRITES, AUDITOR: READS, OWNER: WRITES}
    resource_name = "operations"
    allow_browser_login = False
    openapi_spec_tag = "操作"

    @expose("/", methods=["POST"])
    @protect()
    def post(self) -> Any:
        """Start one operation.
        ---
        post:
          description: Queue an operation on one app and wait for it up to three seconds.
          requestBody:
            required: true
            content:
              application/json:
                schema:
                  type: object
                  required: [operation, appid]
                  properties:
                    operation: {type: string}
                    appid: {type: string}
                    params: {type: object}
          responses:
            200: {description: The run is over}
            202: {description: The run goes on; ask for it by its id}
            400: {description: Refused before anything was sent}
            403: {description: Not allowed to this user}
        """
        body = request.get_json(silent=True)
        if (
            not isinstance(body, dict)
            or not isinstance(body.get("operation"), str)
            or not isinstance(body.get("appid"), str)
        ):
            return self.response(400, message="请求体应为 JSON 对象，含 operation 和 appid")
        params = body.get("params", {})
        if not isinstance(params, dict):
            return self.response(400, message="params 应为对象", field="params")
        try:
            op = registry.find(body["operation"])
            if not may_operate(current_role_names(), op.name, current_app.config["OWNERS_MAY_SUBMIT"]):
                return self.response(403, message="没有执行该操作的权限")
            row = runs.subject(db.session(), op, body["appid"])
            parse_params(op, params)  # first: of their names none is an argument of `request`
            run = runs.request(db.session(), op.name, row, actor=current_actor(), door=Door.REST, **params)
        except Refused as refused:
            return self.response(400, message=refused.message, field=refused.field)
        return self._answer(run.id, WAIT_SECONDS)

    @expose("/", methods=["GET"])
    @protect()
    @permission_name("get")
    def get_list(self) -> Any:
        """List runs, newest first, by pages that are named by a key: nothing is counted or skipped.
        ---
        get:
          description: Operation runs, newest first.
          parameters:
            - {in: query, name: page_size}
            - {in: query, name: before}
            - {in: query, name: state}
            - {in: query, name: operation}
            - {in: query, name: appid}
            - {in: query, name: batch_id}
            - {in: query, name: door}
          responses:
            200: {description: The runs of a page}
            400: {description: Something that cannot be asked}
        """
        try:
            size, conditions = _page(request.args)
        except Refused as refused:
            return self.response(400, message=refused.message, field=refused.field)
        statement = select(OperationRun).where(*conditions).order_by(OperationRun.id.desc()).limit(size + 1)
        found = list(db.session.scalars(statement.options(defer(OperationRun.evidence))))
        page = found[:size]
        following = page[-1].id if len(found) > size else None
        return self.response(200, result=[runs.as_json(run) for run in page], next=following)

    @expose("/<int:run_id>", methods=["GET"])
    @protect()
    def get(self, run_id: int) -> Any:
        """Look at one run.
        ---
        get:
          description: One operation run.
          parameters:
            - {in: path, name: run_id, required: true, schema: {type: integer}}
          responses:
            200: {description: The run}
            404: {description: No such run}
        """
        return self._answer(run_id, 0)

    def _answer(self, run_id: int, seconds: float) -> Any:
        db.session.rollback()  # what was read before the wait must not be read again
        if seconds:
            runs.wait_for(the_app(), run_id, seconds)
        run = db.session.scalars(
            select(OperationRun).where(OperationRun.id == run_id).execution_options(populate_existing=True)
        ).first()
        if run is None:
            return self.response_404()
        return self.response(200 if run.is_over or not seconds else 202, **runs.as_json(run))
