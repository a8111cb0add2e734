"""Putting credentials together: settings, environment and HTTP client in, credential manager out."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal, assert_never

from codex_nb.auth.agent_identity import CredentialResolver
from codex_nb.auth.login import AccessTokenLogin, ApiKeyLogin, BrowserLogin, DeviceCodeLogin, LoginFlow
from codex_nb.auth.manager import CredentialManager
from codex_nb.auth.oauth import OAuthClient
from codex_nb.auth.refresh import DirectRefresher, StoredCredentials, TokenRefresher
from codex_nb.auth.refresh_subprocess import DetachedRefresher, launch_process
from codex_nb.auth.sources import find_source
from codex_nb.auth.store import CredentialStore, FileStore, LoginLock, MemoryStore
from codex_nb.config.settings import CredentialsStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codex_nb.auth.credentials import Clock
    from codex_nb.auth.sources import ExternalTokenProvider
    from codex_nb.auth.store import Sleep
    from codex_nb.config.settings import Settings
    from codex_nb.http import httpx


LoginMethod = Literal["device", "browser", "api_key", "access_token"]


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
            from codex_nb.auth.keyring_store import (
                AutoStore,
                KeyringStore,  # (optional)
            )

            keyring = KeyringStore(settings.codex_home)
            return keyring if settings.credentials_store is CredentialsStore.KEYRING else AutoStore(keyring)


def open_credentials(
    settings: Settings,
    environ: Mapping[str, str],
    http: httpx.AsyncClient,
    *,
    external: ExternalTokenProvider | None = None,
    store: CredentialStore | None = None,
    outlive: bool = False,
    clock: Clock = utc_now,
    sleep: Sleep = asyncio.sleep,
) -> CredentialManager:
    """Make the credential manager of one profile; nothing is read yet.

    With ``outlive`` a refresh under way survives the death of this process, for which it starts one of its own.
    """
    store = store or open_store(settings)
    home: Path | None = None if isinstance(store, MemoryStore) else settings.codex_home
    oauth = OAuthClient(http, settings)
    refresher: TokenRefresher = DirectRefresher(store, oauth, clock=clock, sleep=sleep)
    if outlive and isinstance(store, FileStore) and os.name == "posix":
        refresher = DetachedRefresher(settings, store, refresher, partial(launch_process, environ=environ))
    return CredentialManager(
        settings,
        StoredCredentials(store, LoginLock(home), refresher, sleep=sleep),
        CredentialResolver(http, settings, clock=clock),
        oauth,
        source=find_source(settings, environ, external, clock),
        clock=clock,
        sleep=sleep,
    )


def open_login(kind: LoginMethod, manager: CredentialManager) -> LoginFlow:
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
