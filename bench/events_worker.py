"""The floor of `bench.events`: a plain Flask application that verifies, decrypts and inserts one row by Core.

Served as `bench.events_worker:app` by the product's own settings of gunicorn; FLOOR_URL names its database.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from flask import Flask, Response, request

from app.douyin.crypto import PushRefused, verify_and_decrypt
from tests.conftest import COMPONENT

LIMIT = 64 * 1024
METADATA = sa.MetaData()
EVENTS = sa.Table(
    "floor_event",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("appid", sa.String(64), nullable=False, index=True),
    sa.Column("received_at", sa.DateTime, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
)


def floor(url: str) -> sa.Engine:
    """The same durability as the product's: SQLite writes ahead and waits for the disk."""
    engine = sa.create_engine(url, **({} if url.startswith("sqlite") else {"pool_size": 20}))
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def settings(connection: object, _record: object) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]

    return engine


def make() -> Flask:
    flask, engine = Flask("floor"), floor(os.environ["FLOOR_URL"])
    flask.config["EMBEDDED"] = False  # the product's settings of gunicorn ask for it

    @flask.post("/douyin/callback/<appid>/message")
    def message(appid: str) -> Response:
        now = datetime.now(UTC)
        keys = {"token": COMPONENT["token"], "aes_key": COMPONENT["aes_key"], "appid": appid}
        try:
            event = verify_and_decrypt(request.get_data(), **keys, now=now, window=300, max_bytes=LIMIT)
        except PushRefused:
            return Response(status=403)
        row = {"event": "MESSAGE", "appid": event.get("AppId", ""), "payload": msgspec.json.encode(event).decode()}
        with engine.begin() as connection:
            connection.execute(sa.insert(EVENTS).values(**row, received_at=now.replace(tzinfo=None)))
        return Response("success", mimetype="text/plain")

    @flask.get("/healthz")
    def healthz() -> str:
        return "ok"

    return flask


app = make() if "FLOOR_URL" in os.environ else None
