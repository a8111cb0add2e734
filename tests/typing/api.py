"""Every public name, used as documented. ``make check`` checks this file with pyright in strict mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, assert_type

import codex_nb
from codex_nb import Answer, ApiError, CodexError, RateLimited, SignInRequired, ToolCall, TurnFinished, Usage


@dataclass
class City:
    """A value that an answer is asked for."""

    name: str
    inhabitants: int


@codex_nb.tool
def population(city: str) -> int:
    """Look a city's population up."""
    return len(city)


def ask_in_a_script() -> None:
    """Ask and read the answer's parts."""
    answer = codex_nb.ask(
        "Which is the largest city of France?", model="gpt-5.5", effort="low", tools=[population]
    )
    assert_type(answer, Answer)
    assert_type(answer.text, str)
    assert_type(answer.usage, Usage)
    assert_type(answer.usage.cached_input_tokens, int)
    assert_type(answer.tool_calls, tuple[ToolCall, ...])
    assert_type(answer.items, tuple[dict[str, Any], ...])
    assert_type(answer.request_id, str | None)


def look_at_the_account() -> list[tuple[str, float | None]]:
    """Read who pays and what is left."""
    status = codex_nb.status(profile="work")
    assert_type(status.email, str | None)
    assert_type(status.billing, Literal["chatgpt", "api_key"] | None)
    assert_type(status.credentials_location, str)
    assert_type(status.as_dict(), dict[str, Any])
    return [(window.label, window.used_percent) for window in status.windows]


def ask_for_values() -> list[Answer]:
    """Ask many times at once, for instances of a class."""
    answers = codex_nb.map(["Paris", "Lyon"], schema=City, concurrency=2, on_error="return")
    return list(answers)


async def ask_in_async_code() -> str:
    """Await an answer, and watch another one come."""
    answer = await codex_nb.aask("Name a river.", thread="rivers", context=False, approval="read-only")
    assert_type(answer, Answer)
    async for event in codex_nb.astream("And another one."):
        if isinstance(event, TurnFinished):
            assert_type(event.answer, Answer)
            assert_type(event.failure, CodexError | None)
    return answer.text


def go_on_after_errors() -> str:
    """Catch errors by what they ask of the user."""
    try:
        return codex_nb.ask("Hello").text
    except SignInRequired as error:
        return error.hint
    except RateLimited as error:
        return f"{error.retry_after} s"
    except ApiError as error:
        return f"{error.status} {error.code} {error.request_id}"
    except CodexError as error:
        return error.line
