"""Account status and diagnostics: what may be shown about a login. Nothing here holds a secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from codex_nb.auth.credentials import credentials_from_document
from codex_nb.auth.keyring_store import open_store
from codex_nb.auth.manager import restriction
from codex_nb.auth.oauth import is_secure
from codex_nb.auth.refresh import EXPIRY_MARGIN
from codex_nb.auth.store import (
    ENCRYPTED_STORE,
    FILE_MODE,
    LOCK_FILES,
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    file_mode,
    is_held,
)
from codex_nb.config.settings import CredentialsStore
from codex_nb.errors import AccountChanged, CodexError, SignInRequired
from codex_nb.words import doctor as words
from codex_nb.words import next_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from codex_nb.auth.credentials import AuthMode, Clock, Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.config.settings import Settings


@dataclass(frozen=True)
class LoginStatus:
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


async def login_status(manager: CredentialManager, *, refresh: bool = False) -> LoginStatus:
    """Describe the login.

    No network is used for what is stored, unless ``refresh`` asks for credentials that are fit to send; a personal
    access token or an agent identity is asked for its account in either case.
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
        )
    return describe(credentials, profile=manager.settings.profile)


def _absence(error: CodexError) -> Literal["nobody", "changed", "unusable"]:
    if isinstance(error, AccountChanged):
        return "changed"
    return "nobody" if isinstance(error, SignInRequired) else "unusable"


def describe(credentials: Credentials, *, profile: str | None = None) -> LoginStatus:
    """Describe credentials."""
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
        yield Finding(words.HOME, words.no_home(str(home)), words.ADVICE_NO_HOME)
    elif not os.access(home, os.W_OK | os.X_OK):
        yield Finding(words.HOME, words.read_only_home(str(home)), words.ADVICE_READ_ONLY_HOME)
    else:
        yield Finding(words.HOME, str(home))


def _environment(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in VARIABLES:
        if environ.get(name, "").strip():
            advice = words.ADVICE_UNSET_KEY if name == "CODEX_API_KEY" else ""
            yield Finding(name, words.COMES_FIRST, advice)
    if environ.get("OPENAI_API_KEY", "").strip():
        used = settings.use_openai_api_key_env
        yield Finding("OPENAI_API_KEY", words.SET_AND_USED if used else words.SET_NOT_USED)


def _store(settings: Settings) -> Iterator[Finding]:
    kind = settings.credentials_store
    yield Finding(words.STORE, words.store(kind.value))
    if kind in (CredentialsStore.KEYRING, CredentialsStore.AUTO) and find_spec("keyring") is None:
        yield Finding(words.KEYRING, words.NO_KEYRING, words.ADVICE_KEYRING)
    encrypted = settings.codex_home / ENCRYPTED_STORE
    if encrypted.exists():
        yield Finding(words.ENCRYPTED_STORE, words.encrypted(str(encrypted)), words.ADVICE_ENCRYPTED)


def _file(settings: Settings) -> Iterator[Finding]:
    path = settings.codex_home / "auth.json"
    mode = file_mode(path)
    if mode is None:
        if settings.credentials_store is CredentialsStore.FILE:
            yield Finding(words.LOGIN_FILE, words.NO_FILE, next_steps.SIGN_IN)
        return
    if path.is_symlink():
        yield Finding(words.LOGIN_FILE, words.link(str(path.resolve())))
    if os.name != "nt" and mode != FILE_MODE:
        yield Finding(words.LOGIN_FILE, words.open_to_others(f"{mode:04o}"), words.make_private(str(path)))
    leftovers = list(path.resolve().parent.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"))
    if leftovers:
        yield Finding(words.LEFTOVERS, words.leftovers(str(len(leftovers))), words.ADVICE_LEFTOVERS)


def _login(settings: Settings, clock: Clock) -> Iterator[Finding]:
    store = open_store(settings)
    try:
        document = store.load()
        if document is None:
            return
        credentials = credentials_from_document(document, source=str(store))
    except CodexError as error:
        yield Finding(words.LOGIN, str(error), error.hint or next_steps.SIGN_IN)
        return
    found = words.login(credentials.label, credentials.mode.value, credentials.account.plan)
    yield Finding(words.LOGIN, found)
    problem = restriction(settings, credentials)
    if problem is not None:
        yield Finding(words.RESTRICTION, problem.text, next_steps.SIGN_IN_ALLOWED)
    yield from _expiry(credentials, clock)


def _expiry(credentials: Credentials, clock: Clock) -> Iterator[Finding]:
    expires_at = credentials.expires_at
    if expires_at is None:
        return
    when = expires_at.strftime("%Y-%m-%d %H:%M UTC")
    renewable = credentials.refresh_token is not None
    if expires_at > clock() + EXPIRY_MARGIN:
        yield Finding(words.ACCESS_TOKEN, words.ends(when))
    elif renewable:
        yield Finding(words.ACCESS_TOKEN, words.renewed_next(when))
    else:
        yield Finding(words.ACCESS_TOKEN, words.over(when), next_steps.SIGN_IN)


def _addresses(settings: Settings) -> Iterator[Finding]:
    named = {
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": settings.refresh_url_override,
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": settings.revoke_url_override,
    }
    for name, url in named.items():
        if url is not None:
            yield Finding(name, words.REPLACES_ADDRESS, "" if is_secure(url) else words.ADVICE_INSECURE)


def _locks(settings: Settings) -> Iterator[Finding]:
    for name, _ in LOCK_FILES:
        if is_held(settings.codex_home / name):
            yield Finding(words.LOCK, words.locked(name), words.ADVICE_LOCK)
