"""Operations on rows and lists: which are offered, what stands in the way, where they lead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from flask import current_app, g, request, url_for
from markupsafe import Markup, escape
from sqlalchemy import inspect, select
from sqlalchemy.orm.interfaces import MANYTOONE

from app.access import roles
from app.access.principal import current_actor, current_role_names
from app.console import cells
from app.console.form.prove import prove_first
from app.console.places import page_for
from app.console.words import tone, word
from app.data.clock import utcnow
from app.data.keys import parse_key
from app.data.tenancy import scope_of
from app.data.types import words_of
from app.errors import DeclarationError
from app.extensions import db
from app.i18n.sentence import chained, ours, said, say
from app.link import connection
from app.models.kit.operation import OperationRun, RunState
from app.operations import runs
from app.operations.answer import answer as answer_of
from app.operations.ready import obstacle
from app.operations.registry import OPERATIONS, Look, Operation, operation_title

SHOWN_NAMES = 20
ANSWERED = timedelta(minutes=10)  # for so long what somebody had read of a row is shown beside its list
CHUNK = 500


class OperationActions:
    """Mixin of a view whose rows can be operated on."""

    datamodel: Any
    batched: ClassVar[bool] = True

    @property
    def operations(self) -> Sequence[str]:
        """What is offered, in this order: all that is declared for the view's rows, unless the view names some."""
        return [op.name for op in OPERATIONS.values() if op.offered and op.on is self.datamodel.obj]

    def offered(self) -> list[Operation]:
        """Those of the view's operations that the user may do."""
        return [OPERATIONS[name] for name in self.operations if may_operate(name)]

    def target(self, row: Any) -> Any:
        """Which row of the operations' own model a row of this view stands for: itself, or the one it belongs to."""
        way = way_to(type(row), OPERATIONS[self.operations[0]].on) if self.operations else ""
        return getattr(row, way) if way else row

    def batch_operations(self) -> list[Operation]:
        return self.offered() if self.batched else []

    def operation_links(self, row: Any) -> list[tuple[str, str, bool]]:
        """(title, address, dangerous) of all that may be asked for, whatever the row's state."""
        return self._links(row, self.offered())

    def row_links(self, row: Any) -> Any:
        """Those that the row's state allows."""
        return self._links(row, [op for op, why in self._standing(row) if not why])

    def blocked(self, row: Any) -> list[tuple[str, list[str]]]:
        """What the row's state does not allow now: (why, the operations' titles)."""
        found: dict[str, list[str]] = {}
        for op, why in self._standing(row):
            if why:
                found.setdefault(why, []).append(op.title)
        return list(found.items())

    def answer(self, row: Any) -> Answer | None:
        """What an operation found of a row: of the run that the address names (`?run=12`); beside a list, of the
        reader's latest, where it only read."""
        key, drawer = parse_key(request.args.get("run", "")), request.args.get("drawer") == "1"
        reading = [name for name in self.operations if not OPERATIONS[name].mutates]
        if not (reading if key is None and drawer else key):
            return None
        target = self.target(row)
        wanted = select(OperationRun).where(
            OperationRun.subject_type == target.__tablename__, OperationRun.subject_id == target.id
        )
        if key is not None:
            wanted = wanted.where(OperationRun.id == key, OperationRun.operation.in_(self.operations))
        else:
            wanted = wanted.where(
                OperationRun.operation.in_(reading),
                OperationRun.actor_id == current_actor().id,
                OperationRun.finished_at > utcnow() - ANSWERED,
            )
        run = db.session.scalars(wanted.order_by(OperationRun.id.desc()).limit(1)).first()
        lines = answer_lines(run) if run is not None else []
        if run is None or not lines:
            return None
        return Answer(operation_title(run.operation), lines, page_for("operation_run", run.id))

    def _links(self, row: Any, wanted: list[Operation]) -> list[tuple[str, str, bool]]:
        key = self.target(row).id
        return [(op.title, operate_url(op.name, key), op.danger) for op in wanted]

    def _standing(self, row: Any) -> list[tuple[Operation, str]]:
        """Each operation with why it cannot be done now; looked up once a request."""
        kept: dict[Any, list[tuple[Operation, str]]] = g.setdefault("operations_standing", {})
        target = self.target(row)
        key = (type(self), target.id)
        if key not in kept:
            kept[key] = obstacles(self.offered(), target)
        return kept[key]


def way_to(model: type[Any], on: type[Any]) -> str | None:
    """How rows of a model lead to those of an operation's: by themselves (""), by a relation's name, or not at all."""
    if issubclass(model, on):
        return ""
    relations = inspect(model).relationships
    ways = [item.key for item in relations if item.direction is MANYTOONE and item.mapper.class_ is on]
    return ways[0] if len(ways) == 1 else None


