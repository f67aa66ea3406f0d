"""Unbound extension objects; `create_app` binds them."""

from __future__ import annotations

from flask_appbuilder import Model
from flask_appbuilder.models.sqla.base import SQLA
from flask_migrate import Migrate
from flask_wtf.csrf import CSRFProtect

# FAB's metadata holds our tables too: without it Alembic would see neither.
db = SQLA(metadata=Model.metadata, session_options={"expire_on_commit": False})
migrate = Migrate(compare_type=True, render_as_batch=False)
csrf = CSRFProtect()
