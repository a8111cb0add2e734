"""Outputs are told by the form that carries their content, and what is left out is counted truly."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from IPython.display import HTML, JSON, SVG, Latex, Markdown

from codex_nb.host.shell import OutputCollector
from codex_nb.tools.builtin import run_result
from codex_nb.tools.describe import RunResult, other_forms_digest, output_text, shows_everything
from codex_nb.tools.nbmodel import truncate

FRAME = pd.DataFrame({"region": ["north", "south"], "amount": [1.5, 2.5]})
PAGE = (
    "<style>td{color:red}</style><h1>Report</h1><table><tr><th>a</th><th>b</th></tr>"
    "<tr><td>1</td><td>2&amp;3</td></tr></table><script>x()</script>"
)


def shown(value: Any) -> dict[str, Any]:
    """Return the output of a value as a notebook shows it."""
    data, metadata = DisplayFormatter().format(value)
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def bundle(**data: Any) -> dict[str, Any]:
    named = {kind.replace("_", "/", 1): value for kind, value in data.items()}
    return {"output_type": "display_data", "data": named, "metadata": {}}


# as plotly and altair make them
FIGURE = {
    "data": [{"type": "scatter", "mode": "lines", "name": "north", "x": [1, 2], "y": [3, 4]}],
    "layout": {"title": {"text": "Sales"}, "template": {"layout": {"xaxis": {"title": {"standoff": 15}}}}},
}
CHART = {
    "title": "Sales",
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "region", "type": "nominal"},
        "y": {"field": "amount", "type": "quantitative"},
    },
    "data": {"name": "d"},
    "datasets": {"d": [{"region": "north", "amount": 1.5}]},
}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (shown(Markdown("**42** rows")), "**42** rows"),
        (shown(Latex("$x^2$")), "$x^2$"),
        (shown(JSON({"rows": 42})), '{"rows": 42}'),
        (shown(HTML("<b>42</b> rows")), "42 rows"),
        (shown(HTML(PAGE)), "Report\na | b\n1 | 2&3"),
        (shown(FRAME), str(FRAME)),
        (shown(7), "7"),
        (bundle(text_plain=["<Thing object at 0x7f0012>"], text_html=["<p>a</p>", "<p>b</p>"]), "a\nb"),
        (bundle(text_plain="<Thing object at 0x7f0012>"), "<Thing object at 0x7f0012>"),
        (bundle(text_html=["<p>never closed <script>var hidden = 1;"]), "never closed"),
        (
            {"output_type": "display_data", "data": {"application/vnd.plotly.v1+json": FIGURE}},
            "[a chart]\ntitle 'Sales'\nscatter lines trace 'north', 2 points",
        ),
        (
            {"output_type": "display_data", "data": {"application/vnd.vegalite.v6+json": CHART}},
            "[a chart]\ntitle 'Sales', bar marks, x region nominal, y amount quantitative",
        ),
        (
            {"output_type": "display_data", "data": {"application/x-own": "01"}},
            "[an output of the type application/x-own, not sent]",
        ),
        (shown(SVG("<svg xmlns='http://www.w3.org/2000/svg'/>")), "<IPython.core.display.SVG object>"),
    ],
)  # fmt: skip
def test_an_output_is_told_by_what_carries_its_content(output: dict[str, Any], told: str) -> None:
    assert output_text(output, 1_000) == told


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("<p title='a > b'>x</p><p title=\"<b>\">y</p>", "x\ny"),
        ("<!-- a -- b -->x<!-- never closed", "x"),
        ("<!DOCTYPE html><head><title>t</title></head><header>h</header>", "h"),
        ("<script>if (a<b) {'</p>'}</script>x<STYLE>y</STYLE>", "x"),
        ("<svg/>between<svg><text>t</text></svg> after", "between after"),
        ("<tr><td>a</td><td>b&#10;c\nd</td></tr><tr><td>e", "a | b c d\ne"),
        ("x<br>y<br/>z</p", "x\ny\nz"),
        ("&lt;b&gt; &amp;amp;", "<b> &amp;"),
    ],
)
def test_a_page_is_told_by_what_a_reader_would_see_of_it(page: str, told: str) -> None:
    assert output_text(bundle(text_html=page), 1_000) == told


def test_a_style_is_told_by_its_table() -> None:
    text = output_text(shown(FRAME.style.format(precision=1)), 1_000)
    assert "region | amount" in text
    assert "0 | north | 1.5" in text


def test_the_model_is_told_that_a_chart_was_shown() -> None:
    chart = {
        "output_type": "display_data",
        "data": {"application/vnd.plotly.v1+json": FIGURE},
    }
    assert "title 'Sales'" in run_result(RunResult((chart,))).text
    own = {"output_type": "display_data", "data": {"application/x-own": "01"}}
    assert run_result(RunResult((own,))).text == "[an output of the type application/x-own, not sent]"


def left_out(text: str) -> int:
    return sum(int(each.replace(",", "")) for each in re.findall(r"\[([\d,]+) characters left out\]", text))


def kept(text: str) -> int:
    return len(re.sub(r"\n… \[[\d,]+ characters left out\] …\n", "", text))


@given(st.integers(1, 900_000), st.lists(st.integers(120, 250_000), max_size=4))
def test_what_is_left_out_is_counted_however_often_it_is_shortened(size: int, limits: list[int]) -> None:
    text = "x" * size
    for limit in limits:
        text = truncate(text, limit)
    assert kept(text) + left_out(text) == size


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=12), st.integers(200, 20_000))
def test_a_stream_of_any_length_is_counted_to_its_end(pieces: list[int], limit: int) -> None:
    collector = OutputCollector()
    for piece in pieces:
        collector.add("stream", {"name": "stdout", "text": "x" * piece})
    (output,) = collector.outputs()
    text = output_text(output, limit)
    assert kept(text) + left_out(text) == sum(pieces)


def styled(html: str, address: str = "0x7f1234567890") -> dict[str, Any]:
    data = {"text/plain": f"<pandas.io.formats.style.Styler at {address}>", "text/html": html}
    return {"output_type": "execute_result", "data": data, "metadata": {}}


SAME_TABLE = [
    styled('<table id="T_0a1b2">1</table>'),
    styled('<table id="T_9f8e7">1</table>', "0x7f0987654321"),
]


def test_what_an_output_shows_besides_text_counts_but_for_what_its_renderer_makes_up() -> None:
    first, second = SAME_TABLE
    assert other_forms_digest([first]) == other_forms_digest([second])
    assert other_forms_digest([first]) != other_forms_digest([styled('<table id="T_0a1b2">2</table>')])


def test_a_form_that_the_open_document_leaves_out_is_not_all_that_is_shown() -> None:
    assert [shows_everything(each, "a table") for each in (SAME_TABLE[0], styled(""))] == [True, False]
