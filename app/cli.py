"""The flask commands: set-up, users, merchants, operations, processes, keys."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext
from flask_appbuilder import Model
from flask_migrate import upgrade
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import operations as core
from app import setup as setting_up
from app import textindex, texts
from app.database import insert_missing
from app.errors import DouzhouError, Refused
from app.extensions import db
from app.models import Door, InboundEvent, Industry, Merchant, OperationRun, RunState, ThirdPartyApp, User
from app.operations.perform import perform
from app.tenancy import PLATFORM, app_scope

EXIT = {RunState.SUCCEEDED: 0, RunState.FAILED: 3, RunState.UNKNOWN: 4, RunState.QUEUED: 5, RunState.RUNNING: 4}
ACTOR = core.Actor(None, "命令行")
as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _stop(message: str, code: int = 2) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


@contextmanager
def _session() -> Iterator[Session]:
    """A platform session; our own refusals end the command with one sentence."""
    with app_scope(_app(), PLATFORM, actor=ACTOR.info(Door.CLI)) as session:
        try:
            yield session
        except Refused as refused:
            _stop(refused.message)
        except DouzhouError as error:
            _stop(f"{error} {getattr(error, 'advice', '')}".strip(), 3)


def _print(rows: list[dict[str, Any]], *, json_: bool) -> None:
    if json_:
        click.echo(json.dumps(rows, ensure_ascii=False, default=str))
        return
    for row in rows:
        click.echo("  ".join(str(value) for value in row.values()))


@click.command("setup")
def setup_command() -> None:
    """Migrate, make roles, verify; safe to repeat and under two processes at once."""
    with setting_up.alone(_app()):
        upgrade()
    with _session() as session:
        for line in setting_up.finish(_app(), session):
            click.echo(line)


user = AppGroup("user", help="Users.")


@user.command("add")
@click.argument("name")
@click.option("--role", required=True, help="platform_admin, operator, auditor, owner, staff or clerk.")
@click.option("--merchant", default="", help="The merchant's key, for owner, staff and clerk.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; else one is made.")
def user_add(name: str, role: str, merchant: str, password_stdin: bool) -> None:
    """Make a user; prints the name to log in with, and once the password that was made.

    The people of a merchant get a name of its own space: NAME, @ and eight characters of its key.
    """
    given = sys.stdin.readline().rstrip("\n") if password_stdin else None
    with _session() as session:
        made, password = setting_up.add_user(session, name, role, merchant_key=merchant, password=given)
    click.echo(made if given else f"{made} {password}")


def _user(session: Session, name: str) -> User:
    found = session.scalars(select(User).where(User.username == name.strip().lower())).first()
    return found or _stop(f"没有用户 {name}")


@user.command("reset-second-factor")
@click.argument("name")
def user_reset_second_factor(name: str) -> None:
    """Turn a user's two-step login off and end their sessions: the way back when nobody can log in to do it."""
    from app import accounts  # noqa: PLC0415  (kept out of every other command's start)

    with _session() as session:
        found = _user(session, name)
        accounts.reset_second_factor(session, found)
        session.commit()
        click.echo(found.username)


@user.command("reset-password")
@click.argument("name")
def user_reset_password(name: str) -> None:
    """Print a link, good once within 30 minutes, by which a user sets another password; the old one ends at once."""
    from app import accounts  # noqa: PLC0415  (kept out of every other command's start)

    with _session() as session:
        token = accounts.reset_password(session, _user(session, name))
        session.commit()
    click.echo(accounts.link_url(_app(), token))


thirdparty = AppGroup("thirdparty", help="Third-party apps.")


@thirdparty.command("add")
@click.option("--appid", required=True)
@click.option("--name", default="")
@click.option(
    "--secret-stdin", is_flag=True, required=True, help='Standard input: {"secret":..,"token":..,"aes_key":..}'
)
def thirdparty_add(appid: str, name: str, secret_stdin: bool) -> None:
    """Add or renew a third-party app; its secrets come by standard input only."""
    try:
        secrets = json.loads(sys.stdin.read())
    except ValueError:
        _stop("标准输入应为一个 JSON 对象：secret、token、aes_key")
    with _session() as session:
        setting_up.add_third_party_app(session, appid, name, secrets)
    click.echo(appid)


merchant = AppGroup("merchant", help="Merchants.")


@merchant.command("add")
@click.argument("name")
@click.option("--industry", required=True)
@as_json
def merchant_add(name: str, industry: str, json_: bool) -> None:
    """Make a merchant (and its industry, when new); prints its key."""
    with _session() as session:
        name, industry = texts.checked(name.strip(), "商户名称"), texts.checked(industry.strip(), "行业名称")
        trade, _ = insert_missing(session, Industry, {"name": industry})
        row = Merchant(name=name, industry=trade)
        session.add(row)
        try:
            session.commit()
        except IntegrityError:
            _stop(f"商户「{name}」已存在")
        click.echo(json.dumps({"key": row.key, "id": row.id, "name": name}, ensure_ascii=False) if json_ else row.key)


@merchant.command("list")
@as_json
def merchant_list(json_: bool) -> None:
    """All merchants."""
    with _session() as session:
        rows = session.scalars(select(Merchant).order_by(Merchant.id).execution_options(yield_per=500))
        _print([{"key": row.key, "name": row.name, "state": str(row.state)} for row in rows], json_=json_)


