"""The flask commands: the loop from the command line, exit codes, secrets by standard input only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup
from flask.testing import FlaskClient
from flask_appbuilder.cli import fab
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.cli import commands
from app.data.clock import utcnow
from app.models import AuthorizationLink, Credential, ThirdPartyApp, User
from app.operations.inbound.receive import receive
from tests.conftest import COMPONENT, PASSWORD, ROOT, Launch, SandboxServer, change, csrf_token, refresh
from tests.pushes import sealed, ticket


def run(app: Flask, *arguments: str, stdin: str = "") -> Result:
    return app.test_cli_runner().invoke(args=list(arguments), input=stdin)


def operate(app: Flask, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = run(app, "operate", *arguments)
    return result.exit_code, json.loads(result.stdout.strip().splitlines()[-1]) if result.stdout.strip() else {}


def test_the_loop_by_command_line(app: Flask, sandbox: SandboxServer, launch: Launch) -> None:
    appid = launch.mini_program.appid
    upload = ("-p", f"template_id={launch.template_id}", "-p", "version=1.0.0", "-p", "description=首版")
    assert operate(app, "upload_code", appid, *upload)[0] == 0
    code, shown = operate(app, "submit_audit", appid, "-p", "note=测试账号")
    assert code == 0 and shown["result"]["version"] == "1.0.0"
    sandbox.post("audit", appid=appid, verdict="approve")
    assert operate(app, "sync_versions", appid)[0] == 0
    code, shown = operate(app, "release", appid)
    assert code == 0
    assert {"id", "operation", "appid", "state", "err_no", "message", "advice", "log_id", "result"} <= set(shown)


def test_a_refused_operation_exits_3(app: Flask, launch: Launch) -> None:
    assert operate(app, "release", launch.mini_program.appid)[0] == 3


@pytest.mark.parametrize("arguments", [("nope", "tt1"), ("release", "tt-absent"), ("release",)])
def test_wrong_usage_exits_2(app: Flask, arguments: tuple[str, ...]) -> None:
    assert run(app, "operate", *arguments).exit_code == 2


def test_a_lost_answer_settles_before_the_command_ends(app: Flask, sandbox: SandboxServer, launch: Launch) -> None:
    sandbox.post("settings", drop_after_next=1, drop_path="package_version/upload")
    upload = ("-p", f"template_id={launch.template_id}", "-p", "version=1.0.0", "-p", "description=首版")
    code, shown = operate(app, "upload_code", launch.mini_program.appid, *upload)
    assert code == 0 and "已核实" in shown["message"]
    assert sandbox.effects(launch.mini_program.appid)["upload"] == 1


def test_merchants_and_users_are_made(app: Flask, session: Session) -> None:
    made = json.loads(run(app, "merchant", "add", "新商户", "--industry", "美业", "--json").stdout)
    assert made["key"].startswith("m_") and len(made["key"]) == 14
    assert run(app, "merchant", "add", "新商户", "--industry", "美业").exit_code == 2
    result = run(
        app,
        "user",
        "add",
        "chen",
        "--role",
        "owner",
        "--merchant",
        made["key"],
        "--password-stdin",
        stdin=PASSWORD + "\n",
    )
    assert result.exit_code == 0, result.output
    name = f"chen@{made['key'][2:10]}"
    assert result.output == f"{name}\n"
    assert session.scalars(sa.select(User.merchant_id).where(User.username == name)).one() == made["id"]
    assert run(app, "user", "add", "li", "--role", "owner").exit_code == 2
    assert run(app, "user", "add", "wang", "--role", "operator", "--password-stdin", stdin="short\n").exit_code == 2


def test_a_name_that_cannot_be_seen_whole_is_refused(app: Flask, session: Session) -> None:
    body = json.dumps({name: COMPONENT[name] for name in ("secret", "token", "aes_key")})
    for odd in ("新\n商户", "新\x07商户"):
        assert run(app, "merchant", "add", odd, "--industry", "美业").exit_code == 2
        assert run(app, "merchant", "add", "新商户", "--industry", odd).exit_code == 2
        assert (
            run(app, "thirdparty", "add", "--appid", "tt9", "--name", odd, "--secret-stdin", stdin=body).exit_code == 2
        )
    assert session.scalar(sa.select(sa.func.count(ThirdPartyApp.id))) == 0


def test_third_party_secrets_come_by_standard_input(app: Flask, session: Session) -> None:
    body = {name: COMPONENT[name] for name in ("secret", "token", "aes_key")}
    assert run(app, "thirdparty", "add", "--appid", "tt9", "--secret-stdin", stdin=json.dumps(body)).exit_code == 0
    assert session.scalars(sa.select(ThirdPartyApp)).one().secret == COMPONENT["secret"]
    assert run(app, "thirdparty", "add", "--appid", "tt9", "--secret-stdin", stdin="{}").exit_code == 2


def test_an_authorisation_link_is_printed(app: Flask, launch: Launch) -> None:
    result = run(app, "authorize-link", "--merchant", launch.merchant.key)
    assert result.exit_code == 0 and result.stdout.startswith("http"), result.output
    assert run(app, "authorize-link", "--merchant", "m_nope").exit_code == 2


def test_a_job_runs_by_name(app: Flask) -> None:
    assert run(app, "job", "housekeeping").exit_code == 0
    assert run(app, "job", "nope").exit_code == 2


def test_keys_rotate_is_repeatable(app: Flask, third_party_app: ThirdPartyApp) -> None:
    assert "third_party_app 0" in run(app, "keys", "rotate").stdout


@pytest.fixture
def ticket_waits(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> ThirdPartyApp:
    """The only ticket that still lives came by a push that nobody has worked off."""
    owner = launch.third_party_app
    change(session, owner, ticket_at=utcnow() - timedelta(hours=4))
    sandbox.post("expire", kind="component")
    refresh(session)
    session.execute(delete(Credential).where(Credential.appid.is_(None)))
    session.commit()
    fresh = sandbox.post("ticket", appid=owner.appid)["tickets"][owner.appid]
    assert receive(app, owner.appid, "authorization", sealed(ticket(fresh)), "127.0.0.1")
    refresh(session)
    return owner


def test_a_ticket_that_waits_is_used_for_a_link(app: Flask, launch: Launch, ticket_waits: ThirdPartyApp) -> None:
    result = run(app, "authorize-link", "--merchant", launch.merchant.key)
    assert (result.exit_code, result.stdout.startswith("http")) == (0, True), result.output


def test_a_ticket_that_waits_is_used_by_an_operation(app: Flask, launch: Launch, ticket_waits: ThirdPartyApp) -> None:
    code, shown = operate(app, "sync_templates", ticket_waits.appid)
    assert code == 0, shown
    told = {line["label"]: line["value"] for line in shown["answer"]}
    assert told["模板数"] == str(shown["result"]["templates"]) and told["最新模板"]


def test_a_ticket_that_waits_is_used_by_a_job(app: Flask, launch: Launch, ticket_waits: ThirdPartyApp) -> None:
    result = run(app, "job", "sync_templates")
    assert result.stdout.startswith("ok 成功 1"), result.output


def test_a_ticket_that_waits_is_used_by_the_page_that_makes_a_link(
    app: Flask, session: Session, launch: Launch, ticket_waits: ThirdPartyApp, client_for: Callable[..., FlaskClient]
) -> None:
    operator = client_for("operator")
    address = f"/authorizationview/add?merchant={launch.merchant.id}"
    form = {"merchant": launch.merchant.id, "third_party_app": ticket_waits.id}
    answer = operator.post(address, data=form | {"csrf_token": csrf_token(operator, address)})
    assert answer.status_code == 302, answer.text[-2000:]
    refresh(session)
    newest = select(AuthorizationLink.url).order_by(AuthorizationLink.id.desc()).limit(1)
    assert session.scalars(newest).one().startswith("http")


# FAB's own commands, which come with it.

ASKED = {
    "create-admin": (
        "--username",
        "eve",
        "--firstname",
        "E",
        "--lastname",
        "V",
        "--email",
        "e@v.cn",
        "--password",
        PASSWORD,
    ),
    "create-user": (
        "--role",
        "operator",
        "--username",
        "eve",
        "--firstname",
        "E",
        "--lastname",
        "V",
        "--email",
        "e@v.cn",
        "--password",
        PASSWORD,
    ),
    "reset-password": ("--username", "root", "--password", PASSWORD),
    "import-roles": ("--path", "/nonexistent"),
}
LOOKS = {"version", "list-views"}
STARTS_NOTHING = {"create-app", "create-addon", "collect-static", "babel-extract", "babel-compile"}


def test_each_command_of_fab_is_decided_on() -> None:
    assert set(fab.commands) == set(commands.INSTEAD) | LOOKS | STARTS_NOTHING


@pytest.mark.parametrize("name", sorted({*commands.INSTEAD, *LOOKS}))
def test_a_command_of_fab_works_or_names_ours(app: Flask, name: str) -> None:
    def started() -> Flask:
        commands.register(app)
        return app

    done = CliRunner().invoke(FlaskGroup(create_app=started), ["fab", name, *ASKED.get(name, ())])
    if name in LOOKS:
        assert done.exit_code == 0 and done.output
    else:
        assert (done.exit_code, done.exception.__class__, done.stdout) == (2, SystemExit, "")
        assert done.stderr == f"抖舟不使用 flask fab {name}：{commands.INSTEAD[name]}\n"


def test_what_is_named_instead_exists(app: Flask) -> None:
    for words in commands.INSTEAD.values():
        for command in re.findall(r"flask --app run ([a-z -]+)", words):
            assert run(app, *command.strip().removesuffix(" --role").split(), "--help").exit_code == 0
        for path in re.findall(r"(?:app|docs)/[a-z./]+", words):
            assert (ROOT / path).exists(), path
