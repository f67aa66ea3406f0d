"""The job that folds names which were stored without their twin, and tells how many rows read as another."""

from __future__ import annotations

from flask import Flask

from app.data import names
from app.data.tenancy import PLATFORM, app_scope
from app.i18n.sentence import chained


def fold(app: Flask) -> str:
    """Every table whose names have a twin. What reads the same stays apart."""
    with app_scope(app, PLATFORM) as session:
        said = list(names.fold_all(session))
    return chained(said) if said else "没有需要处理的名称"
