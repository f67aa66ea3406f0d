"""Every page in either language: no Chinese left on an English page, no English word on a Chinese one."""

from __future__ import annotations

import re
from collections import defaultdict
from html.parser import HTMLParser

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.console.frame.script_words import SCRIPT_WORDS
from app.data.tenancy import PLATFORM, app_scope
from app.i18n.catalogue import CHINESE
from tests.test_every_view import cases
from tests.world import ALICE, TAGS, build, principal

SHOWN = ("title", "placeholder", "aria-label", "alt", "label", "data-label", "data-confirm", "data-hint", "content")
# The name of the other language stands in its own words.
OWN_NAMES = {"中文", "简体中文", "抖舟", "抖舟 Douzhou"}
DATA = re.compile(r"\b(?:" + "|".join(TAGS.values()) + r"|SEALCAN)[\w.@-]*|\b(?:note|deep|words)\b|@[a-z2-7-]{8}\b")
# The field's own names, said the same way in Chinese.
KNOWN = re.compile(
    r"(?i)\b(AppID|AppSecret|Token|EncodingAESKey|Key|ext\.json|log_?id|JSON|HTTPS?|API|IP|X\.Y\.Z|QR|ID|CSV|XLSX|"
    r"Excel|WPS|Webhook|SMTP|TOTP|OTP|OpenAPI|Swagger|REST|JWT|Bearer|Authorization|GET|POST|PUT|PATCH|DELETE|UTF-8|GB18030|MB|KB|GB|"
    r"Ctrl|Cmd|Esc|Enter|Tab|Shift|Python|Flask|AppBuilder|Flask-AppBuilder|SQLAlchemy|SQLite|PostgreSQL|MariaDB|MySQL|"
    r"Redis|English|Douzhou|Chromium|Chrome|Werkzeug|Douyin|URL|AES|HMAC|SHA256|err_no|ms|Bot|Microsoft|Google|"
    r"Authenticator|X-\w+|ok|id|UTC|APScheduler|Rison|Postman|localhost|INFO|queued|running|succeeded|failed|unknown|release|rollback|page|col|opr|value|columns|filters|asc|desc|refresh|memory|true|Feishu|Lark|DingTalk|WeCom)\b"
)
TECHNICAL = {"SwaggerView.show"}  # names of calls, parameters and columns among its words
LATIN = re.compile(r"[A-Za-z]{3,}")
CODES = re.compile(r"\b(?=\w*[_\d])[\w./:-]+|\b\w+[./_:][\w./:_-]+")  # column_names, versions, addresses, file.names


class Texts(HTMLParser):
    """What a reader sees or is read to: text, and the attributes that hold some."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.silent += tag in {"script", "style", "code", "pre", "textarea", "option"} and not (
            tag == "option" and not held.get("data-data")
        )
        if tag == "meta" and held.get("name") != "description":
            return
        self.found += [held[name] or "" for name in SHOWN if held.get(name)]
        if tag == "input" and held.get("type") in {"submit", "button"} and held.get("value"):
            self.found.append(held["value"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in {"script", "style", "code", "pre", "textarea"} and self.silent > 0

    def handle_data(self, data: str) -> None:
        if not self.silent and data.strip():
            self.found.append(re.sub(r"\s+", " ", data).strip())


def texts(html: str) -> list[str]:
    parser = Texts()
    parser.feed(html)
    return parser.found


def pages(app: Flask, client: FlaskClient) -> dict[str, str]:
    """Every page the client may open, by its rule; one address of each."""
    found = {}
    for case in cases(app, ALICE):
        if case.method != "GET" or case.rule.endpoint in found or case.path.startswith(("/static", "/api/")):
            continue
        answer = client.get(case.path)
        if answer.mimetype == "text/html" and answer.status_code in {200, 403, 404}:
            found[case.rule.endpoint] = answer.get_data(as_text=True)
    assert len(found) > 5
    return found


def chinese_in(html: str) -> set[str]:
    return {text for text in texts(html) if CHINESE.search(text) and text not in OWN_NAMES}


def english_in(html: str) -> set[str]:
    bare = {text: CODES.sub(" ", KNOWN.sub(" ", DATA.sub(" ", text))) for text in texts(html)}
    return {text for text, rest in bare.items() if LATIN.search(rest)}


@pytest.fixture
def world(app: Flask) -> Flask:
    with app_scope(app, PLATFORM) as session:
        build(session)
    return app


@pytest.mark.parametrize("role", ["platform_admin", "owner"])
def test_no_chinese_is_left_on_an_english_page(world: Flask, role: str) -> None:
    client = principal(world, role).client
    client.set_cookie("locale", "en")
    left = defaultdict(set)
    for endpoint, html in pages(world, client).items():
        for text in chinese_in(html):
            left[text].add(endpoint)
    assert not left, "\n".join(f"{text!r}: {', '.join(sorted(where)[:4])}" for text, where in sorted(left.items()))


@pytest.mark.parametrize("role", ["platform_admin", "owner"])
def test_no_english_word_stands_on_a_chinese_page(world: Flask, role: str) -> None:
    left = defaultdict(set)
    for endpoint, html in pages(world, principal(world, role).client).items():
        for text in english_in(html) if endpoint not in TECHNICAL else ():
            left[text].add(endpoint)
    assert not left, "\n".join(f"{text!r}: {', '.join(sorted(where)[:4])}" for text, where in sorted(left.items()))


def test_refusals_and_messages_are_english_too(world: Flask) -> None:
    known = principal(world, "platform_admin")
    known.client.set_cookie("locale", "en")
    for page in ("/merchantview/add", "/industryview/add", "/authorizationview/add", "/users/add"):
        answer = known.open(page, "POST", data={"csrf_token": known.token})
        assert answer.status_code == 422, page
        assert not chinese_in(answer.get_data(as_text=True)), page
    answer = known.open("/industryview/add", "POST", data={"csrf_token": known.token, "name": "Trade", "position": "7"})
    assert answer.status_code == 302
    shown = known.client.get(answer.location).get_data(as_text=True)
    assert "Created" in shown
    assert not chinese_in(shown)
    assert not chinese_in(known.client.get("/nowhere").get_data(as_text=True))


def test_the_walk_would_see_a_foreign_word() -> None:
    assert chinese_in('<p title="提示">x</p>') == {"提示"}
    assert english_in("<p>保存 Save</p><code>Save</code>") == {"保存 Save"}
    assert not english_in(f"<p>AppID ttabc123 {TAGS[ALICE]}-merchant-name</p>")


def test_the_words_of_scripts_are_chinese() -> None:
    assert not [text for text in SCRIPT_WORDS.values() if LATIN.search(CODES.sub(" ", KNOWN.sub(" ", text)))]


def test_the_english_menu_and_lists_are_in_the_plural(world: Flask) -> None:
    client = principal(world, "platform_admin").client
    client.set_cookie("locale", "en")
    page = client.get("/versionview/list/").get_data(as_text=True)
    menu = re.findall(r'class="side-link"[^>]*>.*?<span>([^<]+)</span>', page)
    for name in (
        "Merchants",
        "Industries",
        "Authorisation links",
        "Versions",
        "Templates",
        "Users",
        "Third-party apps",
    ):
        assert name in menu
    assert not [name for name in menu if name.endswith(" list")]
    assert re.search(r"<h1>\s*Versions\s*</h1>", page)
