"""Credentials: who sends a request and who pays for it; login, storage, refresh and signing."""

from __future__ import annotations

from codex_nb.auth.bearer import WorkspaceRouting
from codex_nb.auth.credentials import Account, AuthMode, Credentials
from codex_nb.auth.diagnostics import Finding, LoginStatus, describe, examine, login_status
from codex_nb.auth.login import (
    AccessTokenLogin,
    ApiKeyLogin,
    BrowserLogin,
    DeviceCodeLogin,
    EnterSecret,
    EnterUserCode,
    LoginFlow,
    LoginStep,
    OpenUrl,
    SignedIn,
    Waiting,
    open_login,
)
from codex_nb.auth.manager import CredentialManager, open_credentials
from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.auth.store import open_store

__all__ = [
    "AccessTokenLogin",
    "Account",
    "ApiKeyLogin",
    "AuthMode",
    "BrowserLogin",
    "CredentialManager",
    "Credentials",
    "DeviceCodeLogin",
    "EnterSecret",
    "EnterUserCode",
    "ExternalTokens",
    "Finding",
    "LoginFlow",
    "LoginStatus",
    "LoginStep",
    "OpenUrl",
    "SignedIn",
    "TokenRequest",
    "Waiting",
    "WorkspaceRouting",
    "describe",
    "examine",
    "login_status",
    "open_credentials",
    "open_login",
    "open_store",
]
