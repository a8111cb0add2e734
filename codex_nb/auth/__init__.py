"""Who asks and who pays: credentials that are never lost, never leaked, and never surprise anyone."""

from __future__ import annotations

from codex_nb.auth.credentials import Account, AuthMode, Credentials
from codex_nb.auth.manager import CredentialManager
from codex_nb.auth.opening import open_credentials, open_store
from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.auth.steps import EnterCode, EnterSecret, LoginStep, OpenUrl, SignedIn, Waiting

__all__ = [
    "Account",
    "AuthMode",
    "CredentialManager",
    "Credentials",
    "EnterCode",
    "EnterSecret",
    "ExternalTokens",
    "LoginStep",
    "OpenUrl",
    "SignedIn",
    "TokenRequest",
    "Waiting",
    "open_credentials",
    "open_store",
]
