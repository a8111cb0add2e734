"""Signing requests: an ``httpx.Auth`` generator that also recovers from a 401."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from codex_nb.auth.credentials import AuthMode
from codex_nb.auth.oauth import is_loopback
from codex_nb.errors import ConfigError, SignInRequired
from codex_nb.http import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping

    from pydantic import SecretStr

    from codex_nb.auth.credentials import Credentials
    from codex_nb.config.settings import Settings


ACCOUNT_HEADER = "chatgpt-account-id"
FEDRAMP_HEADER = "x-openai-fedramp"
IDENTITY_HEADERS = ("authorization", ACCOUNT_HEADER, FEDRAMP_HEADER)
MOST_RECOVERIES = 2
_CREDENTIAL_NAME = re.compile(r"auth|key|token|secret|cookie|password|signature|^code$|^sig$", re.IGNORECASE)


@dataclass(frozen=True)
class RetryCredentials:
    """What to try after a 401: other credentials, or None when nothing helps.

    ``token_used`` tells that a refresh token paid for them, so that no second refresh follows for the same request.
    """

    credentials: Credentials | None = None
    token_used: bool = False


class Signer(Protocol):
    """The part of the credential manager that signs requests."""

    async def current(self) -> Credentials:
        """Return the credentials to sign with."""

    async def retry_after_401(self, rejected: Credentials) -> RetryCredentials:
        """Find other credentials than the rejected ones."""


class BearerAuth(httpx.Auth):
    """Signs every request with the current credentials; raises ConfigError for an address that is not secure."""

    def __init__(self, signer: Signer, settings: Settings) -> None:
        self._signer = signer
        self._settings = settings

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raise RuntimeError: refreshing credentials needs the event loop."""
        del request
        raise RuntimeError("codex_nb signs requests of httpx.AsyncClient only.")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign and send the request; after a 401, repeat it with other credentials if there are any."""
        credentials = await self._signer.current()
        configured = {name: request.headers[name] for name in IDENTITY_HEADERS if name in request.headers}
        self._sign(request, credentials, configured)
        response = yield request
        for _ in range(MOST_RECOVERIES):
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
            recovery = await self._signer.retry_after_401(credentials)
            if recovery.credentials is None:
                return
            credentials = recovery.credentials
            self._sign(request, credentials, configured)
            response = yield request
            if recovery.token_used:
                return

    def _sign(self, request: httpx.Request, credentials: Credentials, configured: Mapping[str, str]) -> None:
        """Sign the request. Raises ConfigError when the credential would be sent unencrypted."""
        sign(request, credentials, configured)
        url = request.url
        if url.scheme == "https" or is_loopback(url.host) or not carries_credential(request):
            return
        provider, hint = self._settings.provider, "Use an https address in config.toml."
        if credentials.mode is AuthMode.API_KEY and not provider.is_built_in:
            if provider.id in self._settings.insecure_providers:
                return
            hint += (
                " If you trust the network in between, allow this provider:"
                f" %config CodexMagics.insecure_providers = ['{provider.id}']"
            )
        raise ConfigError(
            f"Nothing was sent to {url.scheme}://{url.netloc.decode('ascii')}: over http, anyone on the network"
            " could read the credentials of the request.",
            key="base_url",
            hint=hint,
        )


def carries_credential(request: httpx.Request) -> bool:
    """Whether a header or a query parameter holds a credential, judged by its name."""
    return any(_CREDENTIAL_NAME.search(name) for name in (*request.headers, *request.url.params))


def sign(request: httpx.Request, credentials: Credentials, configured: Mapping[str, str]) -> None:
    """Set the identity headers; ``configured`` ones, from config.toml, apply where the credentials set none."""
    for name in IDENTITY_HEADERS:
        request.headers.pop(name, None)
    request.headers.update({**configured, **identity_headers(credentials)})


def identity_headers(credentials: Credentials) -> dict[str, str]:
    """Return the headers that identify the account, for every auth mode."""
    headers: dict[str, str] = {}
    if credentials.agent is not None:
        headers["authorization"] = f"AgentAssertion {credentials.agent.assertion().get_secret_value()}"
    elif credentials.bearer is not None:
        headers["authorization"] = f"Bearer {_header_value(credentials)}"
    if credentials.is_chatgpt_backend:
        if credentials.account.account_id:
            headers[ACCOUNT_HEADER] = credentials.account.account_id
        if credentials.account.is_fedramp:
            headers[FEDRAMP_HEADER] = "true"
    return headers


def _header_value(credentials: Credentials) -> str:
    bearer = credentials.bearer
    if bearer is None or not _fits_header(bearer):
        raise SignInRequired(
            f"The credential from {credentials.source} contains characters that cannot be sent.",
            hint="Copy the whole value again, or sign in with %codex login.",
        )
    return bearer.get_secret_value()


def _fits_header(secret: SecretStr) -> bool:
    value = secret.get_secret_value()
    return value.isascii() and value.isprintable() and " " not in value
