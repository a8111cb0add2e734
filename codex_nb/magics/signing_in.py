"""A turn that finds no usable login asks the person to sign in, and then goes on by itself."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from codex_nb.errors import AuthError, RefreshFailed, SignInRequired
from codex_nb.session.events import Notice, StepStarted, TurnFinished, TurnStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from codex_nb.session.events import TurnEvent


def needs_sign_in(error: object) -> bool:
    """Whether signing in is what helps."""
    return isinstance(error, SignInRequired) or (isinstance(error, RefreshFailed) and error.permanent)


async def turn_after_sign_in(
    start: Callable[[], AsyncGenerator[TurnEvent, None]], sign_in: Callable[[AuthError], Awaitable[bool]]
) -> AsyncGenerator[TurnEvent, None]:
    """Yield a turn's events; when the login fails before anything was answered, sign in once and start over.

    ``sign_in`` returns whether there is a login now; when there is none, the turn ends as it did.
    """
    answered = False
    async with aclosing(start()) as events:
        async for event in events:
            failure = event.failure if isinstance(event, TurnFinished) else None
            if isinstance(failure, AuthError) and needs_sign_in(failure) and not answered:
                if await sign_in(failure):
                    break
                yield event
                return
            answered = answered or not isinstance(event, TurnStarted | StepStarted | Notice | TurnFinished)
            yield event
        else:
            return
    async with aclosing(start()) as events:
        async for event in events:
            yield event
