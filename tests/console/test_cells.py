"""How single values are shown: times in words, and that nothing is let through unescaped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from markupsafe import Markup

from app.console import cells

NOW = datetime(2025, 3, 1, 10, 5, 9, tzinfo=UTC)  # 18:05:09 in Shanghai


@pytest.fixture(autouse=True)
def _page(app: Flask):  # type: ignore[no-untyped-def]
    with time_machine.travel(NOW, tick=False), app.test_request_context("/"):
        yield


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (timedelta(seconds=20), "刚刚"),
        (timedelta(minutes=12), "12 分钟前"),
        (timedelta(hours=3, minutes=50), "3 小时前"),
        (timedelta(days=6, hours=23), "6 天前"),
        (timedelta(days=8), "02-21 18:05"),
        (timedelta(days=200), "2024-08-13"),
        (timedelta(seconds=-20), "马上"),
        (timedelta(minutes=-30), "30 分钟后"),
        (timedelta(hours=-5), "5 小时后"),
        (timedelta(days=-3), "3 天后"),
        (timedelta(days=-30), "03-31 18:05"),
        (timedelta(days=-400), "2026-04-05"),
    ],
)
def test_a_time_is_said_from_now_within_a_week_and_by_its_day_otherwise(past: timedelta, words: str) -> None:
    assert f">{words}</time>" in cells.clock(NOW - past)


def test_a_time_shows_itself_exactly_on_hover_and_to_machines() -> None:
    shown = cells.clock(NOW - timedelta(hours=3))
    assert 'datetime="2025-03-01T15:05:09+08:00"' in shown


def test_a_naive_time_is_taken_for_utc() -> None:
    assert cells.clock(NOW.replace(tzinfo=None)) == cells.clock(NOW)


@pytest.mark.parametrize("show", [cells.copyable, cells.shown, lambda text: cells.label(text, "good")])
def test_text_of_others_is_escaped(show) -> None:  # type: ignore[no-untyped-def]
    shown = show('<b>"x')
    assert "<b>" not in shown
    assert "&lt;b&gt;&#34;x" in shown


def test_html_of_ours_does_not_lend_its_trust_to_text_that_reads_the_same() -> None:
    assert "<i>x</i>" in cells.label(Markup("<i>x</i>"), "good")
    assert "<i>x</i>" not in cells.label("<i>x</i>", "good")


def test_a_rows_address_is_what_flask_would_build(app: Flask) -> None:
    from flask import url_for

    assert cells.row_address("MerchantView.show", 120) == url_for("MerchantView.show", pk=120)
    with app.test_request_context("/", base_url="http://localhost/console/"):
        assert cells.row_address("MerchantView.show", 120) == url_for("MerchantView.show", pk=120)
        assert cells.row_address("MerchantView.show", 120).startswith("/console/")
