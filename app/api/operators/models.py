"""Operators' REST over the models: FAB's model APIs, read-only, with columns as allow-lists."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache, wraps
from typing import Any

from flask import Response, g, has_request_context, request
from flask_appbuilder.api import ModelRestApi, expose, permission_name, protect, safe
from flask_appbuilder.api.schemas import get_item_schema, get_list_schema
from flask_appbuilder.models.filters import BaseFilter, Filters
from flask_appbuilder.models.sqla import filters as fab
from flask_appbuilder.models.sqla.filters import get_field_setup_query
from flask_appbuilder.models.sqla.interface import SQLAInterface
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload, load_only

from app.access.roles import WATCHED
from app.data.engine import is_busy
from app.errors import DeclarationError
from app.models import Merchant, MiniProgram, Version
from app.web import rison

KEY_LABEL = "编号"  # of every table's own key


def _label(model: type[Any], name: str) -> str:
    """What a column is called, of the model's or by a dot of a row that it names: such a row's name is the row's.

    LookupError for one that there is not.
    """
    first, _, rest = name.partition(".")
    mapper = model.__mapper__
    if not rest:
        return str(mapper.columns[name].info.get("label") or KEY_LABEL)
    relation = mapper.relationships[first]
    inner = _label(relation.mapper.class_, rest)
    return str(relation.info["label"]) if rest == "name" else inner


def _literally(kind: type[BaseFilter], method: str, *, negative: bool) -> type[BaseFilter]:
    """One of FAB's filters for text within, with wildcards taken as what they are."""

    def apply(self: Any, query: Any, value: Any) -> Any:
        query, field = get_field_setup_query(query, self.model, self.column_name)
        holds = getattr(field, method)(str(value), autoescape=True)
        return query.filter(~holds if negative else holds)

    return type(kind.__name__, (kind,), {"apply": apply})


_LITERAL: dict[Any, Any] = {
    kind: _literally(kind, method, negative=negative)
    for kind, method, negative in (
        (fab.FilterStartsWith, "istartswith", False),
        (fab.FilterNotStartsWith, "istartswith", True),
        (fab.FilterEndsWith, "iendswith", False),
        (fab.FilterNotEndsWith, "iendswith", True),
        (fab.FilterContains, "icontains", False),
        (fab.FilterNotContains, "icontains", True),
    )
}


class _Filters(fab.SQLAFilterConverter):
    """FAB's filters, but for those that PostgreSQL refuses a backslash in."""

    conversion_table = tuple(
        (name, [_LITERAL.get(kind, kind) for kind in kinds]) for name, kinds in fab.SQLAFilterConverter.conversion_table
    )


class _Conditions(Filters):
    """FAB's filters of one question; what can be asked of a column is made once for the data model."""

    def _get_filters(self, columns: list[str]) -> dict[str, list[BaseFilter]]:
        offered = self.datamodel.offered
        return {name: offered[name] for name in columns if offered.get(name)}

    def get_joined_filters(self, filters: Filters) -> Filters:
        joined = _Conditions(self.filter_converter, self.datamodel)
        joined.filters = self.filters + filters.filters
        joined.values = self.values + filters.values
        return joined


def _loads(model: type[Any], columns: Iterable[str]) -> list[Any]:
    """What loads these columns only: the model's own, and by a dot those of the rows that it names."""
    own, named = [model.id], dict[str, list[str]]()
    for name in columns:
        first, _, rest = name.partition(".")
        if rest:
            named.setdefault(first, []).append(rest)
        else:
            own.append(getattr(model, name))
    relations = {name: getattr(model, name) for name in named}
    inner = {name: _loads(relation.property.mapper.class_, named[name]) for name, relation in relations.items()}
    return [load_only(*own), *(joinedload(relations[name]).options(*inner[name]) for name in named)]


@lru_cache(maxsize=64)
def _rows(model: type[Any], columns: tuple[str, ...]) -> Select[Any]:
    """Rows with these columns: the part of a list's statement that is the same for all who ask for it."""
    return select(model).options(*_loads(model, columns))


class ApiInterface(SQLAInterface):
    """FAB's data model with these filters, and with statements of which the constant part is made once."""

    filter_converter_class = _Filters

    @cached_property
    def offered(self) -> dict[str, list[BaseFilter]]:
        """By column, what can be asked of it."""
        converter = _Filters(self)
        return {name: converter.convert(name) for name in self.get_columns_list()}

    def get_filters(self, search_columns: Any = None, search_filters: Any = None) -> Filters:
        return _Conditions(_Filters, self, search_columns, search_filters)

    def query(
        self,
        filters: Filters | None = None,
        order_column: str = "",
        order_direction: str = "",
        page: int | None = None,
        page_size: int | None = None,
        select_columns: list[str] | None = None,
        **_outer: Any,
    ) -> tuple[int, list[Any]]:
        """How many rows there are, and those of one page (from 0): in the order asked for, else of their keys."""
        counted, rows = select(func.count()).select_from(self.obj), _rows(self.obj, tuple(select_columns or ()))
        if filters is not None:
            counted, rows = filters.apply_all(counted), filters.apply_all(rows)
        order = [self.obj.id] if order_column in ("", "id") else [getattr(self.obj, order_column), self.obj.id]
        if order_column and order_direction != "asc":
            order = [column.desc() for column in order]
        rows = rows.order_by(*order).limit(page_size).offset((page or 0) * (page_size or 0))
        return self.session.scalar(counted), list(self.session.scalars(rows))

    def get(
        self,
        key: int,
        filters: Filters | None = None,
        select_columns: list[str] | None = None,
        _outer_default_load: bool = False,
    ) -> Any:
        """One row, with these columns; None when there is none, or it is another's."""
        rows = _rows(self.obj, tuple(select_columns or ())).where(self.obj.id == key)
        return self.session.scalars(filters.apply_all(rows) if filters else rows).one_or_none()


