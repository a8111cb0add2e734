"""Who asks and who pays: credentials that are never lost, never leaked, and never surprise anyone."""

from __future__ import annotations

from codex_nb.auth.browser_login import BrowserLogin
from codex_nb.auth.credentials import Account, AuthMode, Credentials
from codex_nb.auth.doctor import Finding, examine
from codex_nb.auth.flows import AccessTokenLogin, ApiKeyLogin, DeviceCodeLogin, LoginFlow
from codex_nb.auth.manager import CredentialManager
from codex_nb.auth.opening import FlowKind, open_credentials, open_flow, open_store
from codex_nb.auth.routing import Route, WorkspaceRouting
from codex_nb.auth.sources import ExternalTokens, TokenRequest
from codex_nb.auth.status import AccountStatus, account_status, describe
from codex_nb.auth.steps import EnterCode, EnterSecret, LoginStep, OpenUrl, SignedIn, Waiting

__all__ = [
    "AccessTokenLogin",
    "Account",
    "AccountStatus",
    "ApiKeyLogin",
    "AuthMode",
    "BrowserLogin",
    "CredentialManager",
    "Credentials",
    "DeviceCodeLogin",
    "EnterCode",
    "EnterSecret",
    "ExternalTokens",
    "Finding",
    "FlowKind",
    "LoginFlow",
    "LoginStep",
    "OpenUrl",
    "Route",
    "SignedIn",
    "TokenRequest",
    "Waiting",
    "WorkspaceRouting",
    "account_status",
    "describe",
    "examine",
    "open_credentials",
    "open_flow",
    "open_store",
]
