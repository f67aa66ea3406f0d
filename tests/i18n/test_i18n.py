"""What is written in Chinese is shown in English to whoever reads English: sentences, templates, catalogues."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import DictLoader
from markupsafe import Markup

from app.i18n import sentence, templates
from app.i18n.catalogue import Catalogue, catalogue
from app.i18n.sentence import said
from app.i18n.templates import LanguageEnvironment

pytestmark = pytest.mark.any_database("words")

ROOT = Path(__file__).resolve().parents[2]
WORDS = Catalogue(
    {
        "商户": "Merchant",
        "保存": "Save",
        "个": "∅",
        "已保存{0}「{1}」": "Saved {0} “{1}”",
        "共 {0} 个": "{0} in all",
        "小程序": "Mini-program",
        "授权有效期": "Authorisation ends",
        "名称": "Name",
        "搜索{0}": "Search {0}",
        "请填写{0}": "Please fill in {0}",
        "{0} 的 {1}": "{1} of {0}",
        "剩 {0}": "{0} left",
        "{0} 天": "{0} d",
    }.items()
)


def test_a_whole_text_is_looked_up_by_its_words() -> None:
    assert WORDS.say("商户") == "Merchant"
    assert WORDS.say("  商户\n") == "  Merchant\n"


def test_a_sentence_is_found_by_the_pattern_it_was_made_from() -> None:
    assert WORDS.say("已保存商户「张三的店」") == "Saved Merchant “张三的店”"


def test_of_two_patterns_the_one_that_begins_with_words_holds() -> None:
    assert WORDS.say("剩 29 天") == "29 d left"


def test_places_may_change_their_order() -> None:
    assert WORDS.say("a 的 b") == "b of a"


def test_a_name_in_a_sentence_stays_as_it_is() -> None:
    assert WORDS.say("已保存商户「名称 小程序」") == "Saved Merchant “名称 小程序”"
    assert WORDS.say("已保存商户「名称、小程序」") == "Saved Merchant “Name, Mini-program”"


def test_joined_parts_are_translated_one_by_one() -> None:
    assert WORDS.say("名称、小程序") == "Name, Mini-program"
    assert WORDS.say("请填写名称；保存") == "Please fill in Name; Save"


def test_what_no_catalogue_knows_stays_as_it_is() -> None:
    assert WORDS.say("陌生的话") == "陌生的话"
    assert WORDS.say("陌生、商户") == "陌生, Merchant"


def test_a_word_may_be_left_out() -> None:
    assert WORDS.say("个") == ""


@pytest.fixture
def english(monkeypatch: pytest.MonkeyPatch, app: Flask) -> LanguageEnvironment:
    catalogue.cache_clear()
    for module in (sentence, templates):
        monkeypatch.setattr(module, "catalogue", lambda _name: WORDS)
        monkeypatch.setattr(module, "language", lambda: "en")
    environment = LanguageEnvironment(app, autoescape=True)
    environment.globals["ui"] = type("Ui", (), {"icon": staticmethod(lambda name: Markup("<i>{}</i>").format(name))})
    return environment


def rendered(environment: LanguageEnvironment, source: str, **values: object) -> str:
    environment.loader = DictLoader({"page": source})
    for form in environment._forms().values():
        form.loader = environment.loader
    return environment.get_template("page").render(**values)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("<b>商户</b>", "<b>Merchant</b>"),
        ("<p> 共 {{ n }} 个 </p>", "<p> 7 in all </p>"),
        ('<input placeholder="搜索{{ what }}">', '<input placeholder="Search &lt;x&gt;">'),
        ("{{ ui.icon('plus') }} 保存", "<i>plus</i> Save"),
        ("{{ '保存' if n else '商户' }}", "Save"),
        ("{% set title = '商户' %}{{ title }}", "Merchant"),
        ("{% if what == '商户' %}保存{% endif %}", ""),
        ("{% if word == '商户' %}保存{% endif %}", "Save"),
        ("<td>{{ what }}</td>", "<td>&lt;x&gt;</td>"),
        ("<p>{{ n }} 个</p>", "<p>7 </p>"),
        ("陌生 {{ n }}", "陌生 7"),
        ("<p>{% if n %}商户{% endif %}名称</p>", "<p>MerchantName</p>"),
    ],
)
def test_a_template_has_an_english_form(english: LanguageEnvironment, source: str, shown: str) -> None:
    if source == "<p>{{ n }} 个</p>":
        shown = "<p>7 个</p>"  # the message is `{0} 个`, which this catalogue does not know
    assert rendered(english, source, n=7, what="<x>", word="商户") == shown


def test_html_from_python_was_said_where_it_was_put_together(english: LanguageEnvironment) -> None:
    value = Markup("<b>商户</b>")
    assert said(value) is value
    assert Markup("<b>{}</b>").format(said("商户")) == "<b>Merchant</b>"


def test_translations_cannot_smuggle_tags_through_places() -> None:
    assert WORDS.say("已保存<b>「<i>」") == "Saved <b> “<i>”"  # plain text: the page escapes it


def test_both_forms_of_a_template_live_beside_each_other(app: Flask) -> None:
    with app.test_request_context("/"):
        chinese = app.jinja_env.get_template("error.html")
    with app.test_request_context("/", headers={"Cookie": "locale=en"}):
        english = app.jinja_env.get_template("error.html")
    assert chinese is not english
    assert chinese.environment.for_language is None  # type: ignore[attr-defined]
    assert english.environment.for_language == "en"  # type: ignore[attr-defined]


def translate() -> object:
    spec = importlib.util.spec_from_file_location("translate", ROOT / "scripts" / "translate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_texts_are_gathered_from_code_and_templates() -> None:
    tool = translate()
    source = '''"""文档"""\nA = "商户"\nB = f(example="花店")\ndef f(x):\n    """说明"""\n    return f"已保存{x!r:>4}个" + "共 %s 个" % x\n'''
    assert set(tool.python_texts(source)) == {"商户", "已保存{0}个", "共 {0} 个"}  # type: ignore[attr-defined]
    page = '<b title="名称 {{ x }}">共 {{ n }} 个</b>{{ "保存" }}{% if x == "甲" %}{% endif %}'
    assert set(tool.template_texts(page)) == {"名称 {0}", "共 {0} 个", "保存"}  # type: ignore[attr-defined]


def test_sentences_are_gathered_with_their_named_places() -> None:
    tool: Any = translate()
    source = 'say("已保存{noun}「{name}」", noun=say("商户" if x else "名称"), name=x)'
    assert set(tool.python_texts(source)) == {"已保存{noun}「{name}」", "商户", "名称"}


@pytest.mark.parametrize("source", ["say(text)", "say(f'共 {n} 个')", "say('共 %s 个' % n)", "say('共' + n)"])
def test_a_sentence_that_no_catalogue_could_know_is_refused(source: str) -> None:
    tool: Any = translate()
    with pytest.raises(ValueError, match="literal"):
        list(tool.python_texts(source))


def test_a_translation_has_the_places_of_its_sentence() -> None:
    tool: Any = translate()
    assert tool.misplaced("已保存{noun}「{name}」", "Saved {noun} “{name}”") is False
    assert tool.misplaced("已保存{noun}「{name}」", "Saved {noun}") is True
    assert tool.misplaced("共 {0} 个", "{1} in all") is True


def test_the_english_catalogue_is_complete_and_compiled() -> None:
    assert translate().main(["--check"]) == 0  # type: ignore[attr-defined]