@click.command("authorize-link")
@click.option("--merchant", "key", required=True, help="The merchant's key.")
@click.option("--thirdparty", "appid", default="", help="The third-party app; the only one when left out.")
@as_json
def authorize_link(key: str, appid: str, json_: bool) -> None:
    """Print a link by which the merchant authorises its mini-program."""
    from app.operations import inbound, onboarding  # noqa: PLC0415  (kept out of every other command's start)

    inbound.take_tickets(_app())
    with _session() as session:
        found = session.scalars(select(Merchant).where(Merchant.key == key)).first()
        apps = session.scalars(select(ThirdPartyApp).where(ThirdPartyApp.active)).all()
        chosen = [item for item in apps if item.appid == appid or not appid]
        if found is None or len(chosen) != 1:
            _stop("没有这个商户" if found is None else "请用 --thirdparty 指明第三方应用")
        link = onboarding.make_link(session, found, chosen[0], actor=ACTOR)
        click.echo(json.dumps({"url": link.url, "id": link.id}) if json_ else link.url)


@click.command("operate")
@click.argument("operation")
@click.argument("appid")
@click.option("-p", "params", multiple=True, help="key=value")
def operate(operation: str, appid: str, params: tuple[str, ...]) -> None:
    """Run one operation now and print the run as JSON."""
    from app.operations import inbound  # noqa: PLC0415  (kept out of every other command's start)

    inbound.take_tickets(_app())
    pairs = dict(item.partition("=")[::2] for item in params)
    app = _app()
    with _session() as session:
        op = core.find(operation)
        run = core.request(session, operation, core.subject(session, op, appid), actor=ACTOR, door=Door.CLI, **pairs)
        run_id = run.id
    state = _work_to_the_end(app, run_id)
    with _session() as session:
        click.echo(json.dumps(core.as_json(session.get_one(OperationRun, run_id)), ensure_ascii=False))
    sys.exit(EXIT[state])


def _work_to_the_end(app: Flask, run_id: int) -> RunState:
    """Perform here unless a worker was quicker; a read-back that is due soon is waited for."""
    deadline = time.monotonic() + 4 * float(app.config["DOUYIN_TIMEOUT"]) + 30
    while True:
        perform(app, run_id)
        state = core.wait_for(app, run_id, 0.2)
        if state in {RunState.SUCCEEDED, RunState.FAILED, RunState.QUEUED} or time.monotonic() > deadline:
            return state
        time.sleep(0.3)


@click.command("job")
@click.argument("name")
def job(name: str) -> None:
    """Run one scheduled job now."""
    from app.jobs import run_now  # noqa: PLC0415  (kept out of every other command's start)
    from app.operations import inbound  # noqa: PLC0415  (as above)

    inbound.take_tickets(_app())
    try:
        run = run_now(_app(), name, "命令行")
    except Refused as refused:
        _stop(refused.message)
    if run is None:
        _stop("任务没有运行：请重试", 3)
    click.echo(f"{run.outcome} {run.result}")
    sys.exit(0 if run.outcome == "ok" else 3)


@click.command("scheduler")
def scheduler() -> None:
    """The scheduler process: one in production; a second one is harmless."""
    from app.jobs import run_scheduler  # noqa: PLC0415

    run_scheduler(_app())


@click.command("worker")
def worker() -> None:
    """A worker process: performs queued operations."""
    from app.jobs.dispatch import Dispatcher  # noqa: PLC0415

    Dispatcher(_app()).run_forever()


events = AppGroup("events", help="Pushes from Douyin.")


@events.command("replay")
@click.argument("event_id", type=int)
def events_replay(event_id: int) -> None:
    """Process one stored push again."""
    from app.operations import inbound  # noqa: PLC0415

    with _session() as session:
        event = session.get(InboundEvent, event_id)
        if event is None:
            _stop(f"没有编号为 {event_id} 的事件")
        inbound.replay(session, event)
        session.commit()
    click.echo(f"处理 {inbound.process_due(_app(), 100)} 条")


keys = AppGroup("keys", help="The key ring of the secrets at rest.")


@keys.command("rotate")
def keys_rotate() -> None:
    """Seal every secret with the newest key of DATA_KEYS; may be interrupted and repeated while the system runs."""
    for name, count in setting_up.rotate_keys(_app()):
        click.echo(f"{name} {count}")


search = AppGroup("search", help="The text index that lists search by.")


@search.command("check")
def search_check() -> None:
    """Look up the oldest and the newest rows of each table; exit 3 when the index lacks one."""
    with _session() as session:
        lacking = {model.__tablename__: textindex.missing(session, model) for model in textindex.indexed(Model)}
    for name, number in lacking.items():
        click.echo(f"{name} {number}")
    if any(lacking.values()):
        _stop("文本索引不完整，请运行 flask search rebuild", 3)


@search.command("rebuild")
def search_rebuild() -> None:
    """Make the index and its triggers again and fill it; while nobody works, as tables are locked meanwhile."""
    for model in textindex.indexed(Model):
        with db.engine.begin() as connection:
            textindex.build(connection, model.__tablename__, model.__searched__)
        click.echo(model.__tablename__)


COMMANDS: tuple[click.Command, ...] = (
    setup_command, user, thirdparty, merchant, authorize_link, operate, job, scheduler, worker, events, keys, search,
)  # fmt: skip


def register(app: Flask) -> None:
    for command in COMMANDS:
        _in_context(command)
        app.cli.add_command(command)


def _in_context(command: click.Command) -> None:
    """Give a command, and those below it, the application's context."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _in_context(below)
    elif command.callback is not None and not getattr(command.callback, "in_context", False):
        command.callback = with_appcontext(command.callback)
        command.callback.in_context = True  # type: ignore[attr-defined]
