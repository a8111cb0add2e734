from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce as fold

import pytest

from codex_nb.session.events import (
    Answer,
    ApprovalResolved,
    FooterStyle,
    ToolCallReady,
    TurnEvent,
    TurnStarted,
    TurnState,
    reduce,
)
from codex_nb.tools.approval import Decision, DecisionKind
from codex_nb.ui.text_view import footer

PLAIN = TurnStarted("turn", "main", "gpt-5.2-codex", None, "", "plus", "chatgpt")
ONCE, CODE, TOOL = DecisionKind.APPROVE, DecisionKind.APPROVE_CODE, DecisionKind.APPROVE_TOOL


def after(*events: TurnEvent) -> TurnState:
    return fold(reduce, events, TurnState())


@pytest.mark.parametrize(
    ("account", "plan", "billing", "told"),
    [
        ("ada@example.com", "plus", "chatgpt", "ChatGPT Plus"),
        ("API key sk-…cdef", "unknown", "api_key", "API key, billed per token"),
        ("", "unknown", "api_key", "API key, billed per token"),
    ],
)
def test_the_footer_says_how_it_was_billed_and_names_no_account(
    account: str, plan: str, billing: str, told: str
) -> None:
    started = TurnStarted("turn", "main", "gpt-5.2-codex", None, account, plan, billing)
    assert footer(after(started), Answer("", model="gpt-5.2-codex")) == ("gpt-5.2-codex", told)


@pytest.mark.parametrize(
    ("style", "told"),
    [
        ("plan", ["gpt-5.2-codex", "ChatGPT Plus", "too large to save"]),
        ("account", ["gpt-5.2-codex", "ada@example.com", "ChatGPT Plus", "too large to save"]),
        ("off", ["too large to save"]),
    ],
)
def test_the_user_chooses_what_the_footer_says_but_for_what_must_be_said(
    style: FooterStyle, told: list[str]
) -> None:
    started = replace(PLAIN, account="ada@example.com", not_saved="too large to save", footer=style)
    assert list(footer(after(started), Answer(""))) == told


@pytest.mark.parametrize(
    ("decisions", "told"),
    [
        ([], []),
        ([Decision(ONCE)], []),
        ([Decision(ONCE, by="policy")], []),
        ([Decision(DecisionKind.REJECT), Decision(DecisionKind.REJECT, by="nobody")], []),
        ([Decision(TOOL)], ["Python allowed for this session (%codex approvals)"]),
        ([Decision(TOOL, by="session")] * 3, ["Python allowed for this session (%codex approvals)"]),
        ([Decision(CODE)], ["Python (exactly this) allowed for this session (%codex approvals)"]),
        (
            [Decision(CODE, by="session")],
            ["Python (exactly this) allowed for this session (%codex approvals)"],
        ),
        ([Decision(ONCE, by="all")] * 2, ["tools ran without asking (approval all)"]),
    ],
)
def test_the_footer_says_what_runs_without_a_question(decisions: Sequence[Decision], told: list[str]) -> None:
    calls = [
        event
        for number, decision in enumerate(decisions, 1)
        for event in (
            ToolCallReady(number, "run_python", '{"code": "1"}'),
            ApprovalResolved(number, decision),
        )
    ]
    assert list(footer(after(PLAIN, *calls), Answer(""))) == ["gpt-5.2-codex", "ChatGPT Plus", *told]
