"""Account status and diagnostics: what may be shown about a login. Nothing here holds a secret."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from codex_nb.auth.credentials import credentials_from_document
from codex_nb.auth.locks import LEASE_FILE, LOCK_FILES, read_lease, state_of_lock
from codex_nb.auth.manager import EXPIRY_MARGIN, restriction
from codex_nb.auth.sources import HUB_URL_VARIABLE
from codex_nb.auth.store import ENCRYPTED_STORE, file_mode, open_store
from codex_nb.config.settings import CredentialsStore, Settings
from codex_nb.errors import AccountChanged, CodexError, SignInRequired
from codex_nb.files import FILE_MODE, LockState, leftovers, try_lock
from codex_nb.http import httpx, is_secure
from codex_nb.labels import date_time, short_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from codex_nb.auth.credentials import AuthMode, Clock, Credentials
    from codex_nb.auth.manager import CredentialManager


@dataclass(frozen=True)
class LoginStatus:
    """Who is signed in and who pays.

    ``auth_mode`` and ``billing`` are None when not signed in; ``problem`` then gives the reason in one line, and
    ``absence`` its kind: no login, another account's, or one that cannot be used. ``expires_at`` is aware UTC.
    ``credentials_location`` names a file, the keyring, a variable or the host program. ``overrides`` are the settings
    that lead the login elsewhere than to OpenAI, each with its host.
    """

    signed_in: bool
    auth_mode: AuthMode | None = None
    label: str = field(default="", repr=False)
    email: str | None = field(default=None, repr=False)
    plan: str = "unknown"
    account_id: str | None = field(default=None, repr=False)
    billing: Literal["chatgpt", "api_key"] | None = None
    credentials_location: str = field(default="", repr=False)
    expires_at: datetime | None = None
    profile: str | None = None
    problem: str | None = None
    absence: Literal["signed_out", "changed", "unusable"] = "signed_out"
    overrides: tuple[str, ...] = field(default=(), compare=False)


async def login_status(manager: CredentialManager, *, refresh: bool = False) -> LoginStatus:
    """Describe the login.

    Uses no network for a stored login, unless ``refresh`` is set; the account of a personal access token or an agent
    identity is looked up in either case.
    """
    try:
        credentials = await (manager.current() if refresh else manager.inspect())
    except CodexError as error:
        location = str(manager.stored.store)
        return LoginStatus(
            signed_in=False,
            credentials_location=location,
            profile=manager.settings.profile,
            problem=error.line,
            absence=_absence(error),
            overrides=_named_overrides(manager.settings),
        )
    status = describe(credentials, profile=manager.settings.profile)
    return replace(status, overrides=_named_overrides(manager.settings))


def _named_overrides(settings: Settings) -> tuple[str, ...]:
    return tuple(f"{name} ({_host(url)})" for name, url in address_overrides(settings).items())


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host or url
    except (httpx.InvalidURL, UnicodeError):
        return url


def _absence(error: CodexError) -> Literal["signed_out", "changed", "unusable"]:
    if isinstance(error, AccountChanged):
        return "changed"
    return "signed_out" if isinstance(error, SignInRequired) else "unusable"


def describe(credentials: Credentials, *, profile: str | None = None) -> LoginStatus:
    """Return the status of these credentials."""
    return LoginStatus(
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


VARIABLES = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_AGENT_IDENTITY")


@dataclass(frozen=True)
class Finding:
    """One result of the diagnostics; ``advice`` is empty when there is no problem."""

    topic: str
    found: str
    advice: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice


def examine(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    clock: Clock,
    try_lock: Callable[[int], LockState] = try_lock,
) -> tuple[Finding, ...]:
    """Examine everything that decides which credentials are used: home, environment, store, addresses, locks.

    Of a login that the provider does not use only that is said which stops it, too.
    """
    has_hub = bool(environ.get(HUB_URL_VARIABLE, "").strip())
    login: tuple[Finding, ...] = ()
    if settings.provider.uses_login and not has_hub:
        login = (*_store(settings), *_file(settings), *_login(settings, clock))
    elif settings.restricts_every_login and not settings.provider.uses_login:
        login = tuple(each for each in _login(settings, clock) if each.advice)
    return (
        *_home(settings),
        *_environment(settings, environ),
        *login,
        *_addresses(settings),
        *_locks(settings.codex_home, clock, try_lock),
    )


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.codex_home
    if not home.exists():
        yield Finding(
            "CODEX_HOME", f"{home} does not exist yet", "Sign in with %codex login; this creates it."
        )
    elif not os.access(home, os.W_OK | os.X_OK):
        yield Finding(
            "CODEX_HOME",
            f"{home} cannot be written",
            (
                "Make the directory writable, or point CODEX_HOME elsewhere; sessions cannot be refreshed here."
            ),
        )
    else:
        yield Finding("CODEX_HOME", str(home))


def _environment(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in VARIABLES:
        if environ.get(name, "").strip():
            advice = "Unset it to use the stored login." if name == "CODEX_API_KEY" else ""
            yield Finding(name, "is set and comes before the stored login", advice)
    if hub := environ.get(HUB_URL_VARIABLE, "").strip():
        advice = "" if is_secure(hub) else "Use an https address: the server's token is not sent to this one."
        yield Finding(HUB_URL_VARIABLE, f"your JupyterHub keeps the login ({_host(hub)})", advice)
    if environ.get("OPENAI_API_KEY", "").strip():
        used = settings.use_openai_api_key_env
        yield Finding("OPENAI_API_KEY", "is set and used, as configured" if used else "is set and not used")


def _store(settings: Settings) -> Iterator[Finding]:
    kind = settings.credentials_store
    yield Finding("store", f"cli_auth_credentials_store = {kind.value}")
    if kind in (CredentialsStore.KEYRING, CredentialsStore.AUTO) and find_spec("keyring") is None:
        yield Finding(
            "keyring", "the package keyring is missing", "Install it with: pip install 'codex-nb[keyring]'"
        )
    encrypted = settings.codex_home / ENCRYPTED_STORE
    if encrypted.exists():
        yield Finding(
            "encrypted store",
            f"the Codex CLI keeps a login in {encrypted}",
            "Turn off the CLI feature secret_auth_storage and sign in again; only the CLI opens it.",
        )


def _file(settings: Settings) -> Iterator[Finding]:
    path = settings.codex_home / "auth.json"
    mode = file_mode(path)
    if mode is None:
        if settings.credentials_store is CredentialsStore.FILE:
            yield Finding("auth.json", "not found", "Sign in with %codex login.")
        return
    if path.is_symlink():
        yield Finding("auth.json", f"is a link to {path.resolve()}")
    if os.name != "nt" and mode != FILE_MODE:
        yield Finding(
            "auth.json",
            f"others may read it (mode {mode:04o})",
            f"Make it private: chmod 600 {path}",
        )
    half_written = leftovers(path.resolve())
    if half_written:
        yield Finding(
            "leftovers",
            f"{len(half_written)} half-written files",
            "No action needed: they are removed at the next refresh.",
        )


def _login(settings: Settings, clock: Clock) -> Iterator[Finding]:
    store = open_store(settings)
    try:
        document = store.load()
        if document is None:
            return
        credentials = credentials_from_document(document, source=str(store))
    except CodexError as error:
        yield Finding("login", str(error), error.hint or "Sign in with %codex login.")
        return
    found = f"{short_account(credentials.label)} ({credentials.mode.value}, plan {credentials.account.plan})"
    yield Finding("login", found)
    problem = restriction(settings, credentials)
    if problem is not None:
        yield Finding("restriction", problem, "Sign in with an allowed account, or ask your administrator.")
    yield from _expiry(credentials, clock)


def _expiry(credentials: Credentials, clock: Clock) -> Iterator[Finding]:
    expires_at = credentials.expires_at
    if expires_at is None:
        return
    when = date_time(expires_at)
    renewable = credentials.refresh_token is not None
    if expires_at > clock() + EXPIRY_MARGIN:
        yield Finding("access token", f"expires {when}")
    elif renewable:
        yield Finding("access token", f"expired or expires {when}; the next request refreshes it")
    else:
        yield Finding(
            "access token", f"expired or expires {when} and cannot be refreshed", "Sign in with %codex login."
        )


def address_overrides(settings: Settings) -> dict[str, str]:
    """Return the settings that replace an address to which a login is sent, with the addresses."""
    provider, usual = settings.provider, Settings(codex_home=settings.codex_home)
    found = {
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": settings.refresh_url_override,
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": settings.revoke_url_override,
        "CODEX_APP_SERVER_LOGIN_ISSUER": settings.issuer,
        "CODEX_AUTHAPI_BASE_URL": settings.authapi_base_url,
        "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": settings.agent_authapi_base_url,
        "CODEX_AGENT_IDENTITY_JWKS_BASE_URL": settings.agent_jwks_base_url,
        "chatgpt_base_url": settings.chatgpt_base_url,
        "openai_base_url": provider.base_url if provider.is_built_in else None,
    }
    defaults = {None, usual.issuer, usual.authapi_base_url, usual.chatgpt_base_url}
    return {name: url for name, url in found.items() if url is not None and url not in defaults}


def _addresses(settings: Settings) -> Iterator[Finding]:
    for name, url in address_overrides(settings).items():
        if not is_secure(url):
            advice = "Unset it: it is neither https nor on this machine, so it is not used."
            yield Finding(name, "replaces the login's own address", advice)
        elif name.endswith("_URL_OVERRIDE"):
            yield Finding(name, "replaces the login's own address")


ONLY_OURS = (
    f"codex_nb takes turns by a lease there ({LEASE_FILE}), which the Codex CLI does not know: use the CLI on one "
    "machine at a time, or put CODEX_HOME on a disk of this machine."
)


def _locks(home: Path, clock: Clock, try_lock: Callable[[int], LockState]) -> Iterator[Finding]:
    states = {name: state_of_lock(home / name, try_lock) for name, _ in LOCK_FILES}
    for name, state in states.items():
        if state is LockState.HELD:
            yield Finding(
                "lock",
                f"another program is changing the login ({name})",
                "If this persists, stop the program that holds the lock.",
            )
    if LockState.UNAVAILABLE in states.values():
        yield Finding("lock", f"files cannot be locked in {home}", ONLY_OURS)
    lease = read_lease(home)
    if lease is not None and lease.expires_at > clock().timestamp():
        yield Finding(
            "lease",
            f"process {lease.pid} on {lease.host} is changing the login",
            f"If it is gone, wait: its lease in {home / LEASE_FILE} ends within minutes.",
        )
