from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from codex_nb.rendering.sanitize import CONTINUED_LIST
from codex_nb.session.events import (
    AnswerRejected,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    ReasoningDelta,
    RetryScheduled,
    TextDelta,
    TextDone,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
)
from codex_nb.tools.approval import NOBODY_THERE, ApprovalRequest, Decision, DecisionKind
from codex_nb.ui.layout import Action, Decide
from codex_nb.ui.text_view import PlainTextView, RichView
from tests.rendering.hostile import PAYLOADS, payload
from tests.ui.fakes import STARTED, finished

REQUEST = ApprovalRequest(1, "run_python", "print(1)", "python", "Print a number.")
READY = ToolCallReady(1, "run_python", json.dumps({"code": "print(1)"}))
FOOTER = "gpt-5.2-codex, medium effort · 1,200 tokens in (1,000 cached), 40 out (8 reasoning) · ChatGPT Plus"
Ask = Callable[[str], str] | None


class PlainHarness:
    """A plain view over a string."""

    def __init__(self, ask: Ask = None) -> None:
        self.commands: list[Action] = []
        self.stream = io.StringIO()
        self.view: Any = PlainTextView(self.stream, on_action=self.commands.append, ask=ask)

    def play(self, *events: Any) -> str:
        for event in events:
            self.view.apply(event)
            self.view.flush()
        self.view.close()
        return self.stream.getvalue()


class RichHarness(PlainHarness):
    """A rich view; with ``terminal`` it may draw in place."""

    def __init__(self, ask: Ask = None, *, terminal: bool = False) -> None:
        super().__init__(ask)
        console = Console(file=self.stream, force_terminal=terminal, width=100, color_system=None)
        self.view = RichView(console, on_action=self.commands.append, ask=ask)


both = pytest.mark.parametrize("harness_of", [PlainHarness, RichHarness])


@pytest.mark.parametrize("split", [1, 3, 100])
def test_plain_text_streams_as_it_comes(split: int) -> None:
    text = "# Title\n\nwith **stars**, as they are"
    deltas = [TextDelta("m1", text[at : at + split]) for at in range(0, len(text), split)]
    shown = PlainHarness().play(STARTED, *deltas, TextDone("m1", text), finished(text))
    assert shown == f"{text}\n[{FOOTER}]\n"


def test_a_whole_turn_as_plain_text() -> None:
    shown = PlainHarness(lambda _: "y").play(
        STARTED,
        Notice("context", "12 of 80 cells were sent."),
        ReasoningDelta("r1", 0, "not shown"),
        TextDone("m1", "First I look."),
        READY,
        ApprovalRequested(REQUEST),
        ApprovalResolved(1, Decision(DecisionKind.APPROVE)),
        ToolStarted(1),
        ToolFinished(1, "1", ok=True),
        RetryScheduled(1, 4, 0.2, "The connection broke."),
        TextDone("m2", "It is one."),
        finished("It is one."),
    )
    assert shown == (
        "12 of 80 cells were sent.\n"
        "First I look.\n"
        "[Python]\n"
        "    print(1)\n"
        "[Python (done)]\n"
        "The connection broke. Trying again (attempt 1 of 4).\n"
        "It is one.\n"
        f"[{FOOTER}]\n"
    )


def test_rich_text_is_set_and_printed_once() -> None:
    text = "# Title\n\n- one\n- **two**\n\nThe end."
    shown = RichHarness().play(*[TextDelta("m1", character) for character in text], TextDone("m1", text))
    lines = [line.strip(" ┏━┓┃┗┛") for line in shown.splitlines()]
    assert [line for line in lines if line] == ["Title", "• one", "• two", "The end."]
    assert CONTINUED_LIST not in shown


def test_a_terminal_is_drawn_by_block_and_not_by_answer() -> None:
    def written(blocks: int) -> int:
        harness = RichHarness(terminal=True)
        paragraph = "Some words that fill a line or so of text. " * 3
        return len(harness.play(*[TextDelta("m1", f"{paragraph}\n\n") for _ in range(blocks)]))

    assert written(100) < 11 * written(10)


def test_a_long_code_block_is_drawn_as_code_from_its_end() -> None:
    harness = RichHarness(terminal=True)
    lines = "".join(f"line_{number} = **{number}**\n" for number in range(400))
    harness.view.apply(TextDelta("m1", f"```python\n{lines}"))
    harness.view.flush()
    drawn = harness.stream.getvalue()
    assert "line_399 = **399**" in drawn
    assert "line_1 = " not in drawn
    harness.view.close()


