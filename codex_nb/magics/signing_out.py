"""Signing out: who is asked about, and what is told of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codex_nb.errors import CredentialsUnreadable, SignInRequired

if TYPE_CHECKING:
    from codex_nb.auth import CredentialManager, Credentials


@dataclass(frozen=True)
class SignOut:
    """A stored login that can be signed out; ``login`` is None when the store's content cannot be read."""

    manager: CredentialManager
    login: Credentials | None

    @property
    def who(self) -> str:
        """Whom it signs out."""
        return self.login.label if self.login is not None else "the stored login, which cannot be read"

    @property
    def done(self) -> str:
        """What was done."""
        return (
            f"Signed out of {self.who}: the login was revoked and deleted. "
            "The Codex CLI and other programs that used it are signed out, too."
        )

    async def carry_out(self) -> None:
        """Sign out; raises AccountChanged when the stored login is another account's by now."""
        await self.manager.sign_out(self.login)


async def find_sign_out(manager: CredentialManager) -> SignOut | None:
    """Return what signing out would do now; None when no login is stored."""
    try:
        login = await manager.stored_login()
    except (CredentialsUnreadable, SignInRequired):
        return SignOut(manager, None)
    return None if login is None else SignOut(manager, login)
