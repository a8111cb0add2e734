from __future__ import annotations

import pytest

from codex_nb.session.events import Answer, TurnStarted
from codex_nb.ui.text_view import footer


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
    assert footer(started, Answer("", model="gpt-5.2-codex")) == ("gpt-5.2-codex", told)
