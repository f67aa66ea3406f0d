"""Options of a form's or filter's related field, found by typing: never the whole table."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, jsonify, request
from flask_appbuilder import BaseView, expose, has_access
from sqlalchemy import or_, select

from app.extensions import db
from app.tenancy import scope_of, tenancy_of
from app.views.base import ConsoleView

SEARCHED = ("name", "appid", "number", "key")
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
        columns = [getattr(model, name) for name in SEARCHED if name in model.__mapper__.columns]
        statement = select(model).order_by(model.id.desc()).limit(LIMIT)
        if text:
            statement = statement.where(or_(*(item.icontains(text, autoescape=True) for item in columns)))
        return jsonify(results=[{"id": str(row.id), "text": str(row)} for row in db.session.scalars(statement)])

    def _model(self, name: str, column: str) -> type[Any]:
        """The model behind a field of a view that the user may open; 404 for all else."""
        for view in current_app.appbuilder.baseviews:  # type: ignore[attr-defined]
            if view.endpoint == name and isinstance(view, ConsoleView) and view.may("list"):
                model = view.related_field(column)
                if model is not None and not self._hidden(model):
                    return model
        return abort(404)

    def _hidden(self, model: type[Any]) -> bool:
        return scope_of(db.session()).is_merchant and tenancy_of(model) == "platform"
