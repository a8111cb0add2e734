"""Signing requests: an ``httpx.Auth`` generator that also recovers from a 401.

A hard 401 costs at most three requests and one refresh: the first, one with what another program saved meanwhile, one
with refreshed tokens. (The CLI spends 18 and 6.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from codex_nb.errors import SignInRequired
from codex_nb.http import httpx
from codex_nb.words import identities as words
from codex_nb.words import kernel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from pydantic import SecretStr

    from codex_nb.auth.credentials import Credentials

ACCOUNT_HEADER = "chatgpt-account-id"
FEDRAMP_HEADER = "x-openai-fedramp"
MOST_RECOVERIES = 2


class Recovery(Protocol):
    """What came of a recovery: other credentials, and whether a refresh token was spent for them."""

    @property
    def credentials(self) -> Credentials | None:
        """What to try next; None when nothing helps."""

    @property
    def spent(self) -> bool:
        """Whether a refresh was made, so that none may follow for the same request."""


class Signer(Protocol):
    """What this module needs of the credential manager."""

    async def current(self) -> Credentials:
        """Give the credentials to sign with."""

    async def recover_once(self, rejected: Credentials) -> Recovery:
        """Find better credentials than the rejected ones."""


class BearerAuth(httpx.Auth):
    """Signs every request with the present credentials."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Refuse: recovery needs the event loop."""
        del request
        raise RuntimeError(kernel.ASYNC_ONLY)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign, send, and after a 401 repeat with better credentials if there are any."""
        credentials = await self._signer.current()
        sign(request, credentials)
        response = yield request
        for _ in range(MOST_RECOVERIES):
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
            recovery = await self._signer.recover_once(credentials)
            if recovery.credentials is None:
                return
            credentials = recovery.credentials
            sign(request, credentials)
            response = yield request
            if recovery.spent:
                return


def sign(request: httpx.Request, credentials: Credentials) -> None:
    """Set the identity headers; pure, no I/O."""
    for name in ("authorization", ACCOUNT_HEADER, FEDRAMP_HEADER):
        request.headers.pop(name, None)
    request.headers.update(identity_headers(credentials))


def identity_headers(credentials: Credentials) -> dict[str, str]:
    """Compose the headers that say who asks, for every auth mode."""
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
        raise SignInRequired(words.senseless_characters(credentials.source))
    return bearer.get_secret_value()


def _fits_header(secret: SecretStr) -> bool:
    value = secret.get_secret_value()
    return value.isascii() and value.isprintable() and " " not in value
