"""Credentials that are not stored: handed in by a host program, by the environment, or by a configured command."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urljoin

from pydantic import SecretStr

from codex_nb.auth.credentials import (
    PERSONAL_ACCESS_TOKEN_PREFIX,
    AuthMode,
    Credentials,
    account_of_token,
    api_key_credentials,
    expiry_of_token,
    fingerprint,
)
from codex_nb.errors import ConfigError, RefreshFailed, SignInRequired
from codex_nb.http import request_json
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codex_nb.auth.credentials import Clock
    from codex_nb.config.settings import BearerCommand, Provider, Settings
    from codex_nb.http import JsonResponse, httpx


Reason = Literal["start", "expiring", "unauthorized"]


@dataclass(frozen=True)
class ExternalTokens:
    """Tokens from a host program: an access token for the ChatGPT backend, and its account."""

    access_token: SecretStr
    account_id: str | None = None
    plan: str | None = None


@dataclass(frozen=True)
class TokenRequest:
    """Why the host program is asked for tokens, and for which account (None the first time)."""

    reason: Reason
    previous_account_id: str | None = None


ExternalTokenProvider = Callable[[TokenRequest], ExternalTokens | Awaitable[ExternalTokens]]


class CredentialSource(Protocol):
    """Credentials that are fetched, and fetched again when they expire or are rejected."""

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Return the credentials; None when there are no others than ``previous``. Raises SignInRequired."""


class FixedSource:
    """A key or token that never changes."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Return it the first time; there is no other."""
        return self._credentials if reason == "start" or previous is None else None