def _asked(theirs: Any, address: str, schema: dict[str, Any]) -> Callable[..., Any]:
    """FAB's endpoint, what is asked of it checked by a validator made once: FAB checks the schema, too, each time."""
    validator = validator_for(schema)(schema)

    @permission_name("get")
    @wraps(inspect.unwrap(theirs))
    def ours(self: ReadApi, **arguments: Any) -> Any:
        text = request.args.get("q")
        question = rison.read(text) if text else {}  # app/web/guard.py has refused what cannot be read
        fault = best_match(validator.iter_errors(question))
        if fault is not None:
            return self.response_400(message=f"Not a valid rison schema {fault.message.splitlines()[0]}")
        return inspect.unwrap(theirs)(self, rison=question, **arguments)

    endpoint: Callable[..., Any] = expose(address)(protect()(safe(ours)))
    return endpoint


class ReadApi(ModelRestApi):
    """Lists and single rows; nothing is filtered, sorted or shown that is not named here. JWT only."""

    allow_browser_login = False
    include_route_methods = {"get_list", "get"}
    max_page_size = 100
    get = _asked(ModelRestApi.get, "/<int:pk>", get_item_schema)
    get_list = _asked(ModelRestApi.get_list, "/", get_list_schema)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.label_columns = {}
        for attribute in ("list_columns", "show_columns", "search_columns", "order_columns"):
            for name in getattr(cls, attribute) or ():
                try:
                    cls.label_columns[name] = _label(cls.datamodel.obj, name)
                except LookupError:
                    raise DeclarationError(f"{cls.__name__}.{attribute}: there is no {name!r}") from None
                if "." in name and attribute in ("search_columns", "order_columns"):
                    raise DeclarationError(f"{cls.__name__}.{attribute}: {name!r} is another table's")

    def response_404(self, **_words: Any) -> Response:
        answer: Response = self.response(404, message="没有找到这条记录")
        return answer

    def response_500(self, **words: Any) -> Response:
        """FAB catches every fault; that of a busy database is the boundary's to answer."""
        fault = sys.exc_info()[1]
        if fault is not None and is_busy(fault):
            raise fault
        answer: Response = super().response_500(**words)
        return answer

    @property
    def _filters(self) -> Any:
        """A request's own filters: FAB keeps one object per view, which parallel requests would mix."""
        if not has_request_context():
            return self.datamodel.get_filters(self.search_columns)
        held = g.setdefault("api_filters", {})
        if type(self) not in held:
            held[type(self)] = self.datamodel.get_filters(self.search_columns)
        return held[type(self)]

    @_filters.setter
    def _filters(self, _value: Any) -> None:
        """FAB sets its shared object while the view is made; it is not used."""


class MerchantApi(ReadApi):
    roles = WATCHED
    openapi_spec_tag = "商户"
    resource_name = "merchants"
    list_title = show_title = "商户"
    datamodel = ApiInterface(Merchant)
    list_columns = show_columns = ["id", "key", "name", "industry.name", "state", "plan", "expires_on"]
    search_columns = ["key", "name", "state"]
    order_columns = ["id", "name"]


class MiniProgramApi(ReadApi):
    roles = WATCHED
    openapi_spec_tag = "小程序"
    resource_name = "mini_programs"
    list_title = show_title = "小程序"
    datamodel = ApiInterface(MiniProgram)
    list_columns = show_columns = [
        "id",
        "appid",
        "name",
        "merchant.key",
        "merchant.name",
        "state",
        "permissions",
        "uploaded_version",
        "audit_version",
        "audit_state",
        "live_version",
        "synced_at",
    ]
    search_columns = ["appid", "name", "state", "audit_state", "live_version"]
    order_columns = ["id", "appid", "name"]


class VersionApi(ReadApi):
    roles = WATCHED
    openapi_spec_tag = "版本"
    resource_name = "versions"
    list_title = show_title = "版本"
    datamodel = ApiInterface(Version)
    list_columns = show_columns = [
        "id",
        "number",
        "mini_program.appid",
        "state",
        "description",
        "template_id",
        "reason",
        "uploaded_at",
        "submitted_at",
        "decided_at",
        "released_at",
    ]
    search_columns = ["number", "state", "template_id"]
    order_columns = ["id"]
