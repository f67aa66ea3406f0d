"""Malformed addresses and bodies end here with a 4xx sentence, before they can become a 500 further in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from flask import Flask, abort, request
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from app.data.keys import parse_key
from app.data.kinds import kind_of
from app.data.kinds.choice import Choice
from app.extensions import appbuilder
from app.web import rison
from app.web.headers import bad_request

NUMBER = re.compile(r"\d{1,7}")
LONGEST_QUERY = 8000
FILTER = re.compile(r"_flt_(\d)_(.+)")
LISTS = frozenset({"in", "nin"})  # operators whose value would be a list
RAW = ("/douyin/callback/", "/static/")  # signed bodies, taken as they come; files


def check() -> None:
    """before_request: everything that FAB and the database would stumble over."""
    if request.path.startswith(RAW):
        return
    if len(request.query_string) > LONGEST_QUERY:
        raise bad_request("地址太长。")
    _check_texts([request.path, *_pairs(request.args)])
    for name, value in (request.view_args or {}).items():
        if (name == "pk" or isinstance(value, int)) and parse_key(value) is None:
            abort(404)  # what is no number is no row's
    _check_list_arguments()
    if request.method in {"POST", "PUT", "PATCH", "DELETE"}:
        _check_body()


def _pairs(values: Any) -> Iterable[str]:
    return (text for pair in values.items(multi=True) for text in pair)


def _check_texts(texts: Iterable[str]) -> None:
    if any("\0" in text for text in texts):
        raise bad_request("内容含有不能使用的字符。")


def _check_body() -> None:
    if request.is_json:
        _check_json(request.get_data(cache=True))
    elif request.mimetype in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        _check_texts(_pairs(request.form))
        _check_texts(upload.filename or "" for upload in request.files.values())


def _check_json(raw: bytes) -> None:
    """JSON can carry NUL and halves of surrogate pairs, which no database takes; and nest without end."""
    try:
        text = json.dumps(json.loads(raw), ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        raise bad_request("请求体不是有效的 JSON。") from None
    if "\\u0000" in text:
        raise bad_request("内容含有不能使用的字符。")


def _view() -> Any:
    """The FAB view that the request goes to, if it goes to one."""
    for view in appbuilder().baseviews:
        if view.endpoint == request.blueprint:
            return view
    return None


def _check_list_arguments() -> None:
    if request.path.startswith("/api/"):  # the API has names of its own, of which `page_size` looks like a console's
        if "q" in request.args:
            _check_rison(request.args["q"])
        return
    for name, value in request.args.items():
        if name.startswith(("page_", "psize_")) or name in {"page", "psize"}:
            _check_number(value)
        elif name.startswith("_oc_"):
            _check_order(value)
        elif name.startswith("_od_") and value not in {"asc", "desc"}:
            raise bad_request("排序方向应为 asc 或 desc。")
        elif (match := FILTER.fullmatch(name)) and str(request.endpoint).endswith(".list"):
            _check_filter(match[2])


def _check_number(value: str) -> None:
    if not value.isascii() or not NUMBER.fullmatch(value):
        raise bad_request("页码和每页行数应为不大的整数。")


def _check_order(column: str) -> None:
    if column not in (getattr(_view(), "order_columns", None) or ()):
        raise bad_request("不能按这一列排序。")


def _check_filter(column: str) -> None:
    if column not in (getattr(_view(), "search_columns", None) or ()):
        raise bad_request("不能按这一列筛选。")


def _check_rison(text: str) -> None:
    query = _read(text)
    for name in ("page", "page_size"):
        value = query.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= 10**6:
            raise bad_request("页码和每页行数应为不大的整数。")
    if not isinstance(query.get("order_column", ""), str) or query.get("order_direction", "asc") not in {
        "asc",
        "desc",
    }:
        raise bad_request("排序的列或方向不正确。")
    filters = query.get("filters", [])
    if not isinstance(filters, list):
        raise bad_request("filters 应为列表。")
    for item in filters:
        _check_rest_filter(item)
    _give(query)


def _read(text: str) -> dict[str, Any]:
    """What `q` says."""
    try:
        query = rison.read(text)
    except ValueError:
        raise bad_request("q 应为 Rison 或 JSON 对象。") from None
    if not isinstance(query, dict):
        raise bad_request("q 应为 Rison 或 JSON 对象。")
    return query


def _give(query: dict[str, Any]) -> None:
    """FAB, which reads `q` once more and unpacks it differently, is given the plain form of what was checked."""
    asked = MultiDict(request.args)
    try:
        asked["q"] = rison.plain(query)
    except ValueError:
        raise bad_request("q 应为 Rison 或 JSON 对象。") from None
    request.args = ImmutableMultiDict(asked)


def _check_rest_filter(item: Any) -> None:
    """Refuse a condition that cannot be meant; clean the text of one that can, as what it is compared with was."""
    if not isinstance(item, dict) or not isinstance(item.get("col"), str) or not isinstance(item.get("opr"), str):
        raise bad_request("筛选条件应有 col、opr 和 value。")
    value = item.get("value")
    if not isinstance(value, str | int | float | bool) or not _can_be_kept(str(value)):
        raise bad_request("筛选的值应为文字或数字。")
    view = _view()
    if not hasattr(view, "datamodel"):
        return
    _check_rest_operator(view, item["col"], item["opr"])
    kind = kind_of(view.datamodel.list_columns[item["col"]])
    if isinstance(kind, Choice) and not kind.is_open and value not in {str(member) for member in kind.members}:
        raise bad_request(f"{item['col']} 没有这个值。")
    if kind.holds_text and not isinstance(value, str):
        raise bad_request(f"{item['col']} 是文字：请给它加上引号。")
    if isinstance(value, str):
        item["value"] = kind.clean(value)


def _can_be_kept(text: str) -> bool:
    """Whether a database takes a text: no NUL, and no half of a surrogate pair, which JSON can carry."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_rest_operator(view: Any, column: str, operator: str) -> None:
    """FAB leaves out a condition it does not know and answers with every row."""
    offered = view.datamodel.get_filters(view.search_columns).get_search_filters().get(column, ())
    if operator not in {kind.arg_name for kind in offered} - LISTS:
        raise bad_request(f"{column[:64]} 没有 {operator[:16]} 这个条件。")


def init_app(app: Flask) -> None:
    """Check every request before any view sees it."""
    app.before_request(check)
