"""No secret and no phone number leaves by a log line, an error, a stored record or a printed object."""

from __future__ import annotations

import base64
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
import sqlalchemy as sa
import structlog
from flask import Flask, current_app
from flask.testing import FlaskClient
from flask_appbuilder import Model
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash

from app.douyin.authorization import GetComponentAccessToken
from app.extensions import db
from app.link import connection
from app.models import Credential, Industry, Merchant, MiniProgram, ThirdPartyApp
from app.operations.inbound import process
from app.redaction import redact, redact_mapping
from app.web.logs import RedactingFilter
from tests.conftest import COMPONENT, Launch, SandboxServer, operate, refresh
from tests.pushes import about, sealed, ticket

SECRETS = {
    "component_appsecret": "appsecret-CANARY-01",
    "component_ticket": "ticket-CANARY-02",
    "component_access_token": "clt.CANARY03abcdef",
    "authorizer_access_token": "isvact.CANARY04abcdef",
    "authorizer_refresh_token": "isvrft.CANARY05abcdef",
    "authorization_code": "code-CANARY-06",
    "pre_auth_code": "pre-CANARY-07",
    "session_key": "skey-CANARY-08",
    "client_secret": "whs-CANARY09abcdef",
    "aes_key": "aes-CANARY-10",
    "password": "pass-CANARY-11",
    "Authorization": "CANARY12.abc.def",
    "csrf_token": "CANARY-13",
    "Ticket": "CANARY-14",
    "Encrypt": "CANARY15/abc==",
    "access-token": "CANARY-16",
    "refresh_token": "CANARY-17",
}
PHONES = ("13812345678", "+8613812345678", "86-13812345678", "19900001111")
BARE = ("CANARY", "13812345678", "19900001111")
FORMS: dict[str, Callable[[dict[str, str]], str]] = {
    "query": lambda pairs: "GET https://h/x?" + "&".join(f"{k}={quote(v)}" for k, v in pairs.items()),
    "json": json.dumps,
    "json in json": lambda pairs: json.dumps({"body": json.dumps(pairs)}),
    "repr": repr,
    "words": lambda pairs: " ".join(f"{k}={v}" for k, v in pairs.items()),
    "colon": lambda pairs: "\n".join(f"{k}: {v}" for k, v in pairs.items()),
    "kwargs": lambda pairs: ", ".join(f"{k}={v!r}" for k, v in pairs.items()),
}


