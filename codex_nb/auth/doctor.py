"""The doctor: what was found where, and what to do about it. It changes nothing, asks no network, shows no secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from codex_nb.auth.addresses import is_secure
from codex_nb.auth.credentials import credentials_from_document
from codex_nb.auth.locks import LOCK_FILES, is_held
from codex_nb.auth.opening import open_store
from codex_nb.auth.renewal import EXPIRY_MARGIN
from codex_nb.auth.restrictions import restriction
from codex_nb.auth.store import ENCRYPTED_STORE, FILE_MODE, TEMPORARY_PREFIX, TEMPORARY_SUFFIX, file_mode
from codex_nb.errors import CodexError
from codex_nb.settings import CredentialsStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.snapshots import Clock
    from codex_nb.settings import Settings

VARIABLES = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_AGENT_IDENTITY")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``advice`` is empty when all is well."""

    topic: str
    found: str
    advice: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice


def examine(settings: Settings, environ: Mapping[str, str], *, clock: Clock) -> tuple[Finding, ...]:
    """Look at everything that decides who asks and who pays."""
    return (
        *_home(settings),
        *_environment(settings, environ),
        *_store(settings),
        *_file(settings),
        *_login(settings, clock),
        *_addresses(settings),
        *_locks(settings),
    )


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.codex_home
    if not home.exists():
        yield Finding(
            "CODEX_HOME", f"{home} does not exist yet", "It is made when you sign in: %codex login."
        )
    elif not os.access(home, os.W_OK | os.X_OK):
        advice = "Logins cannot be renewed here; make the directory writable or point CODEX_HOME elsewhere."
        yield Finding("CODEX_HOME", f"{home} cannot be written", advice)
    else:
        yield Finding("CODEX_HOME", str(home))


def _environment(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in VARIABLES:
        if environ.get(name, "").strip():
            advice = "Unset it to use the stored login." if name == "CODEX_API_KEY" else ""
            yield Finding(name, "is set and comes before the stored login", advice)
    if environ.get("OPENAI_API_KEY", "").strip():
        used = settings.use_openai_api_key_env
        yield Finding("OPENAI_API_KEY", "is set and used, as configured" if used else "is set and not used")


def _store(settings: Settings) -> Iterator[Finding]:
    kind = settings.credentials_store
    yield Finding("store", f"cli_auth_credentials_store = {kind.value}")
    if kind in (CredentialsStore.KEYRING, CredentialsStore.AUTO) and find_spec("keyring") is None:
        yield Finding("keyring", "the package keyring is missing", "pip install 'codex-nb[keyring]'")
    encrypted = settings.codex_home / ENCRYPTED_STORE
    if encrypted.exists():
        advice = "Only the CLI opens it: turn its feature secret_auth_storage off and sign in again."
        yield Finding("encrypted store", f"the Codex CLI keeps a login in {encrypted}", advice)


def _file(settings: Settings) -> Iterator[Finding]:
    path = settings.codex_home / "auth.json"
    mode = file_mode(path)
    if mode is None:
        if settings.credentials_store is CredentialsStore.FILE:
            yield Finding("auth.json", "there is none", "Sign in with %codex login.")
        return
    if path.is_symlink():
        yield Finding("auth.json", f"is a link to {path.resolve()}")
    if os.name != "nt" and mode != FILE_MODE:
        yield Finding("auth.json", f"others may read it (mode {mode:04o})", f"chmod 600 {path}")
    leftovers = list(path.resolve().parent.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"))
    if leftovers:
        yield Finding(
            "leftovers", f"{len(leftovers)} half-written files", "They are removed at the next renewal."
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
    yield Finding("login", f"{credentials.label} ({credentials.mode.value}, plan {credentials.account.plan})")
    problem = restriction(settings, credentials)
    if problem is not None:
        yield Finding("restriction", problem, "Sign in with an allowed account, or ask your administrator.")
    yield from _expiry(credentials, clock)


def _expiry(credentials: Credentials, clock: Clock) -> Iterator[Finding]:
    expires_at = credentials.expires_at
    if expires_at is None:
        return
    when = expires_at.strftime("%Y-%m-%d %H:%M UTC")
    renewable = credentials.refresh_token is not None
    if expires_at > clock() + EXPIRY_MARGIN:
        yield Finding("access token", f"ends {when}")
    elif renewable:
        yield Finding("access token", f"ended or ends {when}; it is renewed by the next request")
    else:
        yield Finding(
            "access token", f"ended or ends {when} and cannot be renewed", "Sign in with %codex login."
        )


def _addresses(settings: Settings) -> Iterator[Finding]:
    named = {
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": settings.refresh_url_override,
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": settings.revoke_url_override,
    }
    for name, url in named.items():
        if url is not None:
            advice = (
                ""
                if is_secure(url)
                else "Unset it: it is neither https nor on this machine, so nothing goes there."
            )
            yield Finding(name, "replaces the login's own address", advice)


def _locks(settings: Settings) -> Iterator[Finding]:
    for name, _ in LOCK_FILES:
        if is_held(settings.codex_home / name):
            advice = "If it stays so, end the program that holds it."
            yield Finding("lock", f"another program is changing the login ({name})", advice)
