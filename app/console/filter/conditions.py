"""A list's conditions on the page: chips that take them off, the panel that puts them on, states with counts."""

from __future__ import annotations

from typing import Any, ClassVar

from flask import request
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import func, literal, select, union_all
from werkzeug.datastructures import MultiDict

from app.console.filter.readable import Readable, conditions, control_of, given
from app.console.kinds import kind_in
from app.console.kinds.controls import ANY, BLANK, FILLED, RAW, SPOKEN, Control, Options, raw
from app.console.kinds.parts import parts_of, quoted
from app.console.query.interface import COUNTED
from app.console.words import tone
from app.data.keys import parse_key
from app.data.kinds.choice import Choice
from app.data.tenancy import scope_of
from app.i18n.sentence import Foreign, listed, ours, say

SHOWN_VALUES = 5
# Spoken in the chips.
SAID = {"lacks": "不包含", "not": "不是", "has": "包含", "is": ""}


def _one_end(first: str, last: str) -> str:
    return say("从 {first}", first=first) if first else say("到 {last}", last=last)


class Conditions(ModelView):
    """Mixin of ConsoleView: what narrows a list."""

    chip_column: ClassVar[str] = ""  # a state whose values stand above the list, each with its number
    chip_words: ClassVar[dict[str, str]] = {}  # the values to show there, where not all are worth it
    chip_flags: ClassVar[tuple[str, ...] | None] = None  # and which flags; by itself all
    ahead_columns: ClassVar[tuple[str, ...]] = ()  # days and times that lie ahead: when something ends

    def options_of(self, name: str) -> Options:
        """(value, words) of a column that holds one of a few."""
        control = control_of(self, name)
        return control.options(kind_in(self, name)) if control is not None else []

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
                found.append((name, column, _translated(kind, value, control_of(self, column))))
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
            return say("{first} 至 {last}", first=first, last=last) if first and last else _one_end(first, last)
        if named := SPOKEN.get(op):
            return named
        if op == RAW:
            return Foreign(text[:60])
        words = self._words_of(name, values[:SHOWN_VALUES])
        several = listed(words)
        several = say("{values}…", values=several) if len(values) > SHOWN_VALUES else several
        return say("{how} {values}", how=ours(SAID[op]), values=several) if SAID[op] else several

    def _words_of(self, name: str, values: list[str]) -> list[str]:
        control = control_of(self, name)
        if control is not None and control.picks == "rows":
            return [text for _key, text in self._rows_named(name, values)]
        known = dict(self.options_of(name))
        return [ours(known[value]) if value in known else value for value in values]

    def _rows_named(self, name: str, values: list[str]) -> Options:
        """Related rows by their numbers, within the session's scope; a foreign or absent one stays a number."""
        model = self.datamodel.get_related_model(name)
        keys = [parse_key(value) for value in values]
        rows = [self.datamodel.session.get(model, key) if key is not None else None for key in keys]
        return [(value, str(row) if row else f"#{value}") for value, row in zip(values, rows, strict=True)]

    def control_state(self, name: str, text: str) -> dict[str, Any]:
        """A condition as the panel's control shows it: operator and values; what it has no control for stays text."""
        parts, control = parts_of(text), control_of(self, name)
        if not parts or control is None:
            return {"op": ANY, "values": []}
        if len(parts) == 1 and parts[0].is_empty:
            return {"op": FILLED if parts[0].negative else BLANK, "values": []}
        if len({(part.negative, part.exact) for part in parts}) > 1 or any(part.is_empty for part in parts):
            return raw(text)
        return control.state(parts, text)

    # The panel.

    @expose("/panel/", methods=["GET"])
    @has_access
    @permission_name("list")
    def panel(self) -> Any:
        """The panel in which every searchable column can be made a condition."""
        old = {column: text for _argument, column, text in self.old_conditions(request.args)}
        asked = old | conditions(self, request.args)
        offered = [(name, control) for name in self.search_columns if (control := control_of(self, name)) is not None]
        controls = [self._control(name, control, asked.get(name, "")) for name, control in offered]
        kept = [
            (name, value)
            for name, value in request.args.items()
            if name not in self.search_columns and name not in {"page", "saved"} and not name.startswith("_flt_")
        ]
        return self.render_template("console/list/conditions.html", view=self, controls=controls, kept=kept)

    def _control(self, name: str, control: Control, text: str) -> dict[str, Any]:
        state = self.control_state(name, text)
        operators = [(ANY, "不限"), *(control.ahead if name in self.ahead_columns else control.operators)]
        if self._may_be_empty(name, control):
            operators += [(BLANK, "为空"), (FILLED, "不为空")]
        if state["op"] == RAW:
            operators.append((RAW, "自定义"))
        shown = {"name": name, "label": self.label_of(name), "control": control, "operators": operators, **state}
        if control.picks == "rows":
            shown["url"] = self.choices_url(name)
            shown["options"] = self._rows_named(name, state["values"]) if state["op"] in {"is", "not"} else []
        elif control.picks:
            shown["options"] = self.options_of(name)
        return shown

    def _may_be_empty(self, name: str, control: Control) -> bool:
        if self.datamodel.is_relation(name):
            return bool(self.datamodel.is_nullable(name))
        return bool(self.datamodel.list_columns[name].nullable) or control.blank

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
        kind = kind_in(self, name)
        members = {str(member): member for member in kind.members} if isinstance(kind, Choice) else {}
        words_in = kind.words if isinstance(kind, Choice) else None
        found = [("", "全部", "")]
        found += [(value, words, tone(members.get(value, value), words_in)) for value, words in words_of]
        states = [
            {
                "text": words,
                "tone": colour,
                "url": self.link_with(**{name: value or None}),
                "on": chosen == value,
                "count": (counts or {}).get(value, "0" if counts and value else ""),
            }
            for value, words, colour in found
        ]
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
        meant = kind_in(self, self.chip_column).meant
        limited = [
            select(literal(value).label("state"), func.count().label("number")).select_from(
                query.filter(column == meant(value))
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


def _as_text(found: Any) -> dict[str, str]:
    """Numbers by state, and of all under the empty text."""
    total = sum(number for _value, number in found)
    return {_key(value): _number(number) for value, number in found if value not in (None, "")} | {"": _number(total)}


def _key(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _number(number: int) -> str:
    return f"{COUNTED:,}+" if number > COUNTED else f"{number:,}"


def _translated(kind: str, value: str, control: Control | None) -> str:
    """A condition in FAB's form as a readable one."""
    value = quoted(value)
    if kind == "gte":
        return f"{value}.."
    if kind == "lte":
        return f"..{value}"
    if kind == "neq":
        return f"!{value}"
    return f"={value}" if kind == "eq" and control is not None and control.looks_within else value
