"""What readers make of a saved turn; JupyterLab and Notebook 7 themselves are tested in the browser tier."""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter

from codex_nb.session.events import (
    ApprovalResolved,
    Notice,
    ReasoningDone,
    TextDelta,
    TextDone,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
)
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.ui.transcript import Transcript
from tests.rendering.strict import text_of, violations
from tests.ui.fakes import STARTED, FakeNotebook, finished

ANSWER = "The mean is $\\bar x = 3$.\n\n| a | b |\n|---|--:|\n| x | 1 |\n\n```python\nprint(1)\n```\n\n- one\n- two"
CALL = [
    ToolCallReady(1, "run_python", json.dumps({"code": "df.head()"})),
    ApprovalResolved(1, Decision(DecisionKind.APPROVE)),
    ToolStarted(1),
    ToolFinished(1, "shown below", ok=True),
]
ENDS: dict[str, list[Any]] = {
    "completed": [ReasoningDone("r1", "**Think**"), *CALL, TextDone("m1", ANSWER), finished(ANSWER)],
    "stopped": [TextDelta("m1", ANSWER), finished(status="cancelled")],
    "failed": [TextDelta("m1", ANSWER), finished(status="failed", error="The backend is down.")],
    "incomplete": [TextDone("m1", ANSWER), finished(status="incomplete")],
    "with a notice": [
        Notice("context", "12 of 80 cells were sent."),
        TextDone("m1", ANSWER),
        finished(ANSWER),
    ],
}
every_end = pytest.mark.parametrize("end", ENDS)


def outputs_of(end: str, *, seconds: float = 1.0) -> list[dict[str, str]]:
    """Play a turn at a given pace, return what its outputs end as."""
    return played(*ENDS[end], seconds=seconds)


def played(*events: Any, seconds: float = 1.0) -> list[dict[str, str]]:
    """Play the events of a turn, return what its outputs end as."""
    notebook = FakeNotebook()
    now = [0.0]
    transcript = Transcript(
        on_action=lambda _: None,
        area=notebook,
        open_comm=notebook.open_comm,
        clock=lambda: now[0],
    )
    transcript.show()
    notebook.comms[0].ready()
    for event in [STARTED, *events]:
        now[0] += seconds
        transcript.apply(event)
        transcript.flush()
    transcript.close()
    return notebook.standing()


def notebook_of(outputs: list[dict[str, str]]) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("%%codex\nWhat is the mean?", id="cell")
    cell.outputs = [nbformat.v4.new_output("display_data", data) for data in outputs]
    return nbformat.v4.new_notebook(cells=[cell])


@every_end
def test_a_second_run_saves_the_same_bytes_however_long_it_took(end: str) -> None:
    first, second = outputs_of(end), outputs_of(end, seconds=7.3)
    assert nbformat.writes(notebook_of(first)) == nbformat.writes(notebook_of(second))


@every_end
def test_no_output_names_a_widget(end: str) -> None:
    kinds = {kind for output in outputs_of(end) for kind in output}
    assert kinds == {"text/html", "text/markdown", "text/plain"}


@every_end
@pytest.mark.parametrize("template", ["lab", "classic", "basic"])
def test_nbconvert_shows_the_answer_as_html(end: str, template: str) -> None:
    html, _ = HTMLExporter(template_name=template).from_notebook_node(notebook_of(outputs_of(end)))
    assert "$\\bar x = 3$" in html
    assert '<span class="nb">print</span>' in html
    assert "widget" not in re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL).lower()


@every_end
def test_nbconvert_shows_the_answer_as_markdown(end: str) -> None:
    markdown, _ = MarkdownExporter().from_notebook_node(notebook_of(outputs_of(end)))
    assert "The mean is" in markdown
    assert "print" in markdown


@every_end
def test_a_reader_that_strips_classes_and_styles_loses_no_text(end: str) -> None:
    for output in outputs_of(end):
        bare = re.sub(r' (class|style)="[^"]*"', "", output["text/html"])
        assert violations(bare) == []
        assert text_of(bare) == text_of(output["text/html"])


@pytest.mark.parametrize(
    ("name", "events", "is_open"),
    [
        ("run_python", CALL[1:], True),
        ("run_python", CALL[1:3], True),
        ("run_python", [], False),
        (
            "run_python",
            [ApprovalResolved(1, Decision(DecisionKind.REJECT)), ToolFinished(1, "No.", ok=False)],
            False,
        ),
        ("read_file", CALL[1:], False),
    ],
    ids=["has run", "was stopped while it ran", "never ran", "was rejected", "is another tool's"],
)
def test_only_code_that_ran_stands_unfolded(name: str, events: list[Any], is_open: bool) -> None:
    ready = ToolCallReady(1, name, json.dumps({"code": "df.head()"}))
    html = "".join(output["text/html"] for output in played(ready, *events, finished(status="cancelled")))
    assert html.count("<details") == 1
    assert ('<details class="codex-call" open=""><summary>' in html) is is_open


@every_end
def test_the_three_texts_of_an_output_hold_the_same_words(end: str) -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"[A-Za-z]{3,}", text)) - {"python", "text", "bar"}

    for output in outputs_of(end):
        assert words(text_of(output["text/html"])) == words(output["text/markdown"])
        assert words(output["text/plain"]) == words(output["text/markdown"])


def test_each_end_says_how_it_ended() -> None:
    last = {end: outputs_of(end)[-1]["text/plain"] for end in ENDS}
    assert "Stopped. The partial answer is kept." in last["stopped"]
    assert "The backend is down." in last["failed"]
    assert "The answer is incomplete." in last["incomplete"]
    assert last["with a notice"].startswith("[12 of 80 cells were sent.]")
