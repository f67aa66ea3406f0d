"""A list's conditions on the page: chips that take them off, the panel that puts them on, states with counts."""

from __future__ import annotations

from typing import Any, ClassVar

from flask import request
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import func, literal, select, union_all
from werkzeug.datastructures import MultiDict

from app.models.base import State
from app.tenancy import scope_of
from app.views.interface import COUNTED, parse_key
from app.views.readable import Part, Readable, conditions, given, kind_of, parts_of, quoted
from app.views.words import WORDS, tone

SHOWN_VALUES = 5
YES_NO = (("1", "是"), ("0", "否"))
ANY, BLANK, FILLED, RAW = "any", "blank", "filled", "raw"
TIMES = (("today", "今天"), ("-7d..", "近 7 天"), ("-30d..", "近 30 天"), ("-90d..", "近 90 天"))
AHEAD = (("today..+7d", "未来 7 天"), ("today..+30d", "未来 30 天"), ("today..+90d", "未来 90 天"))
# What is over: a day is not before it ends, a moment is at once.
OVER = {"time": ("..now", "已过期"), "day": ("..yesterday", "已过期")}
SPOKEN = dict((*TIMES, *AHEAD, *OVER.values()))
OPERATORS: dict[str, tuple[tuple[str, str], ...]] = {
    "row": (("is", "是"), ("not", "不是")),
    "choice": (("is", "是"), ("not", "不是")),
    "flag": (("is", "是"),),
    "text": (("has", "包含"), ("lacks", "不包含"), ("is", "等于"), ("not", "不等于")),
    "number": (("is", "等于"), ("not", "不等于"), ("range", "范围")),
    "time": (*TIMES, ("range", "范围")),
    "day": (*TIMES, ("range", "范围")),
}
# Spoken in the chips.
SAID = {"lacks": "不包含", "not": "不是", "has": "包含", "is": ""}
Options = list[tuple[str, str]]


