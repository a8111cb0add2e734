"""Signing requests: an ``httpx.Auth`` generator that recovers from a 401, and the backend of an account's workspace."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from codex_nb.auth.credentials import AuthMode
from codex_nb.errors import ApiError, BackendOverloaded, ConfigError, SignInRequired
from codex_nb.http import Route, httpx, is_loopback, is_secure, request_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from pydantic import SecretStr

    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.store import Sleep
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
        if is_secure(str(url)) or not carries_credential(request):
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
            f"Nothing was sent to {url.scheme}://{url.netloc.decode('ascii')}: credentials are sent to https"
            " addresses and to this machine only; over http, anyone on the network could read them.",
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


NO_CONSTRAINT = "NO_CONSTRAINT"
TIMEOUT_S = 15.0
RETRY_PAUSES_S = (0.3, 1.2)
OPENAI_DOMAINS = frozenset({"chatgpt.com", "openai.com"})


class WorkspaceRouting:
    """Looks up routes and caches them by account and base URL."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: Settings,
        auth: Callable[[], httpx.Auth],
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._http = http
        self._settings = settings
        self._auth = auth
        self._sleep = sleep
        self._routes: dict[tuple[str, str], Route] = {}

    async def route(self, credentials: Credentials) -> Route:
        """Return the account's route. Raises ApiError when the lookup fails, and like signing."""
        provider, own = self._settings.provider, f"{self._settings.chatgpt_base_url}/codex"
        is_elsewhere = not provider.is_built_in or provider.base_url not in {None, own}
        if not credentials.is_chatgpt_backend or is_elsewhere:  # an address that the user has set is not left
            return Route()
        key = (credentials.identity_key, self._settings.chatgpt_base_url)
        if key not in self._routes:
            self._routes[key] = _read_route(
                await self._check(), credentials.account.account_id, self._settings.chatgpt_base_url
            )
        return self._routes[key]

    async def _check(self) -> dict[str, Any]:
        pauses = iter(RETRY_PAUSES_S)
        while isinstance(outcome := await self._ask(), ApiError):
            pause = next(pauses, None)
            if pause is None or not outcome.retryable:
                raise outcome
            await self._sleep(pause)
        return outcome

    async def _ask(self) -> dict[str, Any] | ApiError:
        url = accounts_url(self._settings.chatgpt_base_url)
        reply = await request_json(self._http, "GET", url, auth=self._auth(), timeout_s=TIMEOUT_S)
        if reply.problem is not None:
            return BackendOverloaded(
                f"The workspace's backend could not be looked up: {reply.problem}.",
                hint="Check the network, then run the cell again.",
            )
        if reply.is_ok and isinstance(reply.value, dict):
            return reply.fields
        kind = BackendOverloaded if reply.status >= 500 else ApiError  # noqa: PLR2004  (HTTP: their fault)
        return kind(
            f"The workspace's backend could not be looked up (status {reply.status}).",
            hint="Run the cell again in a moment.",
            status=reply.status,
            request_id=reply.headers.get("x-request-id"),
        )


def accounts_url(chatgpt_base_url: str) -> str:
    """Return the URL for the lookup; a backend other than ChatGPT's has another path."""
    base = chatgpt_base_url.rstrip("/")
    return f"{base}/wham/accounts/check" if "/backend-api" in base else f"{base}/api/codex/accounts/check"


def _read_route(value: dict[str, Any], account_id: str | None, base_url: str) -> Route:
    accounts = value.get("accounts")
    found = [one for one in accounts if isinstance(one, dict)] if isinstance(accounts, list) else []
    wanted = account_id or value.get("default_account_id")
    account = next((one for one in found if one.get("id") == wanted), None)
    if account is None:
        raise ApiError("This login has no access to the selected workspace.", hint="See %codex status.")
    origin = account.get("workspace_backend_origin")
    override = account.get("account_routing_override")
    return Route(
        origin=None if origin in (None, NO_CONSTRAINT) else _checked_origin(origin, base_url),
        override=None if override in (None, NO_CONSTRAINT) else _checked_override(override),
    )


def _checked_origin(origin: object, base_url: str) -> str:
    try:
        url = httpx.URL(origin if isinstance(origin, str) else "")
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL("")
    if not is_secure(str(url)) or url.path != "/" or url.query or url.fragment:
        raise ApiError(
            "The workspace's backend is not an https origin; nothing was sent there.",
            hint="Ask the administrator of the workspace.",
        )
    if not _is_related(url.host, httpx.URL(base_url).host):
        raise ApiError(
            f"The workspace's backend is at {url.host}, which does not belong to {base_url}. Nothing was sent there.",
            hint="Ask the administrator of the workspace.",
        )
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _is_related(host: str, base_host: str) -> bool:
    """Whether a host lies in the domain that the base URL names, or both are this machine; OpenAI has two domains."""
    if is_loopback(host) or is_loopback(base_host):
        return is_loopback(host) and is_loopback(base_host)
    domains = {base_host}
    if any(_is_below(base_host, domain) for domain in OPENAI_DOMAINS):
        domains |= OPENAI_DOMAINS
    return any(_is_below(host, domain) for domain in domains)


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _checked_override(override: object) -> str:
    if not isinstance(override, str) or not override.isascii() or not override.isprintable() or not override:
        raise ApiError(
            "The workspace's routing override is invalid; nothing was sent.",
            hint="Ask the administrator of the workspace.",
        )
    return override
