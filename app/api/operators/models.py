"""Operators' REST over the models: FAB's model APIs, read-only, with columns as allow-lists."""

from __future__ import annotations

import sys
from typing import Any

from flask import Response, g, has_request_context
from flask_appbuilder.api import ModelRestApi
from flask_appbuilder.models.filters import BaseFilter
from flask_appbuilder.models.sqla import filters as fab
from flask_appbuilder.models.sqla.filters import get_field_setup_query
from flask_appbuilder.models.sqla.interface import SQLAInterface

from app.access.roles import WATCHED
from app.data.engine import is_busy
from app.errors import DeclarationError
from app.models import Merchant, MiniProgram, Version

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


class ApiInterface(SQLAInterface):
    """FAB's data model with these filters."""

    filter_converter_class = _Filters


class ReadApi(ModelRestApi):
    """Lists and single rows; nothing is filtered, sorted or shown that is not named here. JWT only."""

    allow_browser_login = False
    include_route_methods = {"get_list", "get"}
    max_page_size = 100

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.label_columns = {}
        for attribute in ("list_columns", "show_columns", "search_columns", "order_columns"):
            for name in getattr(cls, attribute) or ():
                try:
                    cls.label_columns[name] = _label(cls.datamodel.obj, name)
                except LookupError:
                    raise DeclarationError(f"{cls.__name__}.{attribute}: there is no {name!r}") from None

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
