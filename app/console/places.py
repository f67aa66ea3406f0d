"""Which registered screens show a table: where its rows have their pages, what its columns and rows are called."""

from __future__ import annotations

from typing import Any

from flask import current_app, g, has_request_context
from flask_appbuilder import ModelView

from app.console import cells
from app.console.words import common_labels
from app.data.tenancy import scope_of, tenancy_of
from app.extensions import appbuilder, db


def view_named(name: str) -> Any:
    """A registered view by its name; None when there is none."""
    return next((view for view in _registered() if view.endpoint == name), None)


def _registered() -> list[Any]:
    views: list[Any] = appbuilder().baseviews
    return views


def screens() -> list[Any]:
    """The screens of rows, in the menu's order."""
    return [view for view in _registered() if isinstance(view, ModelView)]


def screens_of(table: str) -> list[Any]:
    """The screens of one table, those that the reader may open first."""
    found = [view for view in screens() if view.datamodel.obj.__tablename__ == table]
    return sorted(found, key=lambda view: not view.may("list")) if has_request_context() else found


def page_for(table: str, key: Any) -> str | None:
    """The page of a row by its table and number, on the first screen of all such rows that the reader may open."""
    held: dict[str, str | None] = g.setdefault("pages", {})  # the same for all rows of a page
    if table not in held:
        views = (view for view in screens_of(table) if view.whole and view.may("show"))
        held[table] = next((f"{view.endpoint}.show" for view in views), None)
    endpoint = held[table]
    return cells.row_address(endpoint, key) if endpoint else None


def list_for(table: str) -> str | None:
    """The first list of a table's rows that the reader may open."""
    return next((cells.list_address(f"{view.endpoint}.list") for view in screens_of(table) if view.may("list")), None)


def hidden_from(model: type[Any]) -> bool:
    """Whether the session may not even name a model's table."""
    return scope_of(db.session()).is_merchant and tenancy_of(model) == "platform"


def column_label(table: str, name: str) -> str | None:
    """What the table's screens call a column, else what every screen does; None when it has no name anywhere."""
    held: dict[tuple[str, str], str | None] = g.setdefault("column_labels", {})
    if (table, name) not in held:
        said = (view.label_columns.get(name) for view in screens_of(table))
        held[table, name] = next((str(label) for label in said if label), common_labels().get(name))
    return held[table, name]


def subject_words(table: str) -> str:
    """What one row of a table is called; the table's name when nothing calls it anything."""
    return subjects().get(table, table)


def subjects() -> dict[str, str]:
    """What one row of each table is called, in the log and of runs: as a view says in `nouns`, by table, else as the
    first screen of its rows does."""
    held: dict[str, str] = g.setdefault("subjects", {})
    if not held:
        declared = current_app.extensions["screens"]  # their classes: the words are asked for where no page is served
        models = [(view, view.datamodel.obj) for view in declared if issubclass(view, ModelView)]
        logged = [(view, model) for view, model in models if getattr(model, "__audited__", False)]
        held |= {model.__tablename__: view.noun for view, model in reversed(logged)}
        for view in declared:
            held |= getattr(view, "nouns", {})
    return held
