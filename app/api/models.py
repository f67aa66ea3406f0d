"""Operators' REST over the models: FAB's model APIs, read-only, with columns as allow-lists."""

from __future__ import annotations

from typing import Any

from flask import g, has_request_context
from flask_appbuilder import AppBuilder
from flask_appbuilder.api import ModelRestApi
from flask_appbuilder.models.sqla.interface import SQLAInterface

from app.models import Merchant, MiniProgram, Version


class ReadApi(ModelRestApi):
    """Lists and single rows; nothing is filtered, sorted or shown that is not named here. JWT only."""

    allow_browser_login = False
    include_route_methods = {"get_list", "get"}
    max_page_size = 100

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
    resource_name = "merchants"
    datamodel = SQLAInterface(Merchant)
    list_columns = show_columns = ["id", "key", "name", "industry.name", "state", "plan", "expires_on"]
    search_columns = ["key", "name", "state"]
    order_columns = ["id", "name"]


class MiniProgramApi(ReadApi):
    resource_name = "mini_programs"
    datamodel = SQLAInterface(MiniProgram)
    list_columns = show_columns = [
        "id", "appid", "name", "merchant.key", "merchant.name", "state", "permissions", "uploaded_version",
        "audit_version", "audit_state", "live_version", "synced_at",
    ]  # fmt: skip
    search_columns = ["appid", "name", "state", "audit_state", "live_version"]
    order_columns = ["id", "appid", "name"]


class VersionApi(ReadApi):
    resource_name = "versions"
    datamodel = SQLAInterface(Version)
    list_columns = show_columns = [
        "id", "number", "mini_program.appid", "state", "description", "template_id", "reason", "uploaded_at",
        "submitted_at", "decided_at", "released_at",
    ]  # fmt: skip
    search_columns = ["number", "state", "template_id"]
    order_columns = ["id", "number"]


def register(appbuilder: AppBuilder) -> None:
    for api in (MerchantApi, MiniProgramApi, VersionApi):
        appbuilder.add_api(api)
