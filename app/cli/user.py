"""Users."""

from __future__ import annotations

import sys

import click
from flask.cli import AppGroup
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import accounts
from app.cli import setup as setting_up
from app.cli.base import opened, stop
from app.extensions import the_app
from app.models import User

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
    with opened() as session:
        made, password = setting_up.add_user(session, name, role, merchant_key=merchant, password=given)
    click.echo(made if given else f"{made} {password}")


def _user(session: Session, name: str) -> User:
    found = session.scalars(select(User).where(User.username == name.strip().lower())).first()
    return found or stop(f"没有用户 {name}")


@user.command("reset-second-factor")
@click.argument("name")
def user_reset_second_factor(name: str) -> None:
    """Turn a user's two-step login off and end their sessions: the way back when nobody can log in to do it."""
    with opened() as session:
        found = _user(session, name)
        accounts.reset_second_factor(session, found)
        session.commit()
        click.echo(found.username)


@user.command("reset-password")
@click.argument("name")
def user_reset_password(name: str) -> None:
    """Print a link, good once within 30 minutes, by which a user sets another password; the old one ends at once."""
    with opened() as session:
        token = accounts.reset_password(session, _user(session, name))
        session.commit()
    click.echo(accounts.link_url(the_app(), token))
