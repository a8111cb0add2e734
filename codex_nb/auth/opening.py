"""Putting the parts together: settings, environment and HTTP client in, credential manager out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, assert_never

from codex_nb.auth.browser_login import BrowserLogin
from codex_nb.auth.flows import AccessTokenLogin, ApiKeyLogin, DeviceCodeLogin, LoginFlow
from codex_nb.auth.identities import Identities
from codex_nb.auth.locks import LoginLock
from codex_nb.auth.manager import CredentialManager
from codex_nb.auth.oauth import OAuthClient
from codex_nb.auth.sources import find_source
from codex_nb.auth.store import CredentialStore, FileStore, MemoryStore
from codex_nb.auth.stored import StoredLogin
from codex_nb.settings import CredentialsStore

FlowKind = Literal["device", "browser", "api_key", "access_token"]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codex_nb.auth.sources import ExternalTokenProvider
    from codex_nb.auth.stored import Clock, Sleep
    from codex_nb.http import httpx
    from codex_nb.settings import Settings


def utc_now() -> datetime:
    """Tell the time, aware and in UTC."""
    return datetime.now(UTC)


def open_store(settings: Settings) -> CredentialStore:
    """Choose the store that config.toml's ``cli_auth_credentials_store`` names."""
    match settings.credentials_store:
        case CredentialsStore.FILE:
            return FileStore(settings.codex_home / "auth.json")
        case CredentialsStore.EPHEMERAL:
            return MemoryStore()
        case CredentialsStore.KEYRING | CredentialsStore.AUTO:
            from codex_nb.auth.keyring_store import AutoStore, KeyringStore  # (optional)

            keyring = KeyringStore(settings.codex_home)
            return keyring if settings.credentials_store is CredentialsStore.KEYRING else AutoStore(keyring)


def open_credentials(
    settings: Settings,
    environ: Mapping[str, str],
    http: httpx.AsyncClient,
    *,
    external: ExternalTokenProvider | None = None,
    store: CredentialStore | None = None,
    clock: Clock = utc_now,
    sleep: Sleep = asyncio.sleep,
) -> CredentialManager:
    """Make the credential manager of one profile; nothing is read yet."""
    store = store or open_store(settings)
    home: Path | None = None if isinstance(store, MemoryStore) else settings.codex_home
    oauth = OAuthClient(http, settings)
    return CredentialManager(
        settings,
        StoredLogin(store, LoginLock(home), oauth, clock=clock, sleep=sleep),
        Identities(http, settings, clock=clock),
        oauth,
        source=find_source(settings, environ, external, clock),
        clock=clock,
        sleep=sleep,
    )


def open_flow(kind: FlowKind, manager: CredentialManager) -> LoginFlow:
    """Begin a sign-in of one kind; the device code is the way for kernels on another machine than the browser."""
    match kind:
        case "device":
            return DeviceCodeLogin(manager)
        case "browser":
            return BrowserLogin(manager)
        case "api_key":
            return ApiKeyLogin(manager)
        case "access_token":
            return AccessTokenLogin(manager)
        case _:
            assert_never(kind)
