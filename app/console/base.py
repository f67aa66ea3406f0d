"""The base of every screen: lists, pages and forms on FAB's routes and permissions, with our own query and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from flask import has_request_context, request, url_for

from app.console.form.forms import ConsoleForm, model_form
from app.console.list.listing import ListPages
from app.console.query.filters import ScopedFilters, filters_from
from app.console.row.rows import RowPages
from app.console.transfer.pages import TransferPages
from app.console.words import common_labels, labels_of
from app.tasks.tables import Declared, ExportSpec, Hooks, Tables

READ = frozenset({"list", "show"})
COLUMN_LISTS = (
    "list_columns",
    "more_columns",
    "card_columns",
    "search_columns",
    "quick_columns",
    "order_columns",
    "ahead_columns",
    "add_columns",
    "edit_columns",
    "inline_columns",
    "bulk_columns",
    "export_columns",
)
SECTIONS = ("show_sections", "form_sections")
CRUD = READ | {"add", "edit", "delete"}


class ConsoleView(ListPages, RowPages, TransferPages):
    """What platform and merchant screens share. Columns are allow-lists: what is not named is not shown, searched,
    sorted or edited."""

    include_route_methods = READ
    noun = ""  # what one row is called
    many: ClassVar[str] = ""  # and many of them, where a language tells one from many: 多个商户
    list_title = ""
    list_columns: Any
    label_columns: Any = None
    show_sections: ClassVar[list[tuple[str, list[str]]]] = []
    quick_columns: ClassVar[list[str]] = []
    optional_columns: ClassVar[tuple[str, ...]] = ()  # relations that a form may leave empty though the rule says no
    icon: ClassVar[str] = ""  # in the menu and the palette, a name of scripts/vendor/icons.txt
    whole: bool | None = None  # whether any row of its table has a page here; by itself: without base_filters
    in_palette: ClassVar[bool] = False  # whether the search over everything looks into `quick_columns`
    palette_text: ClassVar[re.Pattern[str] | None] = None  # the form of texts that it looks for on this screen only
    palette_key: ClassVar[str] = ""  # `g` and this letter open the screen
    palette_add: ClassVar[tuple[str, str] | None] = None  # (title, icon) of 新建 in the palette
    flags: ClassVar[dict[str, tuple[str, Any]]] = {}  # filters without a value, by argument: (label, filter)
    cells: ClassVar[dict[str, Callable[[Any], Any]]] = {}  # how a column is shown, from its row
    required_secrets: ClassVar[tuple[str, ...]] = ()
    value_checks: ClassVar[Mapping[str, Callable[[str], str]]] = {}  # rules of fields: the value as kept, or Refused
    list_template = "console/list.html"
    show_template = "console/show.html"
    form_template = "console/form.html"
    save_words: ClassVar[str] = "保存"
    empty_words = "没有符合条件的记录"
    intro = ""
    page_size = 25

    # FAB's own set-up fills every list that is empty with all columns; here an empty list stays empty.

    def _init_properties(self) -> None:
        for name in (
            "search_columns",
            "order_columns",
            "add_columns",
            "edit_columns",
            "base_filters",
            "related_views",
            "search_exclude_columns",
        ):
            setattr(self, name, list(getattr(self, name) or []))
        for name in ("description_columns", "validators_columns", "formatters_columns", "add_form_extra_fields"):
            setattr(self, name, dict(getattr(self, name) or {}))
        self.label_columns = {**common_labels(), **labels_of(self.datamodel.obj), **(self.label_columns or {})}
        self.list_columns = list(self.list_columns)
        self.whole = not self.base_filters if self.whole is None else self.whole
        self.show_columns = [name for _title, names in self.show_sections for name in names]
        self._related_views: list[Any] = []
        self._base_filters = self.datamodel.get_filters().add_filter_list(self.base_filters)

    def _init_forms(self) -> None:
        self.add_form = model_form(self, self.add_columns, editing=False)
        self.edit_form = model_form(self, self.edit_columns, editing=True)
        self.search_form = ConsoleForm

    def _init_titles(self) -> None:
        self.list_title = self.list_title or self.noun
        self.add_title, self.edit_title = f"新建{self.noun}", f"编辑{self.noun}"
        self.show_title = self.title = self.list_title
        self.none_title, self.unmatched_title = f"还没有{self.noun}", f"没有符合条件的{self.noun}"

    @property
    def column_words(self) -> Mapping[str, Mapping[Any, str]]:
        """The words of columns that hold one of a few, where the screen knows them and the column does not, or calls
        the values otherwise."""
        return {}

    @property
    def _filters(self) -> ScopedFilters:
        """The request's own filters. FAB keeps one object per view for all threads, so one saw another's search."""
        if not has_request_context():
            unasked: ScopedFilters = self.datamodel.get_filters(self.search_columns)
            return unasked
        held: dict[str, ScopedFilters] = request.environ.setdefault("douzhou.filters", {})
        if self.endpoint not in held:
            held[self.endpoint] = filters_from(self, request.args)
        return held[self.endpoint]

    @_filters.setter
    def _filters(self, _value: Any) -> None:
        """FAB assigns its shared object at set-up; it is not kept."""

    def update_redirect(self) -> None:
        """FAB writes every address into the session; pages here say where they lead."""

    def get_redirect(self) -> str:
        return url_for(f"{self.endpoint}.list")

    # Where a reader may go.

    def may(self, method: str) -> bool:
        """Whether this route exists and the user may use it."""
        name = f"can_{method}"
        if method not in (self.include_route_methods or CRUD) or name not in self.base_permissions:
            return False
        return bool(self.appbuilder.sm.has_access(name, self.class_permission_name))

    def row_url(self, row: Any) -> str | None:
        return url_for(f"{self.endpoint}.show", pk=row.id) if self.may("show") else None

    def choices_url(self, column: str) -> str:
        return url_for("ChoicesView.choices", view=self.endpoint, column=column)

    def row_links(self, row: Any) -> Any:
        """(text, address[, dangerous]) of the buttons of a row besides show, edit and delete."""
        return []

    def blocked(self, row: Any) -> list[tuple[str, list[str]]]:
        """What a row's state does not allow now: (why, the titles of what it is)."""
        return []

    def page_links(self) -> list[tuple[str, str]]:
        """(text, address) of the buttons above the list besides 新建."""
        return []

    def batch_operations(self) -> Any:
        """Operations offered on many rows."""
        return []

    def related_field(self, column: str) -> type[Any] | None:
        """The model behind a relation that this view's forms or filters offer; None for any other name."""
        if column not in {*self.add_columns, *self.edit_columns, *self.search_columns}:
            return None
        return self.datamodel.get_related_model(column) if self.datamodel.is_relation(column) else None


