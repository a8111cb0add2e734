"""What the configuration and the machine make of a question: the findings of ``doctor`` and the table of settings.

Nothing here changes anything, asks the network or shows a secret, and nothing that is broken ends it: a file that
cannot be read is a finding.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codex_nb.agent.app_server import UPDATE, installed_binaries
from codex_nb.auth.credentials import credentials_from_document
from codex_nb.auth.locks import LEASE_FILE, LOCK_FILES, read_lease, state_of_lock
from codex_nb.auth.manager import EXPIRY_MARGIN, address_overrides, restriction
from codex_nb.auth.sources import HUB_URL_VARIABLE
from codex_nb.auth.store import ENCRYPTED_STORE, file_mode, open_store
from codex_nb.config.layers import DOTENV_FILE, read_bytes
from codex_nb.config.settings import (
    FILE_KEYS,
    CredentialsStore,
    Environment,
    Settings,
    codex_environment,
    find_codex_home,
    load_settings,
)
from codex_nb.errors import CodexError, ConfigError
from codex_nb.files import FILE_MODE, MOUNTS, LockState, file_system_of, leftovers, try_lock
from codex_nb.http import Proxies, host_of, httpx, is_secure, open_proxy, tls_context
from codex_nb.labels import date_time, short_account
from codex_nb.responses.request import CONTRACT_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from codex_nb.agent.app_server import CodexBinary
    from codex_nb.auth.credentials import Clock, Credentials
    from codex_nb.config.layers import Machine

LEAST_FREE_BYTES = 16_000_000
CLOCK_TOLERANCE = timedelta(minutes=5)
VARIABLES = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_AGENT_IDENTITY")
ONLY_OURS = (
    f"codex_nb takes turns by a lease there ({LEASE_FILE}), which the Codex CLI does not know: use the CLI on one "
    "machine at a time, or put CODEX_HOME on a disk of this machine."
)


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


def diagnose(
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    folder: Path | None = None,
    machine: Machine | None = None,
    clock: Clock = lambda: datetime.now(UTC),
    try_lock: Callable[[int], LockState] = try_lock,
) -> tuple[Finding, ...]:
    """Look at everything that decides who asks, who pays and which way a question goes."""
    found, settings = list[Finding](), None
    try:
        environ = codex_environment(environ, profile)
        settings = load_settings(environ, profile=profile, folder=folder, machine=machine)
    except ConfigError as error:
        found.append(_failed(error))
    checks: list[Callable[[], Iterable[Finding]]] = [partial(_proxies, environ), partial(_cli, environ)]
    with suppress(ConfigError):  # is among the findings already
        mounts = MOUNTS if machine is None else machine.root / MOUNTS.relative_to("/")
        checks.append(partial(_files, find_codex_home(environ), clock, mounts))
    if settings is not None:
        checks += [
            partial(_configuration, settings, environ),
            partial(_provider, settings, environ),
            partial(_certificates, settings),
            partial(examine, settings, environ, clock=clock, try_lock=try_lock),
        ]
    for check in checks:
        try:
            found += check()
        except (CodexError, OSError, ValueError) as error:
            found.append(_failed(error))
    return tuple(found)


def _failed(error: CodexError | OSError | ValueError) -> Finding:
    if isinstance(error, CodexError):
        return Finding("configuration", str(error), error.hint or "Correct it.")
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return Finding("files", f"{error.filename or 'a file'} cannot be read: {reason}", "Make it readable.")
    return Finding("configuration", "a name in it cannot be used", "Look for characters that cannot be seen.")


def _configuration(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    if isinstance(environ, Environment) and environ.dotenv:
        variables = ", ".join(sorted(environ.dotenv))
        yield Finding("configuration", f"{settings.codex_home / DOTENV_FILE} sets the variables {variables}")
    for source in dict.fromkeys(settings.origins.values()):
        names = [FILE_KEYS.get(name, name) for name, origin in settings.origins.items() if origin == source]
        yield Finding("configuration", f"{source} sets {', '.join(names)}")
    for warning in settings.warnings:
        yield Finding("configuration", warning.removesuffix("."), "Correct it in the file, or remove it.")


def _provider(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    provider = settings.provider
    if provider.base_url is not None:
        yield Finding("provider", f"{provider.name} at {shown_url(provider.base_url)}")
    named = {"base_url": provider.base_url, "chatgpt_base_url": settings.chatgpt_base_url}
    for key, url in named.items():
        if url is not None and not is_secure(url) and provider.id not in settings.insecure_providers:
            has_login = "@" in urlsplit(url).netloc
            problem = "has a login in it" if has_login else "is neither https nor on this machine"
            yield Finding(
                key,
                f"{shown_url(url)} {problem}, so no credential is sent there",
                "Use an https address without a login in it.",
            )
    if provider.env_key is not None and not environ.get(provider.env_key, "").strip():
        instructions = (
            provider.env_key_instructions or f"Set {provider.env_key}, or put it into CODEX_HOME/.env."
        )
        yield Finding("provider", f"the variable {provider.env_key}, its key, is not set", instructions)
    command = provider.bearer_command
    if command is not None and shutil.which(command.command, path=environ.get("PATH")) is None:
        yield Finding(
            "provider",
            f"its sign-in command {command.command!r} is not found",
            "Install it, or correct model_providers.*.auth.command.",
        )


def shown_url(url: str) -> str:
    """Return an address without what may be secret in it: a login and a query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{host}{parts.path}"