@pytest.fixture
def printed(app: Flask) -> Iterator[io.StringIO]:
    """What our handler writes, at DEBUG for every logger."""
    root, stream = logging.getLogger(), io.StringIO()
    handler = next(h for h in root.handlers if any(isinstance(f, RedactingFilter) for f in h.filters))
    before = {name: logging.getLogger(name).level for name in (None, "urllib3", "werkzeug", "flask_appbuilder")}
    old = handler.setStream(stream)  # type: ignore[attr-defined]
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    handler.setStream(old)  # type: ignore[attr-defined]
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def left(text: str, *secrets: str) -> list[str]:
    """Which secrets stand in a text, plain, quoted or in base64."""
    return [
        item
        for item in secrets
        for form in (item, quote(item, safe=""), base64.b64encode(item.encode()).decode().rstrip("="))
        if form in text
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_secret_is_masked_in_a_line(form: str, printed: io.StringIO) -> None:
    text = FORMS[form](SECRETS)
    logging.getLogger("urllib3.connectionpool").debug("%s", text)
    logging.getLogger("app.x").error(text)
    structlog.get_logger("app.y").warning("event", detail=text, request={"deep": [SECRETS]}, **SECRETS)
    assert printed.getvalue().count("\n") == 3
    assert not left(printed.getvalue(), *BARE), printed.getvalue()


@pytest.mark.parametrize("phone", PHONES)
def test_phones_are_masked_in_a_line(phone: str, printed: io.StringIO) -> None:
    for text in (phone, f"phone={phone}", f'{{"mobile": "{phone}"}}', f"电话{phone}，", f"[{phone}]"):
        logging.getLogger("app.x").warning("给 %s 发短信", text)
        structlog.get_logger("app.y").info("sms", to=text, phone=phone)
    assert not left(printed.getvalue(), *BARE), printed.getvalue()


def test_tracebacks_are_masked(printed: io.StringIO) -> None:
    try:
        raise requests.ConnectionError(f"https://h/x?component_appsecret={SECRETS['component_appsecret']}")
    except requests.ConnectionError as problem:
        logging.getLogger("app.x").exception("failed: %s", problem)
        structlog.get_logger("app.y").exception("failed", error=str(problem))
    assert "Traceback" in printed.getvalue()
    assert not left(printed.getvalue(), *BARE)


def test_a_line_break_in_an_address_begins_no_line(app: Flask, printed: io.StringIO) -> None:
    logging.getLogger("app.x").warning("out of scope at %s", "/x\n2026-01-01 INFO app.x admin logged in\r\u2028")
    assert printed.getvalue().count("\n") == 1
    assert "\\n2026" in printed.getvalue()


def test_another_handlers_traceback_is_masked_too(printed: io.StringIO) -> None:
    record = logging.LogRecord("app.x", logging.ERROR, "x", 1, "failed", (), None)
    record.exc_text = "password=pass-CANARY-11"  # formatted and kept by a handler before ours
    logging.getLogger().handle(record)
    assert not left(printed.getvalue(), "CANARY")


def test_containers_are_masked_at_any_depth() -> None:
    text = json.dumps(redact_mapping({"a": [{"b": (SECRETS, {"x": FORMS["query"](SECRETS)})}], "phone": PHONES[0]}))
    assert not left(text, *BARE)
    assert redact("version=1.0.2 appid=tt0001 err_no=40001 编号 20260101123456") == (
        "version=1.0.2 appid=tt0001 err_no=40001 编号 20260101123456"
    )


def test_a_list_under_a_secrets_name_is_masked_whole() -> None:
    masked = redact_mapping({"code": ["abc"], "Ticket": [["x"], ("y", None)], "name": ["abc"]})
    assert masked == {"code": ["***"], "Ticket": [["***"], ["***", None]], "name": ["abc"]}


@pytest.mark.parametrize("method", ["scrypt", "pbkdf2:sha256:1", "scrypt:32768:8:1"])
def test_a_passwords_hash_is_masked(method: str, printed: io.StringIO) -> None:
    made = generate_password_hash("correct horse", method=method)
    for text in (made, f"[parameters: ('bob', {made!r}, 1)]", f"user bob,{made};", json.dumps({"x": [made]})):
        logging.getLogger("app.x").error(text)
        structlog.get_logger("app.y").error("event", detail=text)
    assert not left(printed.getvalue(), made, made.split("$")[1], made.split("$")[2])
    assert printed.getvalue().count("bob") == 4


REFUSED_BY = {  # what the three databases say of a value that is taken, or of a row that lacks one
    "postgresql": 'duplicate key value violates unique constraint "x"\nDETAIL:  Key (name, n)=(CANARY (1), 2) already exists.',
    "postgresql row": 'null value in column "a"\nDETAIL:  Failing row contains (1, a\nCANARY, (CANARY), null).',
    "mariadb": """(1062, "Duplicate entry 'CANARY's-2' for key 'name'")""",
}


@pytest.mark.parametrize("said", REFUSED_BY.values(), ids=REFUSED_BY)
def test_what_a_database_says_of_a_taken_value_names_no_value(said: str, printed: io.StringIO) -> None:
    try:
        raise IntegrityError("INSERT INTO x VALUES (?)", {}, Exception(said), hide_parameters=True)
    except IntegrityError as problem:
        logging.getLogger("app.x").exception("failed: %s", problem)
        structlog.get_logger("app.y").exception("failed", error=str(problem))
    assert "IntegrityError" in printed.getvalue()
    assert not left(printed.getvalue(), "CANARY")


def test_a_statement_that_fails_is_logged_without_its_values(
    app: Flask, printed: io.StringIO, session: Session
) -> None:
    for number in range(2):
        session.add(Merchant(name="CANARY-01", contact=f"CANARY-{number}", industry=Industry(name=f"CANARY{number}")))
    with pytest.raises(IntegrityError) as failed:
        session.flush()
    session.rollback()
    logging.getLogger("app.x").error("failed", exc_info=failed.value)
    assert "IntegrityError" in printed.getvalue()
    assert not left(printed.getvalue(), "CANARY")


def test_the_consent_address_is_logged_without_its_code(live: str, printed: io.StringIO) -> None:
    code = "code-CANARY-06"
    for query in (f"?authorization_code={code}&expires_in=600", f"&authorization_code={code}"):
        requests.get(f"{live}/douyin/authorized/nosuchstate{query}", timeout=10)
    assert "/douyin/authorized/" in printed.getvalue()
    assert not left(printed.getvalue(), code)


def test_an_error_page_and_its_log_hold_no_secret(
    app: Flask, printed: io.StringIO, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> Any:
        raise RuntimeError(FORMS["query"](SECRETS) + " 13812345678")

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setitem(app.view_functions, "MerchantView.list", fail)
    answer = client_for("operator").get("/merchantview/list/?authorization_code=code-CANARY-06")
    assert answer.status_code == 500
    assert "Traceback" in printed.getvalue()
    assert not left(answer.get_data(as_text=True) + printed.getvalue(), *BARE)


def secrets_of(session: Session) -> list[str]:
    """Every secret that the sandbox and the application share now."""
    refresh(session)
    tokens = [(row.access_token, row.refresh_token) for row in session.scalars(sa.select(Credential))]
    tickets = [row.ticket for row in session.scalars(sa.select(ThirdPartyApp))]
    found = {item for pair in tokens for item in pair} | set(tickets)
    return [COMPONENT["secret"], COMPONENT["aes_key"], COMPONENT["token"], *(item for item in found if item)]


def stored(app: Flask) -> str:
    """Every column of every row as text."""
    with app.app_context(), db.engine.connect() as rows:
        return "\n".join(str(row) for table in Model.metadata.sorted_tables for row in rows.execute(sa.select(table)))


def push(app: Flask, event: dict[str, Any], receiver: str = "authorization") -> int:
    address = f"/douyin/callback/{COMPONENT['appid']}/{receiver}"
    return app.test_client().post(address, data=sealed(event)).status_code


def test_a_whole_launch_leaves_no_secret_in_database_or_log(
    app: Flask, printed: io.StringIO, launch: Launch, session: Session, sandbox: SandboxServer
) -> None:
    appid = launch.mini_program.appid
    operate(app, session, "sync_app_info", launch.mini_program)
    operate(
        app,
        session,
        "upload_code",
        launch.mini_program,
        template_id=launch.template_id,
        version="1.0.1",
        description="x",
    )
    assert push(app, ticket("ticket-CANARY-02")) == 200
    assert push(app, about(appid, "AUTHORIZED", AuthorizationCode="code-CANARY-06", Phone="13812345678")) == 200
    unheard = about(appid, "UNHEARD", Secret="CANARY-20", Remark="电话19900001111", Deep={"session_key": "CANARY-8"})
    assert push(app, unheard) == 200
    process.process_due(app)
    connection.flush_calls(app)
    keep = secrets_of(session)
    assert len(keep) > 5
    assert not left(stored(app), *keep, *BARE)
    assert not left(printed.getvalue(), *keep, *BARE)
    assert "/api/" in printed.getvalue()  # the HTTP library did speak


def test_no_object_prints_its_secrets(app: Flask, launch: Launch, session: Session) -> None:
    launch.merchant.phone = "13812345678"
    session.commit()
    keep = [*secrets_of(session), "13812345678"]
    kinds = (ThirdPartyApp, Credential, Merchant, MiniProgram)
    things: list[Any] = [row for kind in kinds for row in session.scalars(sa.select(kind))]
    things += [current_app.extensions["keyring"], connection.client(app), connection.keeper(app)]
    things.append(
        GetComponentAccessToken(component_appid="tt1", component_appsecret=keep[0], component_ticket=keep[-1])
    )
    assert len(things) > 6
    for thing in things:
        assert not left(f"{thing!r} {thing!s}", *keep), type(thing)


def test_an_errors_whole_chain_holds_no_secret(app: Flask, session: Session, launch: Launch) -> None:
    row = session.scalars(sa.select(ThirdPartyApp)).one()
    try:
        session.connection().execute(sa.update(ThirdPartyApp.__table__).values(secret_sealed="v1:k1:!!"))
        session.expire(row)
        _ = row.secret
    except Exception as problem:
        text = "".join(traceback.format_exception(problem))
    assert not left(text, *COMPONENT.values()) or left(text, *COMPONENT.values()) == [COMPONENT["appid"]]
