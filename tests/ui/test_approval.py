"""What an approval shows tells exactly which code would run, on every view, whatever it is made of."""

from __future__ import annotations

import html
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from codex_nb.session.events import (
    ApprovalRequested,
    ApprovalResolved,
    ToolCallReady,
    ToolFinished,
    TurnEvent,
)
from codex_nb.session.mcp import Form, form_tool
from codex_nb.tools.approval import ApprovalRequest, Decision, DecisionKind
from codex_nb.ui.html_view import HtmlView
from codex_nb.ui.layout import Action, Decide, ask_by_typing
from codex_nb.ui.text_view import PlainTextView, RichView
from codex_nb.ui.transcript import Transcript
from tests.ui.fakes import STARTED, FakeNotebook, FakePage, finished

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
HIDING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
ANY = st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"])
SELECTORS = st.sampled_from([*map(chr, range(0xFE00, 0xFE10)), "\U000e0100", "\U000e01ef"])
OFTEN_HIDING = st.one_of(
    st.characters(categories=["Cc", "Cf", "Cs", "Co"]),
    st.characters(categories=["Cn", "Z"]),
    st.sampled_from(BLANK),
    SELECTORS,
    ANY,
)
CODE = (
    st.text(OFTEN_HIDING, max_size=12)
    .filter(lambda text: "\n" not in text and "\t" not in text)
    .map(lambda text: f"s = '{text}'; print(s)")
)
MARK = re.compile("⟦U\\+([0-9A-F]{4,6})⟧")


def hides(character: str) -> bool:
    """Say by Unicode's own properties whether a character is one that nobody sees."""
    if character in "\n\t ":
        return False
    name = unicodedata.name(character, "")
    return unicodedata.category(character) in HIDING or character in BLANK or "VARIATION SELECTOR" in name


def text_of(page: str) -> str:
    """Return what a reader of a piece of HTML reads."""
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def events(request: ApprovalRequest, code: str) -> list[Any]:
    """Return a call that waits for approval."""
    return [
        STARTED,
        ToolCallReady(request.call_number, "run_python", json.dumps({"code": code})),
        ApprovalRequested(request),
    ]


def in_the_widget(request: ApprovalRequest, code: str) -> str:
    notebook = FakeNotebook()
    transcript = Transcript(on_action=lambda _: None, area=notebook, open_comm=notebook.open_comm)
    transcript.show()
    notebook.comms[0].ready()
    for event in events(request, code):
        transcript.apply(event)
        transcript.flush()
    json.dumps(notebook.comms[0].sent, ensure_ascii=False).encode()  # what cannot be sent would end the cell
    page = FakePage().draw(notebook.comms[0].frames())
    (section,) = (each for each in page.sections.values() if "asks" in each)
    return text_of(section["open"]) + "\n" + section["asks"]["code"]


def in_html(request: ApprovalRequest, code: str) -> str:
    notebook = FakeNotebook()
    asked: list[str] = []
    view = HtmlView(on_action=lambda _: None, ask=lambda prompt: asked.append(prompt) or "n", area=notebook)
    for event in events(request, code):
        view.apply(event)
    view.close()
    (standing,) = notebook.standing()
    return "\n".join(
        [text_of(standing["text/html"]), standing["text/markdown"], standing["text/plain"], *asked]
    )


def in_text(request: ApprovalRequest, code: str) -> str:
    stream, asked = io.StringIO(), []
    view = PlainTextView(stream, on_action=lambda _: None, ask=lambda prompt: asked.append(prompt) or "n")
    for event in events(request, code):
        view.apply(event)
    stream.getvalue().encode()
    return stream.getvalue() + "\n".join(asked)


def in_a_terminal(request: ApprovalRequest, code: str) -> str:
    stream, asked = io.StringIO(), []
    console = Console(file=stream, width=1000, color_system=None)
    view = RichView(console, on_action=lambda _: None, ask=lambda prompt: asked.append(prompt) or "n")
    for event in events(request, code):
        view.apply(event)
    return stream.getvalue() + "\n".join(asked)


def in_the_prompt(request: ApprovalRequest, code: str) -> str:
    del code
    asked: list[str] = []
    ask_by_typing(request, lambda prompt: asked.append(prompt) or "n")
    return "\n".join(asked)


VIEWS: Mapping[str, Callable[[ApprovalRequest, str], str]] = {
    "widget": in_the_widget,
    "html": in_html,
    "text": in_text,
    "terminal": in_a_terminal,
    "prompt": in_the_prompt,
}
every_view = pytest.mark.parametrize("view", VIEWS)


@every_view
@pytest.mark.parametrize("language", ["python", "json"])
@given(code=CODE)
def test_every_character_of_the_code_can_be_told_from_the_prompt(view: str, language: str, code: str) -> None:
    shown = VIEWS[view](ApprovalRequest(1, "run_python", code, language, "Runs it.", editable=True), code)
    assert [character for character in shown if hides(character)] == []
    assert code in MARK.sub(lambda mark: chr(int(mark[1], 16)), shown)


