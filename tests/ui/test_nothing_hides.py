"""Whatever a turn, a login, an account or a model list holds: no view shows a character that hides or acts."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from codex_nb.auth.login import EnterUserCode, OpenUrl, SignedIn, Waiting
from codex_nb.errors import CodexError
from codex_nb.responses.events import Usage
from codex_nb.session.events import (
    Answer,
    ApprovalRequested,
    ApprovalResolved,
    Notice,
    ReasoningDelta,
    ReasoningDone,
    RetryScheduled,
    StepStarted,
    TextDelta,
    TextDone,
    ToolArgumentsDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolFinished,
    ToolStarted,
    TurnEvent,
    TurnFinished,
    TurnStarted,
)
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind
from codex_nb.ui.account import step_text
from codex_nb.ui.html_view import CapturedHtmlView, HtmlView
from codex_nb.ui.layout import ask_by_typing
from codex_nb.ui.text_view import PlainTextView, RichView
from codex_nb.ui.transcript import Transcript
from tests.rendering.test_visible import hidden
from tests.ui.fakes import FakeNotebook

HOSTILE = "".join(
    f"a{one}"
    for one in (
        "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]0;title\x07",
        "\x9b31m\x9d52;c;eA==\x9c\x00\x08\x7f\x85\x0b\x0c\x1c",
        "\u202e\u202d\u2066\u2067\u2069\u200e\u200f\u061c\u200b\u2060\ufeff\u00ad\u180e",
        "\u2028\u2029\ufff9\U000e0041\U000e007f\U0001d173\U0001bca0\u2064",
        "\ue000\U000f0000\u0378\ufe0e\U000e0100\u034f\u115f\u1160\u17b4\u2800\u3164\uffa0\ufffc",
    )
)
TEXTS = st.one_of(
    st.just(HOSTILE),
    st.text(st.one_of(st.characters(categories=["C", "Z", "M"]), st.characters()), max_size=20),
)


def turn(text: str, kind: DecisionKind) -> list[TurnEvent]:
    """Return a turn in which every text is this one."""
    request = ApprovalRequest(1, text, text, "python", text, editable=True)
    plan = {"plan": [{"step": text, "status": "in_progress"}], "explanation": text}
    decision = Decision(
        kind, code=text, message=text, by="user" if kind is DecisionKind.APPROVE else "nobody"
    )
    answer = Answer(text, status="failed", usage=Usage(1, 1, 1, 1, 3), model=text, thread=text, billing=text)
    return [
        TurnStarted(text, text, text, text, text, text, text),
        StepStarted(1),
        Notice("hint", text),
        RetryScheduled(1, 3, 0.0, text),
        ReasoningDelta("r", 0, text),
        ReasoningDone("r", text),
        TextDelta("m", text[:7]),
        TextDelta("m", text[7:]),
        TextDone("m", text),
        ToolCallStarted(1, text, text),
        ToolArgumentsDelta(1, text),
        ToolCallReady(1, text, text, text),
        ApprovalRequested(request),
        ApprovalResolved(1, decision),
        ToolStarted(1),
        ToolFinished(1, text, ok=False),
        ToolCallReady(2, "run_python", json.dumps({"code": text}), text),
        ApprovalResolved(2, Decision(DecisionKind.APPROVE, by="policy")),
        ToolStarted(2),
        ToolFinished(2, text, ok=True),
        ToolCallReady(3, "update_plan", json.dumps(plan), text),
        ApprovalResolved(3, Decision(DecisionKind.APPROVE, by="policy")),
        ToolFinished(3, "Plan updated", ok=True),
        TurnFinished(answer, text, CodexError(text, hint=text)),
    ]


def strings(value: Any) -> str:
    """Return every text inside a message, one below the other."""
    if isinstance(value, str):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return "\n".join(map(strings, inner))


def in_the_widget(events: list[TurnEvent]) -> str:
    notebook = FakeNotebook()
    transcript = Transcript(
        on_action=lambda _: None, area=notebook, open_comm=notebook.open_comm, offers_more=True
    )
    transcript.show()
    for each in events:
        notebook.comms[-1].ready()
        transcript.apply(each)
        transcript.flush()
    transcript.close()
    sent = [message for comm in notebook.comms for message in comm.sent]
    return strings([sent, [output.shown for output in notebook.outputs]])


def in_html(view: type[HtmlView | CapturedHtmlView], events: list[TurnEvent]) -> str:
    notebook, asked = FakeNotebook(), []
    shown = view(on_action=lambda _: None, ask=lambda prompt: asked.append(prompt) or "n", area=notebook)
    for each in events:
        shown.apply(each)
        shown.flush()
    shown.close()
    return strings([asked, [output.shown for output in notebook.outputs]])


def in_text(events: list[TurnEvent]) -> str:
    stream, asked = io.StringIO(), []
    view = PlainTextView(stream, on_action=lambda _: None, ask=lambda prompt: asked.append(prompt) or "n")
    for each in events:
        view.apply(each)
    return stream.getvalue() + "\n".join(asked)


def in_a_terminal(events: list[TurnEvent]) -> str:
    stream, asked = io.StringIO(), []
    console = Console(file=stream, width=200, color_system=None)
    view = RichView(console, on_action=lambda _: None, ask=lambda prompt: asked.append(prompt) or "n")
    for each in events:
        view.apply(each)
        view.flush()
    return stream.getvalue() + "\n".join(asked)


VIEWS: Mapping[str, Callable[[list[TurnEvent]], str]] = {
    "widget": in_the_widget,
    "html": lambda events: in_html(HtmlView, events),
    "html in an Output widget": lambda events: in_html(CapturedHtmlView, events),
    "text": in_text,
    "terminal": in_a_terminal,
}


def acting(shown: str) -> list[str]:
    """Return what hides or acts in a text, but for what ordinary writing needs where it belongs."""
    return sorted(each for each in hidden() & set(shown) if each not in "\u200c\u200d\ufe0f\ufe0e")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", [DecisionKind.APPROVE, DecisionKind.REJECT])
def test_no_text_of_a_turn_hides_or_acts_on_a_view(view: str, kind: DecisionKind) -> None:
    shown = VIEWS[view](turn(HOSTILE, kind))
    assert acting(shown) == []
    assert "⟦U+001B⟧]52" in shown  # it is written out, not left out
    assert "⟦U+202E⟧" in shown
    assert "⟦U+0000⟧" in shown


@pytest.mark.parametrize("view", VIEWS)
@given(text=TEXTS)
@settings(max_examples=30)
def test_no_view_shows_what_hides_whatever_a_turn_holds(view: str, text: str) -> None:
    shown = VIEWS[view](turn(text.replace("\r", "") or "x", DecisionKind.APPROVE))
    left = acting(shown)
    assert all("VARIATION" in unicodedata.name(each, "") for each in left), left


def test_no_text_of_a_sign_in_hides_or_acts() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    steps: list[Any] = [
        EnterUserCode(url="https://a.example", user_code=HOSTILE, expires_at=now),
        OpenUrl(url="https://a.example", can_paste=True, note=HOSTILE),
        Waiting(HOSTILE),
        SignedIn(account_label=HOSTILE, plan=HOSTILE, note=HOSTILE),
    ]
    shown = "".join(step_text(step, cell_waits=True) for step in steps)
    assert acting(shown) == []
    assert "⟦U+001B⟧]52" in shown


def test_a_typed_approval_hides_nothing_of_its_request() -> None:
    asked: list[str] = []
    ask_by_typing(
        ApprovalRequest(1, HOSTILE, HOSTILE, "json", HOSTILE), lambda prompt: asked.append(prompt) or "n"
    )
    assert acting(asked[0]) == []
