"""Templates lose the blanks of their source and nothing else."""

from __future__ import annotations

from jinja2 import Environment

from app.console.frame.compact import Compact


def shown(source: str, **values: object) -> str:
    return Environment(extensions=[Compact], autoescape=True).from_string(source).render(**values)


def test_blanks_between_lines_become_one_line_break() -> None:
    assert shown("<ul>\n    <li>a</li>   \n\n\n  <li>b  c</li>\n</ul>") == "<ul>\n<li>a</li>\n<li>b  c</li>\n</ul>"


def test_values_and_exact_texts_keep_their_blanks() -> None:
    source = "<div>\n  <pre>\n  {{ text }}\n    x</pre>\n  <textarea>\n  y</textarea>\n   {{ text }}</div>"
    assert shown(source, text="a\n  b") == (
        "<div>\n<pre>\n  a\n  b\n    x</pre>\n<textarea>\n  y</textarea>\na\n  b</div>"
    )


def test_an_error_still_names_the_line_of_the_source() -> None:
    import traceback

    try:
        shown("<p>\n\n\n   x\n\n{{ nothing.there }}</p>")
    except Exception as error:
        assert "line 6, in top-level template code" in "".join(traceback.format_exception(error))
    else:
        raise AssertionError("an undefined value was shown")
