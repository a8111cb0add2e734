"""The quiet line below an answer: model, tokens, and who paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.ui.account_facts import plan_name
from codex_nb.words import account as account_words
from codex_nb.words import transcript as words

if TYPE_CHECKING:
    from codex_nb.session.answer import Answer, Usage
    from codex_nb.session.events import TurnStarted


def footer(started: TurnStarted | None, answer: Answer) -> tuple[str, ...]:
    """Return the entries of the line, those that are known."""
    entries = [_model(started, answer), _tokens(answer.usage), *_payer(started, answer)]
    return tuple(entry for entry in entries if entry)


def _model(started: TurnStarted | None, answer: Answer) -> str:
    model = answer.model or (started.model if started else "")
    effort = started.effort if started else None
    return words.model_and_effort(model, effort) if model and effort else model


def _tokens(usage: Usage) -> str:
    """Return the tokens of a turn, nothing when none were counted."""
    if not usage.total_tokens and not usage.input_tokens and not usage.output_tokens:
        return ""
    sent, received = f"{usage.input_tokens:,}", f"{usage.output_tokens:,}"
    if usage.cached_input_tokens:
        told = words.tokens_in_cached(sent, f"{usage.cached_input_tokens:,}")
    else:
        told = words.tokens_in(sent)
    if usage.reasoning_output_tokens:
        return f"{told}, {words.tokens_out_reasoning(received, f'{usage.reasoning_output_tokens:,}')}"
    return f"{told}, {words.tokens_out(received)}"


def _payer(started: TurnStarted | None, answer: Answer) -> list[str]:
    if started is None:
        return [_payment(answer.billing, "")] if answer.billing else []
    if started.account and started.billing == "api_key":
        return [started.account, account_words.BILLED_BY_USE]  # its label says already that it is a key
    return [started.account, _payment(started.billing, started.plan)]


def _payment(billing: str, plan: str) -> str:
    if billing == "chatgpt":
        return plan_name(plan)
    return account_words.BY_USE if billing == "api_key" else billing
