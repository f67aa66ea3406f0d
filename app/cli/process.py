"""Set-up, the processes, jobs, the key ring and the text index."""

from __future__ import annotations

import sys

import click
from flask.cli import AppGroup
from flask_appbuilder import Model
from flask_migrate import upgrade

from app.cli import setup as setting_up
from app.cli.base import opened, stop
from app.data import pool, text_index
from app.errors import Refused
from app.extensions import db, the_app
from app.jobs.dispatch import Dispatcher
from app.jobs.run import run_now, run_scheduler
from app.operations.inbound import process


@click.command("setup")
def setup_command() -> None:
    """Migrate, make roles, verify; safe to repeat and under two processes at once."""
    with setting_up.alone(the_app()):
        upgrade()
    with opened() as session:
        for line in setting_up.finish(the_app(), session):
            click.echo(line)


@click.command("job")
@click.argument("name")
def job(name: str) -> None:
    """Run one scheduled job now."""
    process.take_tickets(the_app())
    try:
        run = run_now(the_app(), name, "命令行")
    except Refused as refused:
        stop(refused.message)
    if run is None:
        stop("任务没有运行：请重试", 3)
    click.echo(f"{run.outcome} {run.result}")
    sys.exit(0 if run.outcome == "ok" else 3)


@click.command("scheduler")
def scheduler() -> None:
    """The scheduler process: one in production; a second one is harmless."""
    pool.limit(db.engine, pool.Room.SCHEDULER)
    run_scheduler(the_app())


@click.command("worker")
def worker() -> None:
    """A worker process: performs queued operations."""
    pool.limit(db.engine, pool.Room.WORKER)
    Dispatcher(the_app()).run_forever()


keys = AppGroup("keys", help="The key ring of the secrets at rest.")


@keys.command("rotate")
def keys_rotate() -> None:
    """Seal every secret with the newest key of DATA_KEYS; may be interrupted and repeated while the system runs."""
    for name, count in setting_up.rotate_keys(the_app()):
        click.echo(f"{name} {count}")


phones = AppGroup("phones", help="The phone numbers of merchants.")


@phones.command("rehash")
def phones_rehash() -> None:
    """Bring stored numbers into the one form that searches ask for; may be interrupted and repeated at any time."""
    changed, unread = 0, list[int]()
    for done in setting_up.reread_phones(the_app()):
        changed += done.changed
        unread += done.unread
    click.echo(f"merchant {changed}")
    for key in unread:
        click.echo(f"merchant {key}: 号码无法识别，保持原样", err=True)


search = AppGroup("search", help="The text index that lists search by.")


@search.command("check")
def search_check() -> None:
    """Look up the oldest and the newest rows of each table; exit 3 when the index lacks one."""
    with opened() as session:
        lacking = {model.__tablename__: text_index.missing(session, model) for model in text_index.indexed(Model)}
    for name, number in lacking.items():
        click.echo(f"{name} {number}")
    if any(lacking.values()):
        stop("文本索引不完整，请运行 flask search rebuild", 3)


@search.command("rebuild")
def search_rebuild() -> None:
    """Make the index and its triggers again and fill it; while nobody works, as tables are locked meanwhile."""
    for model in text_index.indexed(Model):
        with db.engine.begin() as connection:
            text_index.build(connection, model.__tablename__, model.__searched__)
        click.echo(model.__tablename__)
