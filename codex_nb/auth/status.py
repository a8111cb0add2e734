"""What may be shown about a login: the account's status, and the doctor's findings. Nothing here holds a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from codex_nb.errors import AccountChanged, CodexError, SignInRequired

if TYPE_CHECKING:
    from datetime import datetime

    from codex_nb.auth.credentials import AuthMode, Credentials
    from codex_nb.auth.manager import CredentialManager


@dataclass(frozen=True)
class AccountStatus:
    """Who is signed in and who pays.

    ``auth_mode`` and ``billing`` are None when nobody is; ``problem`` then says why in one line, and ``absence``
    whether there is no login, another account's, or one that cannot be used. ``expires_at`` is aware UTC.
    ``credentials_location`` names a file, the keyring, a variable or the host program.
    """

    signed_in: bool
    auth_mode: AuthMode | None = None
    label: str = ""
    email: str | None = None
    plan: str = "unknown"
    account_id: str | None = None
    billing: Literal["chatgpt", "api_key"] | None = None
    credentials_location: str = ""
    expires_at: datetime | None = None
    profile: str | None = None
    problem: str | None = None
    absence: Literal["nobody", "changed", "unusable"] = "nobody"


async def account_status(manager: CredentialManager, *, renew: bool = False) -> AccountStatus:
    """Describe the login.

    No network is used for what is stored, unless ``renew`` asks for credentials that are fit to send; a personal access
    token or an agent identity is asked for its account in either case.
    """
    try:
        credentials = await (manager.current() if renew else manager.inspect())
    except CodexError as error:
        location = str(manager.stored.store)
        return AccountStatus(
            signed_in=False,
            credentials_location=location,
            profile=manager.settings.profile,
            problem=error.line,
            absence=_absence(error),
        )
    return describe(credentials, profile=manager.settings.profile)


def _absence(error: CodexError) -> Literal["nobody", "changed", "unusable"]:
    if isinstance(error, AccountChanged):
        return "changed"
    return "nobody" if isinstance(error, SignInRequired) else "unusable"


def describe(credentials: Credentials, *, profile: str | None = None) -> AccountStatus:
    """Describe credentials."""
    return AccountStatus(
        signed_in=True,
        auth_mode=credentials.mode,
        label=credentials.label,
        email=credentials.account.email,
        plan=credentials.account.plan,
        account_id=credentials.account.account_id,
        billing=credentials.billing,
        credentials_location=credentials.source,
        expires_at=credentials.expires_at,
        profile=profile,
    )