def _certificates(settings: Settings) -> Iterator[Finding]:
    if settings.ca_certificate is not None:
        tls_context(settings.ca_certificate)
        yield Finding("certificates", f"{settings.ca_certificate} is trusted as well")


def _proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    proxies = Proxies.of(environ)
    needed = {proxies.find(httpx.URL(f"{scheme}://host.invalid")) for scheme in ("http", "https")}
    for variable, url in proxies.by_scheme.values():
        if (variable, url) not in needed:
            yield Finding(variable, "is set and not needed")
            continue
        try:
            open_proxy(variable, url, tls_context(None))
        except ConfigError as error:
            yield Finding(variable, str(error).rstrip("."), error.hint)
        else:
            yield Finding(variable, f"requests go through {shown_url(url)}")
    for name in proxies.domains if proxies.by_scheme else ():
        if name != "*" and any(sign in name for sign in "*:/[] "):
            yield Finding(
                "NO_PROXY",
                f"the entry {name!r} matches no host",
                "Write a name, which covers all below it, an address, or a network such as 10.0.0.0/8.",
            )


def _files(home: Path, clock: Clock, mounts: Path) -> Iterator[Finding]:
    if not home.is_dir():
        return
    read_bytes(home / DOTENV_FILE)
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE_BYTES:
        yield Finding(
            "disk",
            f"only {free // 1_000_000} MB are free where {home} is",
            "Free some space: logins are saved there.",
        )
    if hasattr(os, "getuid") and home.stat().st_uid != os.getuid():
        yield Finding("CODEX_HOME", f"{home} belongs to another user", "Run as its owner, or set CODEX_HOME.")
    yield from _file_system(home, mounts)
    newest = max((path.stat().st_mtime for path in home.iterdir() if path.is_file()), default=0.0)
    if datetime.fromtimestamp(newest, UTC) > clock() + CLOCK_TOLERANCE:
        yield Finding(
            "clock",
            f"it says {clock():%Y-%m-%d %H:%M} UTC, but a file in {home} was written later",
            "Set the clock: tokens and certificates are refused when it is wrong.",
        )


def _file_system(home: Path, mounts: Path) -> Iterator[Finding]:
    found = file_system_of(home, mounts)
    if found.is_shared and found.is_locked_for_all:
        yield Finding("file system", f"{home} is on {found.kind}; other machines see the locks of this one")
    elif found.is_shared:
        yield Finding(
            "file system",
            f"{home} is on {found.kind}, whose locks may not be seen by other machines: two of them could refresh the "
            "login at once and end it",
            ONLY_OURS,
        )


def _cli(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Name each Codex CLI; the first that is new enough is the one in which the agent runs."""
    agent: CodexBinary | None = None
    for binary in installed_binaries(environ):
        if binary.version is None:
            yield Finding("Codex CLI", f"{binary.path} --version says no version", "Install it again.")
        elif binary.problem:
            yield Finding("Codex CLI", binary.problem, UPDATE)
        else:
            use = "" if agent else "; --agent runs in it"
            agent = agent or binary
            yield Finding(
                "Codex CLI",
                f"{binary.label} at {binary.path} ({binary.origin}){use}; codex_nb speaks as {CONTRACT_VERSION} does",
            )


def settings_table(settings: Settings) -> list[tuple[str, str, str]]:
    """Return each setting with its value and where it comes from; no secret is among them."""
    provider = settings.provider
    values: dict[str, object] = {
        "codex_home": settings.codex_home,
        "profile": settings.profile,
        **{name: getattr(settings, name) for name in FILE_KEYS},
        "provider": provider.id,
        "approval": settings.approval.value,
        "allowed_approvals": settings.allowed_approvals,
        "residency": settings.residency,
        "ca_certificate": settings.ca_certificate,
        "insecure_providers": settings.insecure_providers,
        "transport": settings.transport,
    }
    values["chatgpt_base_url"] = shown_url(settings.chatgpt_base_url)
    rows = [
        (FILE_KEYS.get(name, name), _shown(value), settings.origins.get(name, "default"))
        for name, value in values.items()
    ]
    if provider.base_url is not None:
        key = "openai_base_url" if provider.is_built_in else f"model_providers.{provider.id}.base_url"
        rows.append((key, shown_url(provider.base_url), settings.origins.get("base_url", "default")))
    return rows


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)


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
            "Make the directory writable, or point CODEX_HOME elsewhere; sessions cannot be refreshed here.",
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
        yield Finding(HUB_URL_VARIABLE, f"your JupyterHub keeps the login ({host_of(hub) or hub})", advice)
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


def _addresses(settings: Settings) -> Iterator[Finding]:
    for name, url in address_overrides(settings).items():
        if not is_secure(url):
            advice = "Unset it: it is neither https nor on this machine, so it is not used."
            yield Finding(name, "replaces the login's own address", advice)
        elif name.endswith("_URL_OVERRIDE"):
            yield Finding(name, "replaces the login's own address")


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
