"""Asking who sits there to prove it before something that cannot be taken back (step-up)."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, request, url_for

from app.access.browser import PROOF_MINUTES, recently_proved


def prove_first(back: str = "") -> Any:
    """A way to the page that asks for the password again, unless it was asked lately; None then.

    A form that was opened in time may be sent for as long again. `back`: where to go on, else here.
    """
    sending = request.method != "GET"
    if recently_proved(PROOF_MINUTES * 2 if sending else PROOF_MINUTES):
        return None
    if sending:
        flash("请先确认是您本人，然后再提交一次", "warning")
    here = request.full_path if request.query_string else request.path
    return redirect(url_for("ProfileView.confirm", next=back or here))