class PlatformView(ConsoleView):
    """A screen of the platform's people."""


class MerchantFace(ConsoleView):
    """A screen of a merchant's people; the session's scope holds it to their rows.

    Made from the class that declares both faces of a table, it has of each of its lists the columns that `open_columns`
    names: one place says what a merchant may see. A list of its own goes before, and may name no other column either.
    """

    open_columns: ClassVar[frozenset[str]] = frozenset()
    closed: ClassVar[tuple[str, ...]] = ()  # what is amiss with that, a sentence each; the start says it and ends

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.closed = tuple(cls._close())

    @classmethod
    def _close(cls) -> Iterator[str]:
        taken = []
        for name in COLUMN_LISTS:
            held = getattr(cls, name, None) or ()
            if name not in vars(cls) and held:
                taken.append(name)
                setattr(cls, name, [column for column in held if column in cls.open_columns])
            elif cls.open_columns and (closed := set(held) - cls.open_columns):
                yield f"{cls.__name__}.{name} names what `open_columns` does not: {', '.join(sorted(closed))}"
        if cls.open_columns and cls.chip_column and cls.chip_column not in cls.open_columns:
            yield f"{cls.__name__}.chip_column is {cls.chip_column}, which `open_columns` does not name"
        for name in SECTIONS:
            if name not in vars(cls) and (held := getattr(cls, name)):
                taken.append(name)
                parts = [
                    (title, [column for column in columns if column in cls.open_columns]) for title, columns in held
                ]
                setattr(cls, name, [(title, columns) for title, columns in parts if columns])
        if taken and not cls.open_columns:
            said = ", ".join(taken)
            yield f"{cls.__name__} takes {said} from both faces: say in `open_columns` what a merchant may see"


def tables_of(views: Iterable[type[Any]], built: Iterable[Any] = ()) -> Tables:
    """What the screens among some views let out, take in and change at once. It is read from their classes when it is
    asked for, so that tasks know it in a process that builds no page; where all are built, from these and at once."""
    screens = {view.__name__: view for view in views if issubclass(view, ConsoleView)}
    known = {type(view).__name__: view for view in built}
    made: Mapping[str, ConsoleView] = known or Declared(dict(screens))
    exported = [name for name, view in screens.items() if view.exported or view.export_columns]
    changed = [name for name, view in screens.items() if view.bulk_columns]
    exports = Declared({name: partial(_export_of, made, name) for name in exported})
    hooks = Declared({name: partial(_hooks_of, made, name) for name in changed})
    imports = {name: view.imported for name, view in screens.items() if view.imported is not None}
    return Tables(dict(exports), imports, dict(hooks)) if known else Tables(exports, imports, hooks)


def _export_of(made: Mapping[str, ConsoleView], name: str) -> ExportSpec:
    return made[name].export_spec()


def _hooks_of(made: Mapping[str, ConsoleView], name: str) -> Hooks:
    return made[name].hooks()
