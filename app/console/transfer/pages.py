"""Exports and imports of a list: declared on its view, the same for every view."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from flask import abort, flash, redirect, request, send_file, url_for
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from flask_wtf.file import FileField, FileRequired
from wtforms import RadioField

from app.access.principal import current_actor, principal
from app.console.filter.unread import refuse_unread
from app.console.form.bulk import ticked_keys
from app.console.form.forms import ConsoleForm, attach, options
from app.console.form.prove import prove_first
from app.console.kinds import kind_in
from app.console.words import many, word
from app.data import storage
from app.data.engine import let_go, reading
from app.data.keys import parse_key
from app.data.kinds.choice import Several
from app.errors import DeclarationError, Refused
from app.extensions import db, the_app
from app.i18n.sentence import restated, said, say
from app.models.kit.audit import record
from app.models.kit.task import Task, TaskKind, TaskState
from app.redaction import redact
from app.tasks import export as exports
from app.tasks import pool, tables
from app.tasks.importing import template as templates
from app.tasks.importing.columns import ImportSpec
from app.tasks.importing.heads import Heads, heads_at, known_in, unread
from app.tasks.importing.task import MODES, REASON, choose, heads_of, imported_before, left_out, look, start, table_of
from app.tasks.queue import UNFINISHED, new_task
from app.tasks.spreadsheets.cells import letters, shown
from app.tasks.spreadsheets.read import LARGEST, Table
from app.tasks.spreadsheets.write import FORMATS, TYPES

DIRECT_ROWS = 5000
MOST_ROWS = 1_000_000  # of one export
LONGEST_SAID = 1000  # of the ticked rows' numbers in the audit log
SHOWN_ROWS = 10
AT_ONCE_ROWS = 1000  # a file of no more rows is checked and imported while its reader waits
_PLACES = frozenset({"page", "psize", "size", "cols", "csrf_token"})  # arguments that narrow nothing
# What no file may hold, whatever a view declares.
_HIDDEN = re.compile(r".*_sealed|.*_hash(es)?|row_uid|password|secret|.*token|aes_key|unique_key|.*_key")


def text_of(value: Any) -> Any:
    """What was worked out for a file: states in words, rows by name; numbers and times as they are."""
    if isinstance(value, StrEnum):
        return word(value)
    if value is None or isinstance(value, str | int | float | list | tuple) or hasattr(value, "isoformat"):
        return value
    return str(value)


class TransferPages(ModelView):
    """Mixin of ConsoleView: 导出 and 导入. `export_columns` is an allow-list; `exported`: the list's."""

    include_route_methods: Any = None
    exported: ClassVar[bool] = False
    export_columns: ClassVar[list[str]] = []
    export_cells: ClassVar[dict[str, Callable[[Any], Any]]] = {}  # columns that are worked out, from their row
    imported: ClassVar[ImportSpec | None] = None

    def __init__(self, **kwargs: Any) -> None:
        parts = ["export"] if self.exported or self.export_columns else []
        if self.imported is not None:
            parts += ["import_page", "import_upload", "import_template", "import_task", "import_state", "import_start"]
            parts += ["import_choose"]
        if self.include_route_methods is not None:
            self.include_route_methods = frozenset({*self.include_route_methods, *parts})
        super().__init__(**kwargs)
        names = self.exported_names() if "export" in parts else []
        if odd := [name for name in names if not self._plain(name)]:
            raise DeclarationError(f"{type(self).__name__} may not export {', '.join(odd)}")

    # Out.

    def exported_names(self) -> list[str]:
        """The columns of an export, in order."""
        return [*self.export_columns] or [name for name in self.list_columns if self._plain(name)]

    def _plain(self, name: str) -> bool:
        if name in self.export_cells:
            return True
        if self.datamodel.is_relation(name) if name in self.datamodel.list_properties else False:
            return bool(self.datamodel.is_relation_many_to_one(name))
        in_table = name in self.datamodel.list_columns
        if not in_table or _is_hidden(self.datamodel.obj, name):
            return False
        kind = kind_in(self, name)
        return isinstance(kind, Several) or not kind.is_document

    def export_spec(self) -> tables.ExportSpec:
        """What the list lets out, for the task that writes it in the background."""
        return tables.ExportSpec(
            self.datamodel.obj,
            str(self.list_title or self.noun),
            [tables.Column(name, self._head_of(name), self._reader(name)) for name in self.exported_names()],
            lambda: self.datamodel._whole,
        )

    def _head_of(self, name: str) -> str:
        return str(self.label_columns.get(name, name))

    def _reader(self, name: str) -> Callable[[Any], Any]:
        made = self.export_cells.get(name)
        if made is not None:
            return lambda row: text_of(made(row))
        kind = kind_in(self, name)
        return lambda row: kind.exported(getattr(row, name))

    @expose("/export", methods=["POST"])
    @has_access
    def export(self) -> Any:
        """The list as it is filtered and ordered now, or its ticked rows: at once when it is short, else as a
        background task."""
        kind = request.form.get("format", "csv")
        if kind not in FORMATS:
            raise Refused("请选择 CSV 或 Excel 格式")
        if (asked := prove_first(back=self._list_url())) is not None:
            return asked
        spec = tables.export_of(self.endpoint)
        with reading():
            keys = self.datamodel.keys(self._wanted(), *self._order(), most=MOST_ROWS + 1)
            db.session.rollback()  # a search through a great table holds no lock
        if len(keys) > MOST_ROWS:
            raise Refused(
                say(
                    "符合条件的记录超过 {most_rows} 行，一次最多导出这么多：请先缩小筛选范围",
                    most_rows=f"{MOST_ROWS:,}",
                )
            )
        record(
            db.session(),
            "export",
            view=self.endpoint,
            format=kind,
            rows=len(keys),
            filters=self._said_filters(),
        )
        if len(keys) > DIRECT_ROWS:
            return self._export_later(spec, kind, keys)
        db.session.commit()
        with reading():
            made = exports.write_file(db.session(), spec, kind, keys)
        return send_file(
            made, mimetype=TYPES[kind], as_attachment=True, download_name=exports.file_name(spec.title, kind)
        )

    def _wanted(self) -> Any:
        """The conditions of an export: the ticked rows, else the list's own."""
        if request.form.get("ids"):
            return self.among(ticked_keys(request.form))
        refuse_unread(self, request.args)
        return self.active_filters()

    def _said_filters(self) -> dict[str, str]:
        """What narrowed an export, for the audit log."""
        if request.form.get("ids"):
            return {"ids": request.form["ids"][:LONGEST_SAID]}
        return {name: value for name, value in request.args.items() if value and name not in _PLACES}

    def _export_later(self, spec: tables.ExportSpec, kind: str, keys: Any) -> Any:
        new_task(
            db.session(),
            TaskKind.EXPORT,
            actor=current_actor(),
            view=self.endpoint,
            title=f"导出{spec.title}（{FORMATS[kind]}）",
            params={"format": kind},
            total=len(keys),
            input_key=exports.keep_keys(keys),
            output_name=exports.file_name(spec.title, kind),
        )
        flash(say("{count} 行正在后台导出：完成后可在右上角的任务中下载", count=len(keys)), "info")
        return redirect(self._list_url())

    def _list_url(self) -> str:
        """The list as it is filtered and ordered now."""
        query = request.query_string.decode()
        return url_for(f"{self.endpoint}.list") + (f"?{query}" if query else "")

    # In.

    def may_import(self) -> bool:
        """Whether this list takes imports and the reader may make one."""
        held = "can_import" in self.base_permissions
        return bool(held and self.appbuilder.sm.has_access("can_import", self.class_permission_name))

    def _import_title(self) -> Any:
        return said(f"导入{many(self.noun)}")

    def import_spec(self) -> ImportSpec:
        return tables.import_of(self.endpoint)

    @expose("/import", methods=["GET"])
    @has_access
    @permission_name("import")
    def import_page(self) -> Any:
        return self._import_form(upload_form()())

    @expose("/import", methods=["POST"])
    @has_access
    @permission_name("import")
    def import_upload(self) -> Any:
        """Take a file, look whether it can be imported at all, and begin its dry run."""
        form = upload_form()()
        if not form.validate():
            return self._import_form(form), 422
        upload = form.file.data
        name = (upload.filename or "").rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
        name = redact(re.sub(r"[^\w.()（）-]", "_", name)[-100:])  # it is kept in the clear
        content, person = upload.stream.read(LARGEST + 1), current_actor().id
        let_go(db.session())
        try:
            looked = look(self.import_spec(), name, content, person=person)
        except Refused as refused:
            attach(form, refused.message, "file")
            return self._import_form(form), 422
        task = new_task(
            db.session(),
            TaskKind.IMPORT,
            actor=current_actor(),
            view=self.endpoint,
            title=f"导入{self.noun}",
            params={
                "kind": looked.kind,
                "mode": form.mode.data,
                "dry": True,
                "head": looked.head,
                "kept": storage.put_sealed("tables", looked.kept),
                "map": None,
            },
            total=looked.total,
            input_name=name,
            input_hash=looked.digest,
            input_key=storage.put_sealed("uploads", content),
        )
        self._now_if_small(task)
        return redirect(url_for(f"{self.endpoint}.import_task", pk=task.id))

    def _now_if_small(self, task: Task) -> None:
        if (task.total or 0) <= AT_ONCE_ROWS:
            pool.perform(the_app(), task.id)

    @expose("/import/template/<kind>", methods=["GET"])
    @has_access
    @permission_name("import")
    def import_template(self, kind: str) -> Any:
        if kind not in FORMATS:
            abort(404)
        with reading():
            made = templates.template(db.session(), self.import_spec(), kind)
        return send_file(made, TYPES[kind], as_attachment=True, download_name=f"{self.noun}导入模板.{kind}")

    @expose("/import/<pk>", methods=["GET"])
    @has_access
    @permission_name("import")
    def import_task(self, pk: str) -> Any:
        """The file's first rows, and how far its check or import is."""
        task = self._own_import(pk)
        table = table_of(task) if task.input_key and task.params.get("kept") else None
        return self.render_template(
            "console/transfer/import_task.html",
            view=self,
            task=task,
            title=self._import_title(),
            file=self._file_shown(task, table) if table else None,
            **self._import_state(task),
        )

    def _file_shown(self, task: Task, table: Table) -> dict[str, Any]:
        """A file as its page shows it: where its table was found, what of it is read, its first rows."""
        spec, head = self.import_spec(), task.params["head"]
        heads, places, problem = heads_at(table.first, head), dict[str, int](), ""
        try:
            heads, places = heads_of(spec, task, table)
        except Refused as refused:
            problem, places = refused.message, known_in(spec, heads)
        exported = tables.tables().exports.get(self.endpoint)
        left, unknown = unread(heads, places, [column.label for column in exported.columns] if exported else [])
        lines = [(number, [redact(shown(cell)) for cell in cells]) for number, cells in table.first if number > head]
        return {
            "heads": [redact(text) for text in heads],
            "lines": lines[:SHOWN_ROWS],
            "names": {place: name for name, place in places.items()},
            "left": [name for name in left if name != REASON],
            "columns": spec.columns,
            "letters": letters,
            "elsewhere": [*Heads(spec, heads, places).elsewhere(table, head)],
            "unknown": [name for name in unknown if name != REASON],
            "hidden": left_out(table),
            "sheets": [(n, sheet.name) for n, sheet in enumerate(table.sheets) if sheet.rows],
            "sheet": table.sheet,
            "rows": [(number, _begins(cells)) for number, cells in table.first],
            "head": head,
            "problem": problem,
            "may_choose": bool(task.params.get("dry")) and task.is_over,
        }

    @expose("/import/<pk>/state", methods=["GET"])
    @has_access
    @permission_name("import")
    def import_state(self, pk: str) -> Any:
        """The part of the page that changes."""
        task = self._own_import(pk)
        return self.render_template(
            "console/transfer/import_state.html", view=self, task=task, **self._import_state(task)
        )

    @expose("/import/<pk>", methods=["POST"])
    @has_access
    @permission_name("import")
    def import_start(self, pk: str) -> Any:
        task = self._own_import(pk)
        try:
            start(db.session(), task)
        except Refused as refused:
            flash(refused.message, "warning")
        else:
            self._now_if_small(task)
        return redirect(url_for(f"{self.endpoint}.import_task", pk=pk))

    @expose("/import/<pk>/choose", methods=["POST"])
    @has_access
    @permission_name("import")
    def import_choose(self, pk: str) -> Any:
        """Check the file again, with the sheet, the row of heads or the columns that a person chose."""
        task, form = self._own_import(pk), request.form
        said = {name.removeprefix("map_"): value for name, value in form.items() if name.startswith("map_")}
        names = {"", *(column.name for column in self.import_spec().columns)}
        if not names.issuperset(said.values()):
            abort(400)
        try:
            choose(
                db.session(), task, sheet=_number(form.get("sheet")), head=_number(form.get("head")), said=said or None
            )
        except Refused as refused:
            flash(refused.message, "warning")
        else:
            self._now_if_small(task)
        return redirect(url_for(f"{self.endpoint}.import_task", pk=pk))

    def _own_import(self, pk: str) -> Task:
        """An import into this list that the reader began; 404 alike for another's and none."""
        key, known = parse_key(pk), principal()
        task: Task | None = db.session.get(Task, key, populate_existing=True) if key is not None else None
        mine = task is not None and known is not None and task.user_id == known.user.id
        if task is None or not mine or task.kind != TaskKind.IMPORT or task.view != self.endpoint:
            abort(404)
        return task

    def _import_form(self, form: ConsoleForm) -> str:
        page: str = self.render_template(
            "console/transfer/import.html",
            view=self,
            form=form,
            spec=self.import_spec(),
            title=self._import_title(),
            back=self.get_redirect(),
            formats=FORMATS,
            allowed=templates.allowed,
            needed=templates.needed,
            many=many,
            examples=self._examples(),
        )
        return page

    def _examples(self) -> dict[str, Any]:
        """What an own row has in each column, for the page that explains them."""
        spec = self.import_spec()
        with reading():
            offered = {column.name: templates.options(db.session(), column) for column in spec.columns}
            found = templates.examples(db.session(), spec, offered)
        own = found[0] if found else {}
        return {
            column.name: own.get(column.name) or ("" if column.related else column.example) for column in spec.columns
        }

    def _import_state(self, task: Task) -> dict[str, Any]:
        dry = bool(task.params.get("dry"))
        counts = task.params.get("counts") or {}
        return {
            "dry": dry,
            "counts": counts,
            "errors": [(*where, restated(why)) for *where, why in task.params.get("errors") or []],
            "rows": [] if task.state in UNFINISHED else [row for row in task.params.get("rows") or [] if len(row) == 4],
            "worded": {column.label for column in self.import_spec().columns if column.values},
            "mode": MODES.get(task.params.get("mode", ""), ""),
            "before": imported_before(db.session(), self.endpoint, task.input_hash, task.id) if dry else None,
            "ready": dry and task.state == TaskState.SUCCEEDED,
            "writes": counts.get("created", 0) + counts.get("updated", 0),
        }


def _number(text: str | None) -> int:
    """A number that a form of ours sent; -1 for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else -1


def _begins(cells: Any) -> str:
    """A row's first texts, to know it by."""
    return "、".join([redact(shown(cell))[:12] for cell in cells if cell][:5])


def _is_hidden(model: type[Any], name: str) -> bool:
    return name in getattr(model, "__sealed__", ()) or (name != "key" and bool(_HIDDEN.fullmatch(name)))


def upload_form() -> type[ConsoleForm]:
    """A file and what is to become of rows that exist."""
    members = {
        "file": FileField(
            "文件",
            validators=[FileRequired("请选择文件")],
            render_kw={"accept": ".csv,.xlsx"},
            description=f"CSV 或 Excel（.xlsx），最大 {LARGEST >> 20} MB",
        ),
        "mode": RadioField("已有的记录", choices=options(MODES.items()), default="both"),
    }
    return type("UploadForm", (ConsoleForm,), members)