class Conditions(ModelView):
    """Mixin of ConsoleView: what narrows a list."""

    chip_column: ClassVar[str] = ""  # a state whose values stand above the list, each with its number
    chip_words: ClassVar[dict[str, str]] = {}  # the values to show there, where not all are worth it
    chip_flags: ClassVar[tuple[str, ...] | None] = None  # and which flags; by itself all
    ahead_columns: ClassVar[tuple[str, ...]] = ()  # days and times that lie ahead: when something ends

    def options_of(self, name: str) -> Options:
        """(value, words) of a column that holds one of a few."""
        if name in self.choices:
            return [(_key(value), words) for value, words in self.choices[name].items()]
        enum = getattr(self.datamodel.list_columns[name].type, "enum", None)
        return [(str(value), WORDS[enum][value]) for value in enum] if enum else list(YES_NO)

    def label_of(self, name: str) -> str:
        return str(self.label_columns.get(name, name))

    def add_conditions(self, filters: Any, args: Any) -> None:
        """Put the readable conditions of a request's arguments among its filters."""
        for name, text in conditions(self, args).items():
            filters._add_filter(Readable(self, name, text), text)

    # Chips of what is asked for now.

    def condition_chips(self) -> list[dict[str, Any]]:
        """Each condition in words, with the address of the list without it."""
        chips = [
            {"label": self.label_of(name), "text": self.said(name, text), "url": self.link_with(**{name: None})}
            for name, text in conditions(self, request.args).items()
            if name != self.chip_column or self._chosen_chip(text) is None
        ]
        chips += [self._old_chip(*found) for found in self.old_conditions(request.args)]
        held = [name for name in self.flags if request.args.get(name) == "1"]
        chips += [{"label": "", "text": self.flags[name][0], "url": self.link_with(**{name: None})} for name in held]
        return chips

    def old_conditions(self, args: Any) -> list[tuple[str, str, str]]:
        """(argument, column, readable condition) of conditions in FAB's own form, `_flt_0_state=…`."""
        offered = self.datamodel.get_filters(self.search_columns).get_search_filters()
        found = []
        for name, value in args.items():
            _, _, rest = name.partition("_flt_")
            number, _, column = rest.partition("_")
            if value and number.isdigit() and int(number) < len(offered.get(column, ())):
                kind = offered[column][int(number)].arg_name
                found.append((name, column, _translated(kind, value, text=kind_of(self, column) == "text")))
        return found

    def _old_chip(self, argument: str, column: str, text: str) -> dict[str, Any]:
        url = self.link_with(**{argument: None})
        return {"label": self.label_of(column), "text": self.said(column, text), "url": url}

    def said(self, name: str, text: str) -> str:
        """A condition in words: 不是 停用、过期."""
        state = self.control_state(name, text)
        op, values = state["op"], state["values"]
        if op == ANY:
            return "空白"
        if op == BLANK:
            return "为空"
        if op == FILLED:
            return "不为空"
        if op == "range":
            first, last = values
            return f"{first} 至 {last}" if first and last else f"从 {first}" if first else f"到 {last}"
        if named := SPOKEN.get(op):
            return named
        if op == RAW:
            return text[:60]
        words = self._words_of(name, values[:SHOWN_VALUES])
        more = "…" if len(values) > SHOWN_VALUES else ""
        return f"{SAID[op]} {'、'.join(words)}{more}".strip()

    def _words_of(self, name: str, values: list[str]) -> list[str]:
        kind = kind_of(self, name)
        if kind in {"choice", "flag"}:
            known = dict(self.options_of(name))
            return [known.get(value, value) for value in values]
        if kind == "row":
            return [text for _key, text in self._rows_named(name, values)]
        return values

    def _rows_named(self, name: str, values: list[str]) -> Options:
        """Related rows by their numbers, within the session's scope; a foreign or absent one stays a number."""
        model = self.datamodel.get_related_model(name)
        keys = [parse_key(value) for value in values]
        rows = [self.datamodel.session.get(model, key) if key is not None else None for key in keys]
        return [(value, str(row) if row else f"#{value}") for value, row in zip(values, rows, strict=True)]

    def control_state(self, name: str, text: str) -> dict[str, Any]:
        """A condition as the panel's control shows it: operator and values; what it has no control for stays text."""
        parts, kind = parts_of(text), kind_of(self, name)
        if not parts:
            return {"op": ANY, "values": []}
        if len(parts) == 1 and parts[0].is_empty:
            return {"op": FILLED if parts[0].negative else BLANK, "values": []}
        if len({(part.negative, part.exact) for part in parts}) > 1 or any(part.is_empty for part in parts):
            return {"op": RAW, "values": [text]}
        return _state_of(kind, parts, text)

    # The panel.

    @expose("/panel/", methods=["GET"])
    @has_access
    @permission_name("list")
    def panel(self) -> Any:
        """The panel in which every searchable column can be made a condition."""
        old = {column: text for _argument, column, text in self.old_conditions(request.args)}
        asked = old | conditions(self, request.args)
        controls = [self._control(name, asked.get(name, "")) for name in self.search_columns if kind_of(self, name)]
        kept = [
            (name, value) for name, value in request.args.items()
            if name not in self.search_columns and name not in {"page", "saved"} and not name.startswith("_flt_")
        ]  # fmt: skip
        return self.render_template("console/list/conditions.html", view=self, controls=controls, kept=kept)

    def _control(self, name: str, text: str) -> dict[str, Any]:
        kind, state = kind_of(self, name), self.control_state(name, text)
        operators = [(ANY, "不限"), *self._operators(name, kind)]
        if self._may_be_empty(name):
            operators += [(BLANK, "为空"), (FILLED, "不为空")]
        if state["op"] == RAW:
            operators.append((RAW, "自定义"))
        control = {"name": name, "label": self.label_of(name), "kind": kind, "operators": operators, **state}
        if kind in {"choice", "flag"}:
            control["options"] = self.options_of(name)
        if kind == "row":
            control["url"] = self.choices_url(name)
            control["options"] = self._rows_named(name, state["values"]) if state["op"] in {"is", "not"} else []
        return control

    def _operators(self, name: str, kind: str) -> tuple[tuple[str, str], ...]:
        if name not in self.ahead_columns:
            return OPERATORS[kind]
        return *AHEAD, OVER[kind], *(item for item in OPERATORS[kind] if item not in TIMES[1:])

    def _may_be_empty(self, name: str) -> bool:
        if self.datamodel.is_relation(name):
            return bool(self.datamodel.is_nullable(name))
        column = self.datamodel.list_columns[name]
        return bool(column.nullable) or kind_of(self, name) == "text"

    # The states above the list.

    def _chosen_chip(self, text: str) -> str | None:
        """The one state that a condition asks for; None when it asks for more or otherwise."""
        parts = parts_of(text)
        plain = len(parts) == 1 and not parts[0].negative and not parts[0].is_empty
        known = self.chip_words or dict(self.options_of(self.chip_column))
        return parts[0].text if plain and parts[0].text in known else None

    def chips(self, counts: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """The states to choose from, 全部 first; with their numbers once these are known."""
        name = self.chip_column
        if not name:
            return self._flag_chips()
        chosen = self._chosen_chip(given(request.args, name)) if name in request.args else ""
        words_of = self.chip_words.items() or self.options_of(name)
        enum = getattr(self.datamodel.list_columns[name].type, "enum", str)
        found = [("", "全部", "")] + [(value, words, tone(enum(value))) for value, words in words_of]
        states = [
            {
                "text": words, "tone": colour, "url": self.link_with(**{name: value or None}), "on": chosen == value,
                "count": (counts or {}).get(value, "0" if counts and value else ""),
            }
            for value, words, colour in found
        ]  # fmt: skip
        return states + self._flag_chips()

    def _flag_chips(self) -> list[dict[str, Any]]:
        return [self._flag_chip(name) for name in self.flags if self.chip_flags is None or name in self.chip_flags]

    def _flag_chip(self, name: str) -> dict[str, Any]:
        on = request.args.get(name) == "1"
        url = self.link_with(**{name: None if on else "1"})
        return {"text": self.flags[name][0], "tone": "", "url": url, "on": on, "count": "", "flag": True}

    @expose("/counts/", methods=["GET"])
    @has_access
    @permission_name("list")
    def counts(self) -> Any:
        """The states again, now with how many rows each has under the other conditions."""
        counts = self.state_counts() if self.chip_column else {}
        return self.render_template("console/list/chips.html", chips=self.chips(counts), counted=True)

    def state_counts(self) -> dict[str, str]:
        """How many rows are in each state, as text; looks at no more than some ten thousand rows of each."""
        others = MultiDict((name, value) for name, value in request.args.items(multi=True) if name != self.chip_column)
        column = getattr(self.datamodel.obj, self.chip_column)
        session = self.datamodel.session
        query = self.datamodel.apply_filters(session.query(self.datamodel.obj), self.active_filters(others))
        if scope_of(session).is_merchant:  # their own rows are few, and found by their index
            return _as_text(query.with_entities(column, func.count(self.datamodel.get_pk())).group_by(column).all())
        sample = query.with_entities(column.label("state")).limit(COUNTED + 1).subquery()
        found = session.execute(select(sample.c.state, func.count()).group_by(sample.c.state)).all()
        if sum(number for _value, number in found) <= COUNTED:
            return _as_text(found)
        if _indexed(column):
            return _as_text(self._counted_apart(query, column))
        return {value: f"{text.removesuffix('+')}+" for value, text in _as_text(found).items()}  # at least so many

    def _counted_apart(self, query: Any, column: Any) -> Any:
        """Many rows: each state by itself and only so far, in one statement."""
        values = [value for value, _words in self.options_of(self.chip_column)]
        typed = column.type.enum if isinstance(column.type, State) else _typed(column)
        limited = [
            select(literal(value).label("state"), func.count().label("number")).select_from(
                query.filter(column == typed(value))
                .with_entities(literal(1).label("one"))
                .limit(COUNTED + 1)
                .subquery()
            )
            for value in values
        ]
        return self.datamodel.session.execute(union_all(*limited)).all()


def _indexed(column: Any) -> bool:
    """Whether the rows of one state are found without looking at all others."""
    table = column.property.columns[0].table
    return any(next(iter(index.columns)).name == column.key for index in table.indexes)


def _typed(column: Any) -> Any:
    return (lambda value: value == "1") if column.type.python_type is bool else str


def _as_text(found: Any) -> dict[str, str]:
    """Numbers by state, and of all under the empty text."""
    total = sum(number for _value, number in found)
    return {_key(value): _number(number) for value, number in found if value not in (None, "")} | {"": _number(total)}


def _key(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _number(number: int) -> str:
    return f"{COUNTED:,}+" if number > COUNTED else f"{number:,}"


def _translated(kind: str, value: str, *, text: bool) -> str:
    """A condition in FAB's form as a readable one."""
    value = quoted(value)
    if kind == "gte":
        return f"{value}.."
    if kind == "lte":
        return f"..{value}"
    if kind == "neq":
        return f"!{value}"
    return f"={value}" if kind == "eq" and text else value


def _state_of(kind: str, parts: list[Part], text: str) -> dict[str, Any]:
    first = parts[0]
    raw = {"op": RAW, "values": [text]}
    if kind in {"time", "day"}:
        if len(parts) > 1 or first.negative:
            return raw
        if text in SPOKEN:
            return {"op": text, "values": []}
        return {"op": "range", "values": list(first.ends or (first.text, first.text))}
    if kind == "number" and first.ends is not None:
        return {"op": "range", "values": list(first.ends)} if len(parts) == 1 and not first.negative else raw
    if kind == "text":
        if len(parts) > 1:
            return raw
        op = ("not" if first.negative else "is") if first.exact else ("lacks" if first.negative else "has")
        return {"op": op, "values": [first.text]}
    if kind in {"number", "flag"} and len(parts) > 1:
        return raw
    return {"op": "not" if first.negative else "is", "values": [part.text for part in parts]}