class MissingSource:
    """The key of a provider whose environment variable is not set."""

    def __init__(self, provider: str, variable: str, hint: str | None) -> None:
        self._message = f"The provider {provider} needs the environment variable {variable}."
        self._hint = hint or f"Set {variable}."

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Raise SignInRequired, naming the variable."""
        del reason, previous
        raise SignInRequired(self._message, hint=self._hint)


class ExternalSource:
    """Tokens from the host program's callable."""

    def __init__(self, provider: ExternalTokenProvider) -> None:
        self._provider = provider

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Ask the host program; of its errors only the type is reported."""
        request = TokenRequest(reason, previous.account.account_id if previous else None)
        try:
            tokens: object = self._provider(request)
            if inspect.isawaitable(tokens):
                tokens = await tokens
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # foreign code, whose message may hold the token
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the cell's, not the host program's own
            problem = type(error).__name__
        else:
            problem = _problem_of(tokens)
            if isinstance(tokens, ExternalTokens) and not problem:
                return _external_credentials(tokens, "the host program")
            del tokens
        raise SignInRequired(
            f"The host program provided no token ({problem}).",
            hint="Sign in where this notebook was started.",
        )


def _problem_of(tokens: object) -> str:
    """Say what is wrong with what a host program gave. Raises nothing: a traceback shows the local variables."""
    if not isinstance(tokens, ExternalTokens):
        return "what it gave is not an ExternalTokens"
    token: object = tokens.access_token
    if not isinstance(token, SecretStr) or not isinstance(token.get_secret_value(), str):
        return "its access_token is not a SecretStr of a text"
    others: tuple[object, ...] = (tokens.account_id, tokens.plan)
    if not all(each is None or isinstance(each, str) for each in others):
        return "its account_id or plan is not a text"
    return ""


HUB_URL_VARIABLE = "CODEX_NB_TOKEN_URL"
HUB_KEY_VARIABLE = "JUPYTERHUB_API_TOKEN"
HUB_SIGNED_OUT = "signed_out"  # the error of the service when the user has no login there
HUB_TIMEOUT_S = 30.0  # the hub may have to refresh the login first


class HubSource:
    """Access tokens from the service ``codex-nb hub`` of a JupyterHub, which keeps the login of each of its users.

    ``url`` is the service's; ``token`` is the one by which this server is known to the hub.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, token: SecretStr, clock: Clock) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._clock = clock
        self.page = urljoin(url, ".")

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Ask the hub; while it does not answer, ``previous`` is used until it expires."""
        rejected = fingerprint(previous.bearer) if previous and reason == "unauthorized" else ""
        reply = await request_json(
            self._http,
            "GET",
            self._url,
            timeout_s=HUB_TIMEOUT_S,
            headers={"Authorization": SecretStr(f"token {self._token.get_secret_value()}")},
            params={"reason": reason, "rejected": rejected},
        )
        if (tokens := _given_by_hub(reply)) is not None:
            return _external_credentials(tokens, "your JupyterHub")
        if reply.fields.get("error") == HUB_SIGNED_OUT:
            raise SignInRequired(
                "You are not signed in to Codex on your JupyterHub.", hint=f"Sign in at {self.page}"
            )
        expires_at = previous.expires_at if previous is not None else None
        if reason == "expiring" and expires_at is not None and expires_at > self._clock():
            return previous
        is_refused, said = reply.status in {401, 403}, reply.fields.get("message")
        why = reply.problem or (said if isinstance(said, str) else f"it answered with status {reply.status}")
        raise RefreshFailed(
            f"Your JupyterHub gave no Codex token: {visible_line(why[:200]).rstrip('.')}.",
            hint="Restart your server from the hub's control panel."
            if is_refused
            else "Try again in a moment; if it persists, ask whoever runs the hub.",
            reason="rejected" if is_refused else "unreachable",
        )


def _given_by_hub(reply: JsonResponse) -> ExternalTokens | None:
    """Return the token in a reply; None without one. Raises nothing: a traceback shows the local variables."""
    given = reply.fields
    token = given.get("access_token")
    if not reply.is_ok or not isinstance(token, str) or not token.strip():
        return None
    account_id, plan = (str(given[key]) if given.get(key) else None for key in ("account_id", "plan"))
    return ExternalTokens(SecretStr(token), account_id, plan)


class CommandSource:
    """The command of ``model_providers.*.auth``, whose standard output is the bearer."""

    def __init__(self, command: BearerCommand, clock: Clock) -> None:
        self._command = command
        self._clock = clock

    async def fetch(self, reason: Reason, previous: Credentials | None) -> Credentials | None:
        """Run the command; its output is shown nowhere."""
        del reason, previous
        outcome = await self._run()
        if isinstance(outcome, str):
            raise SignInRequired(
                f"The provider's sign-in command {self._command.command!r} failed: {outcome}.",
                hint="Check model_providers.*.auth in config.toml.",
            )
        credentials = api_key_credentials(outcome, source=f"the command {self._command.command}")
        interval = self._command.refresh_interval_s  # 0: only after a 401
        expires_at = self._clock() + timedelta(seconds=interval) if interval else None
        return replace(credentials, expires_at=expires_at, owner=f"command {self._command.command}")

    async def _run(self) -> SecretStr | str:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                self._command.command,
                *self._command.args,
                cwd=self._command.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # so that what it starts ends with it
            )
        )
        try:
            process = await asyncio.shield(starting)
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            return getattr(error, "strerror", None) or type(error).__name__
        except asyncio.CancelledError:  # the process may run already
            with suppress(OSError, ValueError):
                await _end(await starting)
            raise
        try:
            async with asyncio.timeout(self._command.timeout_s):
                output, _ = await process.communicate()
        except TimeoutError:
            return f"it took longer than {self._command.timeout_s:g} s"
        finally:
            await _end(process)
        token = SecretStr(output.decode("utf-8", "replace").strip())
        if process.returncode or not token.get_secret_value():
            return f"it exited with status {process.returncode} and no token"
        return token


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command that is still running, with what it has started."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):  # it may have exited by now
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def find_source(
    settings: Settings,
    environ: Mapping[str, str],
    external: ExternalTokenProvider | None,
    clock: Clock,
    http: httpx.AsyncClient,
) -> CredentialSource | None:
    """Return the source that overrides the stored login; None when the stored login is used."""
    provider = _provider_source(settings.provider, environ, clock)
    if provider is not None:
        return provider
    if external is not None and _wanted(settings, AuthMode.EXTERNAL):
        return ExternalSource(external)
    if (url := environ.get(HUB_URL_VARIABLE, "").strip()) and _wanted(settings, AuthMode.EXTERNAL):
        return HubSource(http, url, SecretStr(environ.get(HUB_KEY_VARIABLE, "").strip()), clock)
    login = environment_login(settings, environ)
    return None if login is None else FixedSource(login)


def environment_login(settings: Settings, environ: Mapping[str, str]) -> Credentials | None:
    """Return the login of a variable; None when there is none, or none of the configured mode."""
    keys = ["CODEX_API_KEY", *(["OPENAI_API_KEY"] if settings.use_openai_api_key_env else [])]
    makers = dict.fromkeys(keys, api_key_credentials)
    makers |= dict.fromkeys(("CODEX_ACCESS_TOKEN", "CODEX_AGENT_IDENTITY"), access_token_credentials)
    for name, make in makers.items():
        if value := environ.get(name, "").strip():
            found = make(SecretStr(value), source=name)
            if _wanted(settings, found.mode):
                return found
    return None


def wanted_mode(settings: Settings) -> AuthMode | None:
    """Return the configured auth mode. Raises ConfigError when it is unknown."""
    if settings.auth_mode is None:
        return None
    try:
        return AuthMode(settings.auth_mode)
    except ValueError:
        known = ", ".join(AuthMode)
        raise ConfigError(
            f"Unknown auth mode {settings.auth_mode!r}; the modes are {known}.",
            hint="Choose one of them.",
            key="auth_mode",
        ) from None


def access_token_credentials(token: SecretStr, *, source: str) -> Credentials:
    """Return the credentials of a personal access token (``at-…``) or an agent identity (any other)."""
    if token.get_secret_value().startswith(PERSONAL_ACCESS_TOKEN_PREFIX):
        return Credentials(mode=AuthMode.PERSONAL_ACCESS_TOKEN, bearer=token, source=source)
    return Credentials(mode=AuthMode.AGENT_IDENTITY, bearer=token, source=source)


def _wanted(settings: Settings, mode: AuthMode) -> bool:
    return wanted_mode(settings) in (None, mode)


def _provider_source(provider: Provider, environ: Mapping[str, str], clock: Clock) -> CredentialSource | None:
    """A custom provider's own credential; None for OpenAI's service and providers that use its login.

    The order is the CLI's: a variable that is named but not set is not replaced by a key that the file holds.
    """
    if provider.uses_login:
        return None
    if provider.env_key is not None:
        key = environ.get(provider.env_key, "").strip()
        if not key:
            return MissingSource(provider.name, provider.env_key, provider.env_key_instructions)
        return FixedSource(api_key_credentials(SecretStr(key), source=provider.env_key))
    if provider.bearer is not None:
        return FixedSource(api_key_credentials(provider.bearer, source=f"provider {provider.name}"))
    if provider.bearer_command is not None:
        return CommandSource(provider.bearer_command, clock)
    return FixedSource(Credentials(mode=AuthMode.API_KEY, source=f"provider {provider.name}"))


def _external_credentials(tokens: ExternalTokens, source: str) -> Credentials:
    account = account_of_token(tokens.access_token)
    return Credentials(
        mode=AuthMode.EXTERNAL,
        account=replace(
            account, account_id=tokens.account_id or account.account_id, plan=tokens.plan or account.plan
        ),
        bearer=tokens.access_token,
        expires_at=expiry_of_token(tokens.access_token),
        source=source,
    )
