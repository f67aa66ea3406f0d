"""Operators' REST for operations: start one, look at one. JWT only, so no cookie can be made to do it."""

from __future__ import annotations

from typing import Any

from flask import current_app, request
from flask_appbuilder.api import BaseApi, expose, protect
from sqlalchemy import select

from app.access.principal import current_actor, current_role_names
from app.access.roles import ADMIN, AUDITOR, OPERATOR, OWNER, READS, WRITES, may_operate
from app.errors import Refused
from app.extensions import db, the_app
from app.models import Door, OperationRun
from app.operations import registry, runs
from app.operations.params import parse_params
from app.operations.runs import WAIT_SECONDS


class OperationsApi(BaseApi):
    """`POST /api/v1/operations` {operation, appid, params}; `GET /api/v1/operations/<id>`."""

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
