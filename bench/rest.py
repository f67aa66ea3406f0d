"""REST lists beside our own HTML lists of the same rows and beside a floor: CPU milliseconds, statements, kilobytes.

    python -m bench.rest [--rows 20000] [--requests 60] [--database URL]

Each asks for the first 25 rows of one state. The three are called in this process through WSGI, in turn, after a
warm-up; CPU is this process's own (SQLite's is in it, a server's is not), the median of the requests. The floor is what
such an answer costs at the least in Flask: no log-in, the same columns and the count by Core, `jsonify`. The database
is a new SQLite file, or an empty one at the address. Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, jsonify
from sqlalchemy import Engine, Select, func, select

from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.models import Industry, Merchant, MiniProgram, Version
from bench.console_site import Site, counted, measure, wide
from bench.dashboard import prepared
from tests.conftest import PASSWORD

USER = "bench.admin"  # the platform's user in `prepared`
PAGE = 25
# What: REST resource, HTML list, the state that is asked for, the columns of the floor's answer.
LISTS: dict[str, tuple[str, str, str, Any]] = {
    "小程序": ("mini_programs", "miniprogramview", "authorized", MiniProgram),
    "商户": ("merchants", "merchantview", "active", Merchant),
    "版本": ("versions", "versionview", "released", Version),
}
NAMED: dict[Any, tuple[Any, ...]] = {
    MiniProgram: (Merchant.key, Merchant.name),
    Merchant: (Industry.name,),
    Version: (MiniProgram.appid,),
}
OWN: dict[Any, str] = {
    MiniProgram: "id appid name state permissions uploaded_version audit_version audit_state live_version synced_at",
    Merchant: "id key name state plan expires_on",
    Version: "id number state description template_id reason uploaded_at submitted_at decided_at released_at",
}


def signed_in_by_rest(app: Flask, site: Site) -> Site:
    """The same user with a token."""
    body = {"username": USER, "password": PASSWORD, "provider": "db"}
    answer = app.test_client().post("/api/v1/security/login", json=body).get_json()
    return Site(app, "", site.counted, answer["access_token"])


def floor(engine: Engine) -> Site:
    """A Flask application that answers as little as a list can."""
    bare = Flask("floor")

    def answer(name: str) -> Response:
        _resource, _view, state, model = LISTS[name]
        own = [getattr(model, column).label(column) for column in OWN[model].split()]
        named = [column.label(f"named_{column.key}") for column in NAMED[model]]
        rows: Select[Any] = select(*own, *named).outerjoin(NAMED[model][0].class_, _joined(model))
        with engine.connect() as connection:
            count = connection.scalar(select(func.count()).select_from(model).where(model.state == state))
            found = connection.execute(rows.where(model.state == state).order_by(model.id).limit(PAGE))
            return jsonify(count=count, result=[dict(row._mapping) for row in found])

    bare.add_url_rule("/<name>", view_func=answer)
    return Site(bare, "", lambda: counted(engine))


def _joined(model: Any) -> Any:
    (relation,) = [found for found in model.__mapper__.relationships if found.mapper.class_ is NAMED[model][0].class_]
    return relation.primaryjoin


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--database", default="")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="douzhou-rest-") as folder:
        app, html, _owner = prepared(options.database or f"sqlite:///{Path(folder) / 'bench.db'}", options.rows)
        with app_scope(app, PLATFORM):
            sites = [signed_in_by_rest(app, html), html, floor(db.engine)]
        print(f"{'':10} {'REST':>10} {'HTML':>10} {'floor':>10} {'REST/HTML':>10} {'REST/floor':>11}  statements; KB")
        for name, (resource, view, state, _model) in LISTS.items():
            asked = quote(f"(filters:!((col:state,opr:eq,value:{state})),page:0,page_size:{PAGE})")
            paths = [f"/api/v1/{resource}/?q={asked}", f"/{view}/list/?state={state}&psize={PAGE}", f"/{name}"]
            rest, page, least = measure(sites, paths, options.requests)
            print(
                f"{wide(name, 10)} {rest.cpu:7.1f} ms {page.cpu:7.1f} ms {least.cpu:7.1f} ms "
                f"{rest.cpu / page.cpu:10.2f} {rest.cpu / least.cpu:11.2f}  "
                f"{rest.statements} : {page.statements} : {least.statements}; "
                f"{rest.kilobytes:.1f} : {page.kilobytes:.1f} : {least.kilobytes:.1f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
