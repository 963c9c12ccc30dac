"""Values of data inside Markdown: they show as they are, and do nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.reports.markdown import Markdown, Table, bullets, code, escape, plain, visible

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "a | b | c",
    "`code` **bold** _it_ ~~gone~~ $x^2$",
    "# head",
    "http://evil.example www.evil.example me@evil.example mailto:me",
    "line\nbreak\r\n---\n",
    "\u202eright to left\u202c zero\u200bwidth \x1b[31m",
    "&lt;b&gt; &amp;",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_hostile_text_is_markup(text: str) -> None:
    shown = escape(text)
    assert "\n" not in shown
    assert not re.search("[<>\x00-\x1f\u202a-\u202e\u200b]", shown)
    assert "://" not in shown and "www." not in shown and "@" not in shown
    assert not re.search(r"(?<!\\)[`*_\[\]|~$!]|(?<!\\)(?<!&)#", shown.replace("\\\\", ""))
    assert not re.search("&(?!amp;|lt;|gt;|#[0-9]+;)", shown)


@given(st.text())
def test_an_escaped_text_reads_as_it_did(text: str) -> None:
    """What a Markdown reader makes of it again: marks unescaped, entities resolved."""
    import html

    shown = html.unescape(re.sub(r"\\([\\`*_\[\]#|~!$])", r"\1", escape(text)))
    assert shown == visible(text)


def test_markdown_is_left_alone_and_values_of_data_are_cut() -> None:
    assert escape(Markdown("**bold**")) == "**bold**"
    assert plain("x" * 100) == "x" * 59 + "…"
    assert bullets(["a*b", Markdown("*c*")]) == "- a\\*b\n- *c*"


@given(st.text(alphabet="`ab\n"))
def test_a_block_of_code_ends_where_it_should(text: str) -> None:
    first, *inside, last = code(text, "text").split("\n")
    assert last == first.removesuffix("text") and set(last) == {"`"}
    assert "\n".join(inside) == text
    assert not any(line.startswith(last) for line in inside)


def test_a_table_aligns_numbers_and_escapes_cells() -> None:
    table = Table("t", ["name", "number", "share"], [["a|b", 1234, 0.5], ["<c>", None, 12.0]], "note <b>")
    assert table.markdown().splitlines() == [
        "| name | number | share |",
        "|:---|---:|---:|",
        "| a\\|b | 1,234 | 0.50 |",
        "| &lt;c&gt; |  | 12.00 |",
        "",
        "note &lt;b&gt;",
    ]