@every_view
@pytest.mark.parametrize(
    ("code", "shown_as"),
    [
        ("evil()#\rsafe()", "evil()#⟦U+000D⟧safe()"),
        ("a = 1\r\nb = 2", "a = 1⟦U+000D⟧"),
        ("s = 'ok\u202e'", "s = 'ok⟦U+202E⟧'"),
        ("s = '⟦U+202E⟧'", "s = '⟦U+27E6⟧U+202E⟧'"),
        ("s = '\U000e0041'", "s = '⟦U+E0041⟧'"),
        ("s = '⚠\ufe0f'", "s = '⚠⟦U+FE0F⟧'"),
        ("s = 'a\u00a0b'", "s = 'a⟦U+00A0⟧b'"),
        ("p\u0430ssword = 1", "p⟦U+0430⟧ssword = 1"),
        ("s = '\ud800'", "s = '⟦U+D800⟧'"),
        ("s = 'привет 日本語 Δx'", "s = 'привет 日本語 Δx'"),
    ],
)
def test_what_hides_is_written_out_by_its_number(view: str, code: str, shown_as: str) -> None:
    assert shown_as in VIEWS[view](ApprovalRequest(1, "run_python", code, "python", "Runs it."), code)


def test_code_in_which_something_hides_is_not_edited_where_it_could_not_be_seen() -> None:
    notebook = FakeNotebook()
    transcript = Transcript(on_action=lambda _: None, area=notebook, open_comm=notebook.open_comm)
    transcript.show()
    notebook.comms[0].ready()
    for number, code in enumerate(("a = 1", "a = 1\u200b"), 1):
        transcript.apply(
            ApprovalRequested(
                ApprovalRequest(number, "run_python", code, "python", "Runs it.", editable=True)
            )
        )
    transcript.flush()
    asks = [each["asks"] for each in FakePage().draw(notebook.comms[0].frames()).sections.values()]
    assert [(ask["code"], ask["editable"]) for ask in asks] == [("a = 1", True), ("a = 1⟦U+200B⟧", False)]


EDIT = ApprovalRequest(
    1, "edit_cell", "a = 2\u202e\nb = 1", "python", "Changes a cell.", editable=True, before="a = 1\nb = 1"
)
UNIFIED = "@@ -1,2 +1,2 @@\n-a = 1\n+a = 2⟦U+202E⟧\n b = 1"


@pytest.mark.parametrize("view", ["html", "text", "terminal", "prompt"])
def test_an_edit_is_asked_as_a_diff_where_decisions_are_typed(view: str) -> None:
    shown = VIEWS[view](EDIT, EDIT.code)
    assert UNIFIED in "\n".join(line.removeprefix("    ").rstrip() for line in shown.splitlines())
    assert [character for character in shown if hides(character)] == []
    assert "for this session" not in shown


def test_an_edit_is_asked_as_lines_beside_each_other_in_the_widget() -> None:
    notebook = FakeNotebook()
    asked: list[Action] = []
    transcript = Transcript(on_action=asked.append, area=notebook, open_comm=notebook.open_comm)
    transcript.show()
    notebook.comms[0].ready()
    for event in events(EDIT, EDIT.code):
        transcript.apply(event)
    transcript.flush()
    (section,) = FakePage().draw(notebook.comms[0].frames()).sections.values()
    assert "codex-removed" in section["open"]
    assert "codex-added" in section["open"]
    assert (section["asks"]["is_change"], section["asks"]["editable"]) == (True, False)
    notebook.comms[0].says("action", name="decide", view="v1", call_number=1, decision="approve_answer")
    assert asked == [Decide(1, Decision(DecisionKind.APPROVE_ANSWER))]


@pytest.mark.parametrize(
    ("typed", "decided"),
    [
        (["y"], Decision(DecisionKind.APPROVE)),
        (["a"], Decision(DecisionKind.APPROVE_ANSWER)),
        (["c", "always"], Decision(DecisionKind.APPROVE_ANSWER)),
        (["n only line 1"], Decision(DecisionKind.REJECT, message="only line 1")),
        (["s"], Decision(DecisionKind.STOP)),
    ],
)
def test_an_edit_is_decided_by_typing(typed: list[str], decided: Decision) -> None:
    answers = iter(typed)
    assert ask_by_typing(EDIT, lambda _: next(answers)) == decided
    assert list(answers) == []


