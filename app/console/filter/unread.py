"""Conditions that nobody can have meant: they are named to the person, and never taken for "all rows"."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from flask_appbuilder.models.filters import BaseFilter
from sqlalchemy import false

from app.console.filter.readable import can_be_meant
from app.console.kinds.parts import parts_of
from app.console.query.filters import ARGUMENT, LONGEST_VALUE
from app.data import texts
from app.errors import Refused
from app.i18n.sentence import Foreign, ours, say

SHOWN = 40  # letters of a value that is named
_NEVER = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")  # in no text of ours; no database takes the first


class Nothing(BaseFilter):
    """No row: what stands in for a condition of which nothing can be read."""

    name = "无法识别"
    arg_name = "nothing"

    def apply(self, query: Any, value: Any) -> Any:
        return query.filter(false())


class Unread(NamedTuple):
    """A condition that cannot be read: what it is about, what was asked, whether nothing is left of it."""

    about: str
    value: str
    whole: bool


def unread(view: Any, args: Any) -> list[Unread]:
    """The conditions in a request's arguments that cannot be read, or not all of whose values can."""
    offered = view.datamodel.get_filters(view.search_columns).get_search_filters()
    found = []
    for name, value in args.items(multi=True):
        about = _fault(view, offered, name, value) if value else None
        if about is not None:
            read = name == "q" or (name in view.search_columns and parts_of(value))
            whole = not read or bool(_NEVER.search(value))
            found.append(Unread(about, Foreign(_shown(value)), whole))
    return found


def refuse_unread(view: Any, args: Any) -> None:
    """For what is done with all rows that match: Refused where a condition cannot be read."""
    for about, value, _whole in unread(view, args):
        raise Refused(say("条件「{about}：{value}」无法识别：请改正或去掉后重试", about=ours(about), value=value))


def _fault(view: Any, offered: Any, name: str, value: str) -> str | None:
    """What an argument's condition is about, if it cannot be read; None for all others."""
    if name in view.search_columns:
        return None if can_be_meant(view, name, value) and not _NEVER.search(value) else view.label_of(name)
    if name.startswith("_flt_"):
        return _old_fault(view, offered, name, value)
    if name in view.flags:
        return None if value in {"0", "1"} else str(view.flags[name][0])
    if name == "q" and view.quick_columns:
        return None if len(texts.cleaned(value)) <= LONGEST_VALUE and not _NEVER.search(value) else "搜索"
    return None


def _old_fault(view: Any, offered: Any, name: str, value: str) -> str | None:
    match = ARGUMENT.fullmatch(name)
    kinds = offered.get(match[2], ()) if match else ()
    if match is None or int(match[1]) >= len(kinds):
        return Foreign(name[:SHOWN])
    plain = texts.cleaned(value)
    known = plain and len(plain) <= LONGEST_VALUE and not _NEVER.search(plain)
    return None if known and kinds[int(match[1])].typed(plain) is not None else view.label_of(match[2])


def _shown(value: str) -> str:
    plain = _NEVER.sub("", value).strip()
    return f"{plain[:SHOWN]}…" if len(plain) > SHOWN else plain or "空白"
