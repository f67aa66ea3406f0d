"""What the console does with the values of one kind: their look, the field that asks for them, how a list is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from markupsafe import Markup
from wtforms import Field
from wtforms.validators import InputRequired, Optional

from app.console import cells
from app.console.kinds.controls import Control
from app.console.kinds.fields import not_emptied, required
from app.data.kinds.base import Kind
from app.i18n.sentence import ours, say

Shown = Markup | str
FACES: dict[type[Kind], Face] = {}


@dataclass(frozen=True)
class Asked:
    """What a field is made of. `alone`: it stands without its form, as in a list's cell; `kept`: the column takes no
    NULL, so that of what has a default, too, nobody can take away the value."""

    label: str
    description: str = ""
    default: Any = None
    needed: bool = False
    alone: bool = False
    kept: bool = False

    @property
    def common(self) -> dict[str, Any]:
        return {"label": self.label, "description": self.description, "default": self.default}

    @property
    def rules(self) -> list[Any]:
        return [required(self.label)] if self.needed else [Optional()]

    @property
    def value_rules(self) -> list[Any]:
        """The same of what is no text: a text of nothing is one, a number of nothing is none."""
        return (
            [not_emptied(say("请填写{label}", label=ours(self.label)))] if self.kept and not self.needed else self.rules
        )

    @property
    def choice_rules(self) -> list[Any]:
        """The same of what is chosen from a few."""
        missing = say("请选择{label}", label=ours(self.label))
        return [InputRequired(missing)] if self.needed else [not_emptied(missing) if self.kept else Optional()]


class Face:
    """The console's half of a kind, and of those made from it that have none of their own: `class Amount(Face,
    kind=Money)`."""

    at_right: ClassVar[bool] = False  # in a list, where numbers are compared by their length
    is_long: ClassVar[bool] = False  # a list shows two lines of it, and a phone's card none by itself
    control: ClassVar[Control | None] = None  # how a list is asked about it; None where it cannot be

    def __init_subclass__(cls, *, kind: type[Kind] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            FACES[kind] = cls()

    def cell(self, kind: Any, value: Any, name: str) -> Shown:
        """HTML of a value that is there, in the column of that name."""
        return cells.shown(value, name=name)

    def field(self, kind: Any, asked: Asked) -> Field:
        """The field of a form. TypeError where no form holds such values."""
        raise TypeError(f"{type(kind).__name__} has no form field")

    def look(self, kind: Kind, value: Any, name: str = "") -> Shown:
        """The same as `cell`, and a dash of nothing."""
        return cells.DASH if value is None or value == "" else self.cell(kind, value, name)


@lru_cache(maxsize=1024)
def face_of(kind: Kind) -> Face:
    """The face of a kind. LookupError for one that nobody gave any."""
    face = next((FACES[base] for base in type(kind).__mro__ if base in FACES), None)
    if face is None:
        raise LookupError(f"{type(kind).__name__} has no face")
    return face