def check_offers(views: Iterable[Any]) -> None:
    """Raise DeclarationError, with a sentence for each, where views offer what there is not, or not for their rows."""
    offering = [view for view in views if isinstance(view, OperationActions)]
    if amiss := [sentence for view in offering for sentence in _wrong_offers(view)]:
        raise DeclarationError("; ".join(amiss))


def _wrong_offers(view: Any) -> Iterator[str]:
    named, model = type(view).__name__, view.datamodel.obj
    if unknown := [name for name in view.operations if name not in OPERATIONS]:
        yield f"{named} offers operations that do not exist: {', '.join(unknown)}"
    models = {OPERATIONS[name].on for name in view.operations if name in OPERATIONS}
    if len(models) > 1:
        yield f"{named} offers operations on rows of several kinds: {', '.join(sorted(on.__name__ for on in models))}"
    for on in models:
        way = way_to(model, on)
        if way is None or (way and view.batched):
            nowhere = " and lead to none" if way is None else ""
            yield f"{named} offers operations on {on.__name__}, which its rows are not{nowhere}"


def obstacles(offered: list[Operation], row: Any) -> list[tuple[Operation, str]]:
    """Each operation with why it cannot be asked for on a row now; empty where it can."""
    if not offered:
        return []
    held = {key: runs.holder(db.session(), key) for key in dict.fromkeys(op.key(row) for op in offered)}
    look = Look(db.session(), [row])
    return [(op, _in_the_way(held[op.key(row)]) or obstacle(op, row, look)) for op in offered]


def _in_the_way(held: OperationRun | None) -> str:
    if held is None:
        return ""
    return say("正在进行「{title}」，请等它结束", title=ours(operation_title(held.operation)))


def may_operate(name: str) -> bool:
    """Whether the user may do an operation."""
    return roles.may_operate(current_role_names(), name, bool(current_app.config["OWNERS_MAY_SUBMIT"]))


def operate_url(name: str, *ids: int) -> str:
    """The page that confirms an operation on some rows."""
    return url_for("OperateView.operate", name=name) + "?" + urlencode([("ids", key) for key in ids])


def prove_for_many(op: Operation, count: int, back: str = "") -> Any:
    """A way to prove oneself first where an operation changes what many mini-programs' users see; None otherwise."""
    if not op.live or count <= current_app.config["STEP_UP_ABOVE"]:
        return None
    return prove_first(back)


def outcome_words(run: OperationRun) -> Markup:
    """The outcome of a finished run in one sentence, with what to do and the number Douyin's support asks for."""
    title, message = ours(operation_title(run.operation)), ours(run.message)
    if run.state == RunState.SUCCEEDED:
        return escape(
            say("{title}成功：{message}", title=title, message=message) if message else say("{title}成功", title=title)
        )
    if not run.is_over:
        state = ours(words_of(RunState)[run.state])
        return escape(say("{title}{state}，稍后在时间线中查看结果", title=title, state=state))
    parts: list[str] = [say("{title}失败：{message}", title=title, message=message)]
    if run.advice and run.advice not in run.message:
        parts.append(ours(run.advice))
    if run.err_no is not None:
        parts.append(say("错误码 {code}", code=run.err_no))
    if run.log_id:
        parts.append(say("log_id {log_id}", log_id=run.log_id))
    return Markup("{} <a href='{}'>{}</a>").format(chained(parts), run_url(run.id), say("查看详情"))


class Answer(NamedTuple):
    """What an operation found, for its row's page."""

    title: str
    lines: list[tuple[str, str, str]]
    url: str | None  # of the run's own page


def answer_lines(run: OperationRun) -> list[tuple[str, str, str]]:
    """What a run found or did, as a page's facts: ("", label, value in the reader's language where it is a text of
    ours)."""
    return [("", line.label, said(line.text)) for line in answer_of(run)]


def answer_words(run: OperationRun) -> str:
    """The same in one line."""
    return " · ".join(f"{said(label)} {value}" for _name, label, value in answer_lines(run))


def run_url(run_id: int) -> str:
    return url_for("OperationRunView.show", pk=run_id)


def held_words() -> list[str]:
    """What makes operations wait at the moment, for the platform's people; a merchant sees it at its own runs."""
    app: Any = current_app
    return [] if scope_of(db.session()).is_merchant else connection.breaker(app._get_current_object()).sentences()


def run_json(run: OperationRun) -> dict[str, Any]:
    """What the progress script of a run's page needs."""
    return {
        "state": str(run.state),
        "words": said(word(run.state)),
        "tone": tone(run.state),
        "over": run.is_over,
        "message": said(run.message),
        "advice": said(run.advice),
        "finished": cells.local_time(run.finished_at),
    }
