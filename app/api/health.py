"""Alive, ready and metrics: for load balancers, `make demo` and Prometheus."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db, the_app
from app.models import AuthorizationState, MiniProgram, OperationRun, ThirdPartyApp

BROUGHT = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return Response("ok", mimetype="text/plain")


@bp.get("/readyz")
def readyz() -> tuple[Response, int]:
    """200 when the database and its migrations are ready, else 503. What is amiss, and the age of the oldest
    ticket (null where one never came), are told to those who may measure; no third-party app is named."""
    facts, status = _readiness()
    return jsonify(facts if _may_measure() else {"ready": facts["ready"]}), status


def _readiness() -> tuple[dict[str, Any], int]:
    try:
        head, current = revisions()
        with app_scope(the_app(), PLATFORM) as session, reading():
            tickets = session.scalars(select(ThirdPartyApp.ticket_at).where(ThirdPartyApp.active)).all()
            oldest = min(filter(None, tickets)) if tickets and all(tickets) else None
            age = int((utcnow() - oldest).total_seconds()) if oldest else None
    except SQLAlchemyError as fault:
        return {"ready": False, "database": type(fault).__name__}, 503
    ready = head == current
    facts = {"ready": ready, "database": "ok", "migrations": ready, "ticket_age_seconds": age}
    return facts, 200 if ready else 503


def revisions() -> tuple[str | None, str | None]:
    """The migration that the code wants, and the one that the database has."""
    config = AlembicConfig()
    config.set_main_option("script_location", current_app.extensions["migrate"].directory)
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return ScriptDirectory.from_config(config).get_current_head(), current


def _may_measure() -> bool:
    """By the token; without one from this machine, and not through a proxy on it, which brings everybody."""
    token = current_app.config["METRICS_TOKEN"]
    if token:
        return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
    if any(name in request.headers for name in BROUGHT):
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


@bp.get("/metrics")
def metrics() -> Response:
    """Gauges for Prometheus, read from the database, so that they are the same from every process.

    With METRICS_TOKEN set it must be shown as a bearer token; without one only this machine is answered.
    """
    if not _may_measure():
        abort(404)
    registry = CollectorRegistry()
    runs = Gauge("douzhou_operation_runs_open", "Operation runs that are not over", ["state"], registry=registry)
    apps = Gauge("douzhou_mini_programs", "Mini-programs by authorisation state", ["state"], registry=registry)
    tickets = Gauge("douzhou_ticket_age_seconds", "Age of the component ticket", ["appid"], registry=registry)
    with app_scope(the_app(), PLATFORM) as session, reading():
        open_runs = select(OperationRun.state, func.count()).where(OperationRun.finished_at.is_(None))
        for state, count in session.execute(open_runs.group_by(OperationRun.state)):
            runs.labels(str(state)).set(count)
        for standing, count in session.execute(select(MiniProgram.state, func.count()).group_by(MiniProgram.state)):
            apps.labels(str(AuthorizationState(standing))).set(count)
        for appid, at in session.execute(
            select(ThirdPartyApp.appid, ThirdPartyApp.ticket_at).order_by(ThirdPartyApp.id)
        ):
            tickets.labels(appid).set((utcnow() - at).total_seconds() if at else -1)
    return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")


def register(app: Flask) -> None:
    app.register_blueprint(bp)
