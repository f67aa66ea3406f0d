"""Options of a form's or filter's related field, found by typing: never the whole table."""

from __future__ import annotations

from typing import Any

from flask import abort, jsonify, request
from flask_appbuilder import BaseView, expose, has_access
from sqlalchemy import select
from sqlalchemy.orm import load_only

from app.access.roles import ALL_READ
from app.console.base import ConsoleView
from app.console.places import hidden_from
from app.console.query.plan import naming_of
from app.console.query.search import narrowed, within
from app.data import texts
from app.extensions import appbuilder, db

LIMIT = 20
LONGEST = 64


class ChoicesView(BaseView):
    """`/choices/<view>/<column>?q=`: at most twenty rows, within the session's scope."""

    roles = ALL_READ  # it asks the view whose field it is
    route_base = "/choices"
    default_view = "choices"

    @expose("/<view>/<column>", methods=["GET"])
    @has_access
    def choices(self, view: str, column: str) -> Any:
        model = self._model(view, column)
        text = texts.cleaned(request.args.get("q", ""))[:LONGEST]
        columns = naming_of(model)
        names = [item.key for item in columns]
        statement = select(model).options(load_only(*columns)).order_by(model.id.desc()).limit(LIMIT)
        if text:
            statement = statement.where(within(model, names, text))
            statement = narrowed(statement, db.session, model, names, [text])
        return jsonify(results=[{"id": str(row.id), "text": str(row)} for row in db.session.scalars(statement)])

    def _model(self, name: str, column: str) -> type[Any]:
        """The model behind a field of a view that the user may open; 404 for all else."""
        for view in appbuilder().baseviews:
            if view.endpoint == name and isinstance(view, ConsoleView) and view.may("list"):
                model = view.related_field(column)
                if model is not None and not hidden_from(model):
                    return model
        return abort(404)
