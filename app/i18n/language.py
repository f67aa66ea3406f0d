"""Which language the reader has chosen."""

from __future__ import annotations

LANGUAGES = ("zh", "en")


def language() -> str:
    """The reader's language: `zh`, or `en` when they chose it. `zh` outside requests."""
    from flask import g, has_request_context  # noqa: PLC0415  (Douyin's contract says sentences, and knows no Flask)

    try:
        known: str = g.language  # asked hundreds of times a page
    except (AttributeError, RuntimeError):
        if not has_request_context():
            return LANGUAGES[0]
        known = g.language = _chosen()
    return known


def _chosen() -> str:
    from flask import g, request, session  # noqa: PLC0415  (as above)

    known = g.get("principal")
    kept = (getattr(known.user, "preferences", None) or {}).get("locale") if known else None
    wanted = session.get("locale") or kept or request.cookies.get("locale")
    return wanted if wanted in LANGUAGES else LANGUAGES[0]
