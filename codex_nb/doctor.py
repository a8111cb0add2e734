"""What the configuration and the machine make of a question: the findings of ``doctor`` and the table of settings.

Nothing here changes anything, asks the network or shows a secret, and nothing that is broken ends it: a file that
cannot be read is a finding.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codex_nb.agent.app_server import UPDATE, installed_binaries
from codex_nb.auth.diagnostics import ONLY_OURS, Finding, examine
from codex_nb.config.layers import DOTENV_FILE, read_bytes
from codex_nb.config.settings import (
    FILE_KEYS,
    Environment,
    Settings,
    codex_environment,
    find_codex_home,
    load_settings,
)
from codex_nb.errors import CodexError, ConfigError
from codex_nb.files import MOUNTS, LockState, file_system_of, try_lock
from codex_nb.http import Proxies, httpx, is_secure, open_proxy, tls_context
from codex_nb.responses.request import CONTRACT_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from codex_nb.agent.app_server import CodexBinary
    from codex_nb.auth.credentials import Clock
    from codex_nb.config.layers import Machine

LEAST_FREE_BYTES = 16_000_000
CLOCK_TOLERANCE = timedelta(minutes=5)


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
        found.append(Finding("configuration", str(error), error.hint or "Correct it."))
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
    for variable, address in proxies.by_scheme.values():
        if (variable, address) not in needed:
            yield Finding(variable, "is set and not needed")
            continue
        try:
            open_proxy(variable, address, tls_context(None))
        except ConfigError as error:
            yield Finding(variable, str(error).rstrip("."), error.hint)
        else:
            yield Finding(variable, f"requests go through {shown_url(_with_scheme(address))}")
    for name in proxies.domains if proxies.by_scheme else ():
        if name != "*" and any(sign in name for sign in "*:/[] "):
            yield Finding(
                "NO_PROXY",
                f"the entry {name!r} matches no host",
                "Write a name, which covers all below it, an address, or a network such as 10.0.0.0/8.",
            )


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"http://{address}"


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
