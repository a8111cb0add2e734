"""A login that ends in the middle of a turn: the person signs in, and what was refused is asked for once more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from codex_nb.errors import AuthError, RefreshFailed, SignInRequired

SignIn = Callable[[AuthError], Awaitable[bool]]
"""Asks the person to sign in because of an error; gives whether there is a login now."""


async def nobody_signs_in(_error: AuthError) -> bool:
    """Be the answer where no person can be asked."""
    return False


def needs_sign_in(error: object) -> bool:
    """Whether signing in is what helps."""
    return isinstance(error, SignInRequired) or (isinstance(error, RefreshFailed) and error.permanent)
