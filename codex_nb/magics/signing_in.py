"""A turn that finds no usable login asks the person to sign in, and then goes on by itself."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from codex_nb.errors import AuthError, LoginFailed
from codex_nb.session.events import Notice, StepStarted, TurnFinished, TurnStarted
from codex_nb.session.signing_in import needs_sign_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from codex_nb.session.events import TurnEvent
    from codex_nb.session.signing_in import SignIn


async def turn_after_sign_in(
    start: Callable[[], AsyncGenerator[TurnEvent, None]], sign_in: SignIn
) -> AsyncGenerator[TurnEvent, None]:
    """Yield a turn's events; when the login fails before anything was answered, sign in once and start over.

    When there is no login after ``sign_in``, the turn ends as it did.
    """
    answered, told = False, set[Notice]()
    async with aclosing(start()) as events:
        async for event in events:
            if isinstance(event, TurnFinished) and needs_sign_in(event.failure) and not answered:
                ended = await _end_without(sign_in, event)
                if ended is None:
                    break
                yield ended
                return
            if isinstance(event, Notice):
                told.add(event)
            answered = answered or not isinstance(event, TurnStarted | StepStarted | Notice | TurnFinished)
            yield event
        else:
            return
    async with aclosing(start()) as events:
        async for event in events:
            if not (isinstance(event, Notice) and event in told):
                yield event


async def _end_without(sign_in: SignIn, event: TurnFinished) -> TurnFinished | None:
    """Return how a turn ends that found no login; None when there is one now."""
    try:
        if isinstance(event.failure, AuthError) and await sign_in(event.failure):
            return None
    except LoginFailed as failed:
        return replace(event, error=failed.line, failure=failed.bare())
    return event
