"""What screens declare, looked over before any of them is built: a misspelt name stops the start, and is not merely
left out of a page. All faults are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from app.console.base import ConsoleView, MerchantFace
from app.console.kinds import field_of
from app.console.row.tabs import Related
from app.data.kinds import kind_of

ICONS = Path(__file__).resolve().parent.parent / "static" / "vendor" / "icons.css"


class Said(NamedTuple):
    """One name in one declaration; `by` is the class in which it stands, a base of the screen perhaps."""

    by: type[Any]
    attribute: str
    name: str


class Screen:
    """A screen's class, and which names mean something there.

    `label_columns` is not looked over: it names facts of the change log, too, which stand in no table.
    """

    def __init__(self, view: type[Any], screens: Iterable[type[Any]]) -> None:
        self.view, self.model = view, view.datamodel.obj
        self.screens = [*screens]
        mapper = self.model.__mapper__
        self.columns, self.relations = frozenset(mapper.columns.keys()), frozenset(mapper.relationships.keys())
        self.sealed = frozenset(getattr(self.model, "__sealed__", ()))

    # Which names there are.

    def in_table(self, name: str) -> bool:
        return name in self.columns or name in self.relations

    def to_one(self, name: str) -> bool:
        """Whether the list can be ordered by it."""
        return name in self.columns or (name in self.relations and not self._relation(name).uselist)

    def asked(self, name: str) -> bool:
        """Whether a form can ask for it."""
        return self.in_table(name) or name in self.sealed

    def shown(self, name: str) -> bool:
        """Whether a page can show it: an attribute of the row that is not sealed, or drawn by a cell."""
        return name in self.view.cells or (self.of_row(name) and name not in self.sealed)

    def of_row(self, name: str) -> bool:
        return self.in_table(name) or hasattr(self.model, name)

    def exported(self, name: str) -> bool:
        return name in self.view.export_cells or (self.of_row(name) and name not in self.sealed)

    def opened(self, name: str) -> bool:
        return self.shown(name) or self.exported(name) or self.asked(name)

    def _relation(self, name: str) -> Any:
        return self.model.__mapper__.relationships[name]

    # What is declared.

    def said(self, attribute: str) -> Iterator[Said]:
        """The names of a list, section or mapping. Of a merchants' face, which has of its bases' lists what is open,
        also those of the bases: what is misspelt there would be left out as not open."""
        for by in self.view.__mro__:
            held = vars(by).get(attribute)
            if held is None:
                continue
            for name in _names(held):
                yield Said(by, attribute, name)
            if not issubclass(self.view, MerchantFace):
                return

    def kin(self, by: type[Any]) -> Iterator[type[Any]]:
        """The screens that are made from a class."""
        return (view for view in self.screens if issubclass(view, by))

    @cached_property
    def edited(self) -> frozenset[str]:
        return frozenset(item.name for item in self.said("edit_columns"))

    def faults(self) -> Iterator[tuple[Said, str]]:
        """Each name that means nothing, and why not."""
        for attribute, (known, why) in KNOWN.items():
            for item in self.said(attribute):
                if not known(self, item.name):
                    yield item, f"which {why}"
        yield from self._drawn()
        yield from self._changed()
        yield from self._rules()
        yield from self._loaded()
        yield from self._routes()
        yield from self._fields()
        yield from self._tabs()

    def _drawn(self) -> Iterator[tuple[Said, str]]:
        """Cells and fields of what no screen of theirs has: the class of both faces may draw what only one shows."""
        for attribute, lists in DRAWN.items():
            for item in self.said(attribute):
                used = (name for view in self.kin(item.by) for part in lists for name in _names(getattr(view, part)))
                if not self.of_row(item.name) and item.name not in used:
                    yield item, f"which is nothing of {self.model.__name__}, and in none of {', '.join(lists)}"

    def _changed(self) -> Iterator[tuple[Said, str]]:
        for attribute, most in (("inline_columns", self.columns), ("bulk_columns", self.columns | self.relations)):
            for item in self.said(attribute):
                if item.name not in self.edited:
                    yield item, "which is not in edit_columns"
                elif item.name not in most or item.name in self.sealed:
                    yield item, "which is changed in the whole form only"

    def _rules(self) -> Iterator[tuple[Said, str]]:
        for name, (other, _values) in self.view.field_rules.items():
            for asked in (name, other):
                if not self.asked(asked):
                    yield Said(self.view, "field_rules", asked), f"which no form of {self.model.__name__} can ask for"
        base_order = getattr(self.view, "base_order", None)
        if base_order and not self.to_one(base_order[0]):
            yield Said(self.view, "base_order", base_order[0]), f"by which no list of {self.model.__name__} is ordered"
        for name, *_filter in self.view.base_filters or ():
            if not self.in_table(name):
                yield Said(self.view, "base_filters", name), f"which {IN_TABLE}"
        for name in self.view.chip_flags or ():
            if name not in self.view.flags:
                yield Said(self.view, "chip_flags", name), "which is not in flags"

    def _loaded(self) -> Iterator[tuple[Said, str]]:
        """What the view's data model is told of its rows; FAB's own is told nothing."""
        datamodel = self.view.datamodel
        for path in getattr(datamodel, "eager", ()):
            mapper = self.model.__mapper__
            for part in path.split("."):
                if part not in mapper.relationships:
                    yield Said(self.view, "eager", path), f"but {mapper.class_.__name__} has no relation {part}"
                    break
                mapper = mapper.relationships[part].mapper
        for attribute in ("leave", "always"):
            for name in sorted(getattr(datamodel, attribute, ())):
                if not self.in_table(name):
                    yield Said(self.view, attribute, name), f"which {IN_TABLE}"

    def _routes(self) -> Iterator[tuple[Said, str]]:
        for item in self.said("include_route_methods"):
            if not hasattr(getattr(self.view, item.name, None), "_urls"):
                yield item, "which is no page of it"

    def _fields(self) -> Iterator[tuple[Said, str]]:
        """Columns whose values are of no kind that there is, or of one that no form asks for."""
        table = self.model.__mapper__.columns
        for name, column in table.items():
            if wrong := _refused(kind_of, column):
                yield Said(self.model, name, ""), wrong
        for attribute in ("add_columns", "edit_columns"):
            for item in self.said(attribute):
                plain = item.name in self.columns and item.name not in self.sealed
                if plain and not _refused(kind_of, table[item.name]) and _refused(field_of, table[item.name], "", ""):
                    yield item, "which is of a kind that has no form field"

    def _tabs(self) -> Iterator[tuple[Said, str]]:
        known = {view.__name__: view for view in self.screens}
        for tab in self.view.tabs:
            if not isinstance(tab, Related) or tab.view not in known:  # that there is such a screen is asked elsewhere
                continue
            model = known[tab.view].datamodel.obj
            if tab.column not in model.__mapper__.relationships:
                yield Said(self.view, f"tabs ({tab.key})", tab.column), f"but {model.__name__} has no such relation"


Known = Callable[[Screen, str], bool]
IN_TABLE = "is no column or relation of its table"
SHOWN = "is no attribute of its rows that is not sealed, and not in cells"
# Which names a declaration may have, and what is said of any other.
KNOWN: dict[str, tuple[Known, str]] = {
    "list_columns": (Screen.shown, SHOWN),
    "more_columns": (Screen.shown, SHOWN),
    "card_columns": (Screen.shown, SHOWN),
    "number_columns": (Screen.shown, SHOWN),
    "show_sections": (Screen.shown, SHOWN),
    "state_columns": (lambda screen, name: name == "state" or screen.shown(name), SHOWN),  # the one by itself, if any
    "search_columns": (Screen.in_table, IN_TABLE),
    "quick_columns": (lambda screen, name: name in screen.columns, "is no column of its table"),
    "chip_column": (lambda screen, name: name in screen.columns, "is no column of its table"),
    "ahead_columns": (lambda screen, name: name in screen.columns, "is no column of its table"),
    "order_by_drag": (lambda screen, name: name in screen.columns, "is no column of its table"),
    "order_columns": (Screen.to_one, "is no column of its table, and no relation to one row"),
    "copied": (Screen.of_row, "is no attribute of its rows"),
    "export_columns": (Screen.exported, "is no attribute of its rows that is not sealed, and not in export_cells"),
    "add_columns": (Screen.asked, IN_TABLE),
    "edit_columns": (Screen.asked, IN_TABLE),
    "form_sections": (Screen.asked, IN_TABLE),
    "description_columns": (Screen.asked, IN_TABLE),
    "value_checks": (Screen.asked, IN_TABLE),
    "optional_columns": (lambda screen, name: name in screen.relations, "is no relation of its table"),
    "required_secrets": (lambda screen, name: name in screen.sealed, "is no sealed column of its table"),
    "open_columns": (Screen.opened, "is no attribute of its rows, no cell and no field"),
}
# What is drawn or asked for by a function of the view's own, and the lists of which one must name it.
DRAWN = {
    "cells": ("list_columns", "more_columns", "card_columns", "show_sections", "state_columns"),
    "export_cells": ("export_columns",),
}


def _names(held: Any) -> list[str]:
    """The names in a declaration: a name, names, titled parts of names, or what is said of each name."""
    if isinstance(held, str):
        return [held] if held else []
    parts = [*(held or ())] if not isinstance(held, property) else []  # worked out when it is asked for
    return [name for part in parts for name in ([part] if isinstance(part, str) else part[1])]


def _refused(function: Callable[..., Any], *args: Any) -> str:
    try:
        function(*args)
    except TypeError as error:
        return str(error)
    return ""


def _sentence(view: type[Any], item: Said, why: str) -> str:
    if not item.name:  # a column of the model, whose sentence names it
        return f"{view.__name__}: {why}"
    place = "" if item.by is view else f" (in {item.by.__name__})"
    return f"{view.__name__}.{item.attribute}{place} names {item.name}, {why}"


def _icons(views: Iterable[type[Any]]) -> Iterator[str]:
    """Icons that are not drawn: their place would stay empty. Nothing where the style sheet is not there to look at."""
    drawn = ICONS.read_text() if ICONS.is_file() else None
    for view in views if drawn is not None else ():
        for attribute, icon in (("icon", view.icon), ("palette_add", (view.palette_add or ("", ""))[1])):
            if icon and f".i-{icon}{{" not in (drawn or ""):
                yield f"{view.__name__}.{attribute} names {icon}, which is no icon of scripts/vendor/icons.txt"


def faults(views: Iterable[type[Any]]) -> list[str]:
    """What the screens among some views say that cannot be right: a sentence each, and once, whoever takes it over."""
    told = [view for view in views if issubclass(view, ConsoleView)]
    screens = [view for view in told if view.datamodel is not None]
    of_nothing = (f"{view.__name__} says no datamodel: of which table it is" for view in told if view not in screens)
    found: dict[Said, str] = {}
    for view in screens:
        for item, why in Screen(view, screens).faults():
            found.setdefault(item, _sentence(view, item, why))
    closed = (sentence for view in screens if issubclass(view, MerchantFace) for sentence in view.closed)
    return [*of_nothing, *closed, *found.values(), *_icons(screens)]