@pytest.mark.parametrize(
    "decided",
    [
        [ApprovalRequested(EDIT), ApprovalResolved(1, Decision(DecisionKind.APPROVE))],
        [ApprovalResolved(1, Decision(DecisionKind.APPROVE, by="policy"), EDIT)],
    ],
    ids=["asked", "unasked"],
)
def test_an_applied_edit_stays_in_the_answer_as_a_diff(decided: list[TurnEvent]) -> None:
    notebook = FakeNotebook()
    transcript = Transcript(on_action=lambda _: None, area=notebook, open_comm=notebook.open_comm)
    transcript.show()
    notebook.comms[0].ready()
    ready = ToolCallReady(1, "edit_cell", '{"cell_id": "x"}')
    for event in [STARTED, ready, *decided, ToolFinished(1, "Edited.", ok=True), finished("Done.")]:
        transcript.apply(event)
        transcript.flush()
    transcript.close()
    (shown,) = notebook.standing()
    assert UNIFIED in shown["text/plain"]
    assert f"```diff\n{UNIFIED}\n```" in shown["text/markdown"]
    assert UNIFIED in text_of(shown["text/html"])
    assert '<details class="codex-call" open="">' in shown["text/html"]


def test_an_edit_that_the_user_changed_stays_as_it_was_applied() -> None:
    stream = io.StringIO()
    view = PlainTextView(stream, on_action=lambda _: None)
    decision = Decision(DecisionKind.APPROVE, code="a = 3\nb = 1")
    for event in [
        *events(EDIT, EDIT.code),
        ApprovalResolved(1, decision),
        ToolFinished(1, "Edited.", ok=True),
    ]:
        view.apply(event)
    assert "    -a = 1\n    +a = 3\n     b = 1\n" in stream.getvalue()


ANSWERS: dict[str, Any] = {"colour": "Blue", "sizes": [], "count": 2, "gift": False, "for": "", "rate": 0.5}
CHOICES: dict[str, list[Any]] = {"colour": ["Blue", "Red", "No"], "sizes": ["S", "M", "L"]}
QUESTION = form_tool.request(1, Form(questions="Codex asks: Which?", answers=ANSWERS, choices=CHOICES))
PAGE = form_tool.request(1, Form(questions="The MCP server a asks: Sign. Open this page"))


def edited(**answers: Any) -> Decision:
    return Decision(DecisionKind.APPROVE, code=json.dumps({"answers": ANSWERS | answers}, indent=2))


@pytest.mark.parametrize(
    ("typed", "decided"),
    [
        (["y"], Decision(DecisionKind.APPROVE)),
        (["n ask me later"], Decision(DecisionKind.REJECT, message="ask me later")),
        (["s"], Decision(DecisionKind.STOP)),
        (["a", "c", "y"], Decision(DecisionKind.APPROVE)),
        (["e", *[""] * 6, "y"], Decision(DecisionKind.APPROVE)),
        (["e", "2", *[""] * 5, "y"], edited(colour="Red")),
        (["e", "red", *[""] * 5, "y"], edited(colour="Red")),
        (["edit", "no", *[""] * 5, "yes"], edited(colour="No")),
        (["e", "Green, dark", *[""] * 5, "y"], edited(colour="Green, dark")),
        (["e", "4", *[""] * 5, "y"], edited(colour="4")),
        (["e", "", "1, l,XL", *[""] * 4, "y"], edited(sizes=["S", "L", "XL"])),
        (
            ["e", "", "", "many", "-3", "maybe", "yes", "Ada", "half", "1", "y"],
            edited(count=-3, gift=True, rate=1.0, **{"for": "Ada"}),
        ),
        (["e", "2", *[""] * 5, "e", "3", *[""] * 5, "y"], edited(colour="No")),
        (["e", "2", *[""] * 5, "n"], Decision(DecisionKind.REJECT)),
    ],
)
def test_an_answer_to_a_question_is_given_once(typed: list[str], decided: Decision) -> None:
    answers = iter(typed)
    assert ask_by_typing(QUESTION, lambda _prompt: next(answers)) == decided
    assert next(answers, None) is None


def test_each_choice_of_a_question_is_shown_where_it_is_typed() -> None:
    prompts: list[str] = []
    typed = iter(["e", "2", *[""] * 5, "y"])
    ask_by_typing(QUESTION, lambda prompt: prompts.append(prompt) or next(typed))
    for name, prompt in zip(CHOICES, prompts[1:3], strict=True):
        shown = [name, *(f"{number} {choice}" for number, choice in enumerate(CHOICES[name], 1))]
        assert [words for words in shown if words not in prompt] == []
    assert '"Red"' in prompts[-1]


def test_a_page_has_no_answer_to_be_edited() -> None:
    prompts: list[str] = []
    typed = iter(["e", "y"])
    decision = ask_by_typing(PAGE, lambda prompt: prompts.append(prompt) or next(typed))
    assert (decision, "[e]dit" in "".join(prompts)) == (Decision(DecisionKind.APPROVE), False)
