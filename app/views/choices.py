"""Options of a form's or filter's related field, found by typing: never the whole table."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, jsonify, request
from flask_appbuilder import BaseView, expose, has_access
from sqlalchemy import or_, select
from sqlalchemy.orm import load_only

from app.extensions import db
from app.views.base import ConsoleView
from app.views.light import naming_of
from app.views.places import hidden_from
from app.views.search import holds, narrowed

LIMIT = 20
LONGEST = 64


class ChoicesView(BaseView):
    """`/choices/<view>/<column>?q=`: at most twenty rows, within the session's scope."""

    route_base = "/choices"
    default_view = "choices"

    @expose("/<view>/<column>", methods=["GET"])
    @has_access
    def choices(self, view: str, column: str) -> Any:
        model = self._model(view, column)
        text = request.args.get("q", "").strip()[:LONGEST]
        columns = naming_of(model)
        statement = select(model).options(load_only(*columns)).order_by(model.id.desc()).limit(LIMIT)
        if text:
            statement = statement.where(or_(*(holds(item, text) for item in columns)))
            statement = narrowed(statement, db.session, model, [item.key for item in columns], [text])
        return jsonify(results=[{"id": str(row.id), "text": str(row)} for row in db.session.scalars(statement)])

    def _model(self, name: str, column: str) -> type[Any]:
        """The model behind a field of a view that the user may open; 404 for all else."""
        for view in current_app.appbuilder.baseviews:  # type: ignore[attr-defined]
            if view.endpoint == name and isinstance(view, ConsoleView) and view.may("list"):
                model = view.related_field(column)
                if model is not None and not hidden_from(model):
                    return model
        return abort(404)