@both
def test_the_prompt_contains_the_code_and_the_answer_is_the_decision(harness_of: type[PlainHarness]) -> None:
    seen: list[str] = []

    def ask(prompt: str) -> str:
        seen.append(prompt)
        return "a"

    harness = harness_of(ask)
    harness.play(READY, ApprovalRequested(REQUEST))
    (prompt,) = seen
    assert prompt.index("print(1)") < prompt.index("Print a number.") < prompt.index("Run it?")
    assert harness.commands == [Decide(1, Decision(DecisionKind.APPROVE_TOOL))]


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("y", Decision(DecisionKind.APPROVE)),
        (" YES ", Decision(DecisionKind.APPROVE)),
        ("always", Decision(DecisionKind.APPROVE_TOOL)),
        ("c", Decision(DecisionKind.APPROVE_CODE)),
        ("n", Decision(DecisionKind.REJECT)),
        ("no, use polars instead", Decision(DecisionKind.REJECT, message="use polars instead")),
        ("s", Decision(DecisionKind.STOP)),
    ],
)
def test_a_typed_word_decides(typed: str, decision: Decision) -> None:
    harness = PlainHarness(lambda _: typed)
    harness.play(READY, ApprovalRequested(REQUEST))
    assert harness.commands == [Decide(1, decision)]


def test_what_is_no_answer_is_asked_again_and_never_approves() -> None:
    answers = iter(["", "yep", "y please", "1", "stop"])
    harness = PlainHarness(lambda _: next(answers))
    harness.play(READY, ApprovalRequested(REQUEST))
    assert harness.commands == [Decide(1, Decision(DecisionKind.STOP))]


def refuses_to_answer(_: str) -> str:
    raise EOFError


@both
@pytest.mark.parametrize("ask", [None, refuses_to_answer])
def test_where_nobody_can_answer_the_call_is_refused_with_a_hint(
    harness_of: type[PlainHarness], ask: Ask
) -> None:
    harness = harness_of(ask)
    refused = Decision(DecisionKind.REJECT, message=NOBODY_THERE, by="nobody")
    shown = harness.play(READY, ApprovalRequested(REQUEST), ApprovalResolved(1, refused))
    assert harness.commands == [Decide(1, refused)]
    assert " ".join(shown.split()).endswith(NOBODY_THERE)


@both
def test_a_tool_that_shows_nothing_itself_has_its_output_written(harness_of: type[PlainHarness]) -> None:
    ready = ToolCallReady(1, "read_file", '{"path": "a.csv"}')
    shown = harness_of().play(ready, ToolFinished(1, "x,y\n1,2", ok=True))
    assert "Read a file (done)" in shown
    assert "x,y" in shown


@both
def test_an_early_end_says_why(harness_of: type[PlainHarness]) -> None:
    shown = harness_of().play(
        TextDelta("m1", "half"), finished(status="failed", error="The backend is down.")
    )
    assert shown.index("half") < shown.index("The backend is down.")


@both
def test_a_message_that_goes_on_below_a_notice_is_written_once(harness_of: type[PlainHarness]) -> None:
    notice = Notice("limits", "A limit is near.")
    shown = harness_of().play(
        TextDelta("m1", "one "), notice, TextDelta("m1", "two "), TextDone("m1", "one two three")
    )
    assert [line.strip() for line in shown.splitlines()] == ["one", "A limit is near.", "two three"]


@both
def test_a_final_text_that_differs_is_written_whole(harness_of: type[PlainHarness]) -> None:
    shown = harness_of().play(TextDelta("m1", "wrong"), TextDone("m1", "right words"))
    assert shown.rstrip().endswith("right words")


@both
def test_a_line_in_the_middle_of_a_message_writes_nothing_of_it_twice(harness_of: type[PlainHarness]) -> None:
    events = [TextDelta("m1", "One "), Notice("hint", "A limit is near."), TextDone("m1", "One two.")]
    assert harness_of().play(*events).split() == ["One", "A", "limit", "is", "near.", "two."]


@both
def test_an_answer_that_is_asked_for_again_says_why(harness_of: type[PlainHarness]) -> None:
    events = [TextDone("m1", "seven"), AnswerRejected("it is not a number"), TextDone("m2", "7")]
    shown = harness_of().play(*events)
    assert shown.index("seven") < shown.index("it is not a number") < shown.rindex("7")


@both
@pytest.mark.parametrize("name", PAYLOADS)
def test_no_hostile_text_steers_the_terminal(harness_of: type[PlainHarness], name: str) -> None:
    text = payload(name)
    request = ApprovalRequest(1, text, text, text, text)
    shown = harness_of(lambda _: "n").play(
        Notice("hint", text),
        AnswerRejected(text),
        TextDone("m1", text),
        ToolCallReady(1, text, json.dumps({"code": text})),
        ApprovalRequested(request),
        ToolFinished(1, text, ok=False),
        finished(status="failed", error=text),
    )
    assert [character for character in shown if character != "\n" and ord(character) < 32] == []
    assert not any(0x7F <= ord(character) <= 0x9F for character in shown)


@pytest.mark.parametrize(("prompts_stay", "times"), [(True, 1), (False, 2)])
def test_a_console_shows_the_code_of_a_question_once_and_a_document_keeps_it(
    prompts_stay: bool, times: int
) -> None:
    stream, asked = io.StringIO(), []
    view = PlainTextView(
        stream,
        on_action=lambda _: None,
        ask=lambda prompt: asked.append(prompt) or "y",
        prompts_stay=prompts_stay,
    )
    for event in (READY, ApprovalRequested(REQUEST), ApprovalResolved(1, Decision(DecisionKind.APPROVE))):
        view.apply(event)
    assert "".join([*asked, stream.getvalue()]).count("print(1)") == times
    assert "print(1)" in asked[0]
