"""Sentences with places: said in the reader's language, kept as template and values, foreign text untouched."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages, render_template_string
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup, escape

from app.i18n.sentence import Foreign, Sentence, listed, restored, said, say, stored
from app.i18n.tags import SentenceSerializer
from tests.i18n.odd import ODD

pytestmark = pytest.mark.any_database("words")
SAVED = say("已保存{noun}「{name}」", noun=say("商户"), name="停用")


def in_english(app: Flask) -> Any:
    return app.test_request_context("/", headers={"Cookie": "locale=en"})


def test_a_sentence_is_a_text_of_the_finished_chinese() -> None:
    assert SAVED == "已保存商户「停用」"
    assert f"{SAVED}；{str(SAVED)}" == "已保存商户「停用」；已保存商户「停用」"
    assert json.dumps([SAVED], ensure_ascii=False) == '["已保存商户「停用」"]'


def test_it_is_said_in_the_language_of_whoever_reads_it(app: Flask) -> None:
    with app.test_request_context("/"):
        assert said(SAVED) == escape(SAVED) == "已保存商户「停用」"
    with in_english(app):
        assert said(SAVED) == escape(SAVED) == "Saved Merchant “停用”"
        assert Markup("<b>{}</b>").format(SAVED) == "<b>Saved Merchant “停用”</b>"
        assert render_template_string("{{ it }}|{{ it | say }}", it=SAVED) == "|".join([said(SAVED)] * 2)


def test_our_own_words_are_translated_and_foreign_ones_never(app: Flask) -> None:
    with in_english(app):
        assert said(say("停用")) == "Disabled"
        assert said("停用") == "Disabled"  # an ordinary text: taken for one of ours
        assert said(Foreign("停用")) == "停用"
        assert said(said(SAVED)) == said(SAVED)


def test_several_are_listed_as_the_language_lists_them(app: Flask) -> None:
    several = listed([say("商户"), "停用", say("小程序")])
    assert several == "商户、停用、小程序"
    with in_english(app):
        assert said(several) == "Merchant, 停用, Mini-program"


def test_html_in_a_value_is_text() -> None:
    assert escape(say("已保存{noun}「{name}」", noun="<i>", name=Markup("<b>"))) == "已保存&lt;i&gt;「&lt;b&gt;」"


def test_a_place_without_a_value_is_a_fault() -> None:
    with pytest.raises(TypeError, match="places"):
        Sentence("已保存{noun}「{name}」", {"noun": "商户"})


def test_a_value_that_looks_like_a_place_is_none() -> None:
    assert say("已保存{noun}「{name}」", noun="{name}", name="{noun}{0}") == "已保存{name}「{noun}{0}」"


VALUES = st.one_of(st.sampled_from(ODD), st.text(), st.integers(), st.lists(st.sampled_from(ODD), min_size=1))


@settings(deadline=None)
@given(st.one_of(st.sampled_from(ODD), st.text()), VALUES)
def test_whatever_stands_in_a_place_stays_as_it_is(noun: str, name: str) -> None:
    made = say("已保存{noun}「{name}」", noun=noun, name=name)
    shown = ", ".join(name) if isinstance(name, list) else str(name)
    assert made.in_language("en") == f"Saved {noun} “{shown}”"


@settings(deadline=None)
@given(st.one_of(st.sampled_from(ODD), st.text()), VALUES)
def test_what_is_kept_comes_back_as_it_was(noun: str, name: str) -> None:
    made = say("已保存{noun}「{name}」", noun=say("{what}", what=noun), name=name)
    kept = restored(stored(made))
    for again in (kept, SentenceSerializer().loads(SentenceSerializer().dumps(made)), copy.deepcopy(made)):
        assert isinstance(again, Sentence)
        assert (again, again.template, again.values) == (made, made.template, made.values)
        assert again.in_language("en") == made.in_language("en")
    assert pickle.loads(pickle.dumps(made)).values == made.values


@settings(deadline=None)
@given(st.one_of(st.sampled_from(ODD), st.text()))
def test_a_foreign_text_cannot_pass_for_a_sentence(text: str) -> None:
    forged = f'{text}\x1f["停用",{{}}]'
    for kind, given_text in ((str, forged), (Foreign, forged)):
        back = restored(stored(kind(given_text)))
        assert type(back) is kind
        assert back == forged.replace("\x1f", "")


def test_what_is_flashed_is_said_on_the_next_page(app: Flask) -> None:
    with in_english(app):
        flash(SAVED)
        flash(Foreign("停用"))
        shown = [said(text) for text in get_flashed_messages()]
        assert shown == ["Saved Merchant “停用”", "停用"]
