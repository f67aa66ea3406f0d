"""Words for the console's pages: a state's and its colour, many of a thing, what columns are called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flask import current_app
from flask_appbuilder import Model

from app.data.types import WORDS, Words
from app.i18n.language import language
from app.i18n.sentence import Foreign, Sentence, said
from app.models.kit.audit import DETAILS


def word(value: Any) -> str:
    """A state in words; the value itself when it has none."""
    return WORDS.get(type(value), {}).get(value, str(value))


def tone(value: Any, words: Mapping[Any, str] | None = None) -> str:
    """The colour class of a state: by the words of its column, else by those of its enum."""
    known = words if words is not None else WORDS.get(type(value))
    return known.tones.get(str(value), "mute") if isinstance(known, Words) else "mute"


KEY_LABEL = "编号"  # of every table's own key


@lru_cache
def labels_of(model: type[Any]) -> Mapping[str, str]:
    """What a model's columns and relations say that they are called (`info["label"]`), by name."""
    mapper = model.__mapper__
    parts = [*mapper.columns.items(), *mapper.relationships.items()]
    told = {name: part.info.get("label") for name, part in parts}
    return {"id": KEY_LABEL, **{name: label for name, label in told.items() if label}}


@lru_cache(maxsize=1)
def common_labels() -> Mapping[str, str]:
    """What a column of a name is called where nothing else says it: as by the first model that has one."""
    found: dict[str, str] = dict(DETAILS)
    for mapper in sorted(Model.registry.mappers, key=lambda mapper: mapper.class_.__name__):
        for name, label in labels_of(mapper.class_).items():
            found.setdefault(name, label)
    return found


def many(text: str) -> Any:
    """A title of the menu or of a list in the reader's language: Chinese has no plural, English does."""
    if isinstance(text, Sentence | Foreign):
        return said(text)
    return text if language() == "zh" else said(current_app.extensions["plurals"].get(text, text))
