"""Sentences in a session: what is flashed before a redirect is said on the page after it."""

from __future__ import annotations

from typing import Any

from flask.json.tag import JSONTag, TaggedJSONSerializer

from app.i18n.sentence import Foreign, Sentence, packed, unpacked


class TagSentence(JSONTag):
    """A sentence by its template and values, a foreign text as what it is."""

    key = " s"

    def check(self, value: Any) -> bool:
        return isinstance(value, Sentence | Foreign)

    def to_json(self, value: Any) -> Any:
        return packed(value)

    def to_python(self, value: Any) -> Sentence | Foreign:
        return unpacked(value)


class SentenceSerializer(TaggedJSONSerializer):
    """Flask's, with sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.register(TagSentence, index=0)
