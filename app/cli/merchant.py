"""Merchants, third-party apps and authorisation links."""

from __future__ import annotations

import json
import sys

import click
from flask.cli import AppGroup
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.cli import setup as setting_up
from app.cli.base import ACTOR, as_json, opened, show, stop
from app.data import names, texts
from app.data.engine import insert_missing
from app.extensions import the_app
from app.models import Industry, Merchant, ThirdPartyApp
from app.operations.inbound import process
from app.operations.onboarding import links

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
        stop("标准输入应为一个 JSON 对象：secret、token、aes_key")
    with opened() as session:
        setting_up.add_third_party_app(session, appid, name, secrets)
    click.echo(appid)


merchant = AppGroup("merchant", help="Merchants.")


@merchant.command("add")
@click.argument("name")
@click.option("--industry", required=True)
@as_json
def merchant_add(name: str, industry: str, json_: bool) -> None:
    """Make a merchant (and its industry, when new); prints its key."""
    with opened() as session:
        name, industry = texts.checked(name, "商户名称"), texts.checked(industry, "行业名称")
        if not name or not industry:
            stop("请填写商户名称和行业名称")
        trade = session.scalar(select(Industry).where(Industry.name == industry))  # its name may not be folded yet
        if trade is None:
            trade, _ = insert_missing(session, Industry, {"name_folded": names.folded(industry)}, name=industry)
        row = Merchant(name=name, industry=trade)
        session.add(row)
        try:
            session.commit()
        except IntegrityError:
            stop(f"商户「{name}」已存在")
        click.echo(json.dumps({"key": row.key, "id": row.id, "name": name}, ensure_ascii=False) if json_ else row.key)


@merchant.command("list")
@as_json
def merchant_list(json_: bool) -> None:
    """All merchants."""
    with opened() as session:
        rows = session.scalars(select(Merchant).order_by(Merchant.id).execution_options(yield_per=500))
        show([{"key": row.key, "name": row.name, "state": str(row.state)} for row in rows], json_=json_)


@merchant.command("fold")
def merchant_fold() -> None:
    """Fold the names of merchants and industries that were stored before names were folded, and list those that read as
    another's.

    May be interrupted and repeated while the system runs; nothing is merged.
    """
    with opened() as session:
        keys = dict(session.execute(select(Merchant.id, Merchant.key)).all())
        for model, column, noun in names.twins():
            click.echo(f"{model.__tablename__} {sum(names.fold(session, model, column))}")
            for found in names.alike(session, model, column):
                rows = [f"{keys[number] if model is Merchant else number} {name}" for number, name in found.rows]
                click.echo(f"{noun}名称相同：{'、'.join(rows)}")


@click.command("authorize-link")
@click.option("--merchant", "key", required=True, help="The merchant's key.")
@click.option("--thirdparty", "appid", default="", help="The third-party app; the only one when left out.")
@as_json
def authorize_link(key: str, appid: str, json_: bool) -> None:
    """Print a link by which the merchant authorises its mini-program."""
    process.take_tickets(the_app())
    with opened() as session:
        found = session.scalars(select(Merchant).where(Merchant.key == key)).first()
        apps = session.scalars(select(ThirdPartyApp).where(ThirdPartyApp.active)).all()
        chosen = [item for item in apps if item.appid == appid or not appid]
        if found is None or len(chosen) != 1:
            stop("没有这个商户" if found is None else "请用 --thirdparty 指明第三方应用")
        link = links.make_link(session, found, chosen[0], actor=ACTOR)
        click.echo(json.dumps({"url": link.url, "id": link.id}) if json_ else link.url)
